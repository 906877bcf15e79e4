"""The profiles of the home, a row each."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from tenure.client.status import Status, status_document
from tenure.domain.errors import NotFound, TenureError
from tenure.surfaces.web.api.common import Reply, page
from tenure.surfaces.web.api.openapi import problems
from tenure.surfaces.web.api.shapes.reports import ProfileList, ProfileReply
from tenure.surfaces.web.deps import ProfileDep, SiteDep
from tenure.surfaces.web.reports import state_of, status_of
from tenure.surfaces.web.site import Site

router = APIRouter(prefix="/api/v1/profiles", tags=["profiles"])


@router.get("", response_model=ProfileList)
def list_profiles(site: SiteDep) -> Response:
    """Every profile of the home; one that cannot be opened says why."""
    return Reply(page("profiles", [_row(site, name) for name in site.names()], None))


@router.get("/{profile}", response_model=ProfileReply, responses=problems(404))
def get_profile(profile: ProfileDep, site: SiteDep) -> Response:
    """One profile in short."""
    return Reply({"profile": _document(status_of(profile, site.now()))})


def _row(site: Site, name: str) -> dict[str, Any]:
    try:
        return _document(status_of(site.profile(name), site.now()))
    except TenureError as error:
        state = "empty" if isinstance(error, NotFound) else "error"
        return {
            "name": name,
            "folder": None,
            "owner": None,
            "state": state,
            "warnings": [{"code": error.code, "text": error.text, "remedy": error.remedy}],
            "jobs": {},
            "error": error.text,
        }


def _document(status: Status) -> dict[str, Any]:
    whole = status_document(status)
    return {
        "name": status.profile,
        "folder": status.folder,
        "owner": whole["owner"],
        "state": state_of(status.health),
        "warnings": whole["warnings"],
        "jobs": whole["jobs"],
        "error": None,
    }
