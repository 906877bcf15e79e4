"""The history of runs; and one run: its output as it comes, who ran it and on what evidence."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from tenure.client.foreign_jobs import where_output_is
from tenure.client.job_fields import masked
from tenure.domain.job import Call, Command, Job
from tenure.domain.omission import Omission
from tenure.domain.ownership import HolderLife
from tenure.domain.run import ACTIVE, ENDED_BADLY, Run, RunState
from tenure.runtime.output import layout_of, read_from
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from tenure.surfaces.web import words
from tenure.surfaces.web.pages import ownership
from tenure.surfaces.web.pages.render import ProfileView, ViewDep
from tenure.surfaces.web.reports import kept

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
    """A run, or a stretch of scheduled runs that did not happen."""

    at: datetime
    run: Run | None = None
    omission: Omission | None = None


@router.get("/p/{profile}/runs")
def list_runs(
    view: ViewDep,
    show: str = "",
    job: Annotated[str, Query(max_length=200)] = "",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    profile = view.profile
    show = show if show in SHOWS else ""
    about = profile.store.job(job) if job else None
    runs, following = _runs(profile, about, show, cursor)
    omissions = _omissions(profile, about, show, runs, cursor, following)
    lines = [RunRow(at=run.claimed_at, run=run) for run in runs]
    lines += [RunRow(at=omission.last, omission=omission) for omission in omissions]
    return view.page(
        "runs.html",
        section="runs",
        live="runs owner" if cursor is None else "owner",
        lines=sorted(lines, key=lambda line: line.at, reverse=True),
        show=show,
        shows=SHOWS,
        about=about,
        following=following,
        cursor=cursor,
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
    omissions, _ = profile.store.omissions(job=job.id if job else None, page=Page(limit=300))
    if show == "not-run":
        return omissions
    newest = runs[0].claimed_at if runs and cursor else None
    oldest = runs[-1].claimed_at if runs and following else None
    return [
        each
        for each in omissions
        if (newest is None or each.last <= newest) and (oldest is None or each.last > oldest)
    ]


# -- one run ---------------------------------------------------------------------------------------

SHOWN = 48 * 1024
"""Bytes of output that the page itself carries; the whole is one link away."""
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_UNFINISHED = re.compile(rb"(?:\r|\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?)?)\Z")
_LONGEST_ESCAPE = 1000
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Of a terminal, and what turns the text around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a run wrote, as far as the page shows it."""

    text: str
    end: int
    """The offset behind what is shown: from here on the page follows."""
    before: int
    """Bytes that came before, and are not shown."""
    dropped: int
    """Of these, how many are gone for good."""
    exists: bool
    attempt: int


@router.get("/p/{profile}/runs/{ref}")
def show_run(view: ViewDep, ref: str, attempt: int = 0, done: str = "") -> HTMLResponse:
    profile, store = view.profile, view.profile.store
    run = store.run(ref)
    number = attempt if 0 < attempt <= run.attempt else run.attempt
    action = _action(profile, run)
    evidence = kept(store.provenance, run.id)
    process = kept(store.process, run.process) if evidence else None
    return view.page(
        "run.html",
        section="runs",
        live="runs owner requests" if run.state in ACTIVE else "owner",
        every=5 if run.state in ACTIVE else 0,
        run=run,
        active=run.state in ACTIVE,
        unwatched=_unwatched(view, run),
        took=words.took(run, view.now),
        outcome=words.outcome(run),
        output=read_tail(profile, run, number),
        elsewhere=where_output_is(action) if action else None,
        chain=ownership.chain(process, at=run.claimed_at) if process else [],
        evidence=ownership.facts(evidence) if evidence else [],
        process=process,
        term=next((term for term in store.terms(limit=1000) if term.term == run.term), None),
        asked=kept(store.request, run.request),
        command=action,
        env=masked(action.env) if isinstance(action, Command) else {},
        profile_env=masked(profile.settings().environment()) if action else {},
        job=kept(store.job, run.job),
        done={"cancel": "The owner is cancelling it.", "retry": "Running again."}.get(done),
    )


def _action(profile: Profile, run: Run) -> Command | Call | None:
    definition = kept(lambda job: profile.store.definition(job, run.revision), run.job)
    return definition.action if definition else None


def _unwatched(view: ProfileView, run: Run) -> bool:
    """Whether who waits for this run's end is dead."""
    return any(
        each.process.id == run.holder and each.life is HolderLife.DEAD
        for each in view.health.present
    )


def read_tail(profile: Profile, run: Run, attempt: int) -> Output:
    """The last part of an attempt's output, begun at a line."""
    path = profile.folder.logs / run.id / f"{attempt}.log"
    layout = layout_of(path)
    start, data = read_from(path, max(layout.dropped, layout.end - SHOWN), SHOWN)
    if start > layout.dropped:
        cut = data.find(b"\n") + 1
        start, data = start + cut, data[cut:]
    if run.state in ACTIVE and attempt == run.attempt:
        data = whole(data)
    end = start + len(data)
    return Output(
        text=plain(data.decode("utf-8", "replace")),
        end=end,
        before=start,
        dropped=layout.dropped,
        exists=path.exists(),
        attempt=attempt,
    )


def whole(data: bytes) -> bytes:
    """Without a last part that may go on: of a character, of a line's end, of an escape."""
    pending = codecs.getincrementaldecoder("utf-8")("replace")
    pending.decode(data)
    data = data[: len(data) - len(pending.getstate()[0])]
    cut = _UNFINISHED.search(data[-_LONGEST_ESCAPE:])
    return data if cut is None else data[: len(data) - (cut.end() - cut.start())]


def plain(text: str) -> str:
    """Without the colours and cursor movements of a terminal; a line rewritten is a new line.

    What would show other text than was written, or none, shows itself as U+FFFD.
    """
    text = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("\ufffd", text)
