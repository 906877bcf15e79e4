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
    """``lock`` guards what decides whether it is entered, and how it ended."""

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
    """Awake time: of its timeout, or of a cancelled coroutine's tidying up."""
    timeout: timedelta | None = None
    entered: datetime | None = None
    noted: bool = False
    told: bool = False
    """That it cannot begin."""
    over: RunState | None = None
    """TIMED_OUT or CANCELLED, once that was decided."""
    reason: str = ""
    """Why, of a coroutine that is to tidy up first."""
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
    """Whoever lent it, and is told; see :class:`tenure.runtime.callables.runner.CallableRunner`."""

    def enter(self, active: ActiveCall) -> bool: ...

    def end(
        self, active: ActiveCall, state: RunState, reason: str, started: datetime | None
    ) -> None: ...

    def forget(self, active: ActiveCall) -> None: ...


class RunHandle:
    """A claimed run in the hands of a borrower. Its methods are called by one thread at a time."""

    def __init__(self, lender: RunIssuer, active: ActiveCall) -> None:
        self._lender = lender
        self._active = active

    @property
    def run(self) -> Run:
        return self._active.run

    @property
    def over(self) -> RunState | None:
        """Whether it was ended meanwhile, cancelled say: nobody waits for its end any more."""
        return self._active.over

    def enter(self) -> bool:
        """Whether it may be entered now; if not it has ended, as never run or cancelled."""
        lender, active = self._lender, self._active
        try:
            entered = lender.enter(active)
        except Exception as error:  # noqa: BLE001  nothing is entered then, and that is known
            reason = f"whether its owner still owns could not be told: {error}"
            lender.end(active, RunState.NEVER_RAN, reason, None)
            entered = False
        if not entered:
            lender.forget(active)
        return entered

    def end(self, state: RunState, reason: str = "") -> None:
        """How it ended. Said twice, the first stays."""
        lender, active = self._lender, self._active
        lender.end(active, state, reason, active.entered)
        lender.forget(active)
