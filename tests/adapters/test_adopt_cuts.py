"""Adoption and release end anywhere, as by ``kill -9`` or a full disk; both can be gone on with.

Each case is done once to count its steps, then once for each step, on a fresh copy of the home.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from adoptkit import Cut, CuttingDisk, World, snapshot

from tenure.adapters.hermes.adopt.config_edit import enabled_in
from tenure.adapters.hermes.adopt.fence import fence_exists


def plain(world: World) -> None:
    world.with_config().with_lock(b"left by a ticker")


def nothing_there(world: World) -> None:
    shutil.rmtree(world.home.cron)


def linked(world: World) -> None:
    """A config.yaml that lies elsewhere, with Windows' line ends, in which Tenure is disabled."""
    elsewhere = world.folder / "dotfiles" / "hermes.yaml"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(b"plugins:\r\n  disabled: [tenure]\r\nmodel: x")
    world.home.config.symlink_to(elsewhere)
    world.with_lock()
    (world.home.path / "plugins" / "notes").mkdir(parents=True)


class Case:
    """A home, and how to have it again as it was."""

    def __init__(self, folder: Path, build: Callable[[World], None], swaps: bool) -> None:
        self.world = World(folder)
        build(self.world)
        self.swaps = swaps
        # The Tenure profile stays from one to the next: this is not about that.
        self.world.adopt()
        self.world.release()
        self.root = folder / ".hermes"
        self.kept = folder / "kept"
        self.others = folder / "dotfiles"
        for path, to in ((self.root, self.kept), (self.others, folder / "kept-others")):
            if path.exists():
                shutil.copytree(path, to, symlinks=True)
        self.before = self.look()

    def look(self) -> object:
        return snapshot(self.root), snapshot(self.others)

    def anew(self) -> World:
        shutil.rmtree(self.root)
        shutil.copytree(self.kept, self.root, symlinks=True)
        if self.others.exists():
            shutil.rmtree(self.others)
            shutil.copytree(self.world.folder / "kept-others", self.others, symlinks=True)
        return self.world

    def disk(self, at: int | None = None, error: Exception | None = None) -> CuttingDisk:
        return CuttingDisk(at, swaps=self.swaps, error=error)

    def cuts(self, work: Callable[[CuttingDisk], object]) -> Iterator[CuttingDisk]:
        """A disk for each step of ``work``, which is done whole first."""
        counting = self.disk()
        work(counting)
        assert counting.count > 8
        for at in range(counting.count):
            yield self.disk(at)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cut here is the process, not the power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


CASES = [(plain, True), (plain, False), (nothing_there, True), (linked, True)]


@pytest.fixture(params=CASES, ids=lambda p: f"{p[0].__name__}{'' if p[1] else ' without exchange'}")
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    build, swaps = request.param
    return Case(tmp_path, build, swaps)


def test_whole_it_leaves_nothing(case: Case) -> None:
    world = case.anew()
    world.adopt(case.disk())
    assert case.look() != case.before
    world.release(case.disk())
    assert case.look() == case.before


def test_adoption_cut_anywhere_is_undone(case: Case) -> None:
    for disk in case.cuts(lambda d: case.anew().adopt(d)):
        world = case.anew()
        with pytest.raises(Cut):
            world.adopt(disk)
        world.release()
        assert case.look() == case.before, f"cut at {disk.at}"


def test_adoption_cut_anywhere_goes_on(case: Case) -> None:
    for disk in case.cuts(lambda d: case.anew().adopt(d)):
        world = case.anew()
        with pytest.raises(Cut):
            world.adopt(disk)
        assert not fence_exists(world.home) or enabled_in(world.home.config.read_bytes())[0]
        world.adopt(case.disk())
        assert world.state == "adopted"
        assert fence_exists(world.home)
        assert enabled_in(world.home.config.read_bytes()) == (True, False)
        assert world.library.is_at(world.home.tenure / "lib")
        world.release()
        assert case.look() == case.before, f"cut at {disk.at}"


def test_release_cut_anywhere_goes_on(case: Case) -> None:
    def whole(disk: CuttingDisk) -> None:
        case.anew().adopt(case.disk())
        case.world.release(disk)

    for disk in case.cuts(whole):
        world = case.anew()
        world.adopt(case.disk())
        with pytest.raises(Cut):
            world.release(disk)
        world.release(case.disk())
        assert case.look() == case.before, f"cut at {disk.at}"


def test_release_cut_anywhere_and_adopted_again(case: Case) -> None:
    def whole(disk: CuttingDisk) -> None:
        case.anew().adopt(case.disk())
        case.world.release(disk)

    for disk in case.cuts(whole):
        world = case.anew()
        world.adopt(case.disk())
        with pytest.raises(Cut):
            world.release(disk)
        world.adopt(case.disk())
        assert world.state == "adopted"
        assert fence_exists(world.home)
        world.release(case.disk())
        assert case.look() == case.before, f"cut at {disk.at}"


def test_a_full_disk_anywhere_is_undone(tmp_path: Path) -> None:
    case = Case(tmp_path, plain, swaps=True)
    counting = case.disk()
    case.anew().adopt(counting)
    for at in range(counting.count):
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        world = case.anew()
        with pytest.raises(OSError, match="No space left"):
            world.adopt(case.disk(at, full))
        world.release()
        assert case.look() == case.before, f"full at {at}"
