"""Everything that is recorded about a profile, as an audit reads it, and its index.

The history is plain data, read from one snapshot of a store (see :mod:`tenure.audit.reader`). A
:class:`View` is built from it once, so that each check is a walk over records with look-ups, and
a hundred thousand runs take seconds.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from tenure.audit.clock import SKEW, RecordedClock, read_clock
from tenure.domain.event import Event, EventKind
from tenure.domain.job import Definition, Job
from tenure.domain.omission import Omission
from tenure.domain.ownership import Ownership, Term
from tenure.domain.policy.admission import Policy
from tenure.domain.process import Process
from tenure.domain.request import Request
from tenure.domain.run import Attempt, Cause, Run
from tenure.store.contract import Accounting, Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHistory:
    """A job, removed ones included, with its past."""

    job: Job
    revisions: tuple[Revision, ...]
    """In order."""
    accounting: Accounting


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The whole record of a profile. Instants are UTC."""

    now: datetime
    ownership: Ownership
    terms: tuple[Term, ...] = ()
    policy: Policy = field(default_factory=Policy)
    """The accepted one."""
    processes: tuple[Process, ...] = ()
    """With those that are gone."""
    jobs: tuple[JobHistory, ...] = ()
    runs: tuple[Run, ...] = ()
    omissions: tuple[Omission, ...] = ()
    requests: tuple[Request, ...] = ()
    events: tuple[Event, ...] = ()
    """In order of ``seq``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A revision and the fires that follow it: those in ``(after, until]``."""

    revision: Revision
    after: datetime
    until: datetime | None
    """None for the last revision."""
    replaced_at: datetime | None
    """When the next revision was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backing:
    """What a term was at one moment: as taken, or as reaffirmed."""

    at: datetime
    authoritative: bool


SCHEDULED = frozenset({Cause.SCHEDULE, Cause.CATCH_UP, Cause.HELD})


class View:
    """A history with look-ups. Built once for an audit; read only after that."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.now = history.now
        self.clock: RecordedClock = read_clock(history.events, history.now)
        self.terms: dict[int, Term] = {t.term: t for t in history.terms}
        self.processes: dict[str, Process] = {p.id: p for p in history.processes}
        self.jobs: dict[str, JobHistory] = {j.job.id: j for j in history.jobs}
        self.runs: dict[str, Run] = {r.id: r for r in history.runs}
        self.attempts: dict[str, tuple[Attempt, ...]] = {r.id: r.attempts for r in history.runs}
        self.requests: dict[str, Request] = {r.id: r for r in history.requests}
        self.log_is_whole = not history.events or history.events[0].seq <= 1
        self.restarts: tuple[datetime, ...] = tuple(
            e.at for e in history.events if e.kind is EventKind.PLANNING_RESTARTED
        )
        self.accepted: dict[int, datetime] = _accepted(history.events)
        self.spans: dict[str, dict[int, Span]] = {j.job.id: _spans(j) for j in history.jobs}
        self.scheduled_runs: dict[tuple[str, int], list[Run]] = defaultdict(list)
        self.repeated: dict[str, list[Run]] = defaultdict(list)
        """Runs of instants that may have been reached twice: a fire there is not claimed again,
        whatever revision and cause the run has."""
        for run in history.runs:
            if self.clock.covers(run.fire_time):
                self.repeated[run.job].append(run)
            if run.cause in SCHEDULED:
                self.scheduled_runs[run.job, run.revision].append(run)
        self.omissions: dict[tuple[str, int], list[Omission]] = defaultdict(list)
        for omission in history.omissions:
            self.omissions[omission.job, omission.revision].append(omission)
        self._backings = _backings(history)

    def definition(self, job: str, revision: int) -> Definition | None:
        """The definition of a revision, if there is such a revision."""
        span = self.spans.get(job, {}).get(revision)
        return None if span is None else span.revision.definition

    def authoritative(self, term: int, at: datetime) -> bool | None:
        """Whether a term was authoritative at an instant; None where that is unknown."""
        record = self.terms.get(term)
        if record is None:
            return None
        backings = self._backings.get(term)
        if backings is None:
            # Without a reaffirmation the record says what was taken. Where the log begins later
            # than the term, it may have been authoritative before a reaffirmation now deleted.
            if record.authoritative or self.log_is_whole:
                return record.authoritative
            return None if record.taken_at <= self.history.events[0].at else False
        inside = [b for b in backings if b.at <= at + SKEW]
        ended = [b for b in inside if b.at <= at - SKEW]
        in_force = inside[max(len(ended) - 1, 0) :]
        if any(b.authoritative for b in in_force):
            return True
        return False if in_force else None


def _accepted(events: tuple[Event, ...]) -> dict[int, datetime]:
    """When each policy version was accepted, as far as the log still says."""
    accepted_at: dict[int, datetime] = {}
    for event in events:
        version = event.facts.get("version")
        if event.kind is EventKind.POLICY_ACCEPTED and isinstance(version, int):
            accepted_at.setdefault(version, event.at)
    return accepted_at


def _spans(past: JobHistory) -> dict[int, Span]:
    spans: dict[int, Span] = {}
    edge: datetime | None = None
    replaced: datetime | None = None
    for revision in sorted(past.revisions, key=lambda r: r.revision, reverse=True):
        after = revision.valid_after if edge is None else min(revision.valid_after, edge)
        spans[revision.revision] = Span(
            revision=revision, after=after, until=edge, replaced_at=replaced
        )
        edge, replaced = after, revision.edited_at
    return spans


def _backings(history: History) -> dict[int, list[Backing]]:
    """For each term that was reaffirmed: what it was, from when, in order."""
    found: dict[int, list[Backing]] = defaultdict(list)
    reaffirmed = set()
    for event in history.events:
        authoritative = event.facts.get("authoritative")
        if event.term is None or not isinstance(authoritative, bool):
            continue
        if event.kind in (EventKind.OWNERSHIP_TAKEN, EventKind.OWNERSHIP_REAFFIRMED):
            found[event.term].append(Backing(at=event.at, authoritative=authoritative))
        if event.kind is EventKind.OWNERSHIP_REAFFIRMED:
            reaffirmed.add(event.term)
    return {term: backings for term, backings in found.items() if term in reaffirmed}
