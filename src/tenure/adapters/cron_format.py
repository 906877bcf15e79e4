"""Sets of minutes, hours, days as the cron fields that Tenure reads back to the same sets.

A word that means the same here is kept as it was written. Whether a field begins with a star is
kept in any case: it decides whether day and weekday must both match, and what a change of the
clocks does. Pure; safe from any thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.cron import CronFields, read_cron

SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY = range(6)
NAMES = ("second", "minute", "hour", "day-of-month", "month", "day-of-week")
RANGES = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
"""First and last of each; Sunday is 0."""


def spell(place: int, word: str, values: Iterable[int], *, star: bool) -> str:
    """The field: ``word`` if it is read here as these ``values``, else the values.

    ``star``: it is to begin with one. Raises InvalidInput where such a field cannot be written.
    """
    wanted = tuple(sorted(set(values)))
    if word.startswith("*") == star and read_values(place, word) == wanted:
        return word
    if not star:
        return listed(wanted)
    low, high = RANGES[place]
    for step in range(1, high - low + 2):
        if wanted == tuple(range(low, high + 1, step)):
            return "*" if step == 1 else f"*/{step}"
    raise InvalidInput(f"{word!r} cannot be written as one field", field="schedule")


def listed(values: tuple[int, ...]) -> str:
    """``1-5``, ``0-45/15`` or ``1,3,4``; no star. ``values``: ascending."""
    gaps = {later - earlier for earlier, later in pairwise(values)}
    if len(values) > 2 and len(gaps) == 1:
        step = gaps.pop()
        return f"{values[0]}-{values[-1]}" + (f"/{step}" if step > 1 else "")
    return ",".join(map(str, values))


def read_values(place: int, word: str) -> tuple[int, ...] | None:
    """What Tenure makes of a field; None if it refuses it or it names no plain values."""
    words = ["*"] * (6 if place == SECOND else 5)
    words[0 if place == SECOND else place - 1] = word
    try:
        fields = read_cron(" ".join(words))
    except InvalidInput:
        return None
    values = _values(place, fields)
    return None if values is None else tuple(sorted(values))


def _values(place: int, fields: CronFields) -> Iterable[int] | None:
    if place == DAY:
        special = any(not isinstance(day, int) or day < 1 for day in fields.rule.days)
        return None if special else fields.days(2024, 1)
    if place == WEEKDAY:
        weekdays = fields.rule.weekdays
        whole = {day % 7 for day in weekdays if isinstance(day, int)}
        return whole if all(isinstance(day, int) for day in weekdays) else None
    plain: dict[int, Iterable[int]] = {
        SECOND: fields.seconds, MINUTE: fields.minutes, HOUR: fields.hours, MONTH: fields.months,
    }  # fmt: skip
    return plain[place]
