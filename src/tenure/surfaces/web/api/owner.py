"""The owner, its terms, the policy, and hand-over."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from tenure.client import requests
from tenure.client.documents.processes import (
    OwnerReply,
    PolicyReply,
    TermList,
    owner_document,
    process_document,
    term_document,
)
from tenure.client.documents.runs import RequestReply
from tenure.client.health import examine, expected_owner, why_no_owner
from tenure.domain.errors import InvalidInput
from tenure.surfaces.web.api.bodies import HandOverAsked
from tenure.surfaces.web.api.common import Body, JsonResponse, Key, OwnerRequestsDep, Wait
from tenure.surfaces.web.api.openapi import ACCEPTED, json_body, problems
from tenure.surfaces.web.deps import ProfileDep, SiteDep
from tenure.surfaces.web.reports import policy_document

router = APIRouter(prefix="/api/v1/profiles/{profile}/owner", tags=["owner"])


@router.get("", response_model=OwnerReply, responses=problems(404, 422))
def get_owner(
    profile: ProfileDep,
    site: SiteDep,
    limit: Annotated[int, Query(ge=0, le=1000, description="Number of terms to return.")] = 5,
) -> Response:
    """The owner, its rule and since when (`tenure owner --json`); if there is none, why."""
    health = examine(profile, site.now())
    found = health.owner
    terms = profile.store.terms(limit=limit) if limit else ()
    return JsonResponse(
        OwnerReply(
            owner=owner_document(health.ownership) if health.problem is None else None,
            life=found.life if found else None,
            process=process_document(found.process) if found else None,
            terms=[term_document(term) for term in terms],
            why_nobody=None if health.owned else why_no_owner(health),
            who_should=expected_owner(health.policy),
        )
    )


@router.get("/terms", response_model=TermList, responses=problems(404, 422))
def list_terms(
    profile: ProfileDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[
        int | None, Query(ge=1, le=2**62, description="The `next` of the page before.")
    ] = None,
) -> Response:
    """The history of the ownership, the newest term first."""
    found = profile.store.terms(limit=limit + 1, before=cursor)
    following = str(found[limit - 1].term) if len(found) > limit else None
    documents = [term_document(term) for term in found[:limit]]
    return JsonResponse(TermList(terms=documents, next=following))


@router.get("/policy", response_model=PolicyReply, responses=problems(404))
def get_policy(profile: ProfileDep) -> Response:
    """The owner rules, and possible problems."""
    return JsonResponse(policy_document(profile))


@router.post(
    "/hand-over",
    response_model=RequestReply,
    status_code=202,
    openapi_extra=json_body(HandOverAsked),
    responses={**problems(400, 403, 404, 409, 415, 422), **ACCEPTED},
)
async def hand_over(
    profile: ProfileDep,
    site: SiteDep,
    body: Body,
    owner: OwnerRequestsDep,
    wait: Wait = 2.0,
    key: Key = None,
) -> Response:
    """Ask the owner to hand over to a candidate."""
    to = body.get("to")
    if to is not None and not isinstance(to, str):
        raise InvalidInput("a process id is expected", field="to")
    unknown = next((name for name in body if name != "to"), None)
    if unknown is not None:
        raise InvalidInput(f"there is no field {unknown[:80]!r}", field=unknown[:80])
    act = partial(requests.hand_over, profile, to=to, key=key)
    return await owner.send(profile, act, wait)
