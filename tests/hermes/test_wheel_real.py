"""Tenure's wheel in Hermes' own environment: nothing clashes, and it is what Hermes loads."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from adoptionkit import adopt, stays_with, wait_owner
from hermesvenv import HermesVenv
from hermesworld import REPO, HermesWorld

pytestmark = [pytest.mark.hermes, pytest.mark.timeout(180)]
ENTRY = """
from importlib.metadata import entry_points
for point in entry_points(group="hermes_agent.plugins"):
    print(point.name, point.load().__file__)
"""


@pytest.fixture(scope="module")
def copied(hermes_19: HermesVenv, tmp_path_factory: pytest.TempPathFactory) -> HermesVenv:
    """A copy of the environment, with the wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist"],
        cwd=REPO, check=True, capture_output=True,
    )  # fmt: skip
    shutil.copytree(hermes_19.folder, folder / "venv", symlinks=True)
    venv = HermesVenv(hermes_19.version, folder / "venv")
    script = venv.command.read_text()  # its first line names the interpreter
    venv.command.write_text(script.replace(str(hermes_19.folder), str(venv.folder)))
    wheel = next((folder / "dist").glob("*.whl"))
    done = pip(venv, "install", "--quiet", str(wheel))
    if "No matching distribution" in done.stderr:
        pytest.skip("the package index that has what Tenure needs cannot be reached")
    assert done.returncode == 0, done.stderr
    return venv


def pip(venv: HermesVenv, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [venv.python, "-m", "pip", "--disable-pip-version-check", *argv],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_nothing_clashes(copied: HermesVenv) -> None:
    done = pip(copied, "check")
    assert done.returncode == 0, done.stdout


def test_hermes_finds_it_there(copied: HermesVenv) -> None:
    done = subprocess.run(
        [copied.python, "-I", "-c", ENTRY], capture_output=True, text=True, check=True
    )
    name, _, file = done.stdout.strip().partition(" ")
    assert name == "tenure"
    assert Path(file).is_relative_to(copied.folder)


def test_it_is_what_the_gateway_loads(
    copied: HermesVenv, worlds: Callable[..., HermesWorld]
) -> None:
    world = worlds(copied)
    world.add("mail", "* * * * * */2")
    adopt(world)
    shutil.rmtree(world.profile / "tenure" / "lib")  # so it cannot be this one
    at = time.time()
    gateway = world.gateway()
    wait_owner(world, gateway.pid)
    stays_with(world, "gateway", world.wait_runs(3, since=at))
