"""All profiles of this home, a row each; and the switch between light and dark."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from starlette.responses import Response

from tenure.client.status import Status
from tenure.domain.errors import TenureError
from tenure.domain.job import JobState
from tenure.domain.run import ENDED_BADLY
from tenure.store.contract import Page, RunFilter
from tenure.surfaces.web.guard import FormDep
from tenure.surfaces.web.live.all_profiles import MAX_PROFILES, mark_of_all
from tenure.surfaces.web.pages.render import THEME_COOKIE, THEMES, ProfileView, back_to, page
from tenure.surfaces.web.site import Site, SiteDep

router = APIRouter()
DAY = timedelta(hours=24)
A_YEAR = 365 * 24 * 3600
MANY = 99
POLL = 5
"""Seconds, where there are more profiles than are watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOverview:
    """One profile; where it cannot be opened, why."""

    name: str
    view: ProfileView | None = None
    status: Status | None = None
    bad: int = 0
    jobs: int = 0
    error: TenureError | None = None


@router.get("/")
def profiles(site: SiteDep, request: Request) -> HTMLResponse:
    rows = [_row(request, site, name) for name in site.names()]
    marks = {row.name: row.view.mark if row.view else "" for row in rows[:MAX_PROFILES]}
    return page(
        request,
        "profiles.html",
        live="profiles",
        every=0 if len(rows) <= MAX_PROFILES else POLL,
        mark=mark_of_all(marks),
        rows=rows,
        home=str(site.home),
        many=MANY,
    )


def _row(request: Request, site: Site, name: str) -> ProfileOverview:
    try:
        view = ProfileView(request, site.profile(name))
        status = view.status(upcoming=1)
        failed = RunFilter(states=ENDED_BADLY, since=view.now - DAY)
        bad, _ = view.profile.store.runs(failed, Page(limit=MANY + 1))
    except TenureError as error:
        return ProfileOverview(name=name, error=error)
    jobs = sum(n for state, n in status.counts.jobs.items() if state is not JobState.REMOVED)
    return ProfileOverview(name=name, view=view, status=status, bad=len(bad), jobs=jobs)


@router.post("/theme")
def theme(given: FormDep) -> Response:
    """Remember light, dark or as the system, and go back to the page of the form."""
    chosen, where = given.get("theme"), given.get("next")
    response = back_to(_ours(where if isinstance(where, str) else ""))
    if isinstance(chosen, str) and chosen in THEMES:
        response.set_cookie(THEME_COOKIE, chosen, max_age=A_YEAR, path="/", httponly=True,
                            samesite="strict")  # fmt: skip
    return response


def _ours(path: str) -> str:
    """A path of this site, never another site's address."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if plain and "\\" not in path else "/"
