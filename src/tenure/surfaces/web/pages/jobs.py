"""The list of jobs: found by name, command or tag, each with what comes next and how it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from tenure.client.foreign_jobs import is_foreign, planner_of
from tenure.domain.errors import NotFound
from tenure.domain.job import Job, JobState
from tenure.domain.run import Run
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from tenure.surfaces.web import words
from tenure.surfaces.web.charts import bars
from tenure.surfaces.web.deps import ProfileDep
from tenure.surfaces.web.pages import job_search
from tenure.surfaces.web.pages.render import Frame, frame, page

router = APIRouter()
PER_PAGE = 50
LONGEST_SEARCH = 200
STATES = ("active", "paused", "done", "dormant", "removed")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobListRow:
    """One job in the list."""

    job: Job
    latest: Run | None
    spark: Markup
    elsewhere: str | None
    foreign: bool
    planner: str


@router.get("/p/{profile}/jobs")
def list_jobs(
    profile: ProfileDep,
    request: Request,
    q: Annotated[str, Query(max_length=LONGEST_SEARCH)] = "",
    state: str = "",
    start: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    done: str = "",
    job: Annotated[str, Query(max_length=LONGEST_SEARCH)] = "",
) -> HTMLResponse:
    around = frame(request, profile)
    wanted = frozenset({JobState(state)}) if state in STATES else None
    found, total, more = _find(profile, q.strip(), wanted, start)
    return page(
        request,
        "jobs.html",
        around,
        section="jobs",
        live="jobs runs owner",
        rows=[row(around, one) for one in found],
        q=q,
        state=state if state in STATES else "",
        states=STATES,
        start=start,
        per_page=PER_PAGE,
        total=total,
        more=more,
        any=bool(found) or _any(profile),
        done=_done(profile, done, job),
    )


def row(around: Frame, job: Job) -> JobListRow:
    """What the list says of one job. Reads its latest runs."""
    runs, _ = around.profile.store.runs(RunFilter(job=job.id), Page(limit=bars.SPARK))
    return JobListRow(
        job=job,
        latest=runs[0] if runs else None,
        spark=bars.spark(runs, around.now),
        elsewhere=words.decided_elsewhere(job),
        foreign=is_foreign(job),
        planner=planner_of(job),
    )


def _find(
    profile: Profile, q: str, states: frozenset[JobState] | None, start: int
) -> tuple[Sequence[Job], int | None, bool]:
    """One page of what matches, how many match where that is known, and whether more follow."""
    if not q and start == 0:
        jobs, cursor = profile.store.jobs(states=states, page=Page(limit=PER_PAGE))
        return jobs, None if cursor else len(jobs), cursor is not None
    found, total = job_search.find(profile, q, states, start, PER_PAGE)
    return found, total, total > start + PER_PAGE


def _any(profile: Profile) -> bool:
    found, _ = profile.store.jobs(page=Page(limit=1))
    return bool(found)


def _done(profile: Profile, done: str, ref: str) -> dict[str, object] | None:
    """The last action, shown above the list; the words are ours, the name the job's."""
    if done not in ("removed", "paused", "resumed") or not ref:
        return None
    try:
        job = profile.store.job(ref)
    except NotFound:
        return None
    return {"what": done, "job": job, "undo": done == "removed" and job.state is JobState.REMOVED}
