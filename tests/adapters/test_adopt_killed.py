"""``tenure hermes adopt`` and ``release`` as processes that are killed at some moment."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from adoptkit import World, snapshot

from tenure.adapters.hermes.adopt.fence import fence_exists

pytestmark = pytest.mark.real

DELAYS = (0.15, 0.22, 0.26, 0.3, 0.35, 0.4, 0.5, 0.7)
"""Seconds. The command takes about half of one, its imports a fifth."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).with_config().with_lock(b"old")


def command(world: World, verb: str, *argv: str) -> subprocess.Popen[bytes]:
    environ = {"HOME": str(world.folder), "PATH": "/nowhere", "TENURE_HOME": str(world.tenure)}
    words = [sys.executable, "-m", "tenure.surfaces.cli.main", "hermes", verb, "--yes", *argv]
    where = ["--hermes-home", str(world.home.path)]
    return subprocess.Popen(
        [*words, *where], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> None:
    time.sleep(seconds)  # at an arbitrary moment: no event marks it
    with process:
        process.send_signal(signal.SIGKILL)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def test_an_adoption_that_was_killed_is_undone_by_the_script_or_goes_on(world: World) -> None:
    before = snapshot(world.home.path)
    for number, delay in enumerate(DELAYS):
        kill_after(command(world, "adopt", "--force"), delay)
        if number % 2:
            finish(command(world, "adopt", "--force"))
            assert world.state == "adopted"
            assert fence_exists(world.home)
        finish(command(world, "release"))
        assert snapshot(world.home.path) == before, f"killed after {delay} s"


def test_a_release_that_was_killed_goes_on(world: World) -> None:
    before = snapshot(world.home.path)
    for delay in DELAYS[:5]:
        finish(command(world, "adopt", "--force"))
        kill_after(command(world, "release"), delay)
        script = world.home.tenure / "release.py"
        if script.exists():
            subprocess.run([sys.executable, "-I", "-S", str(script)], check=True, timeout=60)
        finish(command(world, "release"))
        assert snapshot(world.home.path) == before, f"killed after {delay} s"
