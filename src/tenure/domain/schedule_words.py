"""Schedules and durations in English words. What cron expressions mean is said by ``cronsim``."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from tenure.domain.schedule_cron import read_cron
from tenure.domain.zones import load_zone

if TYPE_CHECKING:
    from tenure.domain.schedule import Schedule

_ORDINALS = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
_NTH = re.compile(rf"^every (\d+|{'|'.join(_ORDINALS)})(?:st|nd|rd|th)? minute of every hour\b")
"""Could be read as one minute of the hour, or as a second."""
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def duration_words(span: timedelta) -> str:
    """``1 hour 30 minutes``; the parser reads it back."""
    rest = span // timedelta(seconds=1)
    words = []
    for unit, size in _UNITS:
        number, rest = divmod(rest, size)
        count = str(number)
        if size == 1 and span.microseconds:
            count += f".{span.microseconds:06}".rstrip("0")
        if count != "0":
            words.append(f"{count} {unit}" + ("" if count == "1" else "s"))
    return " ".join(words)


@lru_cache(maxsize=4096)
def in_words(schedule: Schedule) -> str:
    """``every 30 seconds``, ``at 03:00 every day (Europe/Berlin)``, ``once at ... (UTC)``."""
    zone = schedule.timezone
    if schedule.kind == "foreign":
        return f"{schedule.text}, as another scheduler plans it"
    if schedule.kind == "unreadable":
        return f"{schedule.text}, which cannot be read here"
    if schedule.expression is not None:
        said = read_cron(schedule.expression).rule.explain()
        rule = "" if schedule.dst.cron else f", {schedule.dst}"
        return f"{_NTH.sub(_each, said[0].lower() + said[1:])} ({zone}{rule})"
    if schedule.at is not None:
        local = schedule.at.astimezone(load_zone(zone)).replace(tzinfo=None)
        exact = "seconds" if local.second or local.microsecond else "minutes"
        return f"once at {local.isoformat(' ', exact)} ({zone})"
    words = duration_words(schedule.interval or timedelta())
    return "every " + (words[2:] if words in ("1 day", "1 hour", "1 minute", "1 second") else words)


def _each(match: re.Match[str]) -> str:
    word = match[1]
    number = _ORDINALS.index(word) + 2 if word in _ORDINALS else int(word)
    return f"every {number} minutes, from the full hour"
