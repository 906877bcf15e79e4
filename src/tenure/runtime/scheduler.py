"""A scheduler process: keeper, dispatcher, runners, put together and taken apart.

start --> candidate, then owner when policy and term allow
stop  --> claims end, the term is handed over at once, runs get ``drain`` to end;
          commands that are still running are left to the next owner, callables are not
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tenure.domain.errors import TenureError
from tenure.domain.ownership import Authority
from tenure.domain.policy.evidence import Evidence
from tenure.domain.settings import Hung
from tenure.host.clocks import Clock, SystemClock
from tenure.host.live import sweep
from tenure.host.processes import observe
from tenure.runtime.callables.runner import CallableRunner
from tenure.runtime.commands.runner import CommandRunner
from tenure.runtime.dispatch.dispatcher import Dispatcher
from tenure.runtime.dispatch.external_fires import ExternalFires
from tenure.runtime.dispatch.probes import Probes
from tenure.runtime.dispatch.recovery import Recovery
from tenure.runtime.failure import Failure
from tenure.runtime.ownership.keeper import Keeper
from tenure.runtime.ownership.member import ProfileMember
from tenure.runtime.profile import Profile
from tenure.runtime.watched_thread import WatchedThread
from tenure.store.contract import PurgeLimits

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

log = logging.getLogger("tenure")

DRAIN = 10.0
"""Seconds that a stopping process gives its runs."""
TIDYING = 1.0
"""Seconds that those get after it that are told to end."""
_PURGE_EVERY = 60.0


class Scheduler:
    """One process's part in a profile. Not restarted: make a new one. Thread-safe.

    ``functions`` are the callables that this process carries, by target (``app:name``).
    ``on_nudge`` hears, on the keeper's thread, what other processes call out: it must be quick.
    ``stays_out``, asked there at each look, says why this process is none that should run jobs.
    ``cut`` ends what can be ended of the functions that outlast a stop; whether there was any.
    ``on_failure`` hears, once, on any thread, that this object can do no more: it has given up its
    term, and is to be stopped. It must be quick.
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
        self._clock = clock or SystemClock()
        self.failure: Failure | None = None
        """Why this object can do no more, once that is so."""
        self._on_failure = on_failure
        self._failing = threading.Lock()
        settings = profile.settings()
        self.member = ProfileMember(
            profile,
            clock=self._clock,
            role=role,
            executes=executes,
            app=app,
            app_version=app_version,
            observe=observe,
        )
        self._callables = CallableRunner(
            functions if functions is not None else {},
            process=self.member.id,
            slots=settings.slots.callables,
            clock=self._clock,
            report=self._report,
            still_owner=self._still_owner,
            logs=profile.folder.logs,
            log_size=settings.retention.log_size,
            host_loop=host_loop,
        )
        self._commands = CommandRunner(
            process=self.member.id,
            logs=profile.folder.logs,
            slots=settings.slots.commands,
            log_size=settings.retention.log_size,
            environment=lambda: profile.settings().environment(),
            clock=self._clock,
            report=self._report,
            at_gate=lambda run, gated: self.dispatcher.at_gate(run, gated),
            note=lambda run, why: self.dispatcher.note(run, why),
            failed=self.fail,
        )
        self.probes = Probes()
        self.dispatcher = Dispatcher(
            profile,
            process=self.member.id,
            clock=self._clock,
            callables=self._callables,
            commands=self._commands,
            recheck=lambda: self.keeper.recheck(),
            deposed=lambda why: self.keeper.deposed(why),
            asked_to_hand_over=lambda request: self.keeper.asked_to_hand_over(request),
            probes=self.probes,
            failed=self.fail,
        )
        self.keeper = Keeper(
            profile,
            self.member,
            clock=self._clock,
            dispatcher=self.dispatcher,
            recovery=Recovery(
                profile,
                process=self.member.id,
                clock=self._clock,
                commands=self._commands,
                report=self._report,
                in_hand=self.dispatcher.runs,
            ),
            probes=self.probes,
            default_hung=default_hung,
            on_owning=on_owning,
            upkeep=self._upkeep,
            on_nudge=on_nudge,
            stays_out=stays_out,
            carried=functions.keys() if functions is not None and app is not None else None,
            failed=self.fail,
        )
        self.announcing = ExternalFires(
            profile.store,
            dispatcher=self.dispatcher,
            callables=self._callables,
            probes=self.probes,
            clock=self._clock,
        )
        self._cut = cut
        self._next_purge = self._clock.awake() + _PURGE_EVERY
        self._purged: tuple[int | None, float] | None = None
        """Term and continuous time of the last purge."""
        self._stopped = threading.Event()

    def start(self) -> None:
        """Join and begin. Raises what joining raises; returns before ownership is decided."""
        self.keeper.begin(self.dispatcher.thread, self._commands.thread)
        if self.member.executes:
            self.dispatcher.begin(self.keeper.thread, self._commands.thread)

    def stop(self, drain: float = DRAIN, why: str = "its process stops") -> bool:
        """Hand over, give runs ``drain`` seconds, leave. Whether all runs had ended. Idempotent."""
        if self._stopped.is_set():
            return True
        self._stopped.set()
        self.dispatcher.drain()
        self.keeper.stop(why)
        # Once it has failed, what ends is not recorded here any more.
        ended = self._drain(0.0 if self.failure else drain)
        if not ended and self._cut():
            self._drain(TIDYING)
        self._callables.close()
        self._commands.close()
        self.dispatcher.stop()
        self.member.leave(why)
        self.keeper.close()
        return ended

    def abandon(self) -> None:
        """Free what this object holds, without a word to the store: for tests."""
        self._callables.close()
        self._commands.close()
        self.dispatcher.stop(0.0)
        self.member.die()
        self.keeper.close()
        self.profile.close()

    def threads(self) -> tuple[WatchedThread, ...]:
        """Those that ownership depends on."""
        return self.keeper.thread, self.dispatcher.thread, self._commands.thread

    def fail(self, failure: Failure) -> None:
        """Give up the term: a thread has ended or is held, or the store is lost. Any thread; what
        comes after the first does nothing."""
        with self._failing:
            if self.failure is not None or self._stopped.is_set():
                return
            self.failure = failure
        try:
            self.dispatcher.give_up()
            self.keeper.give_up(failure.text)
        finally:
            self._on_failure(failure)
            log.critical("%s; this process runs no jobs any more: %s", failure.text, failure.remedy)

    def nudge(self) -> None:
        """Something was written by this process: look now."""
        self.dispatcher.look()
        self.keeper.wake()

    def forget_in_child(self) -> None:
        """After a fork, in the child: nothing of ownership crosses, nothing is closed for the
        parent."""
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
            time.sleep(0.02)
        return True

    def _report(self, result: Any) -> None:
        self.dispatcher.report(result)

    def _still_owner(self, authority: Authority) -> bool:
        try:
            self.profile.store.check_authority(authority)
        except TenureError:  # a stale term; or a store that cannot be asked, and in doubt no (C11)
            return False
        return True

    def _upkeep(self) -> None:
        """Keep the history within its bounds, and the folder of live locks tidy; the owner's
        keeper calls this at each look."""
        awake = self._clock.awake()
        if awake < self._next_purge:
            return
        kept = self.profile.settings().retention
        purged = self.profile.store.purge(
            PurgeLimits(runs_per_job=kept.runs, days=kept.days, events=kept.events),
            self.profile.store.history_now(self._clock.now(), self._ran_since_purge()),
        )
        for run in purged.runs:
            shutil.rmtree(self.profile.folder.logs / run, ignore_errors=True)
        sweep(self.profile.folder.live, {p.id for p in self.profile.store.processes()})
        self._next_purge = awake + (1.0 if len(purged.runs) >= 500 else _PURGE_EVERY)

    def _ran_since_purge(self) -> timedelta:
        """Real time since that was last asked in this term: other owners count their own."""
        authority = self.keeper.authority
        before = self._purged
        self._purged = (authority.term if authority else None, self._clock.continuous())
        if before is None or before[0] != self._purged[0]:
            return timedelta(0)
        return timedelta(seconds=self._purged[1] - before[1])
