"""Fires by the croniter of a real Hermes, against Hermes' own way of planning them one by one."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenure.adapters.hermes.inside.fires import announced
from tenure.domain.planning.external import Announced

pytestmark = pytest.mark.hermes
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "hermes_venvs.py"
VERSION = "0.19.0"


@pytest.fixture(scope="module")
def croniter() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("hermes_venvs_for_croniter", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    venvs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(venvs)
    if reason := venvs.why_absent(VERSION):
        pytest.skip(reason)
    site = next(venvs.folder_of(VERSION).glob("lib/python3.*/site-packages"))
    before = set(sys.modules)
    sys.path.append(str(site))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = importlib.import_module("croniter").croniter
    sys.path.remove(str(site))
    yield found
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("croniter", "dateutil", "pytz", "six"):
            del sys.modules[name]


def one_by_one(
    expression: str, start: datetime, now: datetime, zone: tzinfo, croniter: Any
) -> list[datetime]:
    """As Hermes does that looks all along: from each fire, a moment later, to the next; if that is
    not ahead (an hour that is repeated), it looks again a minute later."""
    found = [start]
    while True:
        base = found[-1] + timedelta(milliseconds=300)
        while True:
            following = croniter(expression, base.astimezone(zone)).get_next(datetime)
            if following.astimezone(UTC) > found[-1]:
                break
            base += timedelta(minutes=1)
        if following.astimezone(UTC) > now:
            return found
        found.append(following.astimezone(UTC))


def expected(fires: list[datetime]) -> Announced:
    if len(fires) == 1:
        return Announced(fire=fires[0])
    return Announced(fire=fires[-1], passed=(fires[0], fires[-2], len(fires) - 1))


def ask(expression: str, start: datetime, now: datetime, zone: tzinfo, croniter: Any) -> Any:
    job = {"next_run_at": start.isoformat(), "schedule": {"kind": "cron", "expr": expression}}
    return announced(job, now, zone, croniter)


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(str)
    return st.one_of(
        st.just("*"),
        st.sampled_from(["*/2", "*/3", "*/5", "*/7", "*/15", "*/20"]),
        number,
        st.tuples(number, number).map(",".join),
        st.tuples(number, number).map(lambda two: "-".join(sorted(two, key=int))),
    )


expressions = st.builds(
    lambda *fields: " ".join(fields),
    field(0, 59), field(0, 23), st.sampled_from(["*", "*", "1", "15,16", "*/3"]),
    st.sampled_from(["*", "*", "3,10"]), st.sampled_from(["*", "*", "1-5", "0"]),
)  # fmt: skip
SHIFTS = [
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2026, 2, 15, 2, tzinfo=UTC)),
    ("Asia/Kolkata", datetime(2026, 5, 1, tzinfo=UTC)),
    ("UTC", datetime(2026, 5, 1, tzinfo=UTC)),
]


@given(expressions, st.sampled_from(SHIFTS), st.integers(-3000, 500), st.integers(0, 3000))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_across_changes_of_the_clock_as_hermes_plans_them(
    croniter: Any, expression: str, shift: tuple[str, datetime], before: int, length: int
) -> None:
    zone, start = ZoneInfo(shift[0]), shift[1] + timedelta(minutes=before)
    now = start + timedelta(minutes=length)
    found = ask(expression, start, now, zone, croniter)
    assert found == expected(one_by_one(expression, start, now, zone, croniter))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("seconds", ["*/4", "*", "0,30", "59"])
def test_with_seconds(croniter: Any, zone: str, seconds: str) -> None:
    """Hermes takes a sixth field."""
    start = datetime(2026, 3, 29, 0, 58, tzinfo=UTC)
    for length in (0, 1, 4, 59, 60, 121, 600):
        now, at = start + timedelta(seconds=length), ZoneInfo(zone)
        expression = f"* * * * * {seconds}"
        found = ask(expression, start, now, at, croniter)
        assert found == expected(one_by_one(expression, start, now, at, croniter)), length


@pytest.mark.parametrize("expression", ["* * * * * *", "* * * * *", "*/7 * * * * */9"])
def test_a_year_away_is_not_gone_through_one_by_one(croniter: Any, expression: str) -> None:
    """That would take minutes, and the suite's timeout ends it; its latest two fires are right."""
    now = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
    zone = ZoneInfo("Europe/Berlin")
    found = ask(expression, now - timedelta(days=365), now, zone, croniter)
    late = one_by_one(expression, now - timedelta(minutes=30), now, zone, croniter)
    assert (found.fire, found.passed[1]) == (late[-1], late[-2])


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "61 * * * *", "", "@daily", "x", "* * * *"])
def test_what_croniter_makes_nothing_of_is_one_fire(croniter: Any, expression: str) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    start = now - timedelta(days=1)
    found = ask(expression, start, now, UTC, croniter)
    assert found.fire in (start, datetime(2026, 11, 22, tzinfo=UTC)), "@daily it may know"


def test_rare_ones(croniter: Any) -> None:
    now = datetime(2033, 1, 1, tzinfo=UTC)
    found = ask("0 0 29 2 *", datetime(2024, 2, 29, tzinfo=UTC), now, UTC, croniter)
    leap = [datetime(year, 2, 29, tzinfo=UTC) for year in (2024, 2028, 2032)]
    assert found == Announced(fire=leap[2], passed=(leap[0], leap[1], 2))
