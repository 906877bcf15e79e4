"""How Hermes reads a cron expression, and the expression that says the same to Tenure.

Hermes leaves it to croniter (6.0). What is peculiar there, each measured:

* five fields; a sixth is the seconds, *last*; a seventh the year, up to 2099;
* ``5/15`` is ``5-max/15``; a range may wrap (``22-2``); one whose ends are equal (``1-1``, and so
  ``59/15``) is the whole field;
* 7 is Sunday in five fields only; with six fields day 0 is day 1;
* day and weekday: a day fires if *either* matches, unless one of them is every day. A step such
  as ``*/2`` is not every day (in Debian's cron, and here, a leading star makes it *both*);
* the sixth and seventh field may be random (``R``), drawn again each time.

Pure; safe from any thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.cron import CronFields, read_cron

_NAMES = ("minute", "hour", "day", "month", "weekday", "second", "year")
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6), (0, 59), (1970, 2099))
_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY, _SECOND, _YEAR = range(7)
_RANGE = re.compile(r"([^-]+)-([^-/]+)(?:/(\d+))?")
_RANDOM = re.compile(r"r(?:\((\d+)-(\d+)\))?(?:/(\d+))?")

Values = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CronReading:
    """What an expression means to Hermes: the values of each field, or None for every value."""

    text: str
    fields: tuple[Values | None, ...]
    """Minute, hour, day, month, weekday (0 is Sunday), and second and year where they are said."""
    random: frozenset[int] = frozenset()
    """The places of fields that are drawn again at each reading."""


def read_expression(text: str) -> CronReading:
    """Raises InvalidInput for what croniter refuses; accepts all that it accepts."""
    words = text.lower().split()
    if len(words) not in (5, 6, 7):
        raise _no(text, f"it has {len(words)} fields, not five, six or seven")
    try:
        fields = [_field(place, word, words) for place, word in enumerate(words)]
    except ValueError as error:
        reason = error.text if isinstance(error, InvalidInput) else str(error)
        raise _no(text, reason) from None
    random = frozenset(place for place, field in enumerate(fields) if field == ())
    return CronReading(text, tuple(fields), random)


def _field(place: int, word: str, words: Sequence[str]) -> Values | None:
    """The values of one field; None for every value, () for a random one. Raises ValueError."""
    if place >= _SECOND and word[:1] == "r":
        return _random(place, word)
    found: set[int] = set()
    star = False
    for element in word.split(","):
        if element == "*":
            star = True
            continue
        for value in _span(place, element, len(words)):
            found.add(_single(place, value, len(words)))
    if star or (len(found) == _size(place) and place not in (_DAY, _WEEKDAY)):
        return None
    other = words[_WEEKDAY if place == _DAY else _DAY]
    if len(found) == _size(place) and "*" in other:
        return None
    return tuple(sorted(found))


def _span(place: int, element: str, count: int) -> Iterable[int]:
    """The numbers that an element of a list stands for. Raises ValueError."""
    low, high = _RANGES[place]
    match = _RANGE.fullmatch(f"{low}-{high}{element[1:]}" if element[:2] == "*/" else element)
    if match is None and "/" in element:
        head, _, tail = element.rpartition("/")
        match = _RANGE.fullmatch(f"{head}-{high}/{tail}") if head and tail else None
    if match is None:
        if not element.isdecimal():
            raise ValueError(f"{element!r} is no {_NAMES[place]}")
        return (int(element),)
    if not (match[1].isdecimal() and match[2].isdecimal()):
        raise ValueError(f"{element!r} is no range of {_NAMES[place]}s")
    first, last = (_alias(place, int(match[i]), count) for i in (1, 2))
    step = int(match[3] or 1)
    if step == 0 or max(first, last) > high:
        raise ValueError(f"{element!r} is no range of {_NAMES[place]}s")
    if first == last:
        return range(low, high + 1, step)
    return range(first, last + 1, step) if first < last else _wrapped(place, first, last, step)


def _wrapped(place: int, first: int, last: int, step: int) -> list[int]:
    """``22-2``: to the end of the field, then on from its beginning. The step is not carried
    over exactly; this is how many values are left out there."""
    low, high = _RANGES[place]
    until = list(range(first, high + 1, step))
    left = high - until[-1]
    skipped = step - left if until[-1] - low + step > _size(place) and left < step else 0
    return until + list(range(low + skipped, last + 1, step))


def _single(place: int, value: int, count: int) -> int:
    low, high = _RANGES[place]
    value = _alias(place, value, count)
    if not low <= value <= high:
        raise ValueError(f"{value} is no {_NAMES[place]}; those are {low} to {high}")
    return value


def _alias(place: int, value: int, count: int) -> int:
    if place == _WEEKDAY and value == 7 and count == 5:
        return 0
    return 1 if place == _DAY and value == 0 and count == 6 else value


def _random(place: int, word: str) -> Values:
    match = _RANDOM.fullmatch(word)
    low, high = _RANGES[place]
    if match is None:
        raise ValueError(f"{word!r} is no {_NAMES[place]}")
    if match[1] and int(match[1]) >= int(match[2]):
        raise ValueError(f"{word!r} is an empty range")
    if match[3] and int(match[3]) == 0:
        raise ValueError(f"{word!r} has the step 0")
    if match[1] and not (low <= int(match[1]) and int(match[2]) <= high):
        raise ValueError(f"{word!r} is out of range")
    return ()


def _size(place: int) -> int:
    low, high = _RANGES[place]
    return high - low + 1


def tenure_expression(reading: CronReading) -> str:
    """The expression, seconds first, that fires at the same local times in Tenure.

    Fields keep their spelling where both read it alike. Raises InvalidInput where there is none.
    """
    if reading.random:
        raise InvalidInput(
            f"{reading.text!r} has a random field, drawn again each time",
            field="schedule",
            remedy="write a fixed value, and --jitter for a spread",
        )
    if len(reading.fields) > _YEAR and reading.fields[_YEAR] is not None:
        raise InvalidInput(
            f"{reading.text!r} names years",
            field="schedule",
            remedy="leave the seventh field out, or use a one-shot for each year",
        )
    words = reading.text.lower().split()
    fields = reading.fields
    both = fields[_DAY] is not None and fields[_WEEKDAY] is not None
    written = [_written(place, words[place], fields[place], both) for place in range(5)]
    if len(fields) > _SECOND and fields[_SECOND] != (0,):
        written.insert(0, _written(_SECOND, words[_SECOND], fields[_SECOND], both))
    expression = " ".join(written)
    read_cron(expression)
    return expression


def _written(place: int, word: str, values: Values | None, both: bool) -> str:
    """The field as Tenure has to read it. ``both``: day and weekday each name days, and either
    is to suffice, so that neither may begin with a star."""
    if values is None:
        return "*"
    starred = both and place in (_DAY, _WEEKDAY) and word.startswith("*")
    if not starred and word.isascii() and _as_tenure_reads(place, word) == values:
        return word
    if len(values) > 2 and len({b - a for a, b in pairwise(values)}) == 1:
        step = values[1] - values[0]
        return f"{values[0]}-{values[-1]}" + (f"/{step}" if step > 1 else "")
    return ",".join(map(str, values))


def _as_tenure_reads(place: int, word: str) -> Values | None:
    """The values of a field for Tenure; None if it refuses it."""
    words = ["*"] * 5
    if place == _SECOND:
        words.insert(0, word)
    else:
        words[place] = word
    try:
        rule = read_cron(" ".join(words))
    except InvalidInput:
        return None
    return tuple(sorted(_values_of(place, rule)))


def _values_of(place: int, fields: CronFields) -> Iterable[int]:
    if place == _MINUTE:
        return fields.minutes
    if place == _HOUR:
        return fields.hours
    if place == _SECOND:
        return fields.seconds
    if place == _MONTH:
        return fields.months
    if place == _DAY:
        return fields.days(2024, 1)
    return {day % 7 for day in fields.rule.weekdays if isinstance(day, int)}


def _no(text: str, reason: str) -> InvalidInput:
    return InvalidInput(
        f"{text!r} is no cron expression to Hermes: {reason}",
        field="schedule",
        remedy="minute hour day month weekday, in numbers, such as 0 9 * * 1-5",
    )
