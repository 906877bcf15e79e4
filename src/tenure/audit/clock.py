"""Comparing recorded instants on a wall clock that may have been set back.

Two recorded instants show which came first only if the clock was not set back between them. Steps
are read from the event log, whose sequence numbers do not depend on any clock: where ``at`` falls
while ``seq`` grows, the clock was set back, from at most the highest instant seen before to the
one seen after. Steps forward never disturb an order.

So :meth:`RecordedClock.follows` answers False only for what no recorded step explains.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tenure.domain.event import Event, EventKind

SKEW = timedelta(seconds=10)
"""A caller reads its clock before it waits for the store's write lock, so instants of different
processes may be this much out of order (twice the store's patience)."""

_UNSEEN = timedelta(minutes=10)
"""How far past the last event of the old era its other records may lie."""
_FORGOTTEN = timedelta(days=1)
"""A step whose event was deleted is taken to have been no longer than this, or into the future."""
_STEPS = (EventKind.CLOCK, EventKind.PLANNING_RESTARTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockStep:
    """The clock went back from at most ``was`` to ``at``. UTC."""

    at: datetime
    was: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedClock:
    """What the event log knows of the wall clock."""

    steps: tuple[ClockStep, ...] = ()
    blind_until: datetime | None = None
    """Steps before this are not known: their events were deleted."""
    now: datetime | None = None

    def follows(self, later: datetime, earlier: datetime, slack: timedelta = SKEW) -> bool:
        """Whether ``later`` may truly have come at or after ``earlier``."""
        if later >= earlier - slack:
            return True
        if self._unseen(later, earlier):
            return True
        return any(s.at - slack <= later and earlier <= s.was + slack for s in self.steps)

    def covers(self, instant: datetime) -> bool:
        """Whether an instant may have been reached twice."""
        if self._unseen(instant, instant):
            return True
        return any(s.at - SKEW <= instant <= s.was + SKEW for s in self.steps)

    def _unseen(self, later: datetime, earlier: datetime) -> bool:
        """Whether a step whose event was deleted may explain a wrong order."""
        if self.blind_until is None:
            return False
        yet_to_come = self.now is not None and earlier > self.now + SKEW
        return yet_to_come or later <= self.blind_until + _FORGOTTEN


def read_clock(events: Iterable[Event], now: datetime) -> RecordedClock:
    """The steps of a log in order of ``seq``; the audit's own ``now`` comes after it."""
    steps: list[ClockStep] = []
    highest: datetime | None = None
    first: Event | None = None
    for event in events:
        first = first or event
        highest = highest or event.at
        recorded = _recorded_step(event)
        if recorded is not None or event.at < highest - SKEW:
            steps.append(_step(steps, event.at, max(highest + _UNSEEN, recorded or event.at)))
            highest = event.at
        else:
            highest = max(highest, event.at)
    if highest is not None and now < highest - SKEW:
        steps.append(_step(steps, now, highest + _UNSEEN))
    cut = first is not None and first.seq > 1
    return RecordedClock(
        now=now,
        steps=tuple(steps),
        blind_until=first.at if first is not None and cut else None,
    )


def _step(before: list[ClockStep], at: datetime, was: datetime) -> ClockStep:
    """One step more. Where it goes below an earlier one, it also explains what that one did."""
    return ClockStep(at=at, was=max([was, *(s.was for s in before if s.at > at)]))


def _recorded_step(event: Event) -> datetime | None:
    """What the clock had been, as an event that is about a step back says it."""
    if event.kind not in _STEPS:
        return None
    said, seconds = event.facts.get("was"), event.facts.get("seconds")
    try:
        if isinstance(said, str):
            was = datetime.fromisoformat(said)
        elif event.facts.get("kind") == "step_backward" and isinstance(seconds, int | float):
            was = event.at + timedelta(seconds=abs(seconds))
        else:
            return None
        return was if was > event.at else None
    except (ValueError, OverflowError, TypeError):
        return None
