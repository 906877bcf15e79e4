"""The story of an adoption, on a real Hermes: a gateway, four desktops, jobs due every second.

One story in one world: the tests stand in its order, each begins where the one before ended.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
from adoptionkit import (
    CONFIG,
    SETTLING,
    adopt,
    asked,
    not_run,
    recorded,
    release,
    snapshot,
    status,
    stays_quiet,
    stays_with,
    wait_owner,
)
from hermesparts import Started, roles
from hermesvenv import HermesVenv
from hermesworld import HermesWorld

from waiting import eventually

pytestmark = [
    pytest.mark.hermes,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("in_order"),
]
JOBS = 4
AGENT = """
import sys
from hermes_cli.plugins import discover_plugins
discover_plugins()
from tools.cronjob_tools import cronjob
print(cronjob(action="run", job_id=sys.argv[1]))
"""
"""What an agent's tool does, in a process of its own."""
FIRE = """
import sys
from hermes_cli.plugins import discover_plugins
discover_plugins()
from cron.scheduler_provider import InProcessCronScheduler
print(InProcessCronScheduler().fire_due(sys.argv[1]))
"""
"""What a hosted scheduler has a backend do."""
TRIGGER = "/api/cron/jobs/{}/trigger?profile=la"


class Story:
    """Where the story stands."""

    def __init__(self, world: HermesWorld) -> None:
        self.world = world
        (world.profile / "config.yaml").write_text(CONFIG)
        self.ids = [world.add(f"mail-{n}", f"* * * * * {n}-59/{JOBS}") for n in range(JOBS)]
        self.seldom = world.add("seldom", "0 5 1 1 *")
        self.slow = world.add("slow", "0 5 1 1 *", seconds=5.0)
        self.gateway: Started
        self.gateway, self.desktops = world.crowd()
        world.wait_runs(8)
        self.before = snapshot(world)
        self.restarted = 0.0

    def restart(self) -> None:
        """Every process of Hermes, as its user would once after adopting."""
        self.world.stop_all()
        self.restarted = time.time()
        self.gateway, self.desktops = self.world.crowd()


@pytest.fixture(scope="module")
def story(worlds: Callable[..., HermesWorld], hermes_19: HermesVenv) -> Story:
    return Story(worlds(hermes_19))


def test_1_adopting_stops_the_running_processes_at_once(story: Story) -> None:
    adopt(story.world)
    stays_quiet(story.world, time.time() + SETTLING)


def test_2_after_a_restart_every_run_is_the_gateways(story: Story) -> None:
    world = story.world
    story.restart()
    wait_owner(world, story.gateway.pid)
    world.wait_runs(10, since=story.restarted)
    story.desktops[0].stop()
    story.desktops[0] = world.desktop()
    runs = world.wait_runs(30, since=story.restarted)
    stays_with(world, "gateway", runs)


def seldom_runs(story: Story, count: int) -> None:
    """So many runs of the job that runs only when it is asked for; all over, the gateway's."""
    runs = story.world.wait_runs(count, job="seldom")
    assert len(runs) == count
    stays_with(story.world, "gateway", runs)

    def over() -> bool:
        found = [run for run in recorded(story.world) if run["job_name"] == "seldom"]
        return len(found) == count and all(run["finished_at"] for run in found)

    eventually(over, f"{count} runs of seldom to be recorded and over")


def test_3_whoever_asks_for_a_run_the_gateway_runs_it(story: Story) -> None:
    world = story.world
    code, answer = world.api(story.desktops[1], "POST", TRIGGER.format(story.seldom))
    assert code == 200
    assert str(story.gateway.pid) in answer["tenure"]
    seldom_runs(story, 1)
    said = world.hermes("cron", "run", story.seldom)
    assert str(story.gateway.pid) in said.out
    seldom_runs(story, 2)
    tool = world.python(AGENT, story.seldom)
    assert str(story.gateway.pid) in tool.out
    seldom_runs(story, 3)
    fired = world.python(FIRE, story.seldom)
    assert fired.out.strip() == "False", "it was not this process that ran it"
    seldom_runs(story, 4)


def test_4_a_tick_of_the_command_line_runs_nothing(story: Story) -> None:
    for _ in range(3):
        story.world.hermes("cron", "tick")
    stays_with(story.world, "gateway", story.world.runs(since=story.restarted))


def test_5_tenure_recorded_every_run_with_who_ran_it(story: Story) -> None:
    world = story.world
    ran = world.runs(since=story.restarted)
    stays_with(world, "gateway", ran)
    runs = recorded(world)
    assert len(runs) >= len(ran)
    processes = {run["process"] for run in runs}
    assert len(processes) == 1
    assert {run["evidence"]["chain"][0]["pid"] for run in runs} == {story.gateway.pid}
    lock = str(world.profile / "gateway.lock")
    assert [run["id"] for run in runs if lock not in run["evidence"]["locks"]] == []
    assert {run["job_name"] for run in runs} == {f"mail-{n}" for n in range(JOBS)} | {"seldom"}
    asked_for = [run for run in runs if run["requested_by"]]
    assert len(asked_for) == 4
    assert asked(world, "audit")["clean"]


def test_6_tenure_lists_every_process(story: Story) -> None:
    document = asked(story.world, "status", code=None)
    alive = {p["pid"]: p["standing"] for p in document["processes"] if p["life"] == "alive"}
    assert alive.pop(story.gateway.pid) == "owner"
    for desktop in story.desktops:
        assert alive.pop(desktop.pid) == "refused"


def test_7_without_the_gateway_nothing_runs_and_whoever_asks_is_told(story: Story) -> None:
    world = story.world
    world.tenure("hermes", "protect", "mail-0", "--profile", "la")
    eventually(lambda: asked(world, "show", "mail-0")["job"]["protected"], "mail-0 to be protected")
    world.api(story.desktops[0], "POST", TRIGGER.format(story.slow))
    world.wait_runs(1, job="slow")
    story.gateway.stop(signal.SIGKILL)
    gone = time.time()
    for _ in range(20):  # who asks whether a gateway runs holds its lock for a moment
        world.api(story.desktops[0], "GET", "/api/status")
    stays_quiet(world, gone + SETTLING, 8.0)
    said = world.hermes("cron", "run", "mail-0", code=None)
    assert "hermes -p la gateway" in said.out + said.err
    assert "Ran now" not in said.out
    code, answer = world.api(story.desktops[1], "POST", TRIGGER.format(story.ids[0]))
    assert code >= 400, answer
    assert "gateway" in str(answer)
    stays_quiet(world, gone + SETTLING, 2.0)


def test_8_the_gateway_back_it_resumes_and_nothing_is_silently_missed(story: Story) -> None:
    world = story.world
    back = time.time()
    story.gateway = world.gateway()
    runs = world.wait_runs(12, since=back)
    stays_with(world, "gateway", runs)
    assert {run.job for run in runs} >= {f"mail-{n}" for n in range(JOBS)}
    for n in range(JOBS):
        ranges = not_run(world, f"mail-{n}")
        assert sum(range["count"] for range in ranges) >= 1, ranges
        assert all(range["reason"] for range in ranges)
    cut = [run for run in recorded(world) if run["job_name"] == "slow"]
    assert [run["state"] for run in cut] == ["lost"]
    assert len(world.runs(job="slow")) == 1
    assert asked(world, "audit")["clean"]


def test_9_another_gateway_replaces_it_and_owns(story: Story) -> None:
    world = story.world
    old, story.gateway = story.gateway, world.gateway()
    old.wait_end()
    wait_owner(world, story.gateway.pid)
    owns = time.time()
    runs = world.wait_runs(6, since=owns)
    assert {run.by for run in runs} == {story.gateway.name}


def test_10_release_leaves_it_as_it_was(story: Story) -> None:
    world = story.world
    release(world)
    assert snapshot(world) == story.before
    assert not (world.profile / "cron" / ".tick.lock").is_dir()
    story.restart()
    eventually(
        lambda: roles(world.runs(since=story.restarted))["desktop"] >= 3,
        "the desktops to run jobs again",
    )
    assert status(world)["adoption"] is None
