"""The profiles of the home, a row each."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from tenure.client.documents import WarningDocument
from tenure.client.documents.reports import ProfileList, ProfileReply, ProfileRow
from tenure.client.status import Status, status_document
from tenure.domain.errors import NotFound, TenureError
from tenure.surfaces.web.api.common import JsonResponse
from tenure.surfaces.web.api.openapi import problems
from tenure.surfaces.web.deps import ProfileDep, SiteDep
from tenure.surfaces.web.reports import state_of, status_of
from tenure.surfaces.web.site import Site

router = APIRouter(prefix="/api/v1/profiles", tags=["profiles"])


@router.get("", response_model=ProfileList)
def list_profiles(site: SiteDep) -> Response:
    """Every profile of the home; one that cannot be opened says why."""
    rows = [_row(site, name) for name in site.names()]
    return JsonResponse(ProfileList(profiles=rows, next=None))


@router.get("/{profile}", response_model=ProfileReply, responses=problems(404))
def get_profile(profile: ProfileDep, site: SiteDep) -> Response:
    """One profile in short."""
    return JsonResponse(ProfileReply(profile=_document(status_of(profile, site.now()))))


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
