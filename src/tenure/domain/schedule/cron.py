"""A cron expression as sets of local times: days, and seconds of a day.

Authority: ``cronsim`` reads the expression and decides which days match (Debian cron's grammar
and its rule for day-of-month with day-of-week). This module only counts: the times of a matching
day are all hours x minutes x seconds, so the number of fires before a time is arithmetic (its
*rank*), and the n-th is found by division. Days are remembered by the shape of their month (the
weekday of its first, its length), of which there are 28.

No time zones here: a *local second* is seconds since 1970-01-01 00:00 on the wall clock.
Immutable but for memos that any thread may fill with the same answer.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from itertools import pairwise

from cronsim import CronSim, CronSimError

from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.zones import DAY, EPOCH, EPOCH_DAY

_FIELDS = {
    "second": "seconds are 0-59",
    "minute": "minutes are 0-59",
    "hour": "hours are 0-23",
    "day-of-month": "days are 1-31, L (the last) or LW (the last weekday), and must exist",
    "month": "months are 1-12 or JAN-DEC",
    "day-of-week": "weekdays are 0-7 or SUN-SAT, also 5L (last Friday) and MON#2 (second Monday)",
}
_ORDER_5 = "minute hour day month weekday, such as 30 9 * * MON-FRI"
_ORDER_6 = "second minute hour day month weekday, seconds first, such as 0 30 9 * * MON-FRI"

_shape = lru_cache(maxsize=4096)(monthrange)


@dataclass(frozen=True, slots=True, kw_only=True)
class CronFields:
    """The parsed fields; ``fixed`` is true for what Debian cron treats as a fixed-time job."""

    expression: str
    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]
    months: frozenset[int]
    fixed: bool
    rule: CronSim
    """Asked for matching days only, which does not change it."""
    memo: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict, compare=False)

    @property
    def per_day(self) -> int:
        """Fires on a matching day."""
        return len(self.hours) * len(self.minutes) * len(self.seconds)

    def rank(self, second: int) -> int:
        """How many times of day come before this second of the day."""
        hour, rest = divmod(second, 3600)
        minute, second = divmod(rest, 60)
        per_minute = len(self.seconds)
        i = bisect_left(self.hours, hour)
        rank = i * len(self.minutes) * per_minute
        if i < len(self.hours) and self.hours[i] == hour:
            j = bisect_left(self.minutes, minute)
            rank += j * per_minute
            if j < len(self.minutes) and self.minutes[j] == minute:
                rank += bisect_left(self.seconds, second)
        return rank

    def nth(self, n: int) -> int:
        """The second of the day with rank ``n``."""
        n, second = divmod(n, len(self.seconds))
        hour, minute = divmod(n, len(self.minutes))
        return self.hours[hour] * 3600 + self.minutes[minute] * 60 + self.seconds[second]

    def days(self, year: int, month: int) -> tuple[int, ...]:
        """The matching days of a month, ascending."""
        if month not in self.months:
            return ()
        shape = _shape(year, month)
        days = self.memo.get(shape)
        if days is None:
            every = range(1, shape[1] + 1)
            days = tuple(d for d in every if self.rule.match_day(date(year, month, d)))
            self.memo[shape] = days
        return days

    def first_in(self, start: int, end: int) -> int | None:
        """The first matching local second in ``[start, end)``."""
        day, second = divmod(start, DAY)
        today = date.fromordinal(day + EPOCH_DAY)
        year, month = today.year, today.month
        days = self.days(year, month)
        i = bisect_left(days, today.day)
        if i < len(days) and days[i] == today.day:
            rank = self.rank(second)
            if rank < self.per_day:
                match = day * DAY + self.nth(rank)
                return match if match < end else None
            i += 1
        while i == len(days):
            year, month, i = year + month // 12, month % 12 + 1, 0
            if _local(year, month, 1) >= end:
                return None
            days = self.days(year, month)
        match = _local(year, month, days[i]) + self.nth(0)
        return match if match < end else None

    def last_in(self, start: int, end: int) -> int | None:
        """The last matching local second in ``[start, end)``."""
        day, second = divmod(end, DAY)
        today = date.fromordinal(day + EPOCH_DAY)
        year, month = today.year, today.month
        days = self.days(year, month)
        i = bisect_left(days, today.day)
        if i < len(days) and days[i] == today.day:
            rank = self.rank(second)
            if rank > 0:
                match = day * DAY + self.nth(rank - 1)
                return match if match >= start else None
        while i == 0:
            if _local(year, month, 1) <= start:
                return None
            year, month = (year, month - 1) if month > 1 else (year - 1, 12)
            days = self.days(year, month)
            i = len(days)
        match = _local(year, month, days[i - 1]) + self.nth(self.per_day - 1)
        return match if match >= start else None

    def count_in(self, start: int, end: int) -> int:
        """How many matching local seconds lie in ``[start, end)``; a step for each month."""
        if end <= start:
            return 0
        return self._count_to(end, start // DAY) - self._count_to(start, start // DAY)

    def _count_to(self, end: int, first_day: int) -> int:
        """Matches from the start of ``first_day`` up to a local second."""
        last_day, second = divmod(end, DAY)
        first = date.fromordinal(first_day + EPOCH_DAY)
        last = date.fromordinal(last_day + EPOCH_DAY)
        days = self.days(last.year, last.month)
        i = bisect_left(days, last.day)
        partial = self.rank(second) if i < len(days) and days[i] == last.day else 0
        whole = i - bisect_left(self.days(first.year, first.month), first.day)
        for year, month in _months(first, last):
            whole += len(self.days(year, month))
        return whole * self.per_day + partial

    def fires_at_all(self) -> bool:
        """Whether any day matches: 28 years hold every shape of every month."""
        return any(self.days(year, month) for year in range(2000, 2028) for month in self.months)


def _months(first: date, last: date) -> Iterator[tuple[int, int]]:
    """The months from that of ``first`` up to, without, that of ``last``."""
    for n in range(first.year * 12 + first.month - 1, last.year * 12 + last.month - 1):
        yield n // 12, n % 12 + 1


def _local(year: int, month: int, day: int) -> int:
    return (date(year, month, day).toordinal() - EPOCH_DAY) * DAY


@lru_cache(maxsize=1024)
def read_cron(expression: str) -> CronFields:
    """Parse five or six fields (seconds first). Raises :class:`InvalidInput` on ``schedule``."""
    expression = " ".join(expression.upper().split())
    count = expression.count(" ") + 1
    if count not in (5, 6):
        raise InvalidInput(
            f"a cron expression has five or six fields; {expression!r} has {count}",
            field="schedule",
            remedy=f"write {_ORDER_5}"
            if count < 6
            else f"a year field is not supported; write {_ORDER_6}",
        )
    try:
        rule = CronSim(expression, EPOCH)
    except CronSimError as error:
        name = str(error).removeprefix("Bad ")
        order = f"five fields are {_ORDER_5}" if count == 5 else f"six fields are {_ORDER_6}"
        raise InvalidInput(
            f"the {name} field of {expression!r} is not valid",
            field="schedule",
            remedy=f"write * for ?; {order}" if "?" in expression else f"{_FIELDS[name]}; {order}",
        ) from error
    fields = CronFields(
        expression=expression,
        hours=tuple(sorted(rule.hours)),
        minutes=tuple(sorted(rule.minutes)),
        seconds=tuple(sorted(rule.seconds)),
        months=frozenset(rule.months),
        fixed=count == 5
        and not rule.parts[1].startswith("*")
        and not rule.parts[2].startswith("*"),
        rule=rule,
    )
    if not fields.fires_at_all():
        raise InvalidInput(
            f"no day of any year matches {expression!r}, so it would never run",
            field="schedule",
            remedy="check day and month; L is the last day of a month, such as 0 3 L * *",
        )
    return fields


@lru_cache(maxsize=1024)
def smallest_gap(expression: str) -> int:
    """Seconds between the closest two of the first 64 local times of 2024 and later."""
    fields = read_cron(expression)
    last, end = _local(2024, 1, 1) - 1, _local(2424, 1, 1)
    fires: list[int] = []
    while len(fires) < 64 and (following := fields.first_in(last + 1, end)) is not None:
        last = following
        fires.append(last)
    return min(later - earlier for earlier, later in pairwise(fires))
