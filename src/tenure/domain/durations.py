"""Durations as people write them: ``"90s"``, ``"1h30m"``, ``"2d"``.

A duration is whole numbers, each with its unit, the larger units first and each at most once:
``w`` (7 days), ``d`` (24 hours), ``h``, ``m`` (minutes), ``s``, ``ms``. Blanks between the parts
are allowed. A number without a unit is refused: whether ``90`` is seconds or minutes is a guess.
A day is 24 hours here, whatever the zone does; calendar days belong to schedules.
"""

from __future__ import annotations

import re
from datetime import timedelta

from tenure.domain.errors import InvalidInput

_UNITS_MS = {
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_ORDER = list(_UNITS_MS)
_WHOLE = re.compile(r"(?:[0-9]{1,15} ?(?:ms|[wdhms]) ?)+")
_PART = re.compile(r"([0-9]{1,15}) ?(ms|[wdhms])")

_UNIT_WORDS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))

LONGEST = timedelta(days=3660)
"""Nothing that Tenure waits for or keeps is measured in more than ten years."""

_REMEDY = 'write for example "90s", "5m", "1h30m" or "2d"'


def parse_duration(
    text: object,
    field: str,
    *,
    minimum: timedelta = timedelta(0),
    maximum: timedelta = LONGEST,
) -> timedelta:
    """The duration that ``text`` spells, between ``minimum`` and ``maximum`` (both included).

    Raises :class:`InvalidInput`, naming ``field``, for anything else, numbers included.
    """
    if not isinstance(text, str):
        raise InvalidInput(
            f"a duration is text with a unit, not {type(text).__name__}",
            field=field,
            remedy=_REMEDY,
        )
    written = text.strip()
    if written.startswith("-"):
        raise InvalidInput("a duration cannot be negative", field=field, remedy=_REMEDY)
    if written.isascii() and written.isdigit():
        raise InvalidInput(
            f'"{_short(written)}" has no unit',
            field=field,
            remedy=f'write for example "{_short(written)}s"',
        )
    value = _milliseconds(written, field)
    if value < _as_ms(minimum):
        raise InvalidInput(
            f'"{_short(written)}" is too short; at least {format_duration(minimum)}', field=field
        )
    if value > _as_ms(maximum):
        raise InvalidInput(
            f'"{_short(written)}" is too long; at most {format_duration(maximum)}', field=field
        )
    return timedelta(milliseconds=value)


def format_duration(value: timedelta) -> str:
    """``value`` as :func:`parse_duration` reads it, exact to the millisecond (rounded to it)."""
    left = round(value / timedelta(milliseconds=1))
    sign, left = ("-", -left) if left < 0 else ("", left)
    parts = []
    for unit in _ORDER[1:]:
        count, left = divmod(left, _UNITS_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return sign + "".join(parts) if parts else "0s"


def describe_duration(span: timedelta) -> str:
    """``1 hour 30 minutes``, a text that the schedule parser reads."""
    rest = span // timedelta(seconds=1)
    words = []
    for unit, size in _UNIT_WORDS:
        number, rest = divmod(rest, size)
        count = str(number)
        if size == 1 and span.microseconds:
            count += f".{span.microseconds:06}".rstrip("0")
        if count != "0":
            words.append(f"{count} {unit}" + ("" if count == "1" else "s"))
    return " ".join(words)


def _milliseconds(written: str, field: str) -> int:
    if not _WHOLE.fullmatch(written):
        raise InvalidInput(
            f'"{_short(written)}" is not a valid duration', field=field, remedy=_REMEDY
        )
    total, last = 0, -1
    for count, unit in _PART.findall(written):
        place = _ORDER.index(unit)
        if place <= last:
            raise InvalidInput(
                f'"{_short(written)}" repeats a unit or puts a smaller one first',
                field=field,
                remedy=_REMEDY,
            )
        total, last = total + int(count) * _UNITS_MS[unit], place
    return total


def _as_ms(value: timedelta) -> float:
    return value / timedelta(milliseconds=1)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
