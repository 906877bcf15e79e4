"""Actions on a job other than editing its definition, and whether it would run now."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from tenure.client import edits, requests
from tenure.client.documents.jobs import JobReply
from tenure.client.documents.reports import ExplanationReply
from tenure.client.documents.runs import RequestReply
from tenure.client.explain import explain, explanation_document
from tenure.domain.job import JobState
from tenure.surfaces.web import VIA_API
from tenure.surfaces.web.api.common import (
    IfMatch,
    JobRef,
    JsonResponse,
    Key,
    OwnerRequestsDep,
    Wait,
)
from tenure.surfaces.web.api.jobs import ETAG, job_reply
from tenure.surfaces.web.api.openapi import ACCEPTED, problems
from tenure.surfaces.web.deps import ProfileDep, SiteDep

router = APIRouter(prefix="/api/v1/profiles/{profile}/jobs/{job}", tags=["jobs"])
_CHANGED: dict[int | str, dict[str, Any]] = {
    **problems(403, 404, 409),
    200: {"headers": ETAG},
}


@router.post("/pause", response_model=JobReply, responses=_CHANGED)
def pause_job(profile: ProfileDep, job: JobRef, site: SiteDep) -> Response:
    """Pause a job: its scheduled runs are recorded as skipped."""
    found = edits.set_state(profile, job, JobState.PAUSED, via=VIA_API, now=site.now())
    return job_reply(profile, found, site.now())


@router.post("/resume", response_model=JobReply, responses=_CHANGED)
def resume_job(profile: ProfileDep, job: JobRef, site: SiteDep) -> Response:
    """Resume a job."""
    found = edits.set_state(profile, job, JobState.ACTIVE, via=VIA_API, now=site.now())
    return job_reply(profile, found, site.now())


@router.post(
    "/restore",
    response_model=JobReply,
    status_code=201,
    responses={**problems(403, 404, 409), 201: {"headers": ETAG}},
)
def restore_job(profile: ProfileDep, job: JobRef, site: SiteDep) -> Response:
    """A removed job, by its id, as a new one with the same definition."""
    found = edits.restore(profile, job, via=VIA_API, now=site.now())
    answer = job_reply(profile, found, site.now())
    answer.status_code = 201
    answer.headers["Location"] = f"/api/v1/profiles/{profile.name}/jobs/{found.id}"
    return answer


@router.post(
    "/approve",
    response_model=JobReply,
    responses={**_CHANGED, **problems(400, 412, 428)},
)
def approve_job(profile: ProfileDep, job: JobRef, match: IfMatch, site: SiteDep) -> Response:
    """Approve the revision that was read for protected runs (`approve_protected = true`)."""
    current = profile.store.job(job)
    found = edits.approve(
        profile,
        current.id,
        match.seen(current.revision),
        via=VIA_API,
        now=site.now(),
    )
    return job_reply(profile, found, site.now())


@router.post(
    "/trigger",
    response_model=RequestReply,
    status_code=202,
    responses={**problems(403, 404, 409, 422), **ACCEPTED},
)
async def trigger_job(
    profile: ProfileDep,
    job: JobRef,
    owner: OwnerRequestsDep,
    queue: Annotated[
        bool, Query(description="Leave the request for the owner, up to 24 hours.")
    ] = False,
    wait: Wait = 2.0,
    key: Key = None,
) -> Response:
    """Ask the owner to run it now. 409 if the profile has no owner, unless `queue`."""
    act = partial(requests.trigger, profile, job, queue=queue, key=key)
    return await owner.send(profile, act, wait)


@router.get("/explain", response_model=ExplanationReply, responses=problems(404))
def explain_job(profile: ProfileDep, job: JobRef, site: SiteDep) -> Response:
    """Whether the job would run now, under which owner, and if not, why."""
    return JsonResponse(explanation_document(explain(profile, job, site.now())))
