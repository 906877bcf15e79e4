"""Every process, with the rule that decides; the owner, its terms, the policy, and hand-over."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from tenure.client import requests
from tenure.client.documents.processes import (
    JudgedProcess,
    OwnerReply,
    PolicyReply,
    ProcessList,
    ProcessReply,
    TermList,
    owner_document,
    process_document,
    term_document,
)
from tenure.client.health import examine, expected_owner, why_no_owner
from tenure.client.presence import Present, look_at
from tenure.client.status import present_document
from tenure.domain.errors import InvalidInput
from tenure.domain.ownership import HolderLife
from tenure.runtime.profile import Profile
from tenure.surfaces.web.api.bodies import HandOverAsked
from tenure.surfaces.web.api.common import Body, JsonResponse, OwnerRequestDep, check_names
from tenure.surfaces.web.api.openapi import accepted, json_body, reply
from tenure.surfaces.web.reports import admission_document, foreign_in, policy_document, status_of
from tenure.surfaces.web.site import NowDep, ProfileDep

router = APIRouter(prefix="/api/v1/profiles/{profile}")


@router.get("/processes", tags=["processes"], **reply(ProcessList, 404))
def list_processes(profile: ProfileDep, now: NowDep) -> Response:
    """Those that are there, as the status has them, each with what the policy says of it."""
    status = status_of(profile, now)
    foreign = [Present(process=each, life=HolderLife.ALIVE) for each in status.foreign]
    documents = [_document(profile, present) for present in (*status.health.present, *foreign)]
    return JsonResponse(ProcessList(processes=documents, next=None))


@router.get("/processes/{process}", tags=["processes"], **reply(ProcessReply, 404))
def get_process(
    profile: ProfileDep, process: Annotated[str, Path(max_length=100, description="Its id.")]
) -> Response:
    """One process, also one that has gone; a foreign one as long as it lives."""
    foreign = {each.id: each for each in foreign_in(profile)} if "-" in process else {}
    if process in foreign:
        present = Present(process=foreign[process], life=HolderLife.ALIVE)
    else:
        present = look_at(profile, profile.store.process(process))
    return JsonResponse(ProcessReply(process=_document(profile, present)))


def _document(profile: Profile, present: Present) -> JudgedProcess:
    admission = admission_document(profile, profile.policy(), present.process)
    return JudgedProcess(**vars(present_document(present)), admission=admission)


@router.get("/owner", tags=["owner"], **reply(OwnerReply, 404, 422))
def get_owner(
    profile: ProfileDep,
    now: NowDep,
    limit: Annotated[int, Query(ge=0, le=1000, description="Number of terms to return.")] = 5,
) -> Response:
    """The owner, its rule and since when (`tenure owner --json`); if there is none, why."""
    health = examine(profile, now)
    owner = health.owner
    terms = profile.store.terms(limit=limit) if limit else ()
    return JsonResponse(
        OwnerReply(
            owner=owner_document(health.ownership) if health.problem is None else None,
            life=owner.life if owner else None,
            process=process_document(owner.process) if owner else None,
            terms=[term_document(term) for term in terms],
            why_nobody=None if health.owned else why_no_owner(health),
            who_should=expected_owner(health.policy),
        )
    )


@router.get("/owner/terms", tags=["owner"], **reply(TermList, 404, 422))
def list_terms(
    profile: ProfileDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[
        int | None, Query(ge=1, le=2**62, description="The `next` of the page before.")
    ] = None,
) -> Response:
    """The history of the ownership, the newest term first."""
    terms = profile.store.terms(limit=limit + 1, before=cursor)
    following = str(terms[limit - 1].term) if len(terms) > limit else None
    documents = [term_document(term) for term in terms[:limit]]
    return JsonResponse(TermList(terms=documents, next=following))


@router.get("/owner/policy", tags=["owner"], **reply(PolicyReply, 404))
def get_policy(profile: ProfileDep) -> Response:
    """The owner rules, and possible problems."""
    return JsonResponse(policy_document(profile))


@router.post(
    "/owner/hand-over",
    tags=["owner"],
    openapi_extra=json_body(HandOverAsked),
    **accepted(400, 415),
)
async def hand_over(body: Body, owner: OwnerRequestDep) -> Response:
    """Ask the owner to hand over to a candidate."""
    to = body.get("to")
    if to is not None and not isinstance(to, str):
        raise InvalidInput("a process id is expected", field="to")
    check_names(body, "to")
    return await owner.send(requests.hand_over, to=to)
