"""A clock that a test moves: the wall, the awake and the continuous clock, each by its own rule.

It satisfies :class:`tenure.host.clocks.Clock`. Safe from any thread.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class ManualClock:
    """Moves only when a test moves it. Starts at ``start`` (UTC), the other clocks at zero."""

    def __init__(self, start: datetime | None = None) -> None:
        self._lock = threading.Lock()
        self._now = (start or datetime(2026, 1, 1, tzinfo=UTC)).astimezone(UTC)
        self._awake = 0.0
        self._continuous = 0.0

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def awake(self) -> float:
        with self._lock:
            return self._awake

    def continuous(self) -> float:
        with self._lock:
            return self._continuous

    def advance(self, by: float | timedelta) -> datetime:
        """Let time pass on all three clocks: seconds or a duration, not negative."""
        seconds = _seconds(by)
        if seconds < 0:
            raise ValueError("time passes forwards; use step() for a wrong clock")
        with self._lock:
            self._awake += seconds
        return self.suspend(seconds)

    def suspend(self, by: float | timedelta) -> datetime:
        """The machine sleeps: the wall clock and continuous clock go on, the awake clock stops."""
        seconds = _seconds(by)
        if seconds < 0:
            raise ValueError("a machine sleeps forwards")
        with self._lock:
            self._continuous += seconds
            self._now += timedelta(seconds=seconds)
            return self._now

    def step(self, by: float | timedelta) -> datetime:
        """Set the wall clock forwards or backwards; the other clocks do not change."""
        with self._lock:
            self._now += timedelta(seconds=_seconds(by))
            return self._now

    def set(self, to: datetime) -> datetime:
        """Set the wall clock to an instant."""
        with self._lock:
            self._now = to.astimezone(UTC)
            return self._now


def _seconds(by: float | timedelta) -> float:
    return by.total_seconds() if isinstance(by, timedelta) else by
