"""The steps of one dispatcher turn: clock changes, ends, starts, requests, retries, what is due.

:class:`RunRecorder` and :class:`ClaimStep` run inside the turn's transaction, so they neither ask
the operating system nor wait: evidence and probes were read before it began, and a job whose
capability has no current answer is left for the next turn.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tenure.domain.errors import CorruptStore, NotFound, StaleTerm
from tenure.domain.event import EventKind
from tenure.domain.job import (
    Definition,
    Job,
    Runner,
    remedy_for_unreadable,
    why_unreadable,
)
from tenure.domain.ownership import Authority
from tenure.domain.planning.catch_up import CatchUpBudget
from tenure.domain.planning.plan import OwnerCapabilities, Plan
from tenure.domain.planning.planner import plan
from tenure.domain.planning.retry import or_retry
from tenure.domain.request import Request, RequestKind, RequestState
from tenure.domain.run import ACTIVE, FinishOutcome, Result, Run, RunState, Start
from tenure.host.clocks import ClockChange, ClockChangeKind, ClockReading, ClockWatch
from tenure.runtime.commands.gate import GatedCommand
from tenure.runtime.dispatch.context import OwnerContext
from tenure.store.contract import ClaimOutcome, RunFilter, Store

log = logging.getLogger("tenure.dispatcher")

MAX_CLAIMS = 256
MAX_HELD_RETRIES = 64
"""Retries that must wait for another owner and are skipped in one turn, at most."""
PENDING = frozenset({RequestState.PENDING})
MAX_REQUESTS = 1000
"""Requests read in one turn. More than can queue up while the owner is away: a cancel behind them
must not wait."""


@dataclass(slots=True)
class Outbox:
    """What a turn does after its commit, and only then."""

    opened: list[GatedCommand] = field(default_factory=list)
    closed: list[tuple[Run, GatedCommand]] = field(default_factory=list)
    runs: list[tuple[Run, Definition]] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    stale: StaleTerm | None = None
    warned: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """For the log. Never inside the transaction: a host's handler that hangs would hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn's claims: the authority, the free slots, and the outbox for what was claimed."""

    authority: Authority
    standing: OwnerCapabilities
    room: dict[Runner, int]
    outbox: Outbox
    now: datetime
    awake: float

    def take(self, run: Run, wants: Definition) -> None:
        self.room[wants.runner] -= 1
        self.outbox.runs.append((run, wants))


class ClaimStep:
    """Used by the dispatcher's thread alone."""

    def __init__(self, context: OwnerContext) -> None:
        self._store = context.store
        self._probes = context.probes
        self._signals = context.signals
        self._budget = CatchUpBudget(rate=context.profile.settings().catch_up_rate)
        self._reported: set[tuple[str, str]] = set()
        self.to_probe: set[str] = set()
        """Capabilities to probe before the next turn."""

    def claim(self, turn: Turn) -> bool:
        """Returns whether anything due could be settled. Raises StaleTerm."""
        self._answer_requests(turn)
        retried = self._claim_retries(turn)
        return self._claim_due(turn) or retried

    # -- requests ----------------------------------------------------------------------------
    def _answer_requests(self, turn: Turn) -> None:
        self._store.expire_requests(turn.now)
        for request in self._store.requests(states=PENDING, limit=MAX_REQUESTS):
            if request.kind is RequestKind.CANCEL:
                self._answer_cancel(request, turn)
            elif request.kind is RequestKind.HAND_OVER:
                self._signals.request_hand_over(request)
            else:
                try:
                    self._answer_trigger(request, turn)
                except CorruptStore as error:  # its job cannot be read: answer it all the same
                    remedy = error.remedy or "`tenure audit` says what else is wrong"
                    self._refuse(request, turn, error.text, remedy)

    def _answer_cancel(self, request: Request, turn: Turn) -> None:
        """Done once the run is marked. Refused for a run that has ended or was purged."""
        assert request.run is not None
        try:
            run = self._store.run(request.run)
        except NotFound as error:  # a queued request that retention overtook
            self._refuse(request, turn, error.text, error.remedy)
            return
        if run.state not in ACTIVE:
            remedy = f"`tenure runs {run.job_name}` shows the job's runs"
            self._refuse(request, turn, f"already ended: {run.state}", remedy)
            return
        self._store.request_cancel(run.id, turn.now)
        turn.outbox.cancels.append(run.id)
        self._store.resolve_request(
            request.id,
            RequestState.DONE,
            authority=turn.authority,
            now=turn.now,
            answer="the process that runs it is stopping it",
            run=run.id,
        )

    def _answer_trigger(self, request: Request, turn: Turn) -> None:
        assert request.job is not None
        job = self._store.job(request.job)
        if job.damage is not None:
            self._refuse(request, turn, why_unreadable(job), remedy_for_unreadable(job))
            return
        if turn.room[job.definition.runner] < 1 or not self._probed(job, turn):
            return
        why_held = turn.standing.why_held(job)
        if why_held is None:
            _, run = self._store.claim_trigger(turn.authority, request.id, turn.now)
            if run is not None:
                turn.take(run, self._store.definition(run.job, run.revision))
        elif not request.queued:
            remedy = f"tenure explain {job.name}; --queue waits for an owner that may"
            why = "is protected" if job.definition.needs_authority else "is held"
            self._refuse(request, turn, f"{job.name} {why}: {why_held}", remedy)

    def _refuse(self, request: Request, turn: Turn, why: str, remedy: str) -> None:
        self._store.resolve_request(
            request.id,
            RequestState.REFUSED,
            authority=turn.authority,
            now=turn.now,
            answer=why,
            remedy=remedy,
            run=request.run,
        )

    # -- runs --------------------------------------------------------------------------------
    def _claim_retries(self, turn: Turn) -> bool:
        """Retries that this owner may not run (C8) are skipped, so they do not block others."""
        wider = {runner: n + MAX_HELD_RETRIES for runner, n in turn.room.items() if n > 0}
        claimed = False
        for retry in self._store.due_retries(turn.now, wider):
            job = self._store.job(retry.job)
            if job.damage is not None:
                continue  # its retry waits until it is mended
            free = turn.room[job.definition.runner] > 0
            if not free or not self._probed(job, turn) or turn.standing.why_held(job) is not None:
                continue
            claimed = True
            for run in self._store.claim_retry(turn.authority, retry.id, turn.now).runs:
                turn.take(run, self._store.definition(run.job, run.revision))
        return claimed

    def _claim_due(self, turn: Turn) -> bool:
        room = {runner: min(n, MAX_CLAIMS) for runner, n in turn.room.items() if n > 0}
        dues = self._store.due(turn.now, room)
        if not dues:
            return False
        plans: list[Plan] = []
        jobs: dict[str, Job] = {}
        left = dict(turn.room)
        for due in dues:
            if due.job.damage is not None:
                self._put_off(due.job, turn)
                continue
            runner = due.job.definition.runner
            if left[runner] > 0 and self._probed(due.job, turn):
                made = plan(due, turn.now, turn.standing, left[runner], self._budget)
                left[runner] -= len(made.claims)
                plans.append(made)
                jobs[due.job.id] = due.job
        answers = self._store.claim(turn.authority, plans, turn.now)
        for made, answer in zip(plans, answers, strict=True):
            for run in answer.runs:
                turn.take(run, jobs[made.job].definition)
            if made.cancel_previous and answer.outcome is ClaimOutcome.CLAIMED:
                # The claim marked them; if this process holds them, they are ended at once.
                active, _ = self._store.runs(RunFilter(job=made.job, states=ACTIVE))
                turn.outbox.cancels.extend(run.id for run in active)
        return True

    def _put_off(self, job: Job, turn: Turn) -> None:
        """An unreadable job blocks no other job, and is logged once."""
        assert job.damage is not None
        self._store.defer_unreadable_job(turn.authority, job, turn.now)
        reported = (job.id, job.damage.reason)
        if reported not in self._reported:
            self._reported.add(reported)
            turn.outbox.warned.append(
                f"{why_unreadable(job)}; it does not run until it is repaired "
                f"({remedy_for_unreadable(job)})"
            )

    def _probed(self, job: Job, turn: Turn) -> bool:
        """Whether its capabilities have a current answer; else they are probed before the next
        turn."""
        if not job.definition.requires:
            return True
        missing = self._probes.missing(job.definition.requires, turn.awake)
        if turn.standing.authoritative:
            # A denial newer than the turn's standing is for the next turn.
            missing |= self._probes.denied(job.definition.requires) - turn.standing.denied
        self.to_probe |= missing
        return not missing


class RunRecorder:
    """Used within the dispatcher's turn, in its one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ends(self, results: Sequence[Result], after: Outbox, now: datetime) -> None:
        """Record ends; a failure becomes a retry where its job wants one. The holder of a run may
        end it, whichever process owns (C6)."""
        if not results:
            return
        ends = [self._or_retry(result, now) for result in results]
        for end, took in zip(ends, self._store.finish(ends, now), strict=True):
            if took is not FinishOutcome.TAKEN:
                after.said.append(f"the end of {end.run} ({end.state}) was not taken: {took}")

    def starts(
        self,
        gates: Sequence[tuple[Run, GatedCommand]],
        authority: Authority | None,
        after: Outbox,
        now: datetime,
    ) -> None:
        """Record that commands start. Adds to ``after`` the gates to open or abandon after the
        commit, and a StaleTerm if raised."""
        if not gates:
            return
        starts = [
            Start(
                run=run.id,
                attempt=gated.attempt,
                at=now,
                identity=gated.identity,
                log=f"{gated.attempt}.log",
            )
            for run, gated in gates
        ]
        taken: tuple[bool, ...] = (False,) * len(starts)
        if authority is not None:
            try:
                taken = self._store.start(authority, starts)
            except StaleTerm as error:
                after.stale = error
        for (run, gated), ok in zip(gates, taken, strict=True):
            if ok:
                after.opened.append(gated)
            else:
                after.closed.append((run, gated))

    def _or_retry(self, result: Result, now: datetime) -> Result:
        if result.state in (RunState.SUCCEEDED, RunState.CANCELLED):
            return result
        try:
            run = self._store.run(result.run)
            wants = self._store.definition(run.job, run.revision)
        except (NotFound, CorruptStore):  # purged, or its zone is gone: no retry
            return result
        return or_retry(result, wants, now)


class ClockJournal:
    """Notices clock changes under an owner, records them, and plans again where it must.

    Used within the dispatcher's turn.
    """

    def __init__(self, context: OwnerContext) -> None:
        self._store = context.store
        self._watch = ClockWatch(context.clock)
        self._process = context.process
        self._changes: deque[ClockChange] = deque()
        self._term: int | None = None
        """Of the owner at the last look."""

    def look(self, authority: Authority | None) -> ClockReading:
        """Read the clocks; log and record their changes since the last look. A change is kept
        until it is recorded. After a step backward the jobs are planned again from now (C5)."""
        while (change := self._watch.look()) is not None:
            log.warning("the clock: %s by %.1f s", change.kind, change.amount)
            self._changes.append(change)
        clocks = self._watch.last
        term = authority.term if authority is not None else None
        if term is None or term != self._term:
            self._changes.clear()  # a new owner plans by the clock that it finds
        self._term = term
        while self._changes and authority is not None:
            change = self._changes[0]
            with self._store.batch():
                self._store.record_event(
                    EventKind.CLOCK,
                    clocks.wall,
                    term=authority.term,
                    process=self._process,
                    facts={"kind": str(change.kind), "seconds": change.amount},
                )
                if change.kind is ClockChangeKind.STEP_BACKWARD:
                    self._store.restart_planning(authority, clocks.wall)
            self._changes.popleft()
        return clocks
