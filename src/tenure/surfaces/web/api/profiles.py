"""The profiles of the home; the status of each, and its next runs."""

from __future__ import annotations

from heapq import merge
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from tenure.client.definitions import next_fires
from tenure.client.documents import WarningDocument
from tenure.client.documents.jobs import UpcomingFire, UpcomingList
from tenure.client.documents.reports import ProfileList, ProfileReply, ProfileRow, StatusReply
from tenure.client.status import Status, soonest, status_document
from tenure.domain.errors import NotFound, TenureError
from tenure.domain.job import JobState
from tenure.surfaces.web.api.common import JsonResponse
from tenure.surfaces.web.api.openapi import reply
from tenure.surfaces.web.reports import state_of, status_of
from tenure.surfaces.web.site import NowDep, ProfileDep, Site, SiteDep

router = APIRouter(prefix="/api/v1/profiles")


@router.get("", tags=["profiles"], response_model=ProfileList)
def list_profiles(site: SiteDep) -> Response:
    """Every profile of the home; one that cannot be opened says why."""
    rows = [_row(site, name) for name in site.names()]
    return JsonResponse(ProfileList(profiles=rows, next=None))


@router.get("/{profile}", tags=["profiles"], **reply(ProfileReply, 404))
def get_profile(profile: ProfileDep, now: NowDep) -> Response:
    """One profile in short."""
    return JsonResponse(ProfileReply(profile=_document(status_of(profile, now))))


def _row(site: Site, name: str) -> ProfileRow:
    try:
        return _document(status_of(site.profile(name), site.now()))
    except TenureError as error:
        state = "empty" if isinstance(error, NotFound) else "error"
        return ProfileRow(
            name=name,
            folder=None,
            owner=None,
            state=state,
            warnings=[WarningDocument.read(error)],
            jobs={},
            error=error.text,
        )


def _document(status: Status) -> ProfileRow:
    state = state_of(status.health)
    return ProfileRow.read(status_document(status), name=status.profile, state=state, error=None)


@router.get("/{profile}/status", tags=["status"], **reply(StatusReply, 404))
def get_status(profile: ProfileDep, now: NowDep) -> Response:
    """Who owns, who is there and why, what is wrong, what comes next (`tenure status --json`)."""
    return JsonResponse(status_document(status_of(profile, now)))


@router.get("/{profile}/next", tags=["status"], **reply(UpcomingList, 404, 422))
def list_next(
    profile: ProfileDep,
    now: NowDep,
    job: Annotated[str | None, Query(max_length=200, description="Of one job only.")] = None,
    count: Annotated[int, Query(ge=1, le=1000)] = 10,
) -> Response:
    """The next scheduled runs, of one job or of all; jitter comes on top."""
    jobs = [profile.store.job(job)] if job else soonest(profile, now, count)
    active = {each.id: each for each in jobs if each.state is JobState.ACTIVE}
    by_job = ([(fire, id) for fire in next_fires(each, now, count)] for id, each in active.items())
    documents = [
        UpcomingFire(job=id, job_name=active[id].name, fire_time=fire)
        for fire, id in islice(merge(*by_job), count)
    ]
    return JsonResponse(UpcomingList(next_fires=documents, next=None))
