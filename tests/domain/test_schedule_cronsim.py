"""Debian's rule is cronsim's: the same fires, from any start, wherever cronsim is consistent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.model import cron_schedule

HOURLY = ["UTC", "Europe/Berlin", "Europe/London", "America/New_York", "Australia/Sydney"]
HOURLY += ["Pacific/Auckland", "Europe/Dublin", "Asia/Kathmandu", "America/Los_Angeles"]
MIDNIGHT = ["America/Sao_Paulo", "America/Havana", "Asia/Beirut", "Africa/Cairo"]
MIDNIGHT += ["Australia/Lord_Howe", "Africa/Casablanca", "America/Santiago"]


def term(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    pair = st.tuples(number, number).map(sorted)
    step = st.integers(1, high)
    return st.one_of(
        number.map(str),
        pair.map(lambda p: f"{p[0]}-{p[1]}"),
        st.tuples(pair, step).map(lambda t: f"{t[0][0]}-{t[0][1]}/{t[1]}"),
        st.tuples(number, step).map(lambda t: f"{t[0]}/{t[1]}"),
    )


def cron_field(low: int, high: int, *more: str, star: bool = True) -> st.SearchStrategy[str]:
    stars = [
        st.just("*"),
        st.just("*"),
        st.integers(1, high).map(lambda n: f"*/{n}"),
    ]
    lists = st.lists(term(low, high), min_size=1, max_size=3).map(",".join)
    words = [st.sampled_from(more)] if more else []
    return st.one_of(*(stars if star else []), lists, *words)


DAYS = cron_field(1, 31, "L", "LW", "15,L", "*", "*", "*")
MONTHS = cron_field(1, 12, "JAN-JUN", "MAR,OCT", "*", "*", "*", "*")
WEEKDAYS = cron_field(0, 7, "MON-FRI", "SUN", "MON#2", "5L", "SAT#5,1", "*", "*", "*")
FIXED = st.tuples(
    cron_field(0, 59, star=False), cron_field(0, 23, star=False), DAYS, MONTHS, WEEKDAYS
).map(" ".join)
FIVE = st.tuples(cron_field(0, 59), cron_field(0, 23), DAYS, MONTHS, WEEKDAYS).map(" ".join)
SIX = st.tuples(cron_field(0, 59), FIVE).map(" ".join)

# Near the changes of 2023, when most starts should be, but in no fold: cronsim starts there late.
STARTS = st.one_of(
    st.datetimes(datetime(2015, 1, 1), datetime(2029, 1, 1)),
    st.tuples(
        st.sampled_from([(3, 10), (3, 24), (4, 1), (4, 26), (9, 23), (10, 27), (11, 3)]),
        st.integers(0, 4 * 86400),
    ).map(lambda t: datetime(2023, *t[0]) + timedelta(seconds=t[1])),
)


def agree(expression: str, place: str, start: datetime, n: int = 25) -> None:
    after = start.replace(tzinfo=UTC, microsecond=0)
    local = after.astimezone(ZoneInfo(place))
    assume(local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset())
    try:
        theirs = CronSim(expression, after if place == "UTC" else local)
    except CronSimError:
        with pytest.raises(InvalidInput) as caught:
            cron_schedule(expression, place)
        assert caught.value.field == "schedule"
        return
    expected = [fire.astimezone(UTC) for fire in islice(theirs, n)]
    if not expected:
        with pytest.raises(InvalidInput):
            cron_schedule(expression, place)
        return
    schedule = cron_schedule(expression, place)
    assert list(islice(schedule.fires(after, expected[-1]), n + 1)) == expected
    assert schedule.count(after, expected[-1]) == len(expected)
    assert schedule.latest(after, expected[-1]) == expected[-1]


ENOUGH = settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)


@ENOUGH
@given(FIVE, st.sampled_from(HOURLY), STARTS)
def test_five_fields_fire_as_cronsim_says(expression: str, place: str, start: datetime) -> None:
    agree(expression, place, start)


@ENOUGH
@given(SIX, st.sampled_from(HOURLY), STARTS)
def test_six_fields_fire_as_cronsim_says(expression: str, place: str, start: datetime) -> None:
    agree(expression, place, start)


@ENOUGH
@given(FIXED, st.sampled_from(HOURLY + MIDNIGHT), STARTS)
def test_fixed_times_fire_as_cronsim_says(expression: str, place: str, start: datetime) -> None:
    agree(expression, place, start)


def test_where_cronsim_depends_on_where_it_started() -> None:
    """Why fires are not simply asked of it: steps of an hour over half an hour of DST lose one."""
    place = ZoneInfo("Australia/Lord_Howe")
    start = datetime(2023, 4, 1, 15, 20, tzinfo=UTC)  # 02:20, before 02:00 comes again, half past
    lost = next(CronSim("0 0 2 * * *", datetime(2023, 4, 2, 0, 30, tzinfo=place)))
    ours = cron_schedule("0 0 2 * * *", "Australia/Lord_Howe").next_after(
        datetime(2023, 4, 2, 0, 30, tzinfo=place)
    )
    assert ours == datetime(2023, 4, 1, 15, 30, tzinfo=UTC)
    assert start < ours < lost.astimezone(UTC)


def test_a_start_in_the_second_pass_never_answers_with_the_past() -> None:
    second = datetime(2023, 10, 29, 1, 10, tzinfo=UTC)  # 02:10 in Berlin, the second time
    schedule = cron_schedule("30 2 * * *", "Europe/Berlin")
    assert next(CronSim("30 2 * * *", second.astimezone(ZoneInfo("Europe/Berlin")))) < second
    assert schedule.next_after(second) == datetime(2023, 10, 30, 1, 30, tzinfo=UTC)


def test_a_step_of_minutes_is_said_so_that_it_cannot_be_read_as_one_minute_of_the_hour() -> None:
    said = {n: cron_schedule(f"*/{n} * * * *", "UTC").describe() for n in (2, 7, 20)}
    assert said == {n: f"every {n} minutes, from the full hour (UTC)" for n in (2, 7, 20)}
    assert cron_schedule("5 * * * *", "UTC").describe() == "at minute 5 of every hour (UTC)"
