"""The system's zone data is upgraded under a running owner (C13)."""

from __future__ import annotations

import shutil
import zoneinfo
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from worldkit import TENURE, World

from waiting import eventually

pytestmark = pytest.mark.real
ZONE = "Test/Town"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.close()


def write(folder: Path, hours: int) -> None:
    """The rules of the zone, replaced as a package manager does."""
    places = [Path(place, f"Etc/GMT-{hours}") for place in zoneinfo.TZPATH]
    shutil.copyfile(next(p for p in places if p.exists()), folder / "new")
    (folder / "new").rename(folder / ZONE)


def test_the_owner_and_a_command_agree_after_an_upgrade(world: World) -> None:
    folder = world.folder / "zoneinfo"
    (folder / "Test").mkdir(parents=True)
    write(folder, 2)
    # A command of its own: a fork of this process would look where this one looks.
    how: dict[str, Any] = {"env": {"PYTHONTZPATH": str(folder)}, "tenure": [*TENURE]}
    world.ok("add", "0 12 * * *", "--tz", ZONE, "--name", "noon", "--", "true", **how)
    owner = world.owner(**how)

    def due() -> datetime:
        (upcoming,) = world.status(**how).json["next"]
        return datetime.fromisoformat(upcoming["due_at"])

    assert due().hour == 10
    write(folder, 3)
    eventually(lambda: due().hour == 9, "the owner to plan by the new rules")
    owner.says("1 jobs are planned again: the rules of their time zones changed")
    assert due().isoformat() in world.ok("next", "noon", "--json", **how).out.replace("Z", "+00:00")
    world.audit(**how)
