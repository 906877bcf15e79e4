"""The words of a cron schedule, read back: what they claim, compared with what fires.

Words that are wrong are worse than none. So the words that :mod:`tenure.domain.schedule.words`
makes are read here by a small grammar that knows nothing of the expression, and
:func:`is_true` compares what they claim with the fields that decide the fires: the times of a day,
the months, and the days of each of the 28 shapes that a month can have. What cannot be read back,
or claims something else, is not said.
"""

from __future__ import annotations

import contextlib
import re
from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from tenure.domain.schedule.cron import CronFields, read_cron

_NUMBERS = {
    "first": 1,
    "second": 2,
    "third": 3,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "seventh": 7,
    "eighth": 8,
    "ninth": 9,
}
_MONTHS = (
    "",
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DIGITS = re.compile(r"(\d+)(?:st|nd|rd|th)?")
_CLOCK = re.compile(r"(\d\d):(\d\d)(?::(\d\d))?")
_EVERY = re.compile(r"every (?:(\w+) )?%s(?: from (\w+) through (\w+))?")

Times = frozenset[tuple[int, int, int]]
Days = Callable[[date], bool]


class UnclearWords(ValueError):
    """The words cannot be read, or could be read in two ways."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What words say: times of a day as hour, minute and second, the months, and the days."""

    hours: frozenset[int]
    minutes: frozenset[int]
    seconds: frozenset[int]
    listed: Times | None
    """Times that are said one by one; they count instead of the three sets."""
    months: frozenset[int]
    days: Days
    said_of_days: str

    def has_times(self, fields: CronFields) -> bool:
        """Whether the times of a day are those of ``fields``."""
        if self.listed is None:
            said = (self.hours, self.minutes, self.seconds)
            return said == tuple(map(frozenset, (fields.hours, fields.minutes, fields.seconds)))
        return len(self.listed) == fields.per_day and all(
            hour in fields.hours and minute in fields.minutes and second in fields.seconds
            for hour, minute, second in self.listed
        )


def is_true(words: str, fields: CronFields) -> bool:
    """Whether the words claim exactly the fires of these fields, on the wall clock of a day."""
    try:
        claim = read(words)
    except UnclearWords:
        return False
    day_fields = " ".join(fields.expression.split(" ")[-3:])
    return claim.has_times(fields) and _has_days(claim.said_of_days, day_fields)


@lru_cache(maxsize=1024)
def _has_days(said: str, day_fields: str) -> bool:
    """Whether the words of the days are those of the fields; many expressions share these."""
    months, days = _dates(said)
    fields = read_cron(f"0 0 {day_fields}")
    return months == fields.months and all(
        days(day) == fields.rule.match_day(day) for day in days_of_each_shape(months)
    )


def read(words: str) -> Claim:
    """What the words claim. Raises Unclear."""
    low = words.lower()
    for at in (*(m.start() for m in re.finditer(r" (?=on |in |every day\b)", low)), len(low)):
        try:
            hours, minutes, seconds, listed = _times(low[:at])
            said = low[at:].strip()
            months, days = _dates(said)
        except UnclearWords:
            continue
        return Claim(hours, minutes, seconds, listed, months, days, said)
    raise UnclearWords(words)


# -- times of a day ------------------------------------------------------------------------------
_ALL_HOURS, _SIXTY, _ZERO = frozenset(range(24)), frozenset(range(60)), frozenset({0})
_TimesRead = tuple[frozenset[int], frozenset[int], frozenset[int], Times | None]


def _times(text: str) -> _TimesRead:
    if text == "every second":
        return _ALL_HOURS, _SIXTY, _SIXTY, None
    if text == "every minute":
        return _ALL_HOURS, _SIXTY, _ZERO, None
    if text == "at the start of every hour":
        return _ALL_HOURS, _ZERO, _ZERO, None
    if match := re.fullmatch(r"every (\d+) minutes, from the full hour", text):
        return _ALL_HOURS, frozenset(range(0, 60, int(match[1]))), _ZERO, None
    if match := re.fullmatch(r"(.+) of every minute", text):
        return _ALL_HOURS, _SIXTY, _part(match[1], "second", 60), None
    if match := re.fullmatch(r"(.+) of every hour", text):
        return _ALL_HOURS, _part(match[1], "minute", 60), _ZERO, None
    if match := re.fullmatch(r"(every .*minute) from (\S+) through (\S+)", text):
        return _between(match[1], _clock(match[2]), _clock(match[3]))
    if match := re.fullmatch(r"(.+) past (.+)", text):
        minutes, seconds = _minutes_and_seconds(match[1])
        return _part(match[2], "hour", 24), minutes, seconds, None
    if text.startswith("at "):
        listed = frozenset(_clock(item) for item in _items(text[3:]))
        return frozenset(), frozenset(), frozenset(), listed
    raise UnclearWords(text)


def _between(minute: str, first: tuple[int, int, int], last: tuple[int, int, int]) -> _TimesRead:
    """``every minute from 09:00 through 17:59``; within one hour from any minute to any."""
    if first[0] == last[0] and minute == "every minute":
        minutes = frozenset(range(first[1], last[1] + 1))
    elif (first[1], last[1]) == (0, 59):
        minutes = _part(minute, "minute", 60)
    else:
        raise UnclearWords(minute)
    return frozenset(range(first[0], last[0] + 1)), minutes, _ZERO, None


def _minutes_and_seconds(text: str) -> tuple[frozenset[int], frozenset[int]]:
    if "second" not in re.sub(r"every second minute", "", text):
        return _part(text, "minute", 60), _ZERO
    for match in re.finditer(" ", text):
        try:
            seconds = _part(text[: match.start()], "second", 60)
            return _part(text[match.end() :], "minute", 60), seconds
        except UnclearWords:
            continue
    raise UnclearWords(text)


def _part(text: str, unit: str, size: int) -> frozenset[int]:
    """``minutes 1, 3, and 5``, ``every 15th minute``, ``minute 1 and every minute from 5 ...``."""
    text = text.removeprefix("at ")
    if text.startswith(f"{unit}s "):
        return frozenset(_number(item) for item in _items(text.removeprefix(f"{unit}s ")))
    numbers: set[int] = set()
    for item in _items(text):
        if item.startswith(f"{unit} "):
            numbers.add(_number(item.removeprefix(f"{unit} ")))
        else:
            numbers.update(_every(item, unit, 0, size - 1, _number))
    return frozenset(numbers)


def _every(
    text: str, unit: str, low: int, high: int, number: Callable[[str], int]
) -> Iterator[int]:
    match = re.fullmatch(_EVERY.pattern % unit, text)
    if match is None:
        raise UnclearWords(text)
    step = _number(match[1]) if match[1] else 1
    if match[2]:
        low, high = number(match[2]), number(match[3])
    elif (high - low + 1) % step:
        raise UnclearWords(f"{text}: it does not go on evenly")
    yield from range(low, high + 1, step)


# -- days ----------------------------------------------------------------------------------------
def _dates(text: str) -> tuple[frozenset[int], Days]:
    """The months and the days; no text is every day."""
    if text in ("", "every day"):
        return frozenset(range(1, 13)), lambda day: True
    if match := re.fullmatch(r"every day in (.+)", text):
        return _months(match[1]), lambda day: True
    if match := re.fullmatch(r"on the (\w+) (week)?day of (?!month|the month)(.+)", text):
        return _months(match[3]), _day_of_month(match[1], weekday=match[2] is not None)
    if (match := re.fullmatch(r"on (\w+) (\d+)", text)) and match[1] in _MONTHS:
        return _months(match[1]), _day_of_month(match[2], weekday=False)
    months = frozenset(range(1, 13))
    if match := re.fullmatch(r"(?:(.+) )?in (.+)", text):
        text, months = match[1] or "", _months(match[2])
    return months, _days(text)


def _days(text: str) -> Days:
    if not text:
        return lambda day: True
    if match := re.fullmatch(r"on (.+?) (or|if it's) on (.+)", text):
        first, second = _month_days(match[1]), _weekdays(match[3])
        if match[2] == "or":
            return lambda day: first(day) or second(day)
        return lambda day: first(day) and second(day)
    text = text.removeprefix("on ")
    try:
        return _month_days(text)
    except UnclearWords:
        return _weekdays(text)


def _month_days(text: str) -> Days:
    if match := re.fullmatch(r"every (\w+) day of the month, from the 1st", text):
        listed = frozenset(range(1, 32, _number(match[1])))
        return lambda day: day.day in listed
    if match := re.fullmatch(r"(.+) day of month", text):
        words = [item.removeprefix("the ") for item in _items(match[1])]
        with contextlib.suppress(UnclearWords):
            listed_days = [_day_of_month(word, weekday=False) for word in words]
            return lambda day: any(test(day) for test in listed_days)
    tests: list[Days] = []
    found: set[int] = set()
    for item in _items(text):
        if item in ("the last day of the month", "the last weekday of the month"):
            tests.append(_day_of_month("last", weekday="weekday" in item))
        elif match := re.fullmatch(r"the (\w+) day of month", item):
            found.add(_number(match[1]))
        else:
            found.update(_every(item, "day of month", 1, 31, _number))
    return lambda day: day.day in found or any(test(day) for test in tests)


def _day_of_month(word: str, *, weekday: bool) -> Days:
    if word != "last":
        if weekday:
            raise UnclearWords(word)
        number = _number(word)
        return lambda day: day.day == number

    def last(day: date) -> bool:
        end = day.replace(day=monthrange(day.year, day.month)[1])
        while weekday and end.weekday() >= 5:
            end -= timedelta(days=1)
        return day == end

    return last


def _weekdays(text: str) -> Days:
    tests: list[Days] = []
    for item in _items(text):
        if match := re.fullmatch(r"the (\w+) (\w+day) of the month", item):
            tests.append(_nth_weekday(match[1], _weekday(match[2])))
        elif match := re.fullmatch(r"(\w+day) through (\w+day)", item):
            tests.append(_within(range(_weekday(match[1], first=True), _weekday(match[2]) + 1)))
        elif match := re.fullmatch(r"every (\w+) day of week from (\w+day) through (\w+day)", item):
            first, last = _weekday(match[2], first=True), _weekday(match[3])
            tests.append(_within(range(first, last + 1, _number(match[1]))))
        else:
            tests.append(_within(range(_weekday(item), _weekday(item) + 1)))
    return lambda day: any(test(day) for test in tests)


def _within(numbers: range) -> Days:
    """Weekdays as numbers from Monday, 0, to Sunday, 6, which is also -1."""
    days = {number % 7 for number in numbers}
    return lambda day: day.weekday() in days


def _nth_weekday(word: str, weekday: int) -> Days:
    if word == "last":
        return lambda day: day.weekday() == weekday and (day + timedelta(days=7)).month != day.month
    number = _number(word)
    return lambda day: day.weekday() == weekday and (day.day + 6) // 7 == number


def _weekday(word: str, *, first: bool = False) -> int:
    if word not in _WEEKDAYS:
        raise UnclearWords(word)
    return -1 if first and word == "sunday" else _WEEKDAYS.index(word)


def _months(text: str) -> frozenset[int]:
    numbers: set[int] = set()
    for item in _items(text):
        if item in _MONTHS[1:]:
            numbers.add(_MONTHS.index(item))
        else:
            numbers.update(_every(item, "month", 1, 12, _month))
    return frozenset(numbers)


def _month(word: str) -> int:
    if word not in _MONTHS[1:]:
        raise UnclearWords(word)
    return _MONTHS.index(word)


# -- the smallest parts --------------------------------------------------------------------------
def _items(text: str) -> list[str]:
    return re.split(r", and |, (?!from)| and ", text)


def _number(word: str) -> int:
    if match := _DIGITS.fullmatch(word):
        return int(match[1])
    if word in _NUMBERS:
        return _NUMBERS[word]
    raise UnclearWords(word)


def _clock(word: str) -> tuple[int, int, int]:
    match = _CLOCK.fullmatch(word)
    if match is None:
        raise UnclearWords(word)
    return int(match[1]), int(match[2]), int(match[3] or 0)


@lru_cache(maxsize=64)
def days_of_each_shape(months: frozenset[int]) -> tuple[date, ...]:
    """The days of a month of each shape that these months take: 28 years hold them all."""
    months_by_shape = {monthrange(y, m): (y, m) for y in range(2000, 2028) for m in months}
    return tuple(
        date(year, month, day)
        for (_, length), (year, month) in months_by_shape.items()
        for day in range(1, length + 1)
    )
