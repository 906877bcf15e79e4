"""The bug as it is without Tenure: whoever ticks first runs the job, and `cron status` is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from adoptionkit import status
from hermesparts import Started, roles
from hermesvenv import HermesVenv
from hermesworld import HermesWorld

from scenario import landlock
from waiting import eventually

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


def test_cron_status_names_no_desktop_and_tenure_names_all(crowd: Crowd) -> None:
    world = crowd.world
    said = world.hermes("cron", "status").out
    assert "Gateway is running" in said
    assert "desktop" not in said.lower()
    assert not any(str(desktop.pid) in said for desktop in crowd.desktops)

    found = status(world)
    roles_by_pid = {process["pid"]: process["role"] for process in found["processes"]}
    assert roles_by_pid == {
        crowd.gateway.pid: "gateway",
        **{desktop.pid: "desktop" for desktop in crowd.desktops},
    }
    assert found["locks"]["gateway"]["pid"] == crowd.gateway.pid
    assert [warning["code"] for warning in found["warnings"]] == ["several_tickers"]


def test_tenure_tells_from_hermes_own_ledger_who_ran_what(crowd: Crowd) -> None:
    world = crowd.world
    pids = {started.name: started.pid for started in world.processes}
    told = Counter((run["job"], run["pid"]) for run in status(world)["runs"]["last"])
    assert told.total() >= 10

    def agrees() -> bool:  # a run may be claimed already and not have begun
        ours = Counter((crowd.ids[int(run.job[-1])], pids[run.by]) for run in world.runs())
        return not told - ours

    eventually(agrees, f"our own log to have had what Tenure tells: {told}")


def test_without_a_gateway_cron_status_is_wrong_and_tenure_is_right(
    crowd: Crowd, worlds: Callable[..., HermesWorld]
) -> None:
    """Hermes looks for a gateway by the profile's name, in whatever home, and at nobody else."""
    world = crowd.world
    crowd.gateway.stop()
    before = len(world.runs())
    eventually(lambda: len(world.runs()) >= before + 3, "the desktops to go on running jobs")
    assert roles(world.runs()[before:]) == {"desktop": len(world.runs()[before:])}
    stranger = worlds(world.venv).gateway()

    said = world.hermes("cron", "status").out
    assert "✓ Gateway is running" in said
    assert str(stranger.pid) in said

    found = status(world)
    assert {process["pid"] for process in found["processes"]} == {d.pid for d in crowd.desktops}
    assert not found["locks"]["gateway"]["held"]
    assert "No gateway runs" in found["verdict"]
    assert stranger.pid in {process["pid"] for process in found["elsewhere"]}
