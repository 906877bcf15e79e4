"""A scheduler process: its keeper, dispatcher and runners, wired together and taken apart.

start --> candidate, then owner when policy and term allow
stop  --> claims end, the term is handed over at once, runs get ``drain`` to end;
          commands that are still running are left to the next owner, callables are not
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tenure.domain.policy.evidence import Evidence
from tenure.host.clocks import Clock, SystemClock
from tenure.host.processes import observe
from tenure.runtime.callables.runner import CallableRunner
from tenure.runtime.commands.runner import CommandRunner
from tenure.runtime.dispatch.context import HostProgram, KeeperSignals, OwnerContext
from tenure.runtime.dispatch.dispatcher import Dispatcher
from tenure.runtime.dispatch.external_fires import ExternalFires
from tenure.runtime.dispatch.recovery import Recovery
from tenure.runtime.failure import Failure, WatchedThread
from tenure.runtime.members import ProfileMember
from tenure.runtime.ownership.keeper import Keeper
from tenure.runtime.ownership.waker import Waker
from tenure.runtime.profile import Profile

if TYPE_CHECKING:
    pass

log = logging.getLogger("tenure")

DRAIN_S = 10.0
"""For which a stopping process lets its runs finish."""
CUT_GRACE_S = 1.0
"""For which coroutines that were cancelled after it may clean up."""
_DRAIN_POLL_S = 0.02


class Scheduler:
    """One process's part in a profile. Cannot be restarted: make a new one. Thread-safe.

    ``on_failure`` is called once, on any thread, when this object has failed: it has given up its
    term and must be stopped. It must be quick.
    """

    def __init__(
        self,
        profile: Profile,
        program: HostProgram | None = None,
        *,
        role: str | None = None,
        executes: bool = True,
        on_failure: Callable[[Failure], None] = lambda failure: None,
        clock: Clock | None = None,
        observe: Callable[..., Evidence] = observe,
    ) -> None:
        self.profile = profile
        program = program or HostProgram()
        clock = clock or SystemClock()
        self.failure: Failure | None = None
        """Why this scheduler can do no more, once that is so."""
        self._on_failure = on_failure
        self._failing = threading.Lock()
        self._cut = program.cut
        self._stopped = threading.Event()
        settings = profile.settings()
        self.member = ProfileMember(
            profile,
            clock=clock,
            role=role,
            executes=executes,
            app=program.app,
            app_version=program.app_version,
            observe=observe,
        )
        waker = Waker()
        self.context = OwnerContext(
            profile=profile,
            member=self.member,
            clock=clock,
            signals=KeeperSignals(waker.wake),
            fail=self.fail,
            program=program,
        )
        self._callables = CallableRunner(
            program.functions if program.functions is not None else {},
            process=self.member.id,
            slots=settings.slots.callables,
            clock=clock,
            report=self.context.inbox.report,
            still_owner=self.context.still_owner,
            logs=profile.folder.logs,
            log_size=settings.retention.log_size,
            host_loop=program.host_loop,
        )
        self._commands = CommandRunner(
            process=self.member.id,
            logs=profile.folder.logs,
            slots=settings.slots.commands,
            log_size=settings.retention.log_size,
            environment=profile.environment,
            clock=clock,
            inbox=self.context.inbox,
            fail=self.fail,
        )
        self.dispatcher = Dispatcher(self.context, self._callables, self._commands)
        self.keeper = Keeper(
            self.context,
            self.dispatcher,
            Recovery(self.context, self._commands, self.dispatcher),
            waker,
        )
        self.external_fires = ExternalFires(self.context, self.dispatcher, self._callables)

    def start(self) -> None:
        """Join and begin. Raises what joining raises; returns before ownership is decided."""
        self.keeper.begin(self.dispatcher.thread, self._commands.thread)
        if self.member.executes:
            self.dispatcher.begin(self.keeper.thread, self._commands.thread)

    def stop(self, drain: float = DRAIN_S, why: str = "its process stops") -> bool:
        """Hand over, give runs ``drain`` seconds, leave. Idempotent.

        Returns whether all runs had ended.
        """
        if self._stopped.is_set():
            return True
        self._stopped.set()
        self.dispatcher.drain()
        self.keeper.stop(why)
        # After a failure this process records no ends any more.
        ended = self._drain(0.0 if self.failure else drain)
        if not ended and self._cut():
            self._drain(CUT_GRACE_S)
        self._callables.close()
        self._commands.close()
        self.dispatcher.stop()
        self.member.leave(why)
        self.keeper.close()
        return ended

    def abandon(self) -> None:
        """Free what this object holds without writing to the store: for tests."""
        self._callables.close()
        self._commands.close()
        self.dispatcher.stop(0.0)
        self.member.die()
        self.keeper.close()
        self.profile.close()

    def threads(self) -> tuple[WatchedThread, ...]:
        """The threads that ownership depends on."""
        return self.keeper.thread, self.dispatcher.thread, self._commands.thread

    def fail(self, failure: Failure) -> None:
        """Give up the term: a thread has ended or is stuck, or the store is lost. Any thread; only
        the first call has an effect."""
        with self._failing:
            if self.failure is not None or self._stopped.is_set():
                return
            self.failure = failure
        try:
            self.dispatcher.give_up()
            self.keeper.give_up(failure.text)
        finally:
            self._on_failure(failure)
            log.critical("%s; this process no longer runs jobs: %s", failure.text, failure.remedy)

    def nudge(self) -> None:
        """This process wrote to the store: look now."""
        self.dispatcher.look()
        self.keeper.wake()

    def forget_in_child(self) -> None:
        """After a fork, in the child: ownership stays with the parent, and nothing of it is
        closed."""
        self.member.forget_in_child()
        self.keeper.forget_in_child()
        self._commands.forget_in_child()
        self.profile.store.forget_in_child()

    def _drain(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while self._callables.active() + self._commands.active() + self.dispatcher.pending():
            if time.monotonic() >= until:
                return False
            self.dispatcher.look()
            time.sleep(_DRAIN_POLL_S)
        return True
