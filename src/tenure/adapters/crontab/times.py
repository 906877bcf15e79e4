"""The five fields of a crontab line, as the expression that fires alike here.

Authority: ``get_list`` and what it calls in Debian's cron and in cronie. A list of ranges,
``*`` or numbers or names with ``-`` between them, a step only behind a range or a star. Both day
fields at once: either suffices, unless one begins with a star. Pure; safe from any thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice

from tenure.adapters.cron_format import (
    DAY,
    HOUR,
    MINUTE,
    MONTH,
    NAMES,
    RANGES,
    WEEKDAY,
    spell,
)
from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.cron import read_cron
from tenure.domain.schedule.model import Schedule
from tenure.domain.schedule.parser import MAX_LENGTH
from tenure.domain.schedule.zones import stretches_from, to_instant, to_seconds

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
_DAYS = "sun mon tue wed thu fri sat"
_ABBREVIATIONS = {
    MONTH: {name: i for i, name in enumerate(_MONTHS.split(), 1)},
    WEEKDAY: {name: i for i, name in enumerate(_DAYS.split())},
}
_PLACES = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)
_AHEAD = timedelta(days=400)


class Dialect(StrEnum):
    """Whose rules hold where they part."""

    DEBIAN = "debian"
    """The ``cron`` of Debian and Ubuntu."""
    CRONIE = "cronie"
    """That of Fedora, Red Hat, SUSE and Arch."""


def check_times(words: Sequence[str], dialect: Dialect) -> None:
    """Raise InvalidInput, naming the field, for text that cron does not read or understand."""
    for place, word in zip(_PLACES, words, strict=True):
        _values(place, word, dialect)


def expression_of(words: Sequence[str], dialect: Dialect) -> str:
    """The expression for Tenure. Raises InvalidInput for a day that never comes."""
    values = [_values(place, word, dialect) for place, word in zip(_PLACES, words, strict=True)]
    if sum(map(len, words)) > MAX_LENGTH - len(words):
        # The values are shorter.
        words = [w if w.startswith("*") else "" for w in words]
    parts = [
        spell(place, word, these, star=word.startswith("*"))
        for place, word, these in zip(_PLACES, words, values, strict=True)
    ]
    expression = " ".join(parts)
    try:
        return read_cron(expression).expression.lower()
    except InvalidInput:
        # Each field can be read, so that it is the days that never come.
        raise InvalidInput(
            f"no day of any year matches {expression!r}: cron never runs it"
        ) from None


def _values(place: int, word: str, dialect: Dialect) -> set[int]:
    values: set[int] = set()
    for part in word.split(","):
        try:
            values |= _range(place, part, dialect)
        except InvalidInput as error:
            text = f"{NAMES[place]} {word[:40]!r}: {error.text}"
            raise InvalidInput(text, remedy=error.remedy) from None
    return values


def _range(place: int, part: str, dialect: Dialect) -> set[int]:
    low, high = RANGES[place]
    high = 7 if place == WEEKDAY else high
    span, slash, step = part.partition("/")
    first, dash, last = span.partition("-")
    if "~" in part:
        raise InvalidInput(
            "cronie chooses a random number there", remedy="write one; --jitter spreads jobs"
        )
    if slash and not dash and span != "*":
        raise InvalidInput("a step needs a range", remedy=f"write {span}-{high}/{step}")
    if span == "*":
        begin, end = low, high
    else:
        begin = _number(place, first, high)
        end = _number(place, last, high) if dash else begin
    if begin > end:
        debian = "Debian's cron matches nothing, so it never runs"
        why = debian if dialect is Dialect.DEBIAN else "cronie refuses it"
        rest = "" if end == low else f",{low}-{last}"
        remedy = f"write {first}-{high}{rest}"
        raise InvalidInput(f"the range runs backwards; {why}", remedy=remedy)
    if slash and not (_is_number(step) and int(step) > 0):
        raise InvalidInput(f"{step[:20]!r} is not a valid step")
    values = set(range(begin, end + 1, int(step) if slash else 1))
    return {day % 7 for day in values} if place == WEEKDAY else values


def _number(place: int, text: str, high: int) -> int:
    named = _ABBREVIATIONS.get(place, {})
    if text.lower() in named:
        return named[text.lower()]
    low = RANGES[place][0]
    if not _is_number(text):
        what = f"{low} to {high}" + (", or a name such as " + next(iter(named)) if named else "")
        raise InvalidInput(f"{text[:20]!r} is not valid here: use {what}")
    if not low <= int(text) <= high:
        raise InvalidInput(f"{text} is not from {low} to {high}")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def doubled_in_gaps(schedule: Schedule, now: datetime) -> tuple[datetime, int] | None:
    """When clocks next jump so that several fires of a job at fixed times meet, and how many.

    cron then runs it once for each of them; here it fires once, at the end of the gap.
    """
    fields = read_cron(schedule.expression or "")
    if not fields.fixed:
        return None
    start = to_seconds(now)
    for stretch in islice(stretches_from(schedule.timezone, start), 12):
        if stretch.start > start + _AHEAD.total_seconds():
            return None
        if stretch.start > start and stretch.before < stretch.offset:
            low, high = stretch.start + stretch.before, stretch.start + stretch.offset
            count = fields.count_in(low, high + 1)
            if count > 1:
                return to_instant(stretch.start), count
    return None
