"""The bug as it is without Tenure: whoever ticks first runs the job, and `cron status` is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hermesparts import Started, eventually, roles
from hermesvenv import HermesVenv
from hermesworld import HermesWorld

from tenure.host import landlock

pytestmark = [pytest.mark.hermes, pytest.mark.timeout(180)]
JOBS = 4


class Crowd:
    """One gateway, four desktops, jobs due every second."""

    def __init__(self, world: HermesWorld) -> None:
        self.world = world
        self.ids = [world.add(f"mail-{n}", f"* * * * * {n}-59/{JOBS}") for n in range(JOBS)]
        self.gateway: Started
        self.gateway, self.desktops = world.crowd()


@pytest.fixture(scope="module")
def crowd(worlds: Callable[..., HermesWorld], hermes_19: HermesVenv) -> Crowd:
    return Crowd(worlds(hermes_19))


def test_desktops_execute_most_runs(crowd: Crowd) -> None:
    def most() -> bool:
        runs = crowd.world.runs()
        return len(runs) >= 30 and roles(runs)["desktop"] > len(runs) / 2

    eventually(most, "30 runs, most of them a desktop's", within=90)
    runs = crowd.world.runs()
    assert roles(runs)["?"] == 0
    assert len({run.by for run in runs}) >= 2
    assert all(run.desktop == (run.role == "desktop") for run in runs)


@pytest.mark.skipif(not landlock.available(), reason="no Landlock to deny the desktops the file")
def test_only_the_gateways_runs_read_the_file(crowd: Crowd) -> None:
    runs = crowd.world.runs()
    assert {run.read for run in runs if run.role == "desktop"} == {False}
    assert {run.read for run in runs if run.role == "gateway"} <= {True}


def test_cron_status_names_no_desktop(crowd: Crowd) -> None:
    said = crowd.world.hermes("cron", "status").out
    assert "Gateway is running" in said
    assert "desktop" not in said.lower()
    assert not any(str(desktop.pid) in said for desktop in crowd.desktops)


def test_cron_status_is_wrong_without_a_gateway(
    crowd: Crowd, worlds: Callable[..., HermesWorld]
) -> None:
    """It looks for a gateway by the profile's name, in whatever home, and at nobody else."""
    world = crowd.world
    crowd.gateway.stop()
    before = len(world.runs())
    eventually(lambda: len(world.runs()) >= before + 3, "the desktops to go on running jobs")
    assert roles(world.runs()[before:]) == {"desktop": len(world.runs()[before:])}
    other = worlds(world.venv)
    stranger = other.gateway()
    said = world.hermes("cron", "status").out
    assert "✓ Gateway is running" in said
    assert str(stranger.pid) in said
