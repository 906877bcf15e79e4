"""What an owner claims in one turn: requests answered, retries, and what is due.

All of it happens inside the dispatcher's transaction, so nothing here asks the operating system
or waits: evidence and probes were read before it began, and a job whose capability has no current
answer is left for the next turn.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
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
from tenure.host.clocks import Clock, ClockChange, ClockChangeKind, ClockWatch
from tenure.runtime.commands.gate import GatedCommand
from tenure.runtime.dispatch.probes import Probes
from tenure.store.contract import ClaimOutcome, RunFilter, Store

MOST_AT_ONCE = 256
MOST_HELD = 64
"""How many retries that must wait for another owner are looked past in one turn."""
PENDING = frozenset({RequestState.PENDING})
MOST_PENDING = 1000
"""How many requests are looked at in one turn: more than queue up for an owner that is away, for
those behind them, a cancel say, would not be heard."""


@dataclass(slots=True)
class Outbox:
    """What a turn does once its commit stands, and not otherwise."""

    opened: list[GatedCommand] = field(default_factory=list)
    closed: list[tuple[Run, GatedCommand]] = field(default_factory=list)
    runs: list[tuple[Run, Definition]] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    stale: StaleTerm | None = None
    warned: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """For the log. Never inside: a host's handler that stands still would hold the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn's claims: under which authority, with how much room, and where to they go."""

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

    def __init__(
        self,
        store: Store,
        *,
        probes: Probes,
        catch_up_rate: float,
        asked_to_hand_over: Callable[[Request], None],
    ) -> None:
        self._store = store
        self._probes = probes
        self._budget = CatchUpBudget(rate=catch_up_rate)
        self._hand_over = asked_to_hand_over
        self._reported: set[tuple[str, str]] = set()
        self.to_probe: set[str] = set()
        """Capabilities to ask the OS about before the next turn."""

    def claim(self, turn: Turn) -> bool:
        """Whether anything due could be dealt with. Raises StaleTerm."""
        self._answer_requests(turn)
        retried = self._claim_retries(turn)
        return self._claim_due(turn) or retried

    # -- requests ----------------------------------------------------------------------------
    def _answer_requests(self, turn: Turn) -> None:
        self._store.expire_requests(turn.now)
        for request in self._store.requests(states=PENDING, limit=MOST_PENDING):
            if request.kind is RequestKind.CANCEL:
                self._answer_cancel(request, turn)
            elif request.kind is RequestKind.HAND_OVER:
                self._hand_over(request)
            else:
                try:
                    self._answer_trigger(request, turn)
                except CorruptStore as error:  # its job cannot be read: no reason to answer nobody
                    remedy = error.remedy or "`tenure audit` says what else is wrong"
                    self._refuse(request, turn, error.text, remedy)

    def _answer_cancel(self, request: Request, turn: Turn) -> None:
        """Done once the run is marked. One that has ended, or is not kept any more, is refused."""
        assert request.run is not None
        try:
            run = self._store.run(request.run)
        except NotFound as error:  # a queued request that retention overtook
            self._refuse(request, turn, error.text, error.remedy)
            return
        if run.state not in ACTIVE:
            remedy = f"`tenure runs {run.job_name}` shows the job's runs"
            self._refuse(request, turn, f"it has ended already: {run.state}", remedy)
            return
        self._store.request_cancel(run.id, turn.now)
        turn.outbox.cancels.append(run.id)
        self._store.resolve_request(
            request.id,
            RequestState.DONE,
            authority=turn.authority,
            now=turn.now,
            answer="its holder ends it",
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
        """Protected ones that this owner may not run are left for one that may, and do not stand
        in the way of others."""
        wider = {runner: n + MOST_HELD for runner, n in turn.room.items() if n > 0}
        found = False
        for retry in self._store.due_retries(turn.now, wider):
            job = self._store.job(retry.job)
            if job.damage is not None:
                continue  # its retry waits until it is mended
            free = turn.room[job.definition.runner] > 0
            if not free or not self._probed(job, turn) or turn.standing.why_held(job) is not None:
                continue
            found = True
            for run in self._store.claim_retry(turn.authority, retry.id, turn.now).runs:
                turn.take(run, self._store.definition(run.job, run.revision))
        return found

    def _claim_due(self, turn: Turn) -> bool:
        room = {runner: min(n, MOST_AT_ONCE) for runner, n in turn.room.items() if n > 0}
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
                # The claim marked them; here they are ended at once if this process holds them.
                active, _ = self._store.runs(RunFilter(job=made.job, states=ACTIVE))
                turn.outbox.cancels.extend(run.id for run in active)
        return True

    def _put_off(self, job: Job, turn: Turn) -> None:
        """It stops no other, and is said once."""
        assert job.damage is not None
        self._store.defer_unreadable_job(turn.authority, job, turn.now)
        reported = (job.id, job.damage.reason)
        if reported not in self._reported:
            self._reported.add(reported)
            turn.outbox.warned.append(
                f"{why_unreadable(job)}; none of its fires runs until it is mended "
                f"({remedy_for_unreadable(job)})"
            )

    def _probed(self, job: Job, turn: Turn) -> bool:
        """Whether its capabilities have a current answer; else they are asked before the next
        turn."""
        if not job.definition.requires:
            return True
        missing = self._probes.missing(job.definition.requires, turn.awake)
        if turn.standing.authoritative:
            # A denial that came after the turn's standing was read is for the next turn.
            missing |= self._probes.denied(job.definition.requires) - turn.standing.denied
        self.to_probe |= missing
        return not missing


class RunRecorder:
    """Used within the dispatcher's turn, in its one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ends(self, results: Sequence[Result], after: Outbox, now: datetime) -> None:
        """Write ends down, a failure as a retry where its job wants one. Whoever holds a run may
        end it, whoever owns by now (C6)."""
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
        """Write down that commands start. ``after`` is told whose gate is to be opened once that
        is committed, and whose never, and whether the term is over."""
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
        except (NotFound, CorruptStore):  # deleted by retention, or its zone is gone: no retry then
            return result
        return or_retry(result, wants, now)


log = logging.getLogger("tenure.dispatcher")


class ClockJournal:
    """Used by the dispatcher's turn."""

    def __init__(self, store: Store, clock: Clock, process: str) -> None:
        self._store = store
        self._watch = ClockWatch(clock)
        self._process = process
        self._changes: deque[ClockChange] = deque()
        self._term: int | None = None
        """Of the owner at the last look."""

    def see(self, authority: Authority | None, now: datetime) -> None:
        """Say what happened to the clock; kept until it could be written down. After a step
        backward the jobs are planned anew from now (C5)."""
        while (change := self._watch.look()) is not None:
            log.warning("the clock: %s by %.1f s", change.kind, change.amount)
            self._changes.append(change)
        term = authority.term if authority is not None else None
        if term is None or term != self._term:
            self._changes.clear()  # whoever takes ownership plans by the clock it finds
        self._term = term
        while self._changes and authority is not None:
            change = self._changes[0]
            with self._store.batch():
                self._store.record_event(
                    EventKind.CLOCK,
                    now,
                    term=authority.term,
                    process=self._process,
                    facts={"kind": str(change.kind), "seconds": change.amount},
                )
                if change.kind is ClockChangeKind.STEP_BACKWARD:
                    self._store.restart_planning(authority, now)
            self._changes.popleft()
