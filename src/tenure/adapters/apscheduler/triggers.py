"""A trigger of APScheduler as a schedule that fires at the same local times.

What is peculiar to APScheduler's cron (3.0 to 3.11): weekdays count from Monday, 0; all fields
must match, day and weekday too, where in cron either suffices; there are years and ISO weeks; a
step is counted from the least value of the field, or from where its range begins; ``5/15`` is
``5-59/15``. What no cron expression says is refused, with the reason. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tenure.adapters.apscheduler.stored_job import (
    WEEKDAYS,
    CronTrigger,
    DateTrigger,
    Expression,
    IntervalTrigger,
    Trigger,
)
from tenure.adapters.cron_format import DAY, HOUR, MINUTE, MONTH, SECOND, listed, spell
from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.cron import read_cron
from tenure.domain.schedule.model import Schedule, at_schedule, cron_schedule, every_schedule
from tenure.domain.schedule.zones import load_zone

_BOUNDS = {
    "year": (1970, 9999), "month": (1, 12), "day": (1, 31), "week": (1, 53),
    "day_of_week": (0, 6), "hour": (0, 23), "minute": (0, 59), "second": (0, 59),
}  # fmt: skip
_PLACES = {"second": SECOND, "minute": MINUTE, "hour": HOUR, "day": DAY, "month": MONTH}
_WEEKS = ((1, 7), (8, 14), (15, 21), (22, 28), (29, 31))
_LAST = 5


@dataclass(frozen=True, slots=True)
class Translated:
    """The schedule, and sentences about what of the trigger it lacks."""

    schedule: Schedule
    lost: tuple[str, ...] = ()


def translate(trigger: Trigger, *, planned: datetime | None, now: datetime) -> Translated:
    """``planned``: APScheduler's next run, if the job is not paused; both UTC.

    Raises InvalidInput for what cannot be had, what is over and what has not begun.
    """
    if isinstance(trigger, DateTrigger):
        if trigger.at <= now:
            raise InvalidInput(f"its time, {trigger.at:%Y-%m-%d %H:%M:%S} UTC, is in the past")
        return Translated(at_schedule(trigger.at))
    if isinstance(trigger, IntervalTrigger):
        schedule = _every(trigger, planned)
    else:
        schedule = cron_schedule(expression_of(trigger), trigger.timezone)
    return Translated(schedule, tuple(_bounds(trigger, schedule, now)))


def _every(trigger: IntervalTrigger, planned: datetime | None) -> Schedule:
    """On the beat of the next run: APScheduler counts each from the one before."""
    try:
        span = timedelta(seconds=trigger.seconds)
    except OverflowError:
        raise InvalidInput(f"an interval of {trigger.seconds:g} s is too long") from None
    anchor = planned if planned is not None and not trigger.jitter else trigger.start
    return every_schedule(span, anchor, trigger.timezone)


def _bounds(
    trigger: CronTrigger | IntervalTrigger, schedule: Schedule, now: datetime
) -> Iterable[str]:
    following = schedule.next_after(now)
    zone = load_zone(trigger.timezone)
    if trigger.start is not None and following is not None and following < trigger.start:
        raise InvalidInput(
            f"it begins on {trigger.start.astimezone(zone):%Y-%m-%d %H:%M}, but a schedule here"
            " begins at once",
            remedy="import it then",
        )
    if trigger.end is not None:
        end = f"{trigger.end.astimezone(zone):%Y-%m-%d %H:%M}"
        if following is None or following > trigger.end:
            raise InvalidInput(f"it ended on {end}")
        yield f"it ends on {end}; here it runs until it is removed"


def expression_of(trigger: CronTrigger) -> str:
    """Five fields, or six with seconds first. Raises InvalidInput where there are none."""
    for name in ("year", "week"):
        if len(_values(trigger, name)) != _size(name):
            raise InvalidInput(
                f"its {name} is {trigger.word(name)!r}, but a schedule here has no {name}s",
                remedy="add a one-shot job for each run, or check the date in the job itself",
            )
    words = {name: _spelt(trigger, name) for name in ("second", "minute", "hour", "month")}
    day, weekday = _days(trigger)
    parts = [words["minute"], words["hour"], day, words["month"], weekday]
    if words["second"] != "0":
        parts.insert(0, words["second"])
    expression = " ".join(parts)
    read_cron(expression)
    return expression


def _spelt(trigger: CronTrigger, name: str) -> str:
    values = _values(trigger, name)
    if len(values) == _size(name):
        return "*"
    word = trigger.word(name)
    star = word.startswith("*") and "," not in word
    return spell(_PLACES[name], word, values, star=star)


def _days(trigger: CronTrigger) -> tuple[str, str]:
    """Day of the month, and weekday."""
    days, weekdays = _values(trigger, "day"), _values(trigger, "day_of_week")
    positions = [e.position for e in trigger.fields["day"] if e.position is not None]
    last_day = any(e.last_day for e in trigger.fields["day"])
    any_day, any_weekday = len(days) == 31, len(weekdays) == 7
    if any_day:
        return "*", "*" if any_weekday else _named(weekdays)
    if any_weekday:
        return _days_alone(trigger, days, positions, last_day)
    if not days and not last_day:
        kept = [(which, day) for which, day in positions if day in weekdays]
        if kept:
            return "*", _positions(kept)
    if days and not last_day and not positions:
        return _both(trigger, days, weekdays)
    raise _no_both(trigger)


def _days_alone(
    trigger: CronTrigger, days: set[int], positions: list[tuple[int, int]], last_day: bool
) -> tuple[str, str]:
    """Any of them suffices, which is what two fields mean here if neither begins with a star."""
    plain = days and not positions and not last_day
    if plain:
        word = trigger.word("day")
        star = word.startswith("*") and "," not in word
        return spell(DAY, word, days, star=star), "*"
    parts = ([listed(tuple(sorted(days)))] if days else []) + (["L"] if last_day else [])
    return ",".join(parts) or "*", _positions(positions) if positions else "*"


def _both(trigger: CronTrigger, days: set[int], weekdays: set[int]) -> tuple[str, str]:
    """Both must match: so many weeks of the month, or a field that begins with a star."""
    weeks = [n for n, (first, last) in enumerate(_WEEKS) if days >= set(range(first, last + 1))]
    if sum(_WEEKS[n][1] - _WEEKS[n][0] + 1 for n in weeks) == len(days):
        return "*", _positions([(week, day) for day in sorted(weekdays) for week in weeks])
    step = min(days - {1}, default=32) - 1
    if days == set(range(1, 32, step)):
        return f"*/{step}", _named(weekdays)
    raise _no_both(trigger)


def _no_both(trigger: CronTrigger) -> InvalidInput:
    return InvalidInput(
        f"both day={trigger.word('day')!r} and day_of_week={trigger.word('day_of_week')!r} must"
        " match, which no cron expression can say",
        remedy="schedule one of them, and check the other in the job itself",
    )


def _positions(positions: Iterable[tuple[int, int]]) -> str:
    words = []
    for which, day in dict.fromkeys(positions):
        number = (day + 1) % 7
        words.append(f"{number}L" if which == _LAST else f"{WEEKDAYS[day]}#{which + 1}")
    return ",".join(words)


def _named(weekdays: set[int]) -> str:
    """By name: the numbers of cron are not APScheduler's."""
    days = sorted(weekdays)
    if len(days) > 2 and days[-1] - days[0] == len(days) - 1 and days[-1] < 6:
        return f"{WEEKDAYS[days[0]]}-{WEEKDAYS[days[-1]]}"
    return ",".join(WEEKDAYS[day] for day in days)


def _values(trigger: CronTrigger, name: str) -> set[int]:
    """The plain numbers of a field; positions and the last day are not among them."""
    low, high = _BOUNDS[name]
    values: set[int] = set()
    for expression in trigger.fields[name]:
        if expression.position is None and not expression.last_day:
            values |= set(_span(expression, low, high))
    return values


def _span(expression: Expression, low: int, high: int) -> range:
    first = low if expression.first is None else max(low, expression.first)
    last = high if expression.last is None else min(high, expression.last)
    return range(first, last + 1, max(1, expression.step))


def _size(name: str) -> int:
    low, high = _BOUNDS[name]
    return high - low + 1
