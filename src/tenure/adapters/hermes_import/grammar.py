"""Hermes' schedules: its grammar to the letter, also in what it refuses, and what it stores.

::

    schedule = "every " duration                 each so much, from the end of the last run
             | cron                              five to seven fields, numbers only (croniter)
             | instant                           once: 2030-01-31, 2030-01-31T09:00[:00][Z|+01:00]
             | duration                          once, that long from now
    duration = digits (m | min | mins | minute | minutes | h | hr | ... | d | day | days)

It is read in that order, and each step has corners that were measured with 0.16.0, 0.18.2 and
0.19.0: whatever contains a capital ``T`` must be an instant (so ``30 MINUTES`` is none), names as
in ``MON`` make it no cron expression, there are no seconds, no ``@daily`` and no ``in 5m``.

Pure; safe from any thread. Instants are aware; durations are whole minutes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum

from tenure.adapters.hermes_import.croniter_rules import read_expression
from tenure.domain.errors import InvalidInput

_DURATION = re.compile(
    r"(\d+)\s*(m|min|mins|minute|minutes|h|hr|hrs|hour|hours|d|day|days)", re.UNICODE
)
_MINUTES = {"m": 1, "h": 60, "d": 1440}
_NUMBERS = re.compile(r"[\d*,/-]+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_REMEDY = "Hermes takes 30m, every 2h, 0 9 * * * or 2030-01-31T09:00"


class HermesKind(StrEnum):
    """Hermes' word for it."""

    ONCE = "once"
    INTERVAL = "interval"
    CRON = "cron"


@dataclass(frozen=True, slots=True, kw_only=True)
class HermesSchedule:
    """When Hermes runs a job. ``display`` is how Hermes shows it."""

    kind: HermesKind
    display: str
    run_at: datetime | None = None
    minutes: int | None = None
    expression: str | None = None


def parse(text: str, *, now: datetime, timezone: tzinfo) -> HermesSchedule:
    """Read what a user types to Hermes.

    ``now``: aware; ``timezone``: what instants without an offset are read in (0.16: the system's
    zone; later: Hermes' own, and where it has none, the system's offset at ``now``).

    Raises InvalidInput on ``schedule`` for what Hermes refuses. It does not say whether there is
    a fire: Hermes accepts ``every 0m`` and 30 February, too.
    """
    text = text.strip()
    if text.lower().startswith("every "):
        minutes = _duration(text[6:])
        if minutes is None:
            raise _no(text)
        return HermesSchedule(
            kind=HermesKind.INTERVAL, display=f"every {minutes}m", minutes=minutes
        )
    words = text.split()
    if len(words) >= 5 and all(_NUMBERS.fullmatch(word) for word in words[:5]):
        read_expression(text)
        return HermesSchedule(kind=HermesKind.CRON, display=text, expression=text)
    if "T" in text or _DATE.match(text):
        at = _instant(text, timezone)
        return HermesSchedule(
            kind=HermesKind.ONCE, display=f"once at {at:%Y-%m-%d %H:%M}", run_at=at
        )
    minutes = _duration(text)
    if minutes is None:
        raise _no(text)
    try:
        at = now.astimezone(timezone) + timedelta(minutes=minutes)
    except OverflowError:
        raise _no(text) from None
    return HermesSchedule(kind=HermesKind.ONCE, display=f"once in {text}", run_at=at)


def stored(schedule: object, *, timezone: tzinfo) -> HermesSchedule:
    """The schedule of a job in Hermes' file.

    ``timezone``: that of instants without an offset, the system's. Raises InvalidInput for one
    that Hermes would never run.
    """
    if not isinstance(schedule, Mapping):
        raise InvalidInput(
            f"its schedule is {_kind_of(schedule)}, which Hermes reads as none at all",
            field="schedule",
            remedy="give it a schedule in Hermes first: hermes cron edit ID --schedule ...",
        )
    display = str(schedule.get("display") or "")
    kind = schedule.get("kind")
    if kind == "once":
        at = _stored_instant(schedule.get("run_at"), timezone)
        return HermesSchedule(kind=HermesKind.ONCE, display=display or f"once at {at}", run_at=at)
    if kind == "interval":
        minutes = schedule.get("minutes")
        if not isinstance(minutes, int) or isinstance(minutes, bool) or minutes < 1:
            raise InvalidInput(f"it is to run every {minutes!r} minutes", field="schedule")
        return HermesSchedule(
            kind=HermesKind.INTERVAL, display=display or f"every {minutes}m", minutes=minutes
        )
    if kind == "cron":
        expression = schedule.get("expr")
        if not isinstance(expression, str) or not expression.strip():
            raise InvalidInput("its cron expression is missing", field="schedule")
        read_expression(expression)
        return HermesSchedule(
            kind=HermesKind.CRON, display=display or expression, expression=expression
        )
    raise InvalidInput(f"{kind!r} is no kind of schedule that Hermes has", field="schedule")


def instant_in(text: object, timezone: tzinfo) -> datetime | None:
    """An instant of Hermes' file, aware; None if it is none."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
        return at if at.utcoffset() is not None else at.replace(tzinfo=timezone)
    except (ValueError, OverflowError):
        return None


def _stored_instant(text: object, timezone: tzinfo) -> datetime:
    at = instant_in(text, timezone)
    if at is None:
        raise InvalidInput(f"{text!r} is no instant", field="schedule")
    return at


def _duration(text: str) -> int | None:
    """Minutes; None if it is no duration."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        return None
    try:
        return int(match[1]) * _MINUTES[match[2][0]]
    except ValueError:  # more digits than Python converts
        return None


def _instant(text: str, timezone: tzinfo) -> datetime:
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return at if at.tzinfo is not None else at.replace(tzinfo=timezone)
    except ValueError:
        raise _no(text) from None


def _kind_of(value: object) -> str:
    return "missing" if value is None else f"{value!r}, not a table"


def _no(text: str) -> InvalidInput:
    return InvalidInput(f"{text[:80]!r} is no schedule to Hermes", field="schedule", remedy=_REMEDY)
