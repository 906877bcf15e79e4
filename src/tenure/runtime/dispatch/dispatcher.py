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
from typing import TypeVar

from tenure.domain.errors import StaleTerm, StoreBlocked, TenureError
from tenure.domain.ownership import Authority
from tenure.runtime.callables.runner import CallableRunner
from tenure.runtime.commands.runner import CommandRunner
from tenure.runtime.dispatch.context import OwnerContext
from tenure.runtime.dispatch.turn import POLL_S, Mandate, Turns
from tenure.runtime.failure import Watch, WatchedThread, lost_thread

log = logging.getLogger("tenure.dispatcher")
T = TypeVar("T")

BLOCKED_DELAY_S = 0.2
"""Before a turn is repeated that found the store blocked."""
MANY_RUNS = 6
"""Active runs from which on ends and gates are gathered for a moment before a commit."""
GATHER_S = 0.002
"""That moment."""
COMMIT_S = 0.004
"""About how long a commit may take; longer than GATHER_S."""


class Dispatcher:
    """Thread-safe; the thread is started by :meth:`begin`."""

    def __init__(
        self, context: OwnerContext, callables: CallableRunner, commands: CommandRunner
    ) -> None:
        self._context = context
        self._store = context.store
        self._clock = context.clock
        self._callables = callables
        self._commands = commands
        self.inbox = context.inbox
        self._turns = Turns(context, callables, commands, self.look)
        self._turn_lock = threading.Lock()
        self._news = True
        """Whether the store may have changed since the last turn began."""
        self._draining = False
        self._stopping = False
        self._given_up = False
        self._last_error = ""
        self.thread = WatchedThread(
            self._work,
            self._rest,
            name="tenure-dispatcher",
            is_stopping=lambda: self._stopping,
            ended=lambda why: context.fail(lost_thread(why)),
        )
        self._watches: list[Watch] = []
        self._next_watch = 0.0
        self._wait_s = 0.0

    # -- from other threads ------------------------------------------------------------------
    def begin(self, *watched: WatchedThread) -> None:
        """Start the thread; it also watches ``watched``."""
        self._watches = [Watch(thread, self._clock) for thread in watched]
        self.thread.start()

    def own(self, mandate: Mandate) -> None:
        """Claim under this mandate from now on; not while it drains."""
        if not self._draining:
            self._turns.begin(mandate)
            self.look()

    def owns(self, authority: Authority | None) -> bool:
        """Whether it claims under this authority."""
        mandate = self._turns.mandate
        return mandate is not None and mandate.authority == authority

    def disown(self) -> None:
        """Stop claiming. Returns once no turn is under way that could still claim."""
        self._turns.mandate = None
        if self.thread.is_current():
            return
        while not self._turn_lock.acquire(timeout=POLL_S):
            # The turn is stuck: the end of the term fences its claims.
            if self._given_up:
                return
        self._turn_lock.release()

    def give_up(self) -> None:
        """Stop claiming without waiting for a turn that is stuck: its thread has failed."""
        self._turns.mandate, self._draining, self._given_up = None, True, True

    def under_mandate(self, claim: Callable[[Mandate], T]) -> T | None:
        """Let another thread of this process claim, between two turns. Returns None without a
        mandate, or if it proved stale. Raises what else ``claim`` raises."""
        with self._turn_lock:
            mandate = self._turns.mandate
            if mandate is None or self._draining or self._store.loss() is not None:
                return None
            try:
                return claim(mandate)
            except StaleTerm as error:
                self._turns.lose_mandate(mandate, error)
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
        """Take a turn now: the store may have changed."""
        # Set before the event: the turn that the event causes must see it.
        self._news = True
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

    def runs(self) -> frozenset[str]:
        """Every run that this process is working on or whose end it has yet to commit."""
        waiting = [result.run for result in list(self.inbox.results)]
        waiting += [run.id for run, _ in list(self.inbox.gates)]
        return self._commands.runs() | self._callables.runs() | frozenset(waiting)

    # -- the thread --------------------------------------------------------------------------
    def _work(self) -> bool:
        """One turn, and a look at the other threads."""
        self.inbox.wakeup.clear()
        # Read before the turn: ends that come before the stop are recorded by this one.
        stopping = self._stopping
        fresh = self._news
        # Cleared only where it was read as set: another thread may set it at any moment.
        if fresh:
            self._news = False
        self._wait_s = self._try_turn(fresh)
        if stopping or self._given_up:
            return False
        if self._turns.awake >= self._next_watch:
            self._next_watch = self._turns.awake + POLL_S
            for watch in self._watches:
                problem = watch.problem(self._turns.awake)
                if problem is not None:
                    self._context.fail(lost_thread(problem))
        return True

    def _try_turn(self, fresh: bool = True) -> float:
        """One turn; returns the seconds until the next is due.

        An error that repeats is logged once: a store that is lost fails each turn of a drain.
        """
        try:
            wait = self.turn(fresh)
        except Exception as error:  # a turn that failed changed nothing; the next one tries again
            self._news = True
            if isinstance(error, StoreBlocked):
                log.warning("%s", error)
                return BLOCKED_DELAY_S
            if not isinstance(error, TenureError):
                log.exception("a turn failed")
            elif str(error) != self._last_error:
                self._last_error = str(error)
                log.error("%s", error)
            return POLL_S
        self._last_error = ""
        return wait

    def _rest(self) -> None:
        """Wait until the next turn is due, or for a wakeup.

        An end that comes just before the next fire shares its commit, so as not to delay it. Where
        many runs are active, ends and gates come in bursts: a short wait makes one commit of them.
        """
        until = time.monotonic() + self._wait_s
        if self._wait_s <= 0 or not self.inbox.wakeup.wait(self._wait_s) or self._stopping:
            return
        left = until - time.monotonic()
        if left < COMMIT_S:
            time.sleep(max(0.0, left))
        elif self._turns.active_runs >= MANY_RUNS:
            time.sleep(GATHER_S)

    def turn(self, fresh: bool = True) -> float:
        """One turn, by the thread or by a test; returns the seconds until the next is due.
        ``fresh``: the store may have changed since the last."""
        with self._turn_lock:
            mandate = self._turns.mandate
            try:
                return self._turns.take(fresh=fresh)
            except TenureError:
                loss = self._store.loss() if mandate is not None else None
                if loss is None:
                    raise
                self._turns.mandate = None
                self._context.signals.report_refusal(loss.text)
                return POLL_S
