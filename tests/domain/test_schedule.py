"""Schedules as sets of instants: next, count and latest tell the same story."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.model import (
    Schedule,
    ScheduleKind,
    at_schedule,
    cron_schedule,
    every_schedule,
    local_time,
)
from tenure.domain.schedule.zones import CRON_DST, Dst, Fold, Gap

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEN_YEARS = timedelta(days=3653)
INSTANTS = st.datetimes(datetime(2019, 1, 1), datetime(2031, 1, 1), timezones=st.just(UTC))
ZONES = ["UTC", "Europe/Berlin", "Pacific/Apia", "America/Sao_Paulo", "Australia/Lord_Howe"]
POLICIES = [CRON_DST, *(Dst(gap=gap, fold=fold) for gap in Gap for fold in Fold)]
CRONS = ["*/7 * * * *", "0 3 * * *", "30 2 * * SUN", "0 0 L * *", "15 30 1-3 * * *", "0 0 29 2 *"]

schedules = st.one_of(
    st.builds(cron_schedule, st.sampled_from(CRONS), st.sampled_from(ZONES), st.just(None)),
    st.builds(
        cron_schedule, st.sampled_from(CRONS), st.sampled_from(ZONES), st.sampled_from(POLICIES)
    ),
    st.builds(
        every_schedule,
        st.timedeltas(timedelta(minutes=3), timedelta(days=40)),
        INSTANTS,
    ),
    st.builds(at_schedule, INSTANTS),
)


@settings(max_examples=400, deadline=None)
@given(schedules, INSTANTS, st.timedeltas(-timedelta(days=1), timedelta(days=9)))
def test_fires_count_latest_and_next_agree(
    schedule: Schedule, after: datetime, span: timedelta
) -> None:
    until = after + span
    fires = list(schedule.fires(after, until))
    assert all(fire.tzinfo is UTC for fire in fires)
    assert all(earlier < later for earlier, later in pairwise([after, *fires]))
    assert not fires or fires[-1] <= until
    assert schedule.count(after, until) == len(fires)
    assert schedule.latest(after, until) == (fires[-1] if fires else None)
    middle = after + span / 2
    if span > timedelta():
        halves = schedule.count(after, middle), schedule.count(middle, until)
        assert sum(halves) == len(fires), "ranges that meet lose nothing and repeat nothing"
        expected = next((fire for fire in fires if fire > middle), None)
        following = schedule.next_after(middle)
        assert following == expected or (expected is None and (following or until) >= until)


@settings(max_examples=150, deadline=None)
@given(schedules)
def test_json_round_trip(schedule: Schedule) -> None:
    assert Schedule.from_json(json.loads(json.dumps(schedule.to_json()))) == schedule


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Australia/Lord_Howe"])
def test_every_second_of_ten_years_is_counted(zone: str) -> None:
    schedule = cron_schedule("* * * * * *", zone)
    assert schedule.count(NOW, NOW + TEN_YEARS) == TEN_YEARS // timedelta(seconds=1)


def test_explicit_folds_change_the_count_by_what_repeats() -> None:
    year = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    counts = {
        fold: cron_schedule("* * * * *", "Europe/Berlin", Dst(gap=Gap.SKIP, fold=fold)).count(*year)
        for fold in Fold
    }
    assert counts[Fold.BOTH] - counts[Fold.FIRST] == 60 == counts[Fold.BOTH] - counts[Fold.SECOND]


def test_a_leap_day_on_a_weekday_may_be_forty_years_away() -> None:
    schedule = cron_schedule("0 0 */29 2 */7", "Europe/London")  # 1 or 30 February, a Sunday
    assert schedule.next_after(NOW) == datetime(2032, 2, 1, tzinfo=UTC)
    leap = cron_schedule("0 0 * 2 MON#5", "Europe/London")
    assert leap.next_after(datetime(2072, 3, 1, tzinfo=UTC)) == datetime(2112, 2, 29, tzinfo=UTC)
    assert leap.latest(datetime(2073, 1, 1, tzinfo=UTC), datetime(2112, 2, 1, tzinfo=UTC)) is None
    assert leap.period() == timedelta(days=12 * 365 + 2)  # over 2100, which is no leap year


def test_intervals_keep_their_grid_on_both_sides_of_the_anchor() -> None:
    schedule = every_schedule(timedelta(seconds=90), NOW)
    assert schedule.next_after(NOW) == NOW + timedelta(seconds=90)
    assert schedule.next_after(NOW - timedelta(microseconds=1)) == NOW
    assert schedule.next_after(NOW - timedelta(seconds=91)) == NOW - timedelta(seconds=90)
    assert schedule.count(NOW, NOW + timedelta(minutes=3)) == 2
    assert schedule.latest(NOW, NOW + timedelta(seconds=89)) is None
    assert schedule.period() == timedelta(seconds=90)


def test_one_shots_fire_once() -> None:
    schedule = at_schedule(NOW.astimezone(timezone(timedelta(hours=5))), "Europe/Berlin")
    assert schedule.at == NOW
    assert schedule.next_after(NOW - timedelta(microseconds=1)) == NOW
    assert schedule.next_after(NOW) is None
    assert schedule.latest(NOW - timedelta(1), NOW) == NOW
    assert schedule.count(NOW, NOW + timedelta(1)) == 0
    assert schedule.period() is None
    assert local_time(schedule, NOW).hour == 13


@pytest.mark.parametrize(
    "schedule",
    [
        cron_schedule("0 0 1 1 *"),
        cron_schedule("0 0 1 1 *", "Europe/Berlin"),
        every_schedule(timedelta(days=3660), NOW),
        every_schedule(timedelta(seconds=1), NOW),
    ],
)
def test_the_ends_of_time_are_silent(schedule: Schedule) -> None:
    first = datetime(1970, 1, 1, tzinfo=UTC)
    last = datetime.max.replace(tzinfo=UTC)
    early = schedule.next_after(datetime.min.replace(tzinfo=UTC))
    assert early is not None
    assert first <= early < first + timedelta(days=3661)
    assert schedule.next_after(last) is None
    assert schedule.latest(datetime.min.replace(tzinfo=UTC), first - timedelta(hours=2)) is None
    late = schedule.latest(NOW, last)
    assert late is not None
    assert late.year in range(9888, 9901)
    assert schedule.count(datetime(9901, 1, 2, tzinfo=UTC), last) == 0
    assert schedule.count(datetime.min.replace(tzinfo=UTC), first - timedelta(days=1)) == 0
    near = first + timedelta(days=3661)
    from_ever = schedule.count(datetime.min.replace(tzinfo=UTC), near)
    assert from_ever == schedule.count(first - timedelta(microseconds=1), near)


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [
        ("*/5 * * * *", 300),
        ("* * * * * *", 1),
        ("0,20 9 * * MON", 1200),
        ("0 0 * * *", 86400),
        ("0 0 1 * *", 28 * 86400),
    ],
)
def test_period(expression: str, seconds: int) -> None:
    assert cron_schedule(expression).period() == timedelta(seconds=seconds)


def test_instants_without_a_zone_are_refused() -> None:
    naive = NOW.replace(tzinfo=None)
    for schedule in (cron_schedule("0 3 * * *"), every_schedule(timedelta(1), NOW)):
        with pytest.raises(TypeError):
            schedule.next_after(naive)
    with pytest.raises(InvalidInput, match="no time zone"):
        at_schedule(naive)


def test_schedules_are_immutable_values() -> None:
    schedule = cron_schedule("0  3 * * mon", "Europe/Berlin")
    assert schedule == cron_schedule("0 3 * * MON", "Europe/Berlin", text="0  3 * * mon")
    assert len({schedule, cron_schedule("0  3 * * mon", "Europe/Berlin")}) == 1
    assert (schedule.kind, schedule.expression) == (ScheduleKind.CRON, "0 3 * * MON")
    with pytest.raises(FrozenInstanceError):
        schedule.timezone = "UTC"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: every_schedule(timedelta(milliseconds=999), NOW), "schedule"),
        (lambda: every_schedule(timedelta(days=3661), NOW), "schedule"),
        (lambda: every_schedule(timedelta(1), NOW, "Nowhere/City"), "timezone"),
        (lambda: at_schedule(datetime(9999, 1, 1, tzinfo=UTC)), "schedule"),
        (lambda: at_schedule(datetime(1960, 1, 1, tzinfo=UTC)), "schedule"),
        (lambda: cron_schedule("0 3 * * *", "Nowhere/City"), "timezone"),
        (lambda: cron_schedule("0 0 30 2 *"), "schedule"),
        (lambda: cron_schedule("0 0 LW * */7"), "schedule"),
        (lambda: cron_schedule("0 " * 500), "schedule"),
        (lambda: cron_schedule("\u0665 * * * *"), "schedule"),
        (lambda: cron_schedule(5), "schedule"),  # type: ignore[arg-type]
    ],
)
def test_constructors_check_their_input(call: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        call()
    assert caught.value.field == field
    assert caught.value.remedy


def test_a_schedule_that_only_names_skipped_times_never_fires() -> None:
    always_in_the_gap = "30 2 * 3 SUN#2"
    skip = Dst(gap=Gap.SKIP)
    with pytest.raises(InvalidInput, match="do not exist in America/New_York"):
        cron_schedule(always_in_the_gap, "America/New_York", skip)
    assert cron_schedule(always_in_the_gap, "America/New_York").next_after(NOW) == datetime(
        2026, 3, 8, 3, tzinfo=ZoneInfo("America/New_York")
    )


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "never"},
        {"kind": None},
        {"text": ...},
        {"interval": "90"},
        {"interval": float("nan")},
        {"interval": float("inf")},
        {"interval": 0},
        {"anchor": "yesterday"},
        {"anchor": 5},
        {"anchor": "2026-01-01T00:00:00"},
        {"timezone": 7},
        {"dst": "sometimes"},
        {"dst": None},
        {"kind": "cron", "expression": None},
        {"kind": "at", "at": None},
    ],
)
def test_a_damaged_record_is_refused(change: dict[str, Any]) -> None:
    data = every_schedule(timedelta(seconds=90), NOW).to_json() | change
    data = {key: value for key, value in data.items() if value is not ...}
    with pytest.raises(InvalidInput):
        Schedule.from_json(data)
