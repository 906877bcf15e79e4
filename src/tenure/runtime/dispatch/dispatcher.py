"""The dispatcher: one thread that claims, and the single writer of starts and ends.

A turn gathers ended runs and commands at their gate, adds what is due, and makes one commit of it:
ends, starts, answers to requests, retries, claims. It acts on the commit afterwards: gates open,
functions are entered. When the commit fails, none of that happens, and the entries gathered wait
for the next turn.

    inbox (ends, gates) --+
    requests -------------+--> one commit --> open gates, enter functions
    due jobs --> planner -+

A process that does not own takes turns too: its runs may still be ending (after a hand-over). Ends
are fenced by their run, claims by the authority; a stale one claims nothing and signals that to
the keeper. No lock or transaction is held while a job runs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from tenure.domain.errors import StaleTerm, StoreBlocked, TenureError
from tenure.domain.event import EventKind
from tenure.domain.job import Call, Definition, Runner
from tenure.domain.ownership import Authority
from tenure.domain.planning.plan import OwnerCapabilities
from tenure.domain.run import Result, Run, RunState
from tenure.host.clocks import ClockReading
from tenure.runtime.callables.runner import CallableRunner
from tenure.runtime.commands.runner import CommandRunner
from tenure.runtime.dispatch.context import OwnerContext
from tenure.runtime.dispatch.turn import PENDING, ClaimStep, ClockJournal, Outbox, RunRecorder, Turn
from tenure.runtime.failure import Watch, WatchedThread, lost_thread

log = logging.getLogger("tenure.dispatcher")
T = TypeVar("T")

POLL_S = 1.0
"""Between two looks at the store without a wakeup: hints may be lost, the store is the truth."""
IDLE_POLL_S = 10.0
"""The same where nothing runs here: the keeper sees each second whether another process wrote or
the clock was set, and wakes the dispatcher."""
RESTING_POLL_S = 60.0
"""The same where this process does not own either: all its work comes with a wakeup."""
RETRY_DELAY_S = 0.1
"""Before a turn is repeated that found something due and could not claim it."""
BLOCKED_DELAY_S = 0.2
"""Before a turn is repeated that found the store blocked."""
PROGRESS_EVERY_S = IDLE_POLL_S
MANY_RUNS = 6
"""Active runs from which on ends and gates are gathered for a moment before a commit."""
GATHER_S = 0.002
"""That moment."""
COMMIT_S = 0.004
"""About how long a commit may take; longer than GATHER_S."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """The right to claim that the keeper gives the dispatcher."""

    authority: Authority
    standing: OwnerCapabilities
    """The most that the owner may do; changeable evidence is read again before a claim."""


class Dispatcher:
    """Thread-safe; the thread is started by :meth:`begin`."""

    def __init__(
        self, context: OwnerContext, callables: CallableRunner, commands: CommandRunner
    ) -> None:
        self._context = context
        self._store = context.store
        self._process = context.process
        self._clock = context.clock
        self._callables = callables
        self._commands = commands
        self._probes = context.probes
        self.inbox = context.inbox
        self._claims = ClaimStep(context)
        self._recorder = RunRecorder(context.store)
        self._clock_journal = ClockJournal(context)
        self._mandate: Mandate | None = None
        self._draining = False
        self._stopping = False
        self._given_up = False
        self._last_error = ""
        self.thread = WatchedThread(
            self._loop,
            name="tenure-dispatcher",
            is_stopping=lambda: self._stopping,
            ended=lambda why: context.fail(lost_thread(why)),
        )
        self._watches: list[Watch] = []
        self._nothing_at: datetime | None = None
        """When the last turn found nothing due that it could claim; None if it claimed."""
        self._upcoming: tuple[datetime | None] | None = None
        """When the next job is due, if this turn has read it and written nothing since."""
        self._awake = 0.0
        """At the last turn."""
        self._busy = False
        """Whether runs were active after the last turn."""
        self._next_progress = 0.0
        self._next_chores = 0.0
        self._turn_lock = threading.Lock()

    # -- from other threads ------------------------------------------------------------------
    def begin(self, *watched: WatchedThread) -> None:
        """Start the thread; it also watches ``watched``."""
        self._watches = [Watch(thread, self._clock) for thread in watched]
        self.thread.start()

    def own(self, mandate: Mandate) -> None:
        """Claim under this mandate from now on."""
        self._mandate = mandate
        self._next_progress = 0.0
        self.look()

    def owns(self, authority: Authority | None) -> bool:
        """Whether it claims under this authority."""
        mandate = self._mandate
        return mandate is not None and mandate.authority == authority

    def disown(self) -> None:
        """Stop claiming. Returns once no turn is under way that could still claim."""
        self._mandate = None
        if self.thread.is_current():
            return
        while not self._turn_lock.acquire(timeout=POLL_S):
            if self._given_up:  # the turn is stuck: the end of the term fences its claims
                return
        self._turn_lock.release()

    def give_up(self) -> None:
        """Stop claiming without waiting for a turn that is stuck: its thread has failed."""
        self._mandate, self._draining, self._given_up = None, True, True

    def under_mandate(self, claim: Callable[[Mandate], T]) -> T | None:
        """Let another thread of this process claim, between two turns. Returns None without a
        mandate, or if it proved stale. Raises what else ``claim`` raises."""
        with self._turn_lock:
            mandate = self._mandate
            if mandate is None or self._draining or self._store.loss() is not None:
                return None
            try:
                return claim(mandate)
            except StaleTerm as error:
                self._mandate = None
                self._note_refusal(mandate.authority, error)
                self._context.signals.report_refusal(str(error))
                return None

    def between_turns(self, act: Callable[[], None]) -> None:
        """Let another thread change what turns depend on, while no turn is under way."""
        with self._turn_lock:
            act()

    def drain(self) -> None:
        """Stop claiming; ends are still recorded."""
        self._draining = True
        self.disown()

    def look(self) -> None:
        """Take a turn now: something has changed."""
        self.inbox.wakeup.set()

    def pending(self) -> int:
        """Ends and gates that wait for a commit."""
        return len(self.inbox.results) + len(self.inbox.gates)

    def stop(self, timeout: float = 5.0) -> None:
        """Record the ends that wait, then end the thread. Commands at their gate are abandoned."""
        self._stopping = True
        self.inbox.wakeup.set()
        self.thread.join(0.0 if self._given_up else timeout)
        for _, gated in self.inbox.gates:
            gated.abandon()

    # -- the thread --------------------------------------------------------------------------
    def _loop(self) -> None:
        while True:
            self.inbox.wakeup.clear()
            stopping = self._stopping
            with self.thread.step():
                wait = self._try_turn()
            if stopping or self._given_up:
                return
            for problem in filter(None, (watch.problem(self._awake) for watch in self._watches)):
                self._context.fail(lost_thread(problem))
            if wait > 0:
                self._sleep(wait)

    def _try_turn(self) -> float:
        """One turn; returns the seconds until the next is due.

        An error that repeats is logged once: a store that is lost fails each turn of a drain.
        """
        try:
            wait = self.turn()
        except StoreBlocked as error:
            log.warning("%s", error)
            return BLOCKED_DELAY_S
        except TenureError as error:
            if str(error) != self._last_error:
                log.error("%s", error)
            self._last_error = str(error)
            return POLL_S
        except Exception:  # a turn that failed changed nothing; the next one tries again
            log.exception("a turn failed")
            return POLL_S
        self._last_error = ""
        return wait

    def _sleep(self, seconds: float) -> None:
        """Wait for a wakeup, at most ``seconds``.

        An end that comes just before the next fire shares its commit, so as not to delay it. Where
        many runs are active, ends and gates come in bursts: a short wait makes one commit of them.
        """
        until = time.monotonic() + seconds
        if not self.inbox.wakeup.wait(seconds) or self._stopping:
            return
        left = until - time.monotonic()
        if left < COMMIT_S:
            time.sleep(max(0.0, left))
        elif self._commands.active() + self._callables.active() >= MANY_RUNS:
            time.sleep(GATHER_S)

    def turn(self) -> float:
        """One turn, by the thread or by a test; returns the seconds until the next is due."""
        with self._turn_lock:
            mandate = self._mandate
            after = Outbox()
            inbox = self.inbox
            results, gates, notes = list(inbox.results), list(inbox.gates), list(inbox.notes)
            loss = self._store.loss() if mandate is not None else None
            if loss is not None:
                self._mandate = mandate = None
                self._context.signals.report_refusal(loss.text)
            authority = mandate.authority if mandate is not None else None
            clocks = self._clock_journal.look(authority)
            now, self._awake = clocks.wall, clocks.awake
            self._upcoming = None
            standing = self._standing(mandate, clocks)
            claims = mandate is not None and not self._draining and self._anything_to_write(clocks)
            running = self._callables.long_running(now)
            if results or gates or claims or running or notes:
                if results or claims:
                    self._upcoming = None
                with self._store.batch():
                    if running:
                        self._store.note_started(running)
                    if notes:
                        self._store.note_reasons(self._process, notes)
                    self._recorder.ends(results, after, now)  # first: they free jobs that wait
                    self._recorder.starts(gates, authority, after, now)
                    if mandate is not None and claims and after.stale is None:
                        self._claim(mandate, standing, after, clocks)
            inbox.discard(len(results), len(gates), len(notes))
            if running:
                self._callables.note_running(running)
            self._carry_out(after, mandate, clocks)
        return self._until_next(clocks.awake)

    def _claim(
        self, mandate: Mandate, standing: OwnerCapabilities, after: Outbox, clocks: ClockReading
    ) -> None:
        turn = Turn(
            authority=mandate.authority,
            standing=standing,
            room=self._room(),
            outbox=after,
            now=clocks.wall,
            awake=clocks.awake,
        )
        try:
            self._make_progress(turn)
            self._nothing_at = None if self._claims.claim(turn) else clocks.wall
        except StaleTerm as error:
            after.stale = error
        if self._claims.to_probe:
            self.inbox.wakeup.set()  # the next turn probes them, outside any transaction

    def _room(self) -> dict[Runner, int]:
        return {
            Runner.COMMAND: self._commands.room(),
            Runner.THREAD: self._callables.room(Runner.THREAD),
            Runner.ASYNC: self._callables.room(Runner.ASYNC),
        }

    def _make_progress(self, turn: Turn) -> None:
        if turn.awake >= self._next_progress:
            if not self._callables.exhausted():  # else it must count as hung (C9)
                self._store.record_progress(turn.authority, turn.awake, turn.now)
            self._next_progress = turn.awake + PROGRESS_EVERY_S

    def _standing(self, mandate: Mandate | None, clocks: ClockReading) -> OwnerCapabilities:
        """Read again, outside any transaction, what a protected claim depends on (C8)."""
        if mandate is None:
            return OwnerCapabilities(authoritative=False)
        best = mandate.standing
        if self._claims.to_probe:
            wanted = self._probes.missing(self._claims.to_probe, clocks.awake)
            self._claims.to_probe = set()
            self._probes.ask_soon(wanted, self._clock.awake, lambda freed: self.look())
        if not best.authoritative or not self._anything_to_decide(clocks.wall):
            return best
        authoritative = self._context.recheck_authority()
        return replace(best, authoritative=authoritative, denied=self._probes.all_denied())

    def _anything_to_write(self, clocks: ClockReading) -> bool:
        """An idle owner takes no write lock, except to record its progress from time to time."""
        return clocks.awake >= self._next_progress or self._anything_to_decide(clocks.wall)

    def _anything_to_decide(self, now: datetime) -> bool:
        upcoming = self._store.next_due()
        if upcoming is not None and upcoming <= now:
            return True
        if self._store.requests(states=PENDING, limit=1):
            return True
        self._upcoming = (upcoming,)
        return False

    # -- after the commit --------------------------------------------------------------------
    def _carry_out(self, after: Outbox, mandate: Mandate | None, clocks: ClockReading) -> None:
        for gated in after.opened:
            gated.open_gate()
        for run, gated in after.closed:
            gated.abandon()
            log.warning("%s lost its owner or was cancelled at its gate: it never ran", run.id)
        if after.runs:
            assert mandate is not None
            if not self._busy:  # no older run can have been marked
                self._next_chores = clocks.awake + POLL_S
            for run, wants in after.runs:
                self._enter(run, wants, mandate.authority, clocks.continuous)
        for run_id in after.cancels:
            self.cancel(run_id)
        if after.stale is not None and mandate is not None:
            self._mandate = None
            self._note_refusal(mandate.authority, after.stale)
            self._context.signals.report_refusal(str(after.stale))
        for line in after.warned:
            log.warning("%s", line)
        for line in after.said:
            log.info("%s", line)

    def _enter(self, run: Run, wants: Definition, authority: Authority, began: float) -> None:
        try:
            if isinstance(wants.action, Call):
                self._callables.submit(run, wants.action, wants.timeout, authority, began)
            else:
                self._commands.submit(run, wants)
        except Exception as error:  # no thread available, say: the run must not stay claimed
            log.exception("%s could not be entered", run.id)
            self.inbox.report(
                Result(
                    run=run.id,
                    attempt=run.attempt,
                    process=self._process,
                    state=RunState.NEVER_RAN,
                    at=self._clock.now(),
                    reason=f"it could not be entered: {error}",
                )
            )

    def runs(self) -> frozenset[str]:
        """Every run that this process is working on or whose end it has yet to commit."""
        waiting = [result.run for result in list(self.inbox.results)]
        waiting += [run.id for run, _ in list(self.inbox.gates)]
        return self._commands.runs() | self._callables.runs() | frozenset(waiting)

    def cancel(self, run_id: str) -> bool:
        """End a run if this process holds it."""
        return self._callables.cancel(run_id) or self._commands.cancel(run_id)

    def _note_refusal(self, authority: Authority, error: StaleTerm) -> None:
        self._store.record_event(
            EventKind.CLAIM_REFUSED,
            self._clock.now(),
            term=authority.term,
            process=self._process,
            facts={"why": error.text},
        )

    # -- time --------------------------------------------------------------------------------
    def _until_next(self, awake: float) -> float:
        busy = bool(self._commands.active())
        deadline = self._callables.expire(awake)
        self._busy = busy = busy or bool(self._callables.active())
        wait = POLL_S if busy else IDLE_POLL_S
        if deadline is not None:
            wait = min(wait, max(0.0, deadline - awake))
        if busy:
            self._cancel_marked(awake)
        if self._mandate is None or self._draining:
            return wait if busy or self.pending() else RESTING_POLL_S
        # A job that is due for taken slots waits for an end, which wakes this thread.
        room = {kind for kind, n in self._room().items() if n > 0}
        if self._upcoming is not None and len(room) == len(Runner):
            [upcoming] = self._upcoming
        else:
            upcoming = self._store.next_due(room)
        if upcoming is None:
            return wait
        if self._nothing_at is not None and upcoming <= self._nothing_at:
            return min(wait, RETRY_DELAY_S)  # a retry whose slots are taken: its kind is unknown
        left: float = (upcoming - self._clock.now()).total_seconds()
        return min(wait, max(0.0, left))

    def _cancel_marked(self, awake: float) -> None:
        """Cancels accepted by another process that owns now, for runs still held here."""
        if awake < self._next_chores:
            return
        self._next_chores = awake + POLL_S
        for run in self._store.runs_held_by(self._process):
            if run.cancel_requested_at is not None:
                self.cancel(run.id)
