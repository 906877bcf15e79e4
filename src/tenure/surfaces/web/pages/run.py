"""One run: its output as it comes, who ran it and on what evidence, who asked, each attempt."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tenure.client.foreign_jobs import where_output_is
from tenure.client.job_fields import masked
from tenure.domain.errors import NotFound
from tenure.domain.job import Command, Definition, Job
from tenure.domain.ownership import HolderLife, Term
from tenure.domain.policy.evidence import Evidence
from tenure.domain.process import Process
from tenure.domain.request import Request as Asked
from tenure.domain.run import ACTIVE, FINAL, Run
from tenure.runtime.output import layout_of, read_from
from tenure.runtime.profile import Profile
from tenure.surfaces.web import words
from tenure.surfaces.web.deps import ProfileDep
from tenure.surfaces.web.pages import ownership
from tenure.surfaces.web.pages.render import Frame, frame, page

router = APIRouter()
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
def show(
    profile: ProfileDep, request: Request, ref: str, attempt: int = 0, done: str = ""
) -> HTMLResponse:
    around = frame(request, profile)
    run = profile.store.run(ref)
    number = attempt if 0 < attempt <= run.attempt else run.attempt
    wants = _definition(profile, run)
    action = wants.action if wants else None
    evidence, process = _provenance(profile, run)
    return page(
        request,
        "run.html",
        around,
        section="runs",
        live="runs owner requests" if run.state in ACTIVE else "owner",
        every=5 if run.state in ACTIVE else 0,
        run=run,
        active=run.state in ACTIVE,
        final=run.state in FINAL,
        unwatched=_unwatched(around, run),
        took=words.took(run, around.now),
        outcome=words.outcome(run),
        output=read_tail(profile, run, number),
        elsewhere=where_output_is(action) if action else None,
        chain=ownership.chain(process, at=run.claimed_at) if process else [],
        evidence=ownership.facts(evidence) if evidence else [],
        process=process,
        term=_term(profile, run.term),
        asked=_asked(profile, run),
        command=action,
        env=masked(action.env) if isinstance(action, Command) else {},
        profile_env=masked(profile.settings().environment()) if action else {},
        job=_job(profile, run.job),
        done={"cancel": "The owner is cancelling it.", "retry": "Running again."}.get(done),
    )


def _unwatched(around: Frame, run: Run) -> bool:
    """Whether who waits for this run's end is dead."""
    return any(
        one.process.id == run.holder and one.life is HolderLife.DEAD
        for one in around.health.present
    )


def log_path(profile: Profile, run: Run, attempt: int) -> Path:
    return profile.folder.logs / run.id / f"{attempt}.log"


def read_tail(profile: Profile, run: Run, attempt: int) -> Output:
    """The last part of an attempt's output, begun at a line."""
    path = log_path(profile, run, attempt)
    layout = layout_of(path)
    start, data = read_from(path, max(layout.dropped, layout.end - SHOWN), SHOWN)
    if start > layout.dropped:
        cut = data.find(b"\n") + 1
        start, data = start + cut, data[cut:]
    if run.state in ACTIVE and attempt == run.attempt:
        data = whole(data)
    end = start + len(data)
    text = data.decode("utf-8", "replace")
    return Output(
        text=plain(text),
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


def _provenance(profile: Profile, run: Run) -> tuple[Evidence | None, Process | None]:
    try:
        evidence = profile.store.provenance(run.id)
    except NotFound:
        return None, None
    try:
        return evidence, profile.store.process(run.process)
    except NotFound:
        return evidence, None


def _definition(profile: Profile, run: Run) -> Definition | None:
    try:
        return profile.store.definition(run.job, run.revision)
    except NotFound:
        return None


def _term(profile: Profile, number: int) -> Term | None:
    return next((term for term in profile.store.terms(limit=1000) if term.term == number), None)


def _asked(profile: Profile, run: Run) -> Asked | None:
    try:
        return profile.store.request(run.request) if run.request else None
    except NotFound:
        return None


def _job(profile: Profile, id: str) -> Job | None:
    try:
        return profile.store.job(id)
    except NotFound:
        return None
