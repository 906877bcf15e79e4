"""The list of jobs, searched by words, tags and kinds; and one job with its runs and its edits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from tenure.client.apply import all_jobs
from tenure.client.explain import explain
from tenure.client.foreign_jobs import change_there, is_foreign, planner_of
from tenure.client.job_fields import FIELDS, masked
from tenure.domain.event import EventKind
from tenure.domain.job import Command, Job, JobState
from tenure.domain.run import Run
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from tenure.surfaces.web import charts, words
from tenure.surfaces.web.pages.render import ProfileView, ViewDep
from tenure.surfaces.web.reports import kept
from tenure.surfaces.web.schedule_preview import upcoming

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
    view: ViewDep,
    q: Annotated[str, Query(max_length=LONGEST_SEARCH)] = "",
    state: str = "",
    start: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    done: str = "",
    job: Annotated[str, Query(max_length=LONGEST_SEARCH)] = "",
) -> HTMLResponse:
    profile = view.profile
    states = frozenset({JobState(state)}) if state in STATES else None
    jobs, total, more = _find(profile, q.strip(), states, start)
    return view.page(
        "jobs.html",
        section="jobs",
        live="jobs runs owner",
        rows=[_row(view, each) for each in jobs],
        q=q,
        state=state if state in STATES else "",
        states=STATES,
        start=start,
        per_page=PER_PAGE,
        total=total,
        more=more,
        any=bool(jobs) or bool(profile.store.jobs(page=Page(limit=1))[0]),
        done=_done(profile, done, job),
    )


def _row(view: ProfileView, job: Job) -> JobListRow:
    runs, _ = view.profile.store.runs(RunFilter(job=job.id), Page(limit=charts.SPARK))
    return JobListRow(
        job=job,
        latest=runs[0] if runs else None,
        spark=charts.spark(runs, view.now),
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
    found, total = _search(profile, q, states, start, PER_PAGE)
    return found, total, total > start + PER_PAGE


def _done(profile: Profile, done: str, ref: str) -> dict[str, object] | None:
    """The last action, shown above the list."""
    job = kept(profile.store.job, ref) if done in ("removed", "paused", "resumed") else None
    if job is None:
        return None
    return {"what": done, "job": job, "undo": done == "removed" and job.state is JobState.REMOVED}


# -- searching, also among ten thousand ------------------------------------------------------------
#
# What is searched is kept in memory, a line a job, and brought up to date by the store's events:
# every definition that changes is one. What is shown of the jobs found is read again.

CHANGES = frozenset({EventKind.JOB_ADDED, EventKind.JOB_EDITED, EventKind.JOB_STATE})
MOST_EVENTS = 1000
"""With more changes than this, all jobs are read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedJob:
    """What is searched of one job."""

    id: str
    name: str
    text: str
    tags: frozenset[str]
    protected: bool
    foreign: bool


@dataclass(slots=True, kw_only=True)
class _Known:
    """The entries by job id, as of an event. Replaced whole, never changed: any thread reads it."""

    event: int
    entries: dict[str, IndexedJob]
    ordered: Sequence[IndexedJob]


_known: WeakKeyDictionary[Profile, _Known] = WeakKeyDictionary()


def _search(
    profile: Profile, q: str, states: frozenset[JobState] | None, start: int, count: int
) -> tuple[list[Job], int]:
    """``count`` jobs by name from ``start`` on that match ``q``, and how many match in all."""
    words = q.casefold().split()
    if states is None:
        among = _entries(profile)
    else:
        among = [entry_of(job) for job in all_jobs(profile.store, states)]
    entries = [entry for entry in among if matches(entry, words)]
    jobs = [kept(profile.store.job, entry.id) for entry in entries[start : start + count]]
    return [job for job in jobs if job is not None], len(entries)


def matches(entry: IndexedJob, words: Sequence[str]) -> bool:
    """Whether every word is in the name, the command, the schedule or a tag; ``tag:`` asks for
    one, ``is:protected`` and ``is:foreign`` for a kind."""
    for word in words:
        kind, _, rest = word.partition(":")
        if kind == "tag" and rest:
            matching = rest in entry.tags
        elif word == "is:protected":
            matching = entry.protected
        elif word == "is:foreign":
            matching = entry.foreign
        else:
            matching = word in entry.text
        if not matching:
            return False
    return True


def entry_of(job: Job) -> IndexedJob:
    definition = job.definition
    words = (job.name, definition.action.describe(), definition.schedule.text, *definition.tags)
    return IndexedJob(
        id=job.id,
        name=job.name,
        text=" ".join(words).casefold(),
        tags=frozenset(tag.casefold() for tag in definition.tags),
        protected=definition.needs_authority,
        foreign=is_foreign(job),
    )


def _entries(profile: Profile) -> Sequence[IndexedJob]:
    """The entries of all jobs that are not removed, by name."""
    event = profile.store.mark().event
    known = _known.get(profile)
    if known is None or event < known.event or event - known.event > MOST_EVENTS:
        jobs = all_jobs(profile.store)
        known = _as_of(event, {job.id: entry_of(job) for job in jobs})
    elif event != known.event:
        known = _updated(profile, known, event)
    _known[profile] = known
    return known.ordered


def _updated(profile: Profile, known: _Known, event: int) -> _Known:
    news = profile.store.events(after=known.event, limit=MOST_EVENTS)
    changed = {each.job for each in news if each.kind in CHANGES and each.job is not None}
    if not changed:
        return _Known(event=event, entries=known.entries, ordered=known.ordered)
    entries = dict(known.entries)
    for id in changed:
        job = kept(profile.store.job, id)
        if job is None or job.state is JobState.REMOVED:
            entries.pop(id, None)
        else:
            entries[id] = entry_of(job)
    return _as_of(event, entries)


def _as_of(event: int, entries: dict[str, IndexedJob]) -> _Known:
    ordered = sorted(entries.values(), key=lambda entry: entry.name)
    return _Known(event=event, entries=entries, ordered=ordered)


# -- one job ---------------------------------------------------------------------------------------

RUNS = 40
LISTED = 12
OMISSIONS = 8
DONE = {
    "added": "Added.",
    "edited": "Saved as a new revision.",
    "merged": "Saved. Changes that others made in the meantime are kept.",
    "unchanged": "No changes.",
    "paused": "Paused. Scheduled runs are recorded as skipped until it is resumed.",
    "resumed": "Resumed.",
    "restored": "Added again as a new job with the same definition.",
    "approved": "Approved: this revision may run as a protected job.",
}


@router.get("/p/{profile}/jobs/{ref}")
def show_job(view: ViewDep, ref: str, done: str = "") -> HTMLResponse:
    profile, now = view.profile, view.now
    job = profile.store.job(ref)
    runs, more = profile.store.runs(RunFilter(job=job.id), Page(limit=RUNS))
    omissions, _ = profile.store.omissions(job=job.id, page=Page(limit=OMISSIONS))
    action = job.definition.action
    schedule, alive = job.definition.schedule, job.state is JobState.ACTIVE
    fires = upcoming(schedule, max(now, job.watermark)) if alive else ()
    approve = profile.settings().approve_protected and job.definition.needs_authority
    return view.page(
        "job.html",
        section="jobs",
        live="jobs runs owner",
        job=job,
        facts=_facts(job),
        env=masked(action.env) if isinstance(action, Command) else {},
        foreign=foreign_facts(job),
        explained=None
        if job.state is JobState.REMOVED
        else explain(profile, job.id, now, health=view.health),
        fires=fires,
        runs=runs[:LISTED],
        charted=len(runs),
        more=more or len(runs) > LISTED,
        took=charts.durations(runs, now, lambda run: view.url(f"/runs/{run.id}")),
        omissions=omissions,
        revisions=sorted(profile.store.revisions(job.id), key=lambda r: -r.revision)[:10],
        waits_for_approval=approve and job.approved_revision < job.revision,
        done=DONE.get(done),
    )


def _facts(job: Job) -> list[tuple[str, str]]:
    """The options of a job as text, without those that have no effect."""
    rows = sorted((f.row for f in FIELDS if f.row is not None), key=lambda row: row.last)
    facts = [(row.label, row.text(job.definition, words.span)) for row in rows]
    facts += [
        ("declared by", f"the app {job.app}, version {job.app_version}" if job.app else None),
        ("id", job.id),
    ]
    return [(label, text) for label, text in facts if text]


def foreign_facts(job: Job) -> dict[str, str] | None:
    """Who plans a job that is not planned here, and how it is changed there."""
    if not is_foreign(job):
        return None
    return {
        "planner": planner_of(job),
        **{verb: change_there(job, verb) for verb in ("edit", "pause", "resume", "remove")},
    }
