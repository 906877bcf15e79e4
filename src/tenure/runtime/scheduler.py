"""A scheduler process: its keeper, dispatcher and runners, wired together and taken apart.

start --> candidate, then owner when policy and term allow
stop  --> claims end, the term is handed over at once, runs get ``drain`` to end;
          commands that are still running are left to the next owner, callables are not
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tenure.domain.ownership import Authority
from tenure.domain.policy.evidence import Evidence
from tenure.domain.settings import Hung
from tenure.host.clocks import Clock, SystemClock
from tenure.host.processes import observe
from tenure.runtime.callables.runner import CallableRunner
from tenure.runtime.commands.runner import CommandRunner
from tenure.runtime.dispatch.dispatcher import Dispatcher
from tenure.runtime.dispatch.external_fires import ExternalFires
from tenure.runtime.dispatch.recovery import Recovery
from tenure.runtime.failure import Failure
from tenure.runtime.owner_context import OwnerContext
from tenure.runtime.ownership.keeper import Keeper
from tenure.runtime.ownership.member import ProfileMember
from tenure.runtime.profile import Profile
from tenure.runtime.watched_thread import WatchedThread

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

log = logging.getLogger("tenure")

DRAIN_S = 10.0
"""For which a stopping process lets its runs finish."""
CUT_GRACE_S = 1.0
"""For which coroutines that were cancelled after it may clean up."""
_DRAIN_POLL_S = 0.02


class Scheduler:
    """One process's part in a profile. Cannot be restarted: make a new one. Thread-safe.

    ``functions`` are the callables that this process has, by target (``app:name``).
    ``on_nudge`` receives the messages of other processes, on the keeper's thread: it must be
    quick. ``stays_out`` is called there at each look; it returns why this process should not run
    jobs, or None. ``cut`` cancels the functions that outlast a stop, as far as possible, and
    returns whether there were any. ``on_failure`` is called once, on any thread, when this object
    has failed: it has given up its term and must be stopped. It must be quick.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        role: str | None = None,
        executes: bool = True,
        app: str | None = None,
        app_version: str | None = None,
        functions: Mapping[str, Callable[..., Any]] | None = None,
        on_owning: Callable[[Authority], None] | None = None,
        on_nudge: Callable[[str], None] | None = None,
        host_loop: Callable[[], AbstractEventLoop | None] = lambda: None,
        stays_out: Callable[[], str | None] = lambda: None,
        cut: Callable[[], bool] = lambda: False,
        on_failure: Callable[[Failure], None] = lambda failure: None,
        default_hung: Hung = Hung.WARN,
        clock: Clock | None = None,
        observe: Callable[..., Evidence] = observe,
    ) -> None:
        self.profile = profile
        clock = clock or SystemClock()
        self.failure: Failure | None = None
        """Why this scheduler can do no more, once that is so."""
        self._on_failure = on_failure
        self._failing = threading.Lock()
        self._cut = cut
        self._stopped = threading.Event()
        settings = profile.settings()
        self.member = ProfileMember(
            profile,
            clock=clock,
            role=role,
            executes=executes,
            app=app,
            app_version=app_version,
            observe=observe,
        )
        self.context = OwnerContext(
            profile=profile,
            member=self.member,
            clock=clock,
            fail=self.fail,
            declared=functions.keys() if functions is not None and app is not None else None,
        )
        self._callables = CallableRunner(
            functions if functions is not None else {},
            process=self.member.id,
            slots=settings.slots.callables,
            clock=clock,
            report=self.context.inbox.report,
            still_owner=self.context.still_owner,
            logs=profile.folder.logs,
            log_size=settings.retention.log_size,
            host_loop=host_loop,
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
            default_hung=default_hung,
            on_owning=on_owning,
            on_nudge=on_nudge,
            stays_out=stays_out,
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
