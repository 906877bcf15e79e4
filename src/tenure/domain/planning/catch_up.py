"""How catch-up is spread, so that a machine that wakes does not start everything at once (C13)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(slots=True)
class CatchUpBudget:
    """Spreads catch-up: ``burst`` at once, then ``rate`` a second. Not thread-safe."""

    rate: float = 20.0
    burst: int = 20
    _next: datetime | None = None

    def delay(self, now: datetime) -> timedelta:
        """Take one place; how long after ``now`` (UTC) it is."""
        step = timedelta(seconds=1 / self.rate)
        floor = now - step * self.burst
        # A place far ahead was given under a clock that has since been set back.
        if self._next is None or self._next < floor or self._next > now + timedelta(hours=1):
            self._next = floor
        self._next += step
        return max(self._next - now, timedelta(0))
