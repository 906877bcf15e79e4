"""All profiles of this home, a row each; and the switch between light and dark."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from starlette.responses import Response

from tenure.client.status import Status
from tenure.domain.errors import TenureError
from tenure.domain.job import Job, JobState
from tenure.domain.run import ENDED_BADLY
from tenure.store.contract import Page, RunFilter
from tenure.surfaces.web.guard import FormDep
from tenure.surfaces.web.live.all_profiles import MAX_PROFILES, mark_of_all
from tenure.surfaces.web.pages import ownership
from tenure.surfaces.web.pages.render import THEME_COOKIE, THEMES, back_to, page
from tenure.surfaces.web.reports import mark_text, state_of, status_of
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
    status: Status | None = None
    bar: ownership.Bar | None = None
    bad: int = 0
    jobs: int = 0
    next: Job | None = None
    zone: str = "UTC"
    mark: str = ""
    """How far it had grown before it was read."""
    error: TenureError | None = None


@router.get("/")
def profiles(site: SiteDep, request: Request) -> HTMLResponse:
    rows = [_row(site, name, site.now()) for name in site.names()]
    return page(
        request,
        "profiles.html",
        live="profiles",
        every=0 if len(rows) <= MAX_PROFILES else POLL,
        mark=mark_of_all({row.name: row.mark for row in rows[:MAX_PROFILES]}),
        rows=rows,
        home=str(site.home),
        many=MANY,
    )


def _row(site: Site, name: str, now: datetime) -> ProfileOverview:
    try:
        profile = site.profile(name)
        grown = profile.store.mark()
        status = status_of(profile, now, upcoming=1)
        bad, _ = profile.store.runs(
            RunFilter(states=ENDED_BADLY, since=now - DAY), Page(limit=MANY + 1)
        )
    except TenureError as error:
        return ProfileOverview(name=name, error=error)
    jobs = sum(n for state, n in status.counts.jobs.items() if state is not JobState.REMOVED)
    return ProfileOverview(
        name=name,
        status=status,
        bar=ownership.bar(status.health, now),
        bad=len(bad),
        jobs=jobs,
        next=status.upcoming[0] if status.upcoming else None,
        zone=profile.timezone(),
        mark=mark_text(grown, state_of(status.health)),
    )


@router.post("/theme")
def theme(given: FormDep) -> Response:
    """Remember light, dark or whatever the system has; then back to where it was asked."""
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
