"""Three clocks, and the notice of where they part.

* *wall*: what records carry. It may step, to either side, at any moment.
* *awake*: seconds in which the machine ran. It stops in suspend.
* *continuous*: seconds since some start, suspend included. It bounds trust (C11).

=========  =======================  ========================  =============================
\\          Linux                    macOS                     elsewhere
=========  =======================  ========================  =============================
awake      ``CLOCK_MONOTONIC``      ``CLOCK_UPTIME_RAW``      ``time.monotonic``
continuous ``CLOCK_BOOTTIME``       ``CLOCK_MONOTONIC_RAW``   ``time.monotonic``
=========  =======================  ========================  =============================

Where the platform has one clock only (Windows), suspend cannot be measured; it then
shows as a forward step of the wall clock. Sources: clock_getres(2), macOS clock_gettime(3).
"""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Protocol


class Clock(Protocol):
    """The time as the machinery asks for it. Safe from any thread."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""

    def awake(self) -> float:
        """Seconds that do not pass while the machine is suspended."""

    def continuous(self) -> float:
        """Seconds that pass always; never stepped."""


_CONTINUOUS = {"linux": "CLOCK_BOOTTIME", "darwin": "CLOCK_MONOTONIC_RAW"}.get(sys.platform)


class SystemClock:
    """The machine's own clocks."""

    # Python reads CLOCK_MONOTONIC on Linux and CLOCK_UPTIME_RAW's source on macOS.
    awake = staticmethod(time.monotonic)
    continuous = (
        staticmethod(partial(time.clock_gettime, getattr(time, _CONTINUOUS)))
        if _CONTINUOUS
        else awake
    )

    def now(self) -> datetime:
        return datetime.now(UTC)


class ClockChangeKind(StrEnum):
    STEP_FORWARD = "step_forward"
    STEP_BACKWARD = "step_backward"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockChange:
    """What happened to the clocks between two looks."""

    kind: ClockChangeKind
    amount: float
    """Seconds, positive: how far the wall clock stepped, or how long the machine slept."""
    at: datetime
    """The wall clock (UTC) when it was noticed."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The three clocks at one moment."""

    wall: datetime
    awake: float
    continuous: float


class ClockWatch:
    """Notices wall-clock steps and suspend by comparing the clocks at each look.

    Only what parts *between two looks* counts, so that slow slewing never adds up to a step. If
    the machine slept and the clock was stepped as well, the sleep is reported first and the step
    at the next look. Not thread-safe: one watch, one thread.
    """

    STEP = 1.0
    """Seconds between wall and continuous clock that make a step."""
    SUSPEND = 5.0
    """Seconds between continuous and awake clock that make a suspend."""
    SLEW = 0.001
    """Part of the time between looks that a correct clock may gain or lose (NTP: 0.0005)."""
    _SETTLED = 0.1
    _TRIES = 5

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = self._read()
        self._pending: deque[ClockChange] = deque()

    @property
    def last(self) -> ClockReading:
        """The clocks at the last look."""
        return self._last

    def look(self) -> ClockChange | None:
        """What changed since the last look, or None. One change a call; call until None."""
        if not self._pending:
            self._compare()
        return self._pending.popleft() if self._pending else None

    def _compare(self) -> None:
        last, seen = self._last, self._read()
        self._last = seen
        continuous = seen.continuous - last.continuous
        asleep = continuous - (seen.awake - last.awake)
        stepped = (seen.wall - last.wall).total_seconds() - continuous
        if asleep >= self.SUSPEND:
            self._note(ClockChangeKind.SUSPENDED, asleep, seen.wall)
        if abs(stepped) >= self.STEP + self.SLEW * continuous:
            forward = stepped > 0
            kind = ClockChangeKind.STEP_FORWARD if forward else ClockChangeKind.STEP_BACKWARD
            self._note(kind, abs(stepped), seen.wall)

    def _note(self, kind: ClockChangeKind, amount: float, at: datetime) -> None:
        self._pending.append(ClockChange(kind=kind, amount=amount, at=at))

    def _read(self) -> ClockReading:
        """The three clocks at one moment: read again if the process was delayed in between."""
        for _ in range(self._TRIES):
            before = self._clock.continuous()
            reading = ClockReading(self._clock.now(), self._clock.awake(), self._clock.continuous())
            if reading.continuous - before < self._SETTLED:
                break
        return reading
