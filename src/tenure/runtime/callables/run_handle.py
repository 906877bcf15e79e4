"""A run that another scheduler in this process carries, in a thread of its own."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from tenure.domain.run import Run, RunState
from tenure.runtime.callables.active_call import ActiveCall


class Lender(Protocol):
    """Whoever lent it, and is told; see :class:`tenure.runtime.callables.runner.Callables`."""

    def enter(self, active: ActiveCall) -> bool: ...

    def end(
        self, active: ActiveCall, state: RunState, reason: str, started: datetime | None
    ) -> None: ...

    def forget(self, active: ActiveCall) -> None: ...


class Lent:
    """A claimed run in the hands of a borrower. Its methods are called by one thread at a time."""

    def __init__(self, lender: Lender, active: ActiveCall) -> None:
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
