"""The history: runs of one job or of all, and the fires that did not run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from tenure.domain.job import Job
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.run import ACTIVE, ENDED_BADLY, Run, RunState
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from tenure.surfaces.web.deps import ProfileDep
from tenure.surfaces.web.pages.render import frame, page

router = APIRouter()
PER_PAGE = 50
SHOWS = {
    "": "everything",
    "runs": "runs only",
    "active": "active now",
    "bad": "failed",
    **{str(state): str(state).replace("_", " ") for state in RunState},
    "not-run": "did not run",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run, or a stretch of fires that did not run."""

    at: datetime
    run: Run | None = None
    omission: Omission | None = None


@router.get("/p/{profile}/runs")
def list_runs(
    profile: ProfileDep,
    request: Request,
    show: str = "",
    job: Annotated[str, Query(max_length=200)] = "",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    around = frame(request, profile)
    show = show if show in SHOWS else ""
    about = profile.store.job(job) if job else None
    runs, following = _runs(profile, about, show, cursor)
    omissions = _omissions(profile, about, show, runs, cursor, following)
    lines = [RunRow(at=run.claimed_at, run=run) for run in runs]
    lines += [RunRow(at=omission.last, omission=omission) for omission in omissions]
    return page(
        request,
        "runs.html",
        around,
        section="runs",
        live="runs owner" if cursor is None else "owner",
        lines=sorted(lines, key=lambda one: one.at, reverse=True),
        show=show,
        shows=SHOWS,
        about=about,
        following=following,
        cursor=cursor,
        OmissionKind=OmissionKind,
    )


def _runs(
    profile: Profile, job: Job | None, show: str, cursor: str | None
) -> tuple[Sequence[Run], str | None]:
    if show == "not-run":
        return (), None
    states = {"": None, "runs": None, "active": ACTIVE, "bad": ENDED_BADLY}
    only = states[show] if show in states else frozenset({RunState(show)})
    where = RunFilter(job=job.id if job else None, states=only)
    return profile.store.runs(where, Page(limit=PER_PAGE, cursor=cursor))


def _omissions(
    profile: Profile,
    job: Job | None,
    show: str,
    runs: Sequence[Run],
    cursor: str | None,
    following: str | None,
) -> Sequence[Omission]:
    """What did not run in the time that this page covers."""
    if show not in ("", "not-run"):
        return ()
    found, _ = profile.store.omissions(job=job.id if job else None, page=Page(limit=300))
    if show == "not-run":
        return found
    newest = runs[0].claimed_at if runs and cursor else None
    oldest = runs[-1].claimed_at if runs and following else None
    return [
        one
        for one in found
        if (newest is None or one.last <= newest) and (oldest is None or one.last > oldest)
    ]
