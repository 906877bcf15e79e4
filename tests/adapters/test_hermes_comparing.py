"""The fires of both: how Hermes is asked, how a ticker is simulated, and what is a difference.

Stand-ins for Hermes' Python are small programs; the real one is asked in
tests/hermes/test_import_real.py.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hermestree import Tree

from tenure.adapters.hermes_import import comparison, simulation
from tenure.adapters.hermes_import.comparison import (
    FireDifference,
    compare,
    simulate_hermes,
    zone_setting,
)
from tenure.adapters.hermes_import.source import last_written
from tenure.domain.schedule.model import cron_schedule, every_schedule
from tenure.host.local_zone import local_zone

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 20, 10, 0, 7, tzinfo=UTC)
AT = NOW.timestamp()
DAILY = {"id": "a", "schedule": {"kind": "cron", "expr": "0 9 * * *"}, "next_run_at": None}
TOLD = {
    "zone": "Europe/Berlin", "changes": [1774746000, 1792890000], "hermes": "0.19.0",
    "croniter": "6.0.0", "script_timeout": 77, "env": {"HOME": "/h"},
    "jobs": {"a": {"error": "no"}},
}  # fmt: skip


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp())


# -- asking ---------------------------------------------------------------------------------------


def stand_in(tmp_path: Path, line: str) -> str:
    """A Python that, whatever it is to run, does this one line, knowing ``sys`` and ``os``."""
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable} -S\nimport json, os, sys\n{line}\n")
    program.chmod(0o755)
    return str(program)


def test_hermes_is_asked_once_in_its_own_home(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("HERMES_TIMEZONE", "Asia/Kolkata")
    monkeypatch.setenv("HERMES_DESKTOP", "1")
    (tree.home.path / ".env").write_text("KEY=x\nexport HERMES_TIMEZONE='Europe/Berlin'\n")
    seen = tmp_path / "seen.json"
    python = stand_in(
        tmp_path,
        "seen = [sys.argv[1:], dict(os.environ), json.load(sys.stdin)]\n"
        f"json.dump(seen, open({str(seen)!r}, 'w'))\nprint(json.dumps({TOLD!r}))",
    )
    jobs = [DAILY, {"id": "odd", "schedule": "every 30m"}]
    found = simulate_hermes(tree.home, jobs, python=python, now=NOW, count=5)
    argv, environ, asked = json.loads(seen.read_text())
    assert argv == ["-I", "-B", simulation.__file__]
    assert environ["HERMES_HOME"] == str(tree.home.path)
    assert environ["HERMES_TIMEZONE"] == "Europe/Berlin"
    assert not environ.keys() & {"TZ", "HERMES_DESKTOP", "KEY"}
    assert (asked["now"], asked["count"], list(asked["jobs"])) == (AT, 5, ["a"])
    assert found.by == "Hermes 0.19.0, croniter 6.0.0"
    assert found.zone == "Europe/Berlin"
    assert (found.means.python, found.means.version) == (python, "0.19.0")
    assert (found.means.script_timeout, found.means.env) == (77, {"HOME": "/h"})
    assert found.changes[0] == datetime(2026, 3, 29, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "word"),
    [("sys.exit('ModuleNotFoundError: cron')", "cannot load Hermes' cron: ModuleNotFoundError"),
     ("print('no json')", "cannot be asked"), ("print('[]')", "gave no answer"),
     ("import time; time.sleep(60)", "timed out")],
)  # fmt: skip
def test_a_python_that_gives_no_answer_is_said(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, word: str
) -> None:
    monkeypatch.setattr(comparison, "SIMULATION_WAIT_S", 1.0)
    monkeypatch.setitem(sys.modules, "croniter", None)
    found = simulate_hermes(tree.home, [DAILY], python=stand_in(tmp_path, line), now=NOW, count=5)
    assert found.by is None
    assert word in found.why_not


def test_without_hermes_its_settings_are_still_read(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "croniter", None)
    monkeypatch.delenv("HERMES_TIMEZONE", raising=False)
    tree.home.config.write_text(
        "a: {b: 1}\ntimezone: 'Asia/Tokyo'  # mine\nnested:\n  timezone: UTC\n"
    )
    found = simulate_hermes(tree.home, [DAILY], python=None, now=NOW, count=5)
    assert (found.by, found.zone) == (None, "Asia/Tokyo")
    assert found.means.python is None
    tree.home.config.write_text("timezone: Mars/Base\n")
    assert simulate_hermes(tree.home, [], python=None, now=NOW, count=5).zone == local_zone()
    tree.home.config.write_text("timezone: [\n")
    assert zone_setting(tree.home) is None
    tree.home.config.write_text("nested:\n  timezone: UTC\n")
    assert zone_setting(tree.home) is None


@pytest.mark.parametrize(
    ("written", "named", "key", "variable", "doubted"),
    [
        (None, "Europe/Berlin", "UTC", False, False),
        ("2026-11-22T14:00:00", "Europe/Berlin", "UTC", False, False),  # says no offset
        ("2026-11-22T14:00:00+00:00", "Europe/Berlin", "UTC", False, False),  # a service, no TZ
        ("2026-11-22T15:00:00+01:00", "Europe/Berlin", "Europe/Berlin", True, False),
        ("2026-07-22T16:00:00+02:00", ":Europe/Berlin", "Europe/Berlin", True, False),
        ("2026-11-22T15:00:00+01:00", "", "UTC", False, True),
        ("2026-11-22T15:00:00+01:00", "Asia/Tokyo", "UTC", False, True),
        ("2026-11-22T15:00:00+01:00", "CET-1CEST", "UTC", False, True),
    ],
)
def test_the_zone_of_a_hermes_that_has_none_is_told_by_its_clock(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, written: str | None, named: str, key: str,
    variable: bool, doubted: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(comparison, "local_zone", lambda: "UTC")
    monkeypatch.setenv("TZ", named)
    tree.home.jobs_file.write_text(json.dumps({"jobs": [], "updated_at": written}))
    found = comparison.machine_zone(last_written(tree.home))
    assert (found.key, found.variable, bool(found.doubt)) == (key, variable, doubted)


def test_what_hermes_is_asked_in_is_the_zone_that_was_found(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "local_zone", lambda: "UTC")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    written = {"jobs": [], "updated_at": "2026-11-22T15:00:00+01:00"}
    tree.home.jobs_file.write_text(json.dumps(written))
    told = {**TOLD, "zone": None}
    line = f"print(json.dumps({{**{told!r}, 'hermes': os.environ.get('TZ')}}))"
    found = simulate_hermes(tree.home, [], python=stand_in(tmp_path, line), now=NOW, count=5)
    assert (found.zone, found.doubt, found.means.version) == ("Europe/Berlin", "", "Europe/Berlin")


def test_croniter_alone_is_asked_where_there_is_no_hermes(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Alone(Planner):
        def __init__(self, zone: str | None) -> None:
            super().__init__(every=3600)
            self.zone = zone

    monkeypatch.setattr(simulation, "Croniter", Alone)
    monkeypatch.setenv("HERMES_TIMEZONE", "Europe/Berlin")
    found = simulate_hermes(tree.home, [DAILY], python=None, now=NOW, count=5)
    assert found.by is not None
    assert "alone" in found.by
    assert found.jobs["a"]["fires"][:2] == [int(AT) + 3600, int(AT) + 7200]


# -- rehearsing -----------------------------------------------------------------------------------


@dataclass
class Planner:
    """A scheduler that plans ``every`` seconds on; ``planned`` says otherwise for an instant, and
    ``skips`` are instants whose tick does not run what is due but plans it anew."""

    every: int
    planned: dict[float, datetime] = field(default_factory=dict)
    skips: dict[float, datetime] = field(default_factory=dict)
    clock: simulation.SimulatedClock = field(
        default_factory=lambda: simulation.SimulatedClock(BERLIN)
    )
    zone: str | None = "Europe/Berlin"

    def after(self, schedule: dict[str, Any], at: float) -> datetime | None:
        then = self.planned.get(at)
        return then or datetime.fromtimestamp(at + self.every, BERLIN)

    def tick(
        self, schedule: dict[str, Any], planned: datetime, at: float
    ) -> tuple[bool, datetime | None]:
        return at not in self.skips, self.skips.get(at, planned)


def simulated(planner: Planner, count: int = 3, **job: Any) -> dict[str, Any]:
    asked = {"now": AT, "count": count, "jobs": {"a": {**DAILY, **job}}}
    return dict(simulation.answer(asked, planner)["jobs"]["a"])  # type: ignore[arg-type]


def walked(planner: Planner, n: int, first: datetime | None = None) -> list[float]:
    walk = simulation.walk(planner, {"kind": "cron"}, AT, first, AT + 86400)  # type: ignore[arg-type]
    return [at - AT for at, _ in zip(walk, range(n), strict=False)]


def test_a_ticker_looks_once_a_minute() -> None:
    assert walked(Planner(every=10), 3) == [10, 70, 130]
    assert walked(Planner(every=90), 3) == [90, 180, 270]


def test_a_fire_that_is_planned_in_the_past_runs_at_the_next_tick() -> None:
    planner = Planner(every=3600, planned={AT + 3600: datetime.fromtimestamp(AT + 60, BERLIN)})
    assert walked(planner, 3) == [3600, 3660, 7260]
    planner.skips[AT + 3660] = datetime.fromtimestamp(AT + 7200, BERLIN)  # as 0.16 does
    assert walked(planner, 3) == [3600, 7200, 10800]


def test_a_fire_whose_offset_went_out_of_date_is_put_to_hermes_anew() -> None:
    winter = datetime.fromtimestamp(AT + 7200, UTC)
    planner = Planner(every=3600, skips={AT + 7200: datetime.fromtimestamp(AT + 9000, BERLIN)})
    assert walked(planner, 2, first=winter) == [9000, 12600]


def test_a_scheduler_that_plans_nothing_more_ends() -> None:
    class Once(Planner):
        def after(self, schedule: dict[str, Any], at: float) -> datetime | None:
            return None

    first = datetime.fromtimestamp(AT + 5, BERLIN)
    assert walked(Once(every=1), 5, first=first) == [5]
    assert walked(Once(every=1), 5) == []


def test_a_dense_schedule_is_looked_at_around_each_change_only() -> None:
    found = simulated(Planner(every=60))
    assert len(found["ranges"]) == 3
    change = seconds("2026-03-29 03:00")
    for after, until in found["ranges"]:
        inside = [at for at in found["fires"] if after < at <= until]
        assert inside
        assert all(b - a == 60 for a, b in pairwise(inside))
    assert found["ranges"][1][0] < change - 3600 < change + 3600 < found["ranges"][1][1]


def test_a_sparse_one_is_followed_to_both_changes() -> None:
    found = simulated(Planner(every=86400))
    assert len(found["ranges"]) == 1
    assert found["ranges"][0][1] > seconds("2026-10-25 03:00")


def test_an_interval_is_met_at_each_change_in_its_pace() -> None:
    next_run = (NOW + timedelta(minutes=5)).isoformat()
    every = {"kind": "interval", "minutes": 10}
    found = simulated(Planner(every=600), 4, schedule=every, next_run_at=next_run)
    assert [at - int(AT) for at in found["fires"][:4]] == [300, 900, 1500, 2100]
    (_, near), *later = ((a, b) for a, b in found["ranges"])
    assert near == found["fires"][3]
    for after, until in later:
        inside = [at for at in found["fires"] if after < at <= until]
        assert {(at - int(AT)) % 600 for at in inside} == {300}
        assert inside[0] == after + 600


def test_a_long_interval_is_met_on_both_sides_of_a_change() -> None:
    found = simulated(Planner(every=5 * 86400), schedule={"kind": "interval", "minutes": 7200})
    change = seconds("2026-10-25 03:00")
    low, high = found["ranges"][-1]
    assert [at < change for at in found["fires"] if low < at <= high].count(True) >= 1
    assert [at > change for at in found["fires"] if low < at <= high].count(True) >= 1


def test_a_one_shot_is_itself() -> None:
    soon = (NOW + timedelta(minutes=5)).isoformat()
    for at, number in ((soon, 1), ("2001-01-01T00:00:00+00:00", 0), (None, 0), ("soon", 0)):
        once = simulated(Planner(every=1), schedule={"kind": "once", "run_at": at})
        assert len(once["fires"]) == number


def test_what_hermes_raises_is_said_for_that_job_alone() -> None:
    class Broken(Planner):
        def after(self, schedule: dict[str, Any], at: float) -> datetime | None:
            raise ValueError("failed to find next date")

    assert simulated(Broken(every=1)) == {"error": "ValueError: failed to find next date"}


def test_the_changes_of_a_zone_are_found_to_the_second() -> None:
    found = simulation.clock_changes(simulation.SimulatedClock(BERLIN), AT)
    assert found == [seconds("2026-03-29 03:00"), 1792890000, seconds("2027-03-28 03:00")]
    assert simulation.clock_changes(simulation.SimulatedClock(UTC), AT) == []


# -- comparing ------------------------------------------------------------------------------------


def test_what_is_the_same_has_no_difference() -> None:
    schedule = cron_schedule("0 9 * * *", "Europe/Berlin")
    fires = [int(at.timestamp()) for at in schedule.fires(NOW, NOW + timedelta(days=30))]
    told = {"fires": fires, "ranges": [[int(AT), int(AT) + 30 * 86400]]}
    found = compare(schedule, told, NOW, 3)
    assert found.differences == ()
    assert found.theirs == found.ours
    assert [at.astimezone(BERLIN).hour for at in found.ours] == [9, 9, 9]


def test_differences_are_told_within_what_hermes_was_followed_through() -> None:
    schedule = every_schedule(timedelta(hours=1), NOW)
    low = int(AT)
    told = {"fires": [low + 3600, low + 5400, low + 7200], "ranges": [[low, low + 10800]]}
    found = compare(schedule, told, NOW, 2)
    assert found.differences == (
        FireDifference(NOW + timedelta(seconds=5400), True),
        FireDifference(NOW + timedelta(seconds=10800), False),
    )
    assert found.theirs == (NOW + timedelta(hours=1), NOW + timedelta(seconds=5400))


def test_ranges_that_overlap_count_once() -> None:
    schedule = every_schedule(timedelta(hours=1), NOW)
    low = int(AT)
    told = {"fires": [low + 3600], "ranges": [[low, low + 7200], [low + 3600, low + 7200]]}
    found = compare(schedule, told, NOW, 2)
    assert found.differences == (FireDifference(NOW + timedelta(hours=2), False),)


def test_a_schedule_of_seconds_is_compared_as_far_as_it_is_walked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comparison, "MOST", 10)
    schedule = every_schedule(timedelta(seconds=1), NOW)
    told = {"fires": [int(AT) + 60, int(AT) + 5], "ranges": [[int(AT), int(AT) + 60]]}
    found = compare(schedule, told, NOW, 2)
    assert len(found.differences) == 9
    assert max(d.at for d in found.differences) == NOW + timedelta(seconds=10)


def test_without_an_answer_nothing_is_compared() -> None:
    schedule = cron_schedule("0 9 * * *", "Europe/Berlin")
    for told, problem in ((None, "none"), ({"error": "no date"}, "no date")):
        found = compare(schedule, told, NOW, 2)
        assert (found.why_not, len(found.ours), found.differences) == (problem, 2, ())
