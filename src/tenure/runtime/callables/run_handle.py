"""A run of a callable, and the handle through which another scheduler carries one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from tenure.domain.job import Runner
from tenure.domain.ownership import Authority
from tenure.domain.run import Run, RunState

if TYPE_CHECKING:
    import asyncio  # loaded with the first coroutine: most programs have none


@dataclass(slots=True)
class ActiveCall:
    """One run. ``lock`` guards the decisions whether it is entered and how it ended."""

    run: Run
    runner: Runner
    authority: Authority
    claimed: float
    """Continuous time of the claim."""
    submitted: float
    """Awake time."""
    function: Callable[..., Any]
    args: Mapping[str, Any]
    deadline: float | None = None
    """Awake time: of its timeout, or of the end of a cancelled coroutine's grace."""
    timeout: timedelta | None = None
    entered: datetime | None = None
    noted: bool = False
    blocked_logged: bool = False
    """That it cannot begin was logged."""
    over: RunState | None = None
    """TIMED_OUT or CANCELLED, once decided."""
    reason: str = ""
    """Why, of a coroutine that may clean up first."""
    reported: bool = False
    runs_on: bool = False
    """Its run was ended, and its thread could not be."""
    is_external: bool = False
    """Another scheduler in this process carries it, in a thread of its own."""
    task: asyncio.Task[Any] | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def waits(self) -> bool:
        """Whether its function has neither been entered nor given up."""
        return self.entered is None and self.over is None


class RunIssuer(Protocol):
    """The runner that issued it; :class:`tenure.runtime.callables.runner.CallableRunner`."""

    def enter(self, active: ActiveCall) -> bool: ...

    def end(
        self, active: ActiveCall, state: RunState, reason: str, started: datetime | None
    ) -> None: ...

    def forget(self, active: ActiveCall) -> None: ...


class RunHandle:
    """A claimed run that another scheduler carries. One thread at a time calls its methods."""

    def __init__(self, issuer: RunIssuer, active: ActiveCall) -> None:
        self._issuer = issuer
        self._active = active

    @property
    def run(self) -> Run:
        return self._active.run

    @property
    def over(self) -> RunState | None:
        """The state in which it was ended meanwhile, by a cancel say: its end is recorded."""
        return self._active.over

    def enter(self) -> bool:
        """Whether it may be entered now; if not, it has ended as never run or cancelled."""
        issuer, active = self._issuer, self._active
        try:
            entered = issuer.enter(active)
        except Exception as error:  # noqa: BLE001  then it is certain that nothing was entered
            reason = f"could not confirm that its owner still owns: {error}"
            issuer.end(active, RunState.NEVER_RAN, reason, None)
            entered = False
        if not entered:
            issuer.forget(active)
        return entered

    def end(self, state: RunState, reason: str = "") -> None:
        """Report how it ended. Only the first call counts."""
        issuer, active = self._issuer, self._active
        issuer.end(active, state, reason, active.entered)
        issuer.forget(active)
