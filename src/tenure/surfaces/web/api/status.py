"""The status of a profile, its explanation in fires to come, and its audit."""

from __future__ import annotations

from heapq import merge
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from tenure.client.definitions import next_fires
from tenure.client.documents.jobs import UpcomingFire, UpcomingList
from tenure.client.documents.reports import StatusReply
from tenure.client.status import soonest, status_document
from tenure.domain.job import JobState
from tenure.surfaces.web.api.common import JsonResponse
from tenure.surfaces.web.api.openapi import problems
from tenure.surfaces.web.deps import ProfileDep, SiteDep
from tenure.surfaces.web.reports import status_of

router = APIRouter(prefix="/api/v1/profiles/{profile}", tags=["status"])


@router.get("/status", response_model=StatusReply, responses=problems(404))
def get_status(profile: ProfileDep, site: SiteDep) -> Response:
    """Who owns, who is there and why, what is wrong, what comes next (`tenure status --json`)."""
    return JsonResponse(status_document(status_of(profile, site.now())))


@router.get("/next", response_model=UpcomingList, responses=problems(404, 422))
def list_next(
    profile: ProfileDep,
    site: SiteDep,
    job: Annotated[str | None, Query(max_length=200, description="Of one job only.")] = None,
    count: Annotated[int, Query(ge=1, le=1000)] = 10,
) -> Response:
    """The fires to come, of one job or of all; nominal, jitter comes on top."""
    now = site.now()
    jobs = [profile.store.job(job)] if job else soonest(profile, now, count)
    active = [one for one in jobs if one.state is JobState.ACTIVE]
    fires = islice(
        merge(*([(fire, one.id) for fire in next_fires(one, now, count)] for one in active)), count
    )
    names = {one.id: one.name for one in active}
    documents = [UpcomingFire(job=id, job_name=names[id], fire_time=fire) for fire, id in fires]
    return JsonResponse(UpcomingList(next_fires=documents, next=None))
