"""What only the oldest Hermes does: passes over fires, runs a job as another profile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from adoptionkit import adopt, asked, not_run, recorded, wait_owner
from hermesvenv import HermesVenv
from hermesworld import HermesWorld

from waiting import eventually

pytestmark = [pytest.mark.hermes, pytest.mark.timeout(180)]

Worlds = Callable[..., HermesWorld]
VERSIONS = ["hermes_19", "hermes_18", "hermes_16"]


# -- the oldest ----------------------------------------------------------------------------------
def test_fires_that_the_oldest_passes_over_are_missed(
    hermes_16: HermesVenv, worlds: Worlds
) -> None:
    world = worlds(hermes_16)
    world.add("mail", "*/10 * * * *")
    since = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    jobs = world.jobs()
    jobs[0]["next_run_at"] = since.isoformat()
    (world.profile / "cron" / "jobs.json").write_text(json.dumps({"jobs": jobs}))
    adopt(world)
    before = datetime.now(UTC)
    gateway = world.gateway()
    wait_owner(world, gateway.pid)
    (missed,) = eventually(lambda: not_run(world, "mail"), "its fires to be accounted for")
    assert missed["kind"] == "missed"
    assert missed["reason"].startswith("Hermes skipped it")
    expected = int((before - since) / timedelta(minutes=10)) + 1
    assert missed["count"] in (expected, expected + 1)
    assert datetime.fromisoformat(world.jobs()[0]["next_run_at"]) > before
    assert world.runs() == []


def test_a_job_that_runs_as_another_profile_changes_nothing_for_the_others(
    hermes_16: HermesVenv, worlds: Worlds
) -> None:
    """It turns Hermes around for all threads while it runs: ticks go on being this profile's."""
    world = worlds(hermes_16)
    world.hermes("profile", "create", "other", "--no-alias", p=None)
    world.add("quick", "* * * * * */2")
    world.add("slow", "* * * * * */3", seconds=2.5)
    scripts = world.root / "profiles" / "other" / "scripts"
    scripts.mkdir(exist_ok=True)
    slow = world.profile / "scripts" / "slow.py"
    (scripts / "slow.py").write_text(slow.read_text())
    world.hermes("cron", "edit", "slow", "--profile", "other")
    adopt(world)
    at = time.time()
    gateway = world.gateway()
    wait_owner(world, gateway.pid)
    world.wait_runs(2, since=at, job="slow")
    ran = world.wait_runs(3, since=at, job="quick")
    world.stop_all()
    runs = recorded(world)
    for name in ("quick", "slow"):
        known = len([r for r in runs if r["job_name"] == name])
        assert known >= len([r for r in world.runs(since=at) if r.job == name]), name
    assert ran
    assert asked(world, "audit")["clean"]
