"""Instants and spans for people: in the job's zone, and relative to now."""

from __future__ import annotations

from datetime import datetime, timedelta

from tenure.domain.schedule.zones import load_zone

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def span(value: timedelta) -> str:
    """About how long: ``4 min``, ``2 h``, ``3 d``; the largest unit, two below ten hours."""
    seconds = abs(value.total_seconds())
    if seconds < 1:
        return f"{round(seconds * 1000)} ms" if seconds >= 0.001 else "0 s"
    if 3600 <= seconds < 36000:
        hours, rest = divmod(round(seconds / 60), 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    for size, unit in _UNITS:
        if seconds >= size:
            count = seconds / size
            return f"{count:.1f} {unit}" if unit == "s" and count < 10 else f"{int(count)} {unit}"
    raise AssertionError(seconds)


def relative(at: datetime, now: datetime) -> str:
    """``in 4 min``, ``2 h ago``, ``now``."""
    away = at - now
    if abs(away) < timedelta(seconds=1):
        return "now"
    return f"in {span(away)}" if away > timedelta(0) else f"{span(away)} ago"


def local(at: datetime, zone: str) -> str:
    """The wall clock of a zone, with its abbreviation."""
    there = at.astimezone(load_zone(zone))
    return f"{there:%Y-%m-%d %H:%M:%S} {there:%Z}"


def when(at: datetime | None, zone: str, now: datetime) -> str:
    """``2030-01-31 09:00:00 CET (in 4 min)``; a dash for never."""
    return "-" if at is None else f"{local(at, zone)} ({relative(at, now)})"
