"""The clock that retention goes by: a wrong wall clock must not delete the history.

What is older than a number of days is deleted for good. A wall clock that is set years
ahead for a minute (a dead battery, a virtual machine that was resumed, a typing mistake) makes
everything old. So age is counted by a clock of the store's own, which follows the time for which
owners really ran::

    wall clock beside it (SAME)           -> it is the wall clock
    wall clock ahead, for CONFIRMED_AFTER -> it stays with the time that really passed
    ... and longer                        -> it catches up, CATCHES_UP times as fast as time passes
    wall clock behind, for as long        -> it falls back; until then the wall clock bounds it

So an hour of a wrong clock deletes nothing early, and a machine that was off for three months
deletes what is due within nine hours after the first six. Bounds by number do not depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

SAME = timedelta(minutes=1)
"""A difference that counts for nothing."""
CONFIRMED_AFTER = timedelta(hours=6)
"""For how long owners run with a wall clock that parted before it is believed."""
CATCHES_UP = 240
"""Ten days of history an hour."""
LONGEST_STEP = timedelta(minutes=5)
"""At most this much of the time between two looks counts as running: the rest was a suspend."""
_NONE = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryClock:
    """Its state, kept in the store."""

    at: datetime
    """UTC."""
    parted: timedelta = _NONE
    """For how long owners have run with the wall clock on one side of it."""
    ahead: bool = False
    """Whether that was ahead of it."""

    def advanced(self, wall: datetime, ran: timedelta) -> HistoryClock:
        """After ``ran`` of real time, suspends included, with the wall clock at ``wall``."""
        ran = max(ran, _NONE)
        at = self.at + ran
        gap = wall - at
        if abs(gap) <= SAME:
            return HistoryClock(at=wall)
        ahead, counted = gap > _NONE, min(ran, LONGEST_STEP)
        parted = counted + (self.parted if ahead == self.ahead else _NONE)
        if parted > CONFIRMED_AFTER:
            at = at + min(gap, CATCHES_UP * counted) if ahead else wall
        return HistoryClock(at=at, parted=parted, ahead=ahead)

    def now(self, wall: datetime) -> datetime:
        """The instant by which age is counted."""
        return min(self.at, wall)
