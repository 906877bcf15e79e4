"""``tenure hermes status`` of real Hermes Agents: roles, homes, locks, runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from adoptionkit import status, status_words
from hermesvenv import HermesVenv
from hermesworld import PROFILE, HermesWorld

from waiting import eventually

pytestmark = [pytest.mark.hermes, pytest.mark.timeout(180)]
Make = Callable[..., HermesWorld]


def listed(found: Any, key: str = "processes") -> dict[int, Any]:
    return {process["pid"]: process for process in found[key]}


@pytest.fixture(scope="module")
def both(worlds: Make, hermes_19: HermesVenv) -> tuple[HermesWorld, HermesWorld]:
    ours, theirs = worlds(hermes_19), worlds(hermes_19)
    for n in range(2):
        ours.add(f"mail-{n}", f"* * * * * {n}-59/2")
    ours.crowd(2)
    theirs.crowd(1)
    return ours, theirs


class TestTwoHomesWithTheSameProfile:
    """One gateway and two desktops; beside them another home's, called the same in all respects."""

    def test_each_has_its_own_processes(self, both: tuple[HermesWorld, HermesWorld]) -> None:
        for world, other in (both, both[::-1]):
            found = status(world)
            there = listed(found)
            assert set(there) == {started.pid for started in world.processes}
            assert {pid: p["role"] for pid, p in there.items()} == {
                started.pid: started.name.partition("-")[0] for started in world.processes
            }
            assert {process["store"] for process in there.values()} == {"observed"}
            left_out = listed(found, "elsewhere")
            for started in other.processes:
                assert left_out[started.pid]["home"] == str(other.profile)
                assert left_out[started.pid]["same_profile_name"]

    def test_what_each_is_known_by(self, both: tuple[HermesWorld, HermesWorld]) -> None:
        world = both[0]
        gateway, *desktops = world.processes
        there = listed(status(world))
        assert there[gateway.pid]["seen"] == "it holds gateway.lock"
        assert {there[d.pid]["seen"] for d in desktops} == {"it has logs/gui.log open"}
        chain = [link["pid"] for link in there[gateway.pid]["evidence"]["chain"]]
        assert chain[0] == gateway.pid

    def test_the_locks(self, both: tuple[HermesWorld, HermesWorld]) -> None:
        for world in both:
            locks = status(world)["locks"]
            assert locks["gateway"]["pid"] == world.processes[0].pid
            assert locks["tick"]["known"]
            assert not locks["tick"]["fence"]

    def test_who_ran_the_last_jobs(self, both: tuple[HermesWorld, HermesWorld]) -> None:
        world, other = both
        world.wait_runs(15)
        runs = status(world)["runs"]
        assert runs["known"]
        assert set(runs["by_role"]) <= {"gateway", "desktop"}
        assert sum(runs["by_role"].values()) == runs["count"] >= 15
        ours = Counter(world_run.role for world_run in world.runs()[: runs["count"]])
        # A run that has been claimed may not have begun; one that began has been claimed.
        assert all(runs["by_role"].get(role, 0) >= count - 2 for role, count in ours.items())
        assert status(other)["runs"]["count"] == 0

    def test_a_backend_that_executed_runs_is_known_to_tick(
        self, both: tuple[HermesWorld, HermesWorld]
    ) -> None:
        world, other = both

        def all_tick() -> bool:
            return {p["ticks"] for p in status(world)["processes"]} == {"yes"}

        eventually(all_tick, "each of the three to have executed one of the last runs")
        told = listed(status(other))
        gateway, desktop = other.processes
        assert (told[gateway.pid]["ticks"], told[desktop.pid]["ticks"]) == ("yes", "may")
        assert "HERMES_DESKTOP=1" in told[desktop.pid]["why"]

    def test_the_verdict(self, both: tuple[HermesWorld, HermesWorld]) -> None:
        words = status_words(both[0])
        assert "3 processes can execute this profile's jobs; nothing tells them apart" in words
        assert f"held by pid {both[0].processes[0].pid} (gateway)" in words
        assert "tenure hermes adopt" in words

    def test_a_run_by_hand(self, both: tuple[HermesWorld, HermesWorld]) -> None:
        world = both[1]
        job = world.add("by-hand", "0 5 1 1 *", seconds=8)
        command = world.start("cli", [world.venv.command, "-p", PROFILE, "cron", "run", job])

        def seen() -> Any:
            return listed(status(world)).get(command.pid)

        found = eventually(seen, f"pid {command.pid} to be listed")
        assert (found["role"], found["ticks"], found["on_request"]) == ("run", "no", True)

        def recorded() -> bool:
            return status(world)["runs"]["by_role"] == {"run": 1}

        eventually(recorded, "its run in the ledger, as its own")
        command.stop()

    def test_a_fence(self, both: tuple[HermesWorld, HermesWorld]) -> None:
        """Made by hand, as adoption makes it: every unmodified ticker ends there."""
        world = both[0]
        lock = world.profile / "cron" / ".tick.lock"
        lock.unlink()
        lock.mkdir()
        found = status(world)
        assert {p["ticks"] for p in found["processes"]} == {"fenced"}
        assert found["locks"]["tick"]["fence"]
        assert found["verdict"].startswith("No job runs")
        assert [w["code"] for w in found["warnings"]] == ["fence_without_adoption"]
        lock.rmdir()

    def test_nothing_but_desktops(self, both: tuple[HermesWorld, HermesWorld]) -> None:
        world = both[0]
        world.processes[0].stop()
        found = status(world)
        assert found["locks"]["gateway"] == {"known": True, "held": False, "pid": None}
        assert "No gateway runs" in found["verdict"]
        world.processes[1].stop()
        (warning,) = status(world)["warnings"]
        assert warning["code"] == "desktop_ticks_alone"
        assert f"pid {world.processes[2].pid} (desktop backend) runs the jobs" in warning["text"]
        began = time.time()
        world.wait_runs(2, since=began)
        # Whoever ended is not taken for whoever is there.
        assert "gone" in status(world)["runs"]["by_role"]


@pytest.mark.parametrize(
    ("fixture", "version", "ticks"), [("hermes_18", "0.18.2", "may"), ("hermes_16", "0.16.0", "no")]
)
def test_earlier_versions(
    fixture: str, version: str, ticks: str, request: pytest.FixtureRequest, worlds: Make
) -> None:
    world = worlds(request.getfixturevalue(fixture))
    world.add("mail", "* * * * * */2")
    gateway, (desktop,) = world.crowd(1)
    world.wait_runs(2)
    found = status(world)
    assert (found["hermes"]["version"], found["hermes"]["verified"]) == (version, True)
    there = listed(found)
    assert set(there) == {gateway.pid, desktop.pid}
    assert (there[gateway.pid]["ticks"], there[desktop.pid]["ticks"]) == ("yes", ticks)
    assert found["locks"]["gateway"]["pid"] == gateway.pid
    assert not found["runs"]["known"]
    assert f"{version} does not record" in found["runs"]["why"]
    several = ["several_tickers"] if ticks == "may" else []
    assert [warning["code"] for warning in found["warnings"]] == several
