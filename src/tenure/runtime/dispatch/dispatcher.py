"""The dispatcher: one thread that claims, and the single writer of starts and ends.

A turn gathers what has ended and what stands at its gate, adds what is due, and makes it one
commit: ends, starts, answers to requests, retries, claims. What the commit allows is done after
it: gates open, functions are entered. When the commit fails, nothing of that happens, and what
was gathered waits for the next turn.

    inbox (ends, gates) --+
    requests -------------+--> one commit --> open gates, enter functions
    due jobs --> planner -+

A process that does not own has turns too: its runs may still be ending (after a hand-over). Ends
are fenced by their run, claims by the authority; a stale one claims nothing and says so to the
keeper. No lock or transaction is held while a job runs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from tenure.domain.errors import StaleTerm, StoreBlocked, TenureError
from tenure.domain.event import EventKind
from tenure.domain.job import Call, Definition, Runner
from tenure.domain.ownership import Authority
from tenure.domain.planning.plan import OwnerCapabilities
from tenure.domain.request import Request
from tenure.domain.run import Result, Run, RunState
from tenure.host.clocks import Clock as HostClock
from tenure.runtime.callables.runner import CallableRunner
from tenure.runtime.commands.gate import GatedCommand
from tenure.runtime.commands.runner import CommandRunner
from tenure.runtime.dispatch.probes import Probes
from tenure.runtime.dispatch.turn import PENDING, ClaimStep, ClockJournal, Outbox, RunRecorder, Turn
from tenure.runtime.failure import Failure, lost_thread
from tenure.runtime.profile import Profile
from tenure.runtime.watched_thread import Watch, WatchedThread

log = logging.getLogger("tenure.dispatcher")
T = TypeVar("T")

POLL = 1.0
"""Seconds between looks at the store when nothing nudges: the store is the truth."""
IDLE_POLL = 10.0
"""The same where nothing runs here: the keeper sees each second whether anybody wrote anything,
or set the clock, and rings."""
RESTING_POLL = 60.0
"""The same where this process does not own either: whatever there is to do then, rings."""
AGAIN = 0.1
"""Seconds before a turn is repeated that found something due and could do nothing about it."""
PROGRESS_EVERY = IDLE_POLL
SWARM = 6
"""Active runs from which on ends and gates are gathered for a moment before a commit."""
GATHER = 0.002
"""That moment, in seconds."""
A_COMMIT = 0.004
"""About how long a commit may take, in seconds; longer than GATHER."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """What the keeper gives the dispatcher to claim with."""

    authority: Authority
    standing: OwnerCapabilities
    """What the owner may do at best; evidence that can change is read again before a claim."""


class Dispatcher:
    """Thread-safe; the thread is started by :meth:`begin`."""

    def __init__(
        self,
        profile: Profile,
        *,
        process: str,
        clock: HostClock,
        callables: CallableRunner,
        commands: CommandRunner,
        recheck: Callable[[], bool],
        deposed: Callable[[str], None],
        asked_to_hand_over: Callable[[Request], None],
        probes: Probes,
        failed: Callable[[Failure], None] = lambda failure: None,
    ) -> None:
        self._profile = profile
        self._store = profile.store
        self._process = process
        self._clock = clock
        self._callables = callables
        self._commands = commands
        self._recheck = recheck
        self._deposed = deposed
        self._probes = probes
        self._claims = ClaimStep(
            profile.store,
            probes=probes,
            catch_up_rate=profile.settings().catch_up_rate,
            asked_to_hand_over=asked_to_hand_over,
        )
        self._recorder = RunRecorder(profile.store)
        self._clock_changes = ClockJournal(profile.store, clock, process)
        self._mandate: Mandate | None = None
        self._draining = False
        self._results: deque[Result] = deque()
        self._gates: deque[tuple[Run, GatedCommand]] = deque()
        self._notes: deque[tuple[str, int, str]] = deque()
        self._bell = threading.Event()
        self._stopping = False
        self._given_up = False
        self.thread = WatchedThread(
            self._loop,
            name="tenure-dispatcher",
            is_stopping=lambda: self._stopping,
            ended=lambda why: failed(lost_thread(why)),
        )
        self._watches: list[Watch] = []
        self._failed = failed
        self._nothing_at: datetime | None = None
        """The instant of the last look, if nothing was due then that could be claimed."""
        self._upcoming: tuple[datetime | None] | None = None
        """When the next job is due, if this turn found nothing to write: asked once is enough."""
        self._next_progress = 0.0
        self._next_chores = 0.0
        self._turn_lock = threading.Lock()

    # -- from other threads ------------------------------------------------------------------
    def begin(self, *watched: WatchedThread) -> None:
        """Start the thread, which looks after ``watched`` too."""
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
        """Claim no more. Returns once no turn is under way that could still claim."""
        self._mandate = None
        if self.thread.is_current():
            return
        while not self._turn_lock.acquire(timeout=POLL):
            if self._given_up:  # the turn is held for ever: the end of the term fences its claims
                return
        self._turn_lock.release()

    def give_up(self) -> None:
        """Claim no more, and let nothing wait for a turn that is held: its thread has failed."""
        self._mandate, self._draining, self._given_up = None, True, True

    def under_mandate(self, claim: Callable[[Mandate], T]) -> T | None:
        """Let another thread of this process claim, between two turns; None without a mandate,
        or when it turned out to be stale. What ``claim`` raises otherwise is raised."""
        with self._turn_lock:
            mandate = self._mandate
            if mandate is None or self._draining or self._store.loss() is not None:
                return None
            try:
                return claim(mandate)
            except StaleTerm as error:
                self._mandate = None
                self._note_refusal(mandate.authority, error)
                self._deposed(str(error))
                return None

    def between_turns(self, act: Callable[[], None]) -> None:
        """Let another thread change what turns go by, while no turn is under way."""
        with self._turn_lock:
            act()

    def drain(self) -> None:
        """Claim nothing any more; ends are still recorded."""
        self._draining = True
        self.disown()

    def recheck(self) -> bool:
        """Read the owner's changeable evidence again; whether it is still authoritative."""
        return self._recheck()

    def look(self) -> None:
        """Something changed: take a turn now."""
        self._bell.set()

    def report(self, result: Result) -> None:
        """A run ended."""
        self._results.append(result)
        self._ring()

    def at_gate(self, run: Run, gated: GatedCommand) -> None:
        """A command stands at its gate."""
        self._gates.append((run, gated))
        self._ring()

    def note(self, run: Run, why: str) -> None:
        """A run stays active though its command has ended; its slot is free."""
        self._notes.append((run.id, run.attempt, why))
        self._ring()

    def _ring(self) -> None:
        # A turn silences the bell before it gathers: what was added while it rings is seen.
        if not self._bell.is_set():
            self._bell.set()

    def pending(self) -> int:
        """Ends and gates that wait for a commit."""
        return len(self._results) + len(self._gates)

    def stop(self, timeout: float = 5.0) -> None:
        """Record what has ended, then end the thread. Gates that wait are abandoned."""
        self._stopping = True
        self._bell.set()
        self.thread.join(0.0 if self._given_up else timeout)
        for _, gated in self._gates:
            gated.abandon()

    # -- the thread --------------------------------------------------------------------------
    def _loop(self) -> None:
        while True:
            self._bell.clear()
            stopping = self._stopping
            with self.thread.step():
                wait = self._try_turn()
            if stopping or self._given_up:
                return
            for problem in filter(None, (watch.problem() for watch in self._watches)):
                self._failed(lost_thread(problem))
            if wait > 0:
                self._sleep(wait)

    def _try_turn(self) -> float:
        """One turn; the seconds until the next is due."""
        try:
            return self.turn()
        except StoreBlocked as error:
            log.warning("%s", error)
            return 0.2
        except TenureError as error:
            log.error("%s", error)
        except Exception:  # a turn that failed changed nothing; the next one tries again
            log.exception("a turn failed")
        return 1.0

    def _sleep(self, seconds: float) -> None:
        """Until the bell or for so long.

        An end that comes just before the next fire shares its commit, so as not to delay it. Ends
        and gates come in swarms where many runs are under way: a moment's patience makes one
        commit of them.
        """
        until = time.monotonic() + seconds
        if not self._bell.wait(seconds) or self._stopping:
            return
        left = until - time.monotonic()
        if left < A_COMMIT:
            time.sleep(max(0.0, left))
        elif self._commands.active() + self._callables.active() >= SWARM:
            time.sleep(GATHER)

    def turn(self) -> float:
        """One turn, by the thread or by a test; the seconds until the next is due."""
        with self._turn_lock:
            mandate = self._mandate
            after = Outbox()
            results, gates, notes = list(self._results), list(self._gates), list(self._notes)
            began, now = self._clock.continuous(), self._clock.now()
            loss = self._store.loss() if mandate is not None else None
            if loss is not None:
                self._mandate = mandate = None
                self._deposed(loss.text)
            authority = mandate.authority if mandate is not None else None
            self._clock_changes.see(authority, now)
            self._upcoming = None
            standing = self._standing(mandate, now)
            claims = mandate is not None and not self._draining and self._anything_to_write(now)
            running = self._callables.long_running(now)
            if results or gates or claims or running or notes:
                self._upcoming = None
                with self._store.batch():
                    if running:
                        self._store.note_started(running)
                    if notes:
                        self._store.note_reasons(self._process, notes)
                    self._recorder.ends(results, after, now)  # first: they free jobs that wait
                    self._recorder.starts(gates, authority, after, now)
                    if mandate is not None and claims and after.stale is None:
                        self._claim(mandate, standing, after, now)
            for _ in results:
                self._results.popleft()
            for _ in gates:
                self._gates.popleft()
            for _ in notes:
                self._notes.popleft()
            self._callables.note_running(running)
            self._carry_out(after, mandate, began)
        return self._until_next()

    def _claim(
        self, mandate: Mandate, standing: OwnerCapabilities, after: Outbox, now: datetime
    ) -> None:
        turn = Turn(
            authority=mandate.authority,
            standing=standing,
            room=self._room(),
            outbox=after,
            now=now,
            awake=self._clock.awake(),
        )
        try:
            self._make_progress(turn)
            self._nothing_at = None if self._claims.claim(turn) else now
        except StaleTerm as error:
            after.stale = error
        if self._claims.to_probe:
            self._bell.set()  # the next turn has them asked, outside any transaction

    def _room(self) -> dict[Runner, int]:
        return {
            Runner.COMMAND: self._commands.room(),
            Runner.THREAD: self._callables.room(Runner.THREAD),
            Runner.ASYNC: self._callables.room(Runner.ASYNC),
        }

    def _make_progress(self, turn: Turn) -> None:
        if turn.awake >= self._next_progress:
            if not self._callables.exhausted():  # or it passes for hung, if a fire waits (C9)
                self._store.record_progress(turn.authority, turn.awake, turn.now)
            self._next_progress = turn.awake + PROGRESS_EVERY

    def _standing(self, mandate: Mandate | None, now: datetime) -> OwnerCapabilities:
        """Read again, outside any transaction, what a protected claim stands on (C8)."""
        if mandate is None:
            return OwnerCapabilities(authoritative=False)
        best = mandate.standing
        if self._claims.to_probe:
            wanted = self._probes.missing(self._claims.to_probe, self._clock.awake())
            self._claims.to_probe = set()
            self._probes.ask_soon(wanted, self._clock.awake, lambda freed: self.look())
        if not best.authoritative or not self._anything_to_decide(now):
            return best
        return replace(best, authoritative=self._recheck(), denied=self._probes.all_denied())

    def _anything_to_write(self, now: datetime) -> bool:
        """An idle owner takes no write lock, but to say now and then that it looks."""
        return self._clock.awake() >= self._next_progress or self._anything_to_decide(now)

    def _anything_to_decide(self, now: datetime) -> bool:
        upcoming = self._store.next_due()
        if upcoming is not None and upcoming <= now:
            return True
        if self._store.requests(states=PENDING, limit=1):
            return True
        self._upcoming = (upcoming,)
        return False

    # -- after the commit --------------------------------------------------------------------
    def _carry_out(self, after: Outbox, mandate: Mandate | None, began: float) -> None:
        for gated in after.opened:
            gated.open_gate()
        for run, gated in after.closed:
            gated.abandon()
            log.warning("%s was deposed or cancelled at its gate: it never ran", run.id)
        if after.runs:
            assert mandate is not None
            for run, wants in after.runs:
                self._enter(run, wants, mandate.authority, began)
        for run_id in after.cancels:
            self.cancel(run_id)
        if after.stale is not None and mandate is not None:
            self._mandate = None
            self._note_refusal(mandate.authority, after.stale)
            self._deposed(str(after.stale))
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
        except Exception as error:  # no thread to be had, say: the run must not stay claimed
            log.exception("%s could not be entered", run.id)
            self.report(
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
        """Every run that somebody here has in hand, or that waits to be written down."""
        waiting = [result.run for result in list(self._results)]
        waiting += [run.id for run, _ in list(self._gates)]
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
    def _until_next(self) -> float:
        awake = self._clock.awake()
        busy = self._callables.active() or self._commands.active()
        wait = POLL if busy else IDLE_POLL
        deadline = self._callables.expire(awake)
        if deadline is not None:
            wait = min(wait, max(0.0, deadline - awake))
        self._cancel_marked(awake)
        if self._mandate is None or self._draining:
            return wait if busy or self.pending() else RESTING_POLL
        # What is due for slots that are taken waits for an end, which rings.
        room = {kind for kind, n in self._room().items() if n > 0}
        if self._upcoming is not None and len(room) == len(Runner):
            [upcoming] = self._upcoming
        else:
            upcoming = self._store.next_due(room)
        if upcoming is None:
            return wait
        if self._nothing_at is not None and upcoming <= self._nothing_at:
            return min(wait, AGAIN)  # a retry whose slots are taken: its kind is not told
        left: float = (upcoming - self._clock.now()).total_seconds()
        return min(wait, max(0.0, left))

    def _cancel_marked(self, awake: float) -> None:
        """Cancels asked of another process that owns now, for runs that are still ours."""
        if awake < self._next_chores or not (self._commands.active() or self._callables.active()):
            return
        self._next_chores = awake + POLL
        for run in self._store.runs_held_by(self._process):
            if run.cancel_requested_at is not None:
                self.cancel(run.id)
