"""The clock that retention goes by: what a wrong wall clock does to it, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.domain.history_clock import CATCHES_UP, CONFIRMED_AFTER, SAME, HistoryClock

START = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
YEARS = timedelta(days=3650)


def run(
    clock: HistoryClock, since: datetime, wrong: timedelta, lasts: timedelta, step: timedelta
) -> HistoryClock:
    """``lasts`` of real time, looked at each ``step``, under a wall clock that is off by ``wrong``.
    ``since`` is the real instant at the beginning."""
    for number in range(1, lasts // step + 1):
        clock = clock.advanced(since + number * step + wrong, step)
    return clock


def test_beside_the_wall_clock_it_is_the_wall_clock() -> None:
    clock = run(HistoryClock(at=START), START, timedelta(0), 24 * HOUR, MINUTE)
    assert clock == HistoryClock(at=START + 24 * HOUR)


@pytest.mark.parametrize("lasts", [MINUTE, HOUR, CONFIRMED_AFTER])
def test_a_wrong_clock_makes_nothing_older(lasts: timedelta) -> None:
    clock = run(HistoryClock(at=START), START, YEARS, lasts, MINUTE)
    assert clock.now(START + lasts + YEARS) == START + lasts
    # Set right again, it is the wall clock as before.
    assert run(clock, START + lasts, timedelta(0), MINUTE, MINUTE).parted == timedelta(0)


def test_a_machine_that_was_off_for_three_months_catches_up_within_hours() -> None:
    off = timedelta(days=90)
    clock = run(HistoryClock(at=START), START, off, 15 * HOUR + 5 * MINUTE, MINUTE)
    assert clock.at == START + off + 15 * HOUR + 5 * MINUTE
    assert clock.parted == timedelta(0)


def test_one_that_runs_an_hour_a_day_catches_up_too() -> None:
    clock, day = HistoryClock(at=START), timedelta(days=1)
    for number in range(30):
        clock = run(clock, START + number * day, timedelta(0), HOUR, MINUTE)
    assert START + 30 * day - clock.at < 8 * day


def test_a_clock_that_was_wrong_for_long_is_forgotten_once_it_is_right() -> None:
    """Else the next wrong minute would be believed at once."""
    clock = run(HistoryClock(at=START), START, YEARS, 48 * HOUR, MINUTE)
    assert clock.at > START + timedelta(days=300)
    since = START + 48 * HOUR
    assert clock.now(since) == since  # never ahead of the wall
    clock = run(clock, since, timedelta(0), CONFIRMED_AFTER + MINUTE, MINUTE)
    since += CONFIRMED_AFTER + MINUTE
    assert run(clock, since, YEARS, HOUR, MINUTE).now(since + YEARS) == since + HOUR


def test_a_clock_that_starts_in_1970_costs_nothing() -> None:
    """Small boards have no clock of their own: they are in 1970 until the network is there."""
    early = START.replace(year=1970)
    clock = HistoryClock(at=START)
    clock = run(clock, START, early - START, 5 * MINUTE, MINUTE)
    assert clock.now(early) == early
    clock = run(clock, START + 5 * MINUTE, timedelta(0), MINUTE, MINUTE)
    assert clock == HistoryClock(at=START + 6 * MINUTE)


def test_a_long_sleep_confirms_nothing() -> None:
    """A week passes in one step; the wall clock is wrong for the minute after it."""
    week = timedelta(days=7)
    clock = HistoryClock(at=START).advanced(START + week + YEARS, week)
    assert clock.at == START + week
    clock = run(clock, START + week, YEARS, 5 * HOUR, MINUTE)
    assert clock.at == START + week + 5 * HOUR


@given(
    steps=st.lists(
        st.tuples(
            st.integers(-(10**9), 10**9).map(lambda s: timedelta(seconds=s)),
            st.integers(0, 10**6).map(lambda s: timedelta(seconds=s)),
        ),
        max_size=60,
    )
)
def test_it_never_goes_faster_than_it_says(
    steps: list[tuple[timedelta, timedelta]],
) -> None:
    clock, real = HistoryClock(at=START), START
    for wrong, ran in steps:
        real += ran
        before = clock
        clock = clock.advanced(real + wrong, ran)
        assert clock.at - before.at <= (CATCHES_UP + 1) * ran + SAME
        assert clock.now(real + wrong) <= real + wrong
