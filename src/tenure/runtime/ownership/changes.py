"""Whether anything has changed that a look of the keeper would act on.

An idle process must cost next to nothing, so that a look is skipped where no process has written
and nothing waits for time. Changes that no write announces (a folder that was moved, a probe, the
death of a process other than the owner) wait for the look that follows within
:data:`FULL_LOOK_EVERY_S`.
"""

from __future__ import annotations

from tenure.host.zone_data import ZoneData
from tenure.runtime.dispatch.context import OwnerContext
from tenure.runtime.dispatch.dispatcher import Dispatcher

FULL_LOOK_EVERY_S = 5.0
CLOCK_STEP_S = 0.1
"""Difference between wall clock and awake time that no slewing makes between two looks."""


class ChangeDetector:
    """Used by the keeper's thread alone."""

    def __init__(self, context: OwnerContext, dispatcher: Dispatcher, zone_data: ZoneData) -> None:
        self._profile = context.profile
        self._store = context.store
        self._clock = context.clock
        self._signals = context.signals
        self._dispatcher = dispatcher
        self._zone_data = zone_data
        self._next_full = 0.0
        self._mark: int | None = None
        self._own_changes = 0
        self._ahead_s: float | None = None
        """By how much the wall clock is ahead of awake time."""

    def is_quiet(self, *, may_rest: bool) -> bool:
        """Whether a look can be skipped. Also wakes the dispatcher where it has work.

        ``may_rest``: after the last look, only a write or a signal could change the outcome.
        """
        if not self._store.is_same_file():
            return False
        awake = self._clock.awake()
        mark = self._store.change_mark()
        quiet = (
            may_rest
            and self._signals.doubt is None
            and self._signals.hand_over is None
            and mark == self._mark
            and not self._profile.policy_file_changed()
            and awake < self._next_full
            and not self._zone_data.replaced()
        )
        if any((mark != self._mark, self._wrote_ourselves(), self._clock_was_set(awake))):
            self._dispatcher.look()
        if not quiet:
            self._mark, self._next_full = mark, awake + FULL_LOOK_EVERY_S
        return quiet

    def _wrote_ourselves(self) -> bool:
        """Whether this process wrote since the last call: perhaps a job, from a thread of its host
        that wakes no other thread."""
        was, self._own_changes = self._own_changes, self._store.own_changes()
        return was != self._own_changes

    def _clock_was_set(self, awake: float) -> bool:
        """Whether the wall clock departed from awake time since the last call: it was set, or the
        machine slept. What is due comes earlier or later than the dispatcher waits for."""
        ahead = self._clock.now().timestamp() - awake
        was, self._ahead_s = self._ahead_s, ahead
        return was is not None and abs(ahead - was) > CLOCK_STEP_S
