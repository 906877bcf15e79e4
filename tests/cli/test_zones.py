"""In which zone a schedule is read: the job's, the profile's or the machine's; never TZ's."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from clikit import Tenure, World

from tenure import Tenure as Embedded
from tenure import cron, every
from tenure.host import local_zone
from tenure.runtime import profile as profile_module

NINE = ("add", "0 9 * * *", "--name", "nine", "--", "true")


@pytest.fixture(autouse=True)
def machine_in_berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_module, "local_zone", lambda: "Europe/Berlin")
    monkeypatch.delenv("TZ", raising=False)


def zone_of(tenure: Tenure, name: str = "nine") -> tuple[str, bool]:
    schedule = tenure("--json", "show", name).json["job"]["schedule"]
    return schedule["timezone"], schedule["follows_profile"]


@pytest.mark.parametrize("tz", ["Asia/Tokyo", ":Asia/Tokyo", "JST-9", "Asia/Tokio", ""])
def test_a_tz_that_differs_is_named_with_the_zone_in_use(
    tenure: Tenure, monkeypatch: pytest.MonkeyPatch, tz: str
) -> None:
    monkeypatch.setenv("TZ", tz)
    added = tenure(*NINE)
    assert added.code == 0
    assert "Europe/Berlin, the machine's zone" in added.err
    assert (tz or "TZ is empty") in added.err
    assert "--tz" in added.err
    assert zone_of(tenure) == ("Europe/Berlin", True)
    (warning,) = [
        w for w in tenure("--json", "add", "@daily", "--", "true").json["warnings"]
        if w["code"] == "tz_variable"
    ]  # fmt: skip
    assert warning["remedy"]
    assert "tz_variable" in str(tenure("--json", "edit", "nine", "--schedule", "0 8 * * *").json)


@pytest.mark.parametrize("tz", ["Europe/Berlin", ":Europe/Paris", "CET-1CEST,M3.5.0,M10.5.0/3"])
def test_a_tz_that_says_the_same_needs_no_words(
    tenure: Tenure, monkeypatch: pytest.MonkeyPatch, tz: str
) -> None:
    monkeypatch.setenv("TZ", tz)
    assert "TZ is" not in tenure(*NINE).err


def test_a_schedule_that_reads_no_wall_clock_needs_no_words(
    tenure: Tenure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    quiet = ("every 90s", "in 30m", "2030-01-01T09:00Z", "* * * * *", "*/15 * * * *")
    for number, schedule in enumerate(quiet):
        added = tenure("add", schedule, "--name", f"job-{number}", "--", "true")
        assert added.code == 0, added
        assert "TZ is" not in added.err, schedule
    assert "TZ is" not in tenure("add", "0 9 * * *", "--tz", "UTC", "--", "true").err
    assert "TZ is" in tenure("add", "2030-01-01T09:00", "--name", "once", "--", "true").err
    assert "TZ is" not in tenure("edit", "true", "--timeout", "5m").err


def test_a_file_is_told_once(
    tenure: Tenure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    file = tmp_path / "jobs.toml"
    job = '[[job]]\nname = "{}"\nschedule = "0 9 * * *"\ncommand = ["true"]\n{}'
    file.write_text(job.format("a", "") + job.format("b", ""))
    assert tenure("apply", str(file)).err.count("TZ is") == 1
    file.write_text(job.format("c", 'tz = "UTC"\n'))
    assert "TZ is" not in tenure("apply", str(file)).err


def test_an_embedded_scheduler_says_it_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    caplog.set_level(logging.WARNING)

    def told(*jobs: object) -> int:
        caplog.clear()
        tenure = Embedded(profile="shop")
        for n, schedule in enumerate(jobs):
            tenure.job(schedule, print, name=f"job-{n}")  # type: ignore[call-overload]
        for _ in range(2):
            tenure._say_zone("Europe/Berlin", World(tenure.profile).now())
        tenure.profile.close()
        return sum("TZ is 'Asia/Tokyo'" in r.getMessage() for r in caplog.records)

    assert told(cron("0 9 * * *")) == 1
    assert told("every day at 9am") == 1
    assert told(cron("0 9 * * *", tz="UTC"), every("30s"), "every 90s") == 0


def test_a_named_zone_stays_and_profile_follows(tenure: Tenure, world: World) -> None:
    tenure(*NINE)
    assert zone_of(tenure) == ("Europe/Berlin", True)
    tenure("edit", "nine", "--timeout", "5m")
    assert zone_of(tenure) == ("Europe/Berlin", True)
    tenure("edit", "nine", "--tz", "Europe/Berlin")
    assert zone_of(tenure) == ("Europe/Berlin", False)
    world.profile.folder.toml.write_text('timezone = "Asia/Tokyo"\n')
    tenure("edit", "nine", "--schedule", "0 8 * * *")
    assert zone_of(tenure) == ("Europe/Berlin", False)
    tenure("edit", "nine", "--tz", "profile")
    assert zone_of(tenure) == ("Asia/Tokyo", True)
    world.profile.folder.toml.write_text('timezone = "UTC"\n')
    tenure("edit", "nine", "--schedule", "0 7 * * *")
    assert zone_of(tenure) == ("UTC", True)
    tenure("add", "2030-01-01T09:00", "--name", "once", "--", "true")
    assert zone_of(tenure, "once") == ("UTC", False)


def test_an_export_says_which_jobs_follow(tenure: Tenure, world: World, tmp_path: Path) -> None:
    tenure(*NINE)
    tenure("add", "every 90s", "--name", "often", "--", "true")
    tenure("add", "0 9 * * *", "--name", "named", "--tz", "UTC", "--", "true")
    text = tenure("export").out
    assert text.count("tz =") == 1
    file = tmp_path / "jobs.toml"
    file.write_text(text)
    assert "3 unchanged, 0 changed" in tenure("apply", str(file)).out
    assert "3 unchanged" in tenure("--profile", "default", "apply", str(file)).out
    world.profile.folder.toml.write_text('timezone = "Asia/Tokyo"\n')
    tenure("apply", str(file))
    assert zone_of(tenure) == ("Asia/Tokyo", True)
    assert zone_of(tenure, "named") == ("UTC", False)


def test_the_machines_zone_is_read_each_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is served for months adds jobs in the zone that the machine has then."""
    assert world.profile.timezone() == "Europe/Berlin"
    monkeypatch.setattr(profile_module, "local_zone", lambda: "Asia/Tokyo")
    assert world.profile.timezone() == "Asia/Tokyo"
    assert local_zone.local_zone(Path("/nowhere/localtime")) == "UTC"
