"""A fallback rule: while the gateway is gone a desktop may run what is not protected."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
from adoptionkit import SETTLING, adopt, asked, not_run, stays_quiet, stays_with, wait_owner
from hermesparts import Started
from hermesvenv import HermesVenv
from hermesworld import HermesWorld

from freezing import freeze
from waiting import eventually

pytestmark = [
    pytest.mark.hermes,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("in_order"),
]
AFTER = 5.0


class Pair:
    """A gateway, two desktops, a job of each kind."""

    def __init__(self, world: HermesWorld) -> None:
        self.world = world
        for name in ("open", "secret"):
            world.add(name, "* * * * * */2")
        adopt(world, "--fallback-after", f"{AFTER:g}s")
        world.tenure("hermes", "protect", "secret", "--profile", "la")
        self.gateway: Started
        self.gateway, self.desktops = world.crowd(2)
        wait_owner(world, self.gateway.pid)


@pytest.fixture(scope="module")
def pair(worlds: Callable[..., HermesWorld], hermes_19: HermesVenv) -> Pair:
    return Pair(worlds(hermes_19))


def test_1_while_the_gateway_is_there_it_runs_both(pair: Pair) -> None:
    runs = pair.world.wait_runs(6)
    stays_with(pair.world, "gateway", runs)
    assert {run.job for run in runs} == {"open", "secret"}


def test_2_a_desktop_takes_over_what_is_not_protected(pair: Pair) -> None:
    world = pair.world
    pair.gateway.stop(signal.SIGKILL)
    gone = time.time()
    world.wait_runs(3, since=gone + 1.0, job="open")
    runs = world.runs(since=gone + 1.0)
    stays_with(world, "desktop", runs)
    assert runs[0].at >= gone + AFTER - 0.5
    assert {run.job for run in runs} == {"open"}
    assert len({run.by for run in runs}) == 1


def test_3_the_gateway_back_it_owns_again_and_runs_what_was_held(pair: Pair) -> None:
    world = pair.world
    pair.gateway = world.gateway()
    wait_owner(world, pair.gateway.pid)
    owns = time.time()
    runs = world.wait_runs(6, since=owns + 1.0)
    stays_with(world, "gateway", [run for run in runs if run.at > owns + 1.0])
    assert {run.job for run in runs} == {"open", "secret"}
    eventually(lambda: not_run(world, "secret"), "the held fires to be accounted for")
    assert asked(world, "audit")["clean"]


def test_4_a_gateway_that_hangs_is_not_gone(pair: Pair) -> None:
    """It holds its lock, so nobody takes over, and nothing runs twice when it wakes."""
    world = pair.world
    freeze(pair.gateway.process.pid)
    frozen = time.time()
    try:
        stays_quiet(world, frozen + SETTLING, AFTER + 3.0)
    finally:
        pair.gateway.process.send_signal(signal.SIGCONT)
    awake = time.time()
    stays_with(world, "gateway", world.wait_runs(6, since=awake))
    assert asked(world, "audit")["clean"]
