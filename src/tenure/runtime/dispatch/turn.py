"""One turn of the dispatcher: clock changes, ends, starts, requests, retries, what is due.

A turn reads the store only where something may have changed: a wakeup said so, it recorded ends, or
the time for a look has come. When the next job is due is kept in between. :class:`ClaimStep` runs
inside the turn's transaction, so it neither asks the operating system nor waits: evidence and
probes were read before it began, and a job whose capability has no current answer is left for the
next turn.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tenure.domain.errors import CorruptStore, IllegalTransition, NotFound, StaleTerm
from tenure.domain.event import EventKind
from tenure.domain.job import (
    Call,
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
from tenure.runtime.callables.runner import CallableRunner
from tenure.runtime.commands.gate import GatedCommand
from tenure.runtime.commands.runner import CommandRunner
from tenure.runtime.dispatch.context import OwnerContext
from tenure.store.contract import ClaimOutcome, RunFilter

log = logging.getLogger("tenure.dispatcher")

POLL_S = 1.0
"""Between two looks at the store without a wakeup: hints may be lost, the store is the truth."""
IDLE_POLL_S = 10.0
"""The same where nothing runs here: the keeper sees each second whether another process wrote or
the clock was set, and wakes the dispatcher."""
RESTING_POLL_S = 60.0
"""The same where this process does not own either: all its work comes with a wakeup."""
RETRY_DELAY_S = 0.1
"""Before a turn is repeated that found something due and could not claim it."""
PROGRESS_EVERY_S = IDLE_POLL_S
MAX_CLAIMS = 256
MAX_HELD_RETRIES = 64
"""Retries that must wait for another owner and are skipped in one turn, at most."""
CALLS = (Runner.THREAD, Runner.ASYNC)
CLOCK_TEXTS = {
    ClockChangeKind.STEP_FORWARD: "the wall clock was set forward by %.1f s",
    ClockChangeKind.STEP_BACKWARD: "the wall clock was set back by %.1f s",
    ClockChangeKind.SUSPENDED: "the machine slept for %.1f s",
}
PENDING = frozenset({RequestState.PENDING})
MAX_REQUESTS = 1000
"""Requests read in one turn. More than can queue up while the owner is away: a cancel behind them
must not wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """The right to claim that the keeper gives the dispatcher."""

    authority: Authority
    standing: OwnerCapabilities
    """The most that the owner may do; changeable evidence is read again before a claim."""


@dataclass(slots=True)
class Outbox:
    """What a turn does after its commit, and only then."""

    opened: list[GatedCommand] = field(default_factory=list)
    closed: list[tuple[Run, GatedCommand]] = field(default_factory=list)
    runs: list[tuple[Run, Definition]] = field(default_factory=list)
    """Claimed, to be entered."""
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
    requests: tuple[Request, ...]
    """Those that were pending just before the transaction."""
    is_due: bool
    """Whether a job is due, or a retry."""

    def take(self, run: Run, definition: Definition) -> None:
        self.room[definition.runner] -= 1
        self.outbox.runs.append((run, definition))


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
        self.requests_wait = False
        """Whether requests were left unanswered: for a slot, for the end of a run."""

    def claim(self, turn: Turn) -> bool:
        """Returns whether anything due could be settled. Raises StaleTerm."""
        if turn.requests:
            self._answer_requests(turn)
        if not turn.is_due:
            return False
        retried = self._claim_retries(turn)
        return self._claim_due(turn) or retried

    # -- requests ----------------------------------------------------------------------------
    def _answer_requests(self, turn: Turn) -> None:
        self._store.expire_requests(turn.now)
        self.requests_wait = False
        for request in turn.requests:
            # One that was withdrawn or has expired meanwhile needs no answer.
            with contextlib.suppress(IllegalTransition):
                if request.kind is RequestKind.CANCEL:
                    self._answer_cancel(request, turn)
                elif request.kind is RequestKind.HAND_OVER:
                    self._signals.request_hand_over(request)
                else:
                    try:
                        self.requests_wait |= not self._answer_trigger(request, turn)
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
        answered = self._store.resolve_request(
            request.id,
            RequestState.DONE,
            authority=turn.authority,
            now=turn.now,
            answer="the process that runs it is stopping it",
            run=run.id,
        )
        if answered.state is RequestState.DONE:
            self._store.request_cancel(run.id, turn.now)
            turn.outbox.cancels.append(run.id)

    def _answer_trigger(self, request: Request, turn: Turn) -> bool:
        """Whether it was answered; else it waits."""
        assert request.job is not None
        job = self._store.job(request.job)
        if job.damage is not None:
            self._refuse(request, turn, why_unreadable(job), remedy_for_unreadable(job))
            return True
        if turn.room[job.definition.runner] < 1 or not self._probed(job, turn):
            return False
        why_held = turn.standing.why_held(job)
        if why_held is None:
            answered, run = self._store.claim_trigger(turn.authority, request.id, turn.now)
            if run is not None:
                turn.take(run, job.definition)
            return answered.state is not RequestState.PENDING
        if not request.queued:
            remedy = f"`tenure explain {job.name}` shows why; --queue waits for such an owner"
            why = "is protected" if job.definition.needs_authority else "is held"
            self._refuse(request, turn, f"{job.name} {why}: {why_held}", remedy)
        return not request.queued

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
                # Its retry waits until it is mended.
                continue
            free = turn.room[job.definition.runner] > 0
            if not free or not self._probed(job, turn) or turn.standing.why_held(job) is not None:
                continue
            claimed = True
            for run in self._store.claim_retry(turn.authority, retry.id, turn.now).runs:
                # A retry of another revision is not claimed.
                turn.take(run, job.definition)
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


class Turns:
    """Takes the turns of one dispatcher; under its lock, nearly always on its thread."""

    def __init__(
        self,
        context: OwnerContext,
        callables: CallableRunner,
        commands: CommandRunner,
        wake: Callable[[], None],
    ) -> None:
        """``wake`` causes another turn, a fresh one; from any thread."""
        self._context = context
        self._store = context.store
        self._process = context.process
        self._clock = context.clock
        self._inbox = context.inbox
        self._probes = context.probes
        self._signals = context.signals
        self._callables = callables
        self._commands = commands
        self._wake = wake
        self._claims = ClaimStep(context)
        self._clock_watch = ClockWatch(context.clock)
        self._clock_changes: deque[ClockChange] = deque()
        """Those that are not recorded yet."""
        self.mandate: Mandate | None = None
        self._term: int | None = None
        """Of the owner at the last turn."""
        self.awake = 0.0
        """The awake clock at the last turn."""
        self.active_runs = 0
        """How many runs were active after the last turn."""
        self._active_calls = 0
        """How many of them are calls of functions."""
        self._upcoming: datetime | None = None
        """When the next job is due whose slots are free, as last read."""
        self._full = False
        """Whether the slots of some kind were all taken when that was read."""
        self._nothing_at: datetime | None = None
        """When the last claim found nothing that it could settle; None if it settled something."""
        self._next_look = self._next_progress = self._next_chores = 0.0

    def begin(self, mandate: Mandate) -> None:
        """Claim under it from the next turn on."""
        self.mandate, self._next_progress = mandate, 0.0

    def take(self, *, fresh: bool) -> float:
        """Take one turn; returns the seconds until the next is due. ``fresh``: the store may have
        changed since the last. Raises what the store raises: then nothing was done."""
        mandate, inbox, after = self.mandate, self._inbox, Outbox()
        results, gates, notes = list(inbox.results), list(inbox.gates), list(inbox.notes)
        authority = mandate.authority if mandate is not None else None
        clocks, replanned = self._look_at_clocks(authority)
        now = clocks.wall
        # An end frees a slot, or the job that a request waits for.
        freed = bool(results) and (self._full or self._claims.requests_wait)
        fresh = fresh or replanned or freed or clocks.awake >= self._next_look
        running = self._callables.long_running(now) if fresh or self._active_calls else []
        turn = self._begin_claims(mandate, after, clocks, fresh) if mandate is not None else None
        # An idle owner takes no write lock, except to record its progress from time to time.
        progresses = mandate is not None and clocks.awake >= self._next_progress
        if results or gates or notes or running or progresses or turn is not None:
            with self._store.batch():
                if running:
                    self._store.note_started(running)
                if notes:
                    self._store.note_reasons(self._process, notes)
                # Ends come first: they free jobs that wait.
                if results:
                    self._record_ends(results, after, now)
                if gates:
                    self._record_starts(gates, authority, after, now)
                if authority is not None and after.stale is None:
                    try:
                        if progresses:
                            self._record_progress(authority, clocks)
                        if turn is not None:
                            self._nothing_at = None if self._claims.claim(turn) else now
                    except StaleTerm as error:
                        after.stale = error
            if results or gates or notes:
                inbox.discard(len(results), len(gates), len(notes))
            if running:
                self._callables.note_running(running)
            self._carry_out(after, mandate, clocks)
        if self._claims.to_probe:
            # The next turn probes them, outside any transaction.
            inbox.wakeup.set()
        return self._until_next(clocks.awake, fresh, wrote=bool(results) or turn is not None)

    # -- before the commit -------------------------------------------------------------------
    def _begin_claims(
        self, mandate: Mandate, after: Outbox, clocks: ClockReading, fresh: bool
    ) -> Turn | None:
        """Read, outside any transaction, what claims depend on; None if there is nothing to
        decide."""
        if self._claims.to_probe:
            wanted = self._probes.missing(self._claims.to_probe, clocks.awake)
            self._claims.to_probe = set()
            self._probes.ask_soon(wanted, self._clock.awake, lambda freed: self._wake())
        requests: tuple[Request, ...] = ()
        if fresh:
            self._upcoming = self._store.next_due()
            requests = self._store.requests(states=PENDING, limit=MAX_REQUESTS)
        is_due = self._upcoming is not None and self._upcoming <= clocks.wall
        if not is_due and not requests:
            return None
        return Turn(
            authority=mandate.authority,
            standing=self._context.recheck(mandate.standing),
            room={
                Runner.COMMAND: self._commands.room(),
                **{kind: self._callables.room(kind) for kind in CALLS},
            },
            outbox=after,
            now=clocks.wall,
            awake=clocks.awake,
            requests=requests,
            is_due=is_due,
        )

    def _look_at_clocks(self, authority: Authority | None) -> tuple[ClockReading, bool]:
        """Read the clocks; log and record their changes since the last look. A change is kept
        until it is recorded. Returns also whether jobs were planned again, from now: that follows
        a step backward (C5)."""
        while (change := self._clock_watch.look()) is not None:
            log.warning(CLOCK_TEXTS[change.kind], change.amount)
            self._clock_changes.append(change)
        clocks, replanned = self._clock_watch.last, False
        self.awake = clocks.awake
        term = authority.term if authority is not None else None
        if term is None or term != self._term:
            # A new owner plans by the clock that it finds.
            self._clock_changes.clear()
        self._term = term
        while self._clock_changes and authority is not None:
            change = self._clock_changes[0]
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
                    replanned = True
            self._clock_changes.popleft()
        return clocks, replanned

    # -- within the commit -------------------------------------------------------------------
    def _record_ends(self, results: Sequence[Result], after: Outbox, now: datetime) -> None:
        """A failure becomes a retry where its job wants one. The holder of a run may end it,
        whichever process owns (C6)."""
        ends = [self._or_retry(result, now) for result in results]
        for end, took in zip(ends, self._store.finish(ends, now), strict=True):
            if took is not FinishOutcome.TAKEN:
                after.said.append(
                    f"the end of run {end.run} ({end.state}) was not recorded: {took}"
                )

    def _or_retry(self, result: Result, now: datetime) -> Result:
        if result.state in (RunState.SUCCEEDED, RunState.CANCELLED):
            return result
        try:
            run = self._store.run(result.run)
            definition = self._store.definition(run.job, run.revision)
        except (NotFound, CorruptStore):  # purged, or its zone is gone: no retry
            return result
        return or_retry(result, definition, now)

    def _record_starts(
        self,
        gates: Sequence[tuple[Run, GatedCommand]],
        authority: Authority | None,
        after: Outbox,
        now: datetime,
    ) -> None:
        """Record that commands start. The gates are opened, or shut, after the commit."""
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

    def _record_progress(self, authority: Authority, clocks: ClockReading) -> None:
        # An owner whose threads are all stuck must count as hung (C9).
        if not self._callables.exhausted():
            self._store.record_progress(authority, clocks.awake, clocks.wall)
        self._next_progress = clocks.awake + PROGRESS_EVERY_S

    # -- after the commit --------------------------------------------------------------------
    def _carry_out(self, after: Outbox, mandate: Mandate | None, clocks: ClockReading) -> None:
        for gated in after.opened:
            gated.open_gate()
        for run, gated in after.closed:
            gated.abandon()
            log.warning("run %s never ran: it was cancelled, or its owner lost ownership", run.id)
        if after.runs:
            assert mandate is not None
            # No older run can have been marked.
            if not self.active_runs:
                self._next_chores = clocks.awake + POLL_S
            for run, definition in after.runs:
                self._enter(run, definition, mandate.authority, clocks.continuous)
        for run_id in after.cancels:
            self.cancel(run_id)
        if after.stale is not None and mandate is not None:
            self.lose_mandate(mandate, after.stale)
        for line in after.warned:
            log.warning("%s", line)
        for line in after.said:
            log.info("%s", line)

    def _enter(self, run: Run, definition: Definition, authority: Authority, began: float) -> None:
        action = definition.action
        try:
            if isinstance(action, Call):
                self._callables.submit(run, action, definition.timeout, authority, began)
            else:
                self._commands.submit(run, definition)
        except Exception as error:  # no thread available, say: the run must not stay claimed
            log.exception("run %s could not be started", run.id)
            self._inbox.report(
                Result(
                    run=run.id,
                    attempt=run.attempt,
                    process=self._process,
                    state=RunState.NEVER_RAN,
                    at=self._clock.now(),
                    reason=f"could not be started: {error}",
                )
            )

    def cancel(self, run_id: str) -> bool:
        """End a run if this process holds it."""
        return self._callables.cancel(run_id) or self._commands.cancel(run_id)

    def lose_mandate(self, mandate: Mandate, error: StaleTerm) -> None:
        """The store refused a claim under it: the keeper looks into why."""
        self.mandate = None
        self._store.record_event(
            EventKind.CLAIM_REFUSED,
            self._clock.now(),
            term=mandate.authority.term,
            process=self._process,
            facts={"why": error.text},
        )
        self._signals.report_refusal(str(error))

    # -- time --------------------------------------------------------------------------------
    def _until_next(self, awake: float, fresh: bool, *, wrote: bool) -> float:
        room: dict[Runner, int] = {}
        deadline: float | None = None
        # A start changes nothing of this.
        if fresh or wrote or self._active_calls:
            self.active_runs = self._commands.active()
            room[Runner.COMMAND] = self._commands.room()
            deadline = self._callables.expire(awake)
            self._active_calls = self._callables.active()
            self.active_runs += self._active_calls
            for kind in CALLS:
                room[kind] = self._callables.room(kind)
        wait = POLL_S if self.active_runs else IDLE_POLL_S
        if fresh:
            self._next_look = awake + wait
        if deadline is not None:
            wait = min(wait, max(0.0, deadline - awake))
        if self.active_runs and awake >= self._next_chores:
            self._next_chores = awake + POLL_S
            self._cancel_marked()
        if self.mandate is None:
            waiting = self._inbox.results or self._inbox.gates
            return wait if self.active_runs or waiting else RESTING_POLL_S
        if fresh or wrote:
            # A job that is due for taken slots waits for an end, which causes a turn.
            free = {kind for kind, left in room.items() if left > 0}
            self._full = len(free) < len(Runner)
            if wrote or self._full:
                self._upcoming = self._store.next_due(free if self._full else None)
        if self._upcoming is None:
            return wait
        if self._nothing_at is not None and self._upcoming <= self._nothing_at:
            # A retry whose slots are taken: its kind is unknown.
            return min(wait, RETRY_DELAY_S)
        left: float = (self._upcoming - self._clock.now()).total_seconds()
        return min(wait, max(0.0, left))

    def _cancel_marked(self) -> None:
        """Cancels accepted by another process that owns now, for runs still held here."""
        for run in self._store.runs_held_by(self._process):
            if run.cancel_requested_at is not None:
                self.cancel(run.id)
