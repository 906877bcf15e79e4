"""0.18.2 and 0.16.0: status, fence, the gateway's runs, release."""

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
    release,
    snapshot,
    status,
    stays_quiet,
    stays_with,
    wait_owner,
)
from hermesvenv import HermesVenv
from hermesworld import HermesWorld

pytestmark = [pytest.mark.hermes, pytest.mark.timeout(180)]


@pytest.mark.parametrize("fixture", ["hermes_18", "hermes_16"])
def test_it_is_fenced_owned_and_released(
    fixture: str, request: pytest.FixtureRequest, worlds: Callable[..., HermesWorld]
) -> None:
    venv: HermesVenv = request.getfixturevalue(fixture)
    world = worlds(venv)
    (world.profile / "config.yaml").write_text(CONFIG)
    for n in range(3):
        world.add(f"mail-{n}", f"* * * * * {n}-59/3")
    seldom = world.add("seldom", "0 5 1 1 *")
    gateway, desktops = world.crowd(1)
    world.wait_runs(3)
    before = snapshot(world)
    found = {process["pid"] for process in status(world)["processes"]}
    assert {gateway.pid, desktops[0].pid} <= found

    adopt(world)
    stays_quiet(world, time.time() + SETTLING)

    world.stop_all()
    at = time.time()
    gateway, desktops = world.crowd(1)
    wait_owner(world, gateway.pid)
    stays_with(world, "gateway", world.wait_runs(6, since=at))
    world.api(desktops[0], "POST", f"/api/cron/jobs/{seldom}/trigger?profile=la")
    stays_with(world, "gateway", world.wait_runs(1, job="seldom"))
    gateway.stop(signal.SIGKILL)
    gone = time.time() + SETTLING
    said = world.hermes("cron", "run", seldom, code=None)
    assert "hermes -p la gateway" in said.out + said.err
    stays_quiet(world, gone)
    back = time.time()
    gateway = world.gateway()
    stays_with(world, "gateway", world.wait_runs(6, since=back))
    assert asked(world, "audit")["clean"]

    release(world)
    assert snapshot(world) == before
    world.stop_all()
    at = time.time()
    world.crowd(1)
    world.wait_runs(3, since=at)
