"""Which fires have passed: intervals and odd input, by counting; cron in test_fires_croniter."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.adapters.hermes.inside import fires
from tenure.adapters.hermes.inside.fires import announced, instant_of
from tenure.domain.planning.external import Announced
from working import calls

NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def due(at: object, **schedule: Any) -> dict[str, Any]:
    return {"next_run_at": at.isoformat() if isinstance(at, datetime) else at, "schedule": schedule}


@given(
    st.integers(0, 10**6).map(lambda s: NOW - timedelta(seconds=s)),
    st.one_of(st.integers(1, 5000), st.floats(0.5, 5000)),
)
def test_an_interval_counts_from_its_instant(start: datetime, minutes: float) -> None:
    found = announced(due(start, kind="interval", minutes=minutes), NOW, UTC, None)
    step, each = timedelta(minutes=minutes), [start]
    while each[-1] + step <= NOW:
        each.append(each[-1] + step)
    passed = (each[0], each[-2], len(each) - 1) if len(each) > 1 else None
    assert found == Announced(fire=each[-1], passed=passed)


def test_an_interval_of_years_ago_is_counted_at_once() -> None:
    start = NOW - timedelta(days=36_500)
    found = None

    def ask() -> None:
        nonlocal found
        found = announced(due(start, kind="interval", minutes=1), NOW, UTC, None)

    assert calls(ask).total() < 200
    assert found is not None
    assert found.passed is not None
    assert found.passed[2] == 36_500 * 24 * 60


@pytest.mark.parametrize(
    "minutes",
    [0, -5, None, "5", [5], float("nan"), float("inf"), 1e300, -1e300, 1e-12, False, {}],
    ids=repr,
)
def test_an_interval_of_nonsense_is_one_fire(minutes: object) -> None:
    start = NOW - timedelta(hours=1)
    found = announced(due(start, kind="interval", minutes=minutes), NOW, UTC, None)
    assert found == Announced(fire=start)


@pytest.mark.parametrize(
    "schedule",
    [None, "0 7 * * *", 5, {}, {"kind": None}, {"kind": "once", "run_at": "x"}, {"kind": "cron"},
     {"kind": "cron", "expr": None}, {"kind": "cron", "expr": 5}],
)  # fmt: skip
def test_what_is_no_series_is_one_fire(schedule: object) -> None:
    start = NOW - timedelta(hours=1)

    def croniter(*args: object) -> None:
        raise AssertionError("it is not asked")

    job = {"next_run_at": start.isoformat(), "schedule": schedule}
    assert announced(job, NOW, UTC, croniter) == Announced(fire=start)


def test_a_croniter_that_is_not_there_or_fails_leaves_the_fire_due() -> None:
    start = NOW - timedelta(hours=1)

    def croniter(expression: str, base: datetime) -> Any:
        raise ValueError("bad expression")

    for found in (None, croniter):
        job = due(start, kind="cron", expr="0 7 * * *")
        assert announced(job, NOW, UTC, found) == Announced(fire=start)


class Stuck:
    """A croniter that does not move."""

    def __init__(self, expression: str, base: datetime) -> None:
        self._base = base

    def get_next(self, kind: type) -> datetime:
        return datetime(2000, 1, 1, tzinfo=UTC)


def test_a_croniter_that_does_not_move_is_given_up() -> None:
    start = NOW - timedelta(hours=1)
    job = due(start, kind="cron", expr="* * * * *")
    assert announced(job, NOW, UTC, Stuck) == Announced(fire=start)


class EveryMinute:
    """A croniter of one schedule, that says how often it was asked."""

    asked = 0

    def __init__(self, expression: str, base: datetime) -> None:
        self._at = base.replace(second=0, microsecond=0)

    def get_next(self, kind: type) -> datetime:
        type(self).asked += 1
        self._at += timedelta(minutes=1)
        return self._at


@pytest.mark.parametrize("years", [1, 30])
def test_a_long_absence_is_bounded_and_its_latest_fire_is_right(years: int) -> None:
    start = NOW - timedelta(days=365 * years)
    EveryMinute.asked = 0
    found = announced(due(start, kind="cron", expr="* * * * *"), NOW, UTC, EveryMinute)
    assert EveryMinute.asked < fires.MOST + 100
    last = NOW - timedelta(minutes=1)
    assert found == Announced(fire=NOW, passed=(start, last, fires.MOST))


def test_up_to_the_bound_all_are_counted() -> None:
    start = NOW - timedelta(minutes=fires.MOST)
    found = announced(due(start, kind="cron", expr="* * * * *"), NOW, UTC, EveryMinute)
    assert found is not None
    assert found.passed == (start, NOW - timedelta(minutes=1), fires.MOST)
    found = announced(
        due(start + timedelta(minutes=1), kind="cron", expr="*"), NOW, UTC, EveryMinute
    )
    assert found is not None
    assert found.passed is not None
    assert found.passed[2] == fires.MOST - 1


@pytest.mark.parametrize("at", [None, "", "soon", 5, [], "2030-13-01", NOW + timedelta(seconds=1)])
def test_what_names_no_instant_or_one_to_come_announces_nothing(at: object) -> None:
    assert announced(due(at, kind="interval", minutes=5), NOW, UTC, None) is None


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine is in Calcutta."""
    monkeypatch.setitem(os.environ, "TZ", "Asia/Kolkata")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("local")
def test_an_instant_is_read_as_hermes_reads_it() -> None:
    assert instant_of("2030-01-01T05:30:00") == datetime(2030, 1, 1, tzinfo=UTC)
    assert instant_of("2030-01-01") == datetime(2029, 12, 31, 18, 30, tzinfo=UTC)
    assert instant_of("2030-01-01T00:00:00Z") == datetime(2030, 1, 1, tzinfo=UTC)
    assert instant_of("2030-01-01T01:00:00+01:00") == datetime(2030, 1, 1, tzinfo=UTC)
    assert instant_of("2030-01-01T00:00:00.25+00:00") == datetime(2030, 1, 1, 0, 0, 0, 250000, UTC)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "x" * 10_000]
)
def test_instants_beyond_the_calendar_are_none(text: str) -> None:
    assert instant_of(text) is None


def test_zones_are_told_by_their_offset() -> None:
    found = instant_of(datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=-8))).isoformat())
    assert found == datetime(2030, 1, 1, 8, tzinfo=UTC)
