"""A plugin that is not there executes nothing: the fence needs no process to hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from adoptionkit import SETTLING, adopt, status_words, stays_quiet, stays_with, wait_owner
from hermesvenv import HermesVenv
from hermesworld import HermesWorld

pytestmark = [
    pytest.mark.hermes,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("in_order"),
]


@pytest.fixture(scope="module")
def world(worlds: Callable[..., HermesWorld], hermes_19: HermesVenv) -> HermesWorld:
    made = worlds(hermes_19)
    for n in range(2):
        made.add(f"mail-{n}", "* * * * * */2")
    adopt(made)
    started = time.time()
    gateway = made.gateway()
    wait_owner(made, gateway.pid)
    stays_with(made, "gateway", made.wait_runs(2, since=started))
    return made


def restart(world: HermesWorld) -> float:
    """A gateway and two desktops anew; when."""
    world.stop_all()
    at = time.time()
    world.crowd(2)
    return at


def edited(path: Path, old: str, new: str) -> str:
    """Change a file as somebody might; what stood there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return text


def test_a_syntax_error_in_the_plugin(world: HermesWorld) -> None:
    plugin = world.profile / "plugins" / "tenure" / "__init__.py"
    good = plugin.read_text()
    plugin.write_text(good + "\ndef broken(:\n")
    try:
        at = restart(world)
        stays_quiet(world, at)
        words = status_words(world)
        assert "plugin" in words
        assert "nothing" in words
    finally:
        plugin.write_text(good)


def test_the_plugin_disabled_in_the_configuration(world: HermesWorld) -> None:
    config = world.profile / "config.yaml"
    good = edited(config, "- tenure", "- something-else")
    try:
        at = restart(world)
        stays_quiet(world, at)
        words = status_words(world)
        assert "plugin" in words
        assert "enabled" in words
    finally:
        config.write_text(good)


def test_repaired_it_goes_on(world: HermesWorld) -> None:
    at = restart(world)
    stays_with(world, "gateway", world.wait_runs(4, since=at + SETTLING))
