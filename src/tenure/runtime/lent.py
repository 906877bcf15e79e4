"""A run that another scheduler in this process carries, in a thread of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenure.domain.run import Run, RunState
from tenure.runtime.active_call import ActiveCall

if TYPE_CHECKING:
    from tenure.runtime.callables import Callables


class Lent:
    """A claimed run in the hands of a borrower. Its methods are called by one thread at a time."""

    def __init__(self, callables: Callables, active: ActiveCall) -> None:
        self._callables = callables
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
        callables, active = self._callables, self._active
        try:
            entered = callables.enter(active)
        except Exception as error:  # noqa: BLE001  nothing is entered then, and that is known
            reason = f"whether its owner still owns could not be told: {error}"
            callables.end(active, RunState.NEVER_RAN, reason, None)
            entered = False
        if not entered:
            callables.forget(active)
        return entered

    def end(self, state: RunState, reason: str = "") -> None:
        """How it ended. Said twice, the first stays."""
        callables, active = self._callables, self._active
        callables.end(active, state, reason, active.entered)
        callables.forget(active)
