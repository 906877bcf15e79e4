"""Clock changes, against a walk through every minute.

The oracle shares no code with the schedules: it expands the cron fields itself, asks zoneinfo for
the wall clock of each minute around a change, and applies the policy to what it saw.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from tenure.domain.schedule.model import Schedule, cron_schedule
from tenure.domain.schedule.zones import CRON_DST, Dst, Fold, Gap

MINUTE = timedelta(minutes=1)

PLACES = {
    "Australia/Lord_Howe": 2020,  # half an hour
    "Pacific/Apia": 2009,  # 30 December 2011 did not take place
    "Africa/Casablanca": 2020,  # negative DST around Ramadan
    "America/Sao_Paulo": 2014,  # the gap is at midnight
    "Europe/London": 2020,
    "America/New_York": 2020,
    "Europe/Berlin": 2020,
    "Australia/Sydney": 2020,
    "America/Santiago": 2020,
    "Africa/Cairo": 2021,
    "Asia/Beirut": 2020,
    "Europe/Dublin": 2020,
    "Asia/Kathmandu": 2020,
    "America/Havana": 2020,  # midnight comes twice
    "Asia/Pyongyang": 2015,  # half an hour, for good
}
POLICIES = [CRON_DST, *(Dst(gap=gap, fold=fold) for gap in Gap for fold in Fold)]
EXPRESSIONS = [
    "*/15 * * * *",
    "0 * * * *",
    "* * * * *",
    "0 0 * * *",
    "15,45 0-3 * * *",
    "*/20 2 * * *",
    "30 1,2 * * *",
    "0 1-4/2 * * SUN,6",
]


def expand(spec: str, low: int, high: int) -> set[int]:
    """The values of one cron field; as much grammar as the expressions here need."""
    found: set[int] = set()
    for term in spec.replace("SUN", "0").split(","):
        span, _, step = term.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


@cache
def matcher(expression: str) -> tuple[set[int], ...]:
    bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
    return tuple(
        expand(spec, *bound) for spec, bound in zip(expression.split(), bounds, strict=True)
    )


def matches(expression: str, local: datetime) -> bool:
    minutes, hours, days, months, weekdays = matcher(expression)
    return (
        local.minute in minutes
        and local.hour in hours
        and local.day in days  # never restricted together with the weekday here
        and local.month in months
        and local.isoweekday() % 7 in weekdays
    )


def changes(place: str, year: int) -> Iterator[datetime]:
    """The minutes at which the wall clock jumps, in five years."""
    zone = ZoneInfo(place)
    at = datetime(year, 1, 1, tzinfo=UTC)
    while at.year < year + 5:
        later = at + timedelta(hours=6)
        if at.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            minute = at
            while minute.astimezone(zone).utcoffset() == at.astimezone(zone).utcoffset():
                minute += MINUTE
            yield minute
        at = later


class Walk:
    """Every minute around one change, as somebody looking at the clock on the wall sees it."""

    def __init__(self, place: str, change: datetime) -> None:
        zone = ZoneInfo(place)
        jump = abs(
            change.astimezone(zone).replace(tzinfo=None)
            - (change - MINUTE).astimezone(zone).replace(tzinfo=None)
        )
        self.after = change - timedelta(hours=3) - jump
        self.until = change + timedelta(hours=4) + jump
        self.seen: dict[datetime, list[datetime]] = {}
        self.missing: dict[datetime, datetime] = {}
        last = None
        at = self.after - jump - timedelta(hours=2)
        while at <= self.until + jump + timedelta(hours=2):
            local = at.astimezone(zone).replace(tzinfo=None)
            self.seen.setdefault(local, []).append(at)
            while last is not None and last + MINUTE < local:
                last += MINUTE
                self.missing[last] = at
            last = local
            at += MINUTE

    def fires(self, expression: str, dst: Dst) -> list[datetime]:
        gap, fold = dst.gap, dst.fold
        if dst.cron:
            fixed = "*" not in (expression.split()[0][0], expression.split()[1][0])
            gap, fold = (Gap.SHIFT, Fold.FIRST) if fixed else (Gap.SKIP, Fold.BOTH)
        found: set[datetime] = set()
        for local, instants in self.seen.items():
            if matches(expression, local):
                found |= {
                    Fold.FIRST: {instants[0]},
                    Fold.SECOND: {instants[-1]},
                    Fold.BOTH: set(instants),
                }[fold]
        if gap is Gap.SHIFT:
            found |= {at for local, at in self.missing.items() if matches(expression, local)}
        return sorted(at for at in found if self.after < at <= self.until)


@pytest.mark.parametrize("place", PLACES)
def test_fires_around_every_change_of_five_years_are_those_of_a_minute_walk(place: str) -> None:
    found = 0
    for change in changes(place, PLACES[place]):
        found += 1
        walk = Walk(place, change)
        inside = sorted(walk.missing) or sorted(t for t, at in walk.seen.items() if len(at) > 1)
        middle = inside[len(inside) // 2]
        for expression in (*EXPRESSIONS, f"{middle.minute} {middle.hour} * * *"):
            for dst in POLICIES:
                schedule = cron_schedule(expression, place, dst)
                expected = walk.fires(expression, dst)
                where = (place, change, expression, str(dst))
                assert list(schedule.fires(walk.after, walk.until)) == expected, where
                assert schedule.count(walk.after, walk.until) == len(expected), where
                latest = schedule.latest(walk.after, walk.until)
                assert latest == (expected[-1] if expected else None), where
    assert (found >= 2) == (place != "Asia/Kathmandu"), "the oracle met the changes"


def fires(schedule: Schedule, day: str, hours: int = 24) -> list[str]:
    after = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(schedule.timezone)).astimezone(UTC)
    return [
        f"{fire.astimezone(ZoneInfo(schedule.timezone)):%H:%M%z}"
        for fire in schedule.fires(after - timedelta(seconds=1), after + timedelta(hours=hours))
    ]


@pytest.mark.parametrize(
    ("dst", "gap", "fold"),
    [
        (CRON_DST, ["03:00+0200"], ["02:30+0200"]),
        (Dst(gap=Gap.SKIP, fold=Fold.FIRST), [], ["02:30+0200"]),
        (Dst(gap=Gap.SHIFT, fold=Fold.SECOND), ["03:00+0200"], ["02:30+0100"]),
        (Dst(gap=Gap.SHIFT, fold=Fold.BOTH), ["03:00+0200"], ["02:30+0200", "02:30+0100"]),
    ],
)
def test_half_past_two_in_berlin(dst: Dst, gap: list[str], fold: list[str]) -> None:
    schedule = cron_schedule("30 2 * * *", "Europe/Berlin", dst)
    assert fires(schedule, "2026-03-29", 22) == gap
    assert fires(schedule, "2026-10-25", 24) == fold


def test_a_range_within_the_second_pass() -> None:
    span = datetime(2026, 10, 25, 1, 10, tzinfo=UTC), datetime(2026, 10, 25, 1, 50, tzinfo=UTC)
    for fold, expected in ((Fold.FIRST, 0), (Fold.SECOND, 40), (Fold.BOTH, 40)):
        schedule = cron_schedule("* * * * *", "Europe/Berlin", Dst(fold=fold))
        assert schedule.count(*span) == expected == len(list(schedule.fires(*span)))


def test_several_times_in_one_gap_fire_once() -> None:
    schedule = cron_schedule("0,10,20 2,3 * * *", "Europe/Berlin", Dst(gap=Gap.SHIFT))
    assert fires(schedule, "2026-03-29", 22) == ["03:00+0200", "03:10+0200", "03:20+0200"]


def test_the_day_that_apia_skipped() -> None:
    shift = cron_schedule("0 9 * * *", "Pacific/Apia")
    skip = cron_schedule("0 9 * * *", "Pacific/Apia", Dst(gap=Gap.SKIP))
    span = datetime(2011, 12, 29, 12, tzinfo=UTC), datetime(2011, 12, 31, tzinfo=UTC)
    assert [f"{at:%d %H:%M}" for at in shift.fires(*span)] == ["29 19:00", "30 10:00", "30 19:00"]
    assert [f"{at:%d %H:%M}" for at in skip.fires(*span)] == ["29 19:00", "30 19:00"]


def test_elapsed_time_knows_no_clock_changes() -> None:
    schedule = cron_schedule("0 0 */2 * * *", "Europe/Berlin")
    assert len(fires(schedule, "2026-10-25", 24)) == 13  # six fields: both of two o'clock
