"""What the routes ask for: the opened profile, the viewer, a form that came from our own page."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import FormData

from tenure.runtime.profile import Profile
from tenure.surfaces.web.problems import ProblemRaised, problem
from tenure.surfaces.web.site import Site

MAX_FIELDS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who asks, as far as their token says."""

    may_write: bool
    csrf: str
    """For the hidden field ``csrf`` of every form, or the header ``X-CSRF-Token``."""


def site(request: Request) -> Site:
    found: Site = request.app.state.site
    return found


def opened(profile: str, request: Request) -> Profile:
    """The profile of the path. Raises NotFound, which is shown as a page or as a problem."""
    return site(request).profile(profile)


def viewer(request: Request) -> Viewer:
    """Set by the guard for every request that it lets through with a token or a cookie."""
    found: Viewer = request.state.viewer
    return found


async def form(request: Request) -> FormData:
    """The form of a POST from our own page; refused without its ``csrf`` field or header."""
    given = await request.form(max_files=0, max_fields=MAX_FIELDS)
    said = given.get("csrf") or request.headers.get("x-csrf-token") or ""
    if not isinstance(said, str) or not hmac.compare_digest(
        said.encode(), viewer(request).csrf.encode()
    ):
        raise ProblemRaised(
            problem(
                403,
                "csrf",
                "this form does not come from a page of this dashboard",
                remedy="reload the page and send it again",
            )
        )
    return given


SiteDep = Annotated[Site, Depends(site)]
ProfileDep = Annotated[Profile, Depends(opened)]
FormDep = Annotated[FormData, Depends(form)]
