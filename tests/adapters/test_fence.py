"""The fence: no moment without it that can be avoided, no tick under it, put up again if lost."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import pytest
from adoptkit import CuttingDisk, World, snapshot

from tenure.adapters.hermes.adopt import fence as fences
from tenure.adapters.hermes.adopt.fence import TickLockBlocker, assert_fence, fence_exists
from tenure.adapters.hermes.back.disk import Disk, lock, unlock
from tenure.adapters.hermes.back.release import alone
from tenure.domain.errors import OutcomeUnknown


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(fences, "LINGER_S", 0.0)
    return World(tmp_path).with_config().with_lock(b"old")


def ticks(world: World) -> bool:
    """What every version of Hermes does first; whether the tick would go on."""
    try:
        with open(world.home.tick_lock, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except OSError:
        return False


def install(world: World, disk: Disk | None = None, patience: float = 0.0) -> list[str]:
    (world.home.tenure / "restore").mkdir(parents=True, exist_ok=True)
    was: list[str] = []
    TickLockBlocker(world.home, disk or Disk(), linger=0.0).install(
        keep=was.append, patience=patience
    )
    return was


@pytest.mark.parametrize("swaps", [True, False])
def test_no_tick_passes_it(world: World, swaps: bool) -> None:
    assert ticks(world)
    world.with_lock(b"old")
    assert install(world, CuttingDisk(swaps=swaps)) == ["file"]
    assert fence_exists(world.home)
    assert not ticks(world)
    assert (world.home.tenure / "restore" / "tick.lock").read_bytes() == b"old"
    assert world.home.tick_lock.stat().st_mode & 0o777 == 0o700
    assert {
        p.name: p.stat().st_mode & 0o777 for p in world.home.tick_lock.iterdir()
    } == dict.fromkeys(("README", "release.py", "config_lines.py", "disk.py"), 0o600)
    assert not list(world.home.cron.glob("*.tenure-new"))


def test_where_nothing_was(world: World) -> None:
    world.home.tick_lock.unlink()
    assert install(world) == ["absent"]
    assert not ticks(world)


def test_a_link_is_kept_as_a_link(world: World) -> None:
    world.home.tick_lock.unlink()
    world.home.tick_lock.symlink_to(world.folder / "lock")
    (world.folder / "lock").touch()
    assert install(world) == ["file"]
    assert os.readlink(world.home.tenure / "restore" / "tick.lock") == str(world.folder / "lock")


def test_it_waits_for_a_tick_and_names_it(world: World) -> None:
    held = lock(str(world.home.tick_lock), 0.0)
    assert held is not None
    before = snapshot(world.home.cron)
    with pytest.raises(OutcomeUnknown, match=rf"pid {os.getpid()} holds .*\.tick\.lock") as said:
        install(world)
    assert said.value.facts["pid"] == os.getpid()
    left = snapshot(world.home.cron)
    assert {k: v for k, v in left.items() if "tenure-new" not in k} == before
    threading.Timer(0.1, unlock, [held]).start()
    assert install(world, patience=30.0) == ["file"]


def test_a_ticker_that_had_opened_the_old_file_cannot_lock_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world.home.tenure / "restore").mkdir(parents=True)
    with open(world.home.tick_lock, "w") as ticker:
        tried: list[str] = []

        def try_it(seconds: float) -> None:
            assert seconds == 0.25
            assert fence_exists(world.home)
            with pytest.raises(BlockingIOError):
                fcntl.flock(ticker, fcntl.LOCK_EX | fcntl.LOCK_NB)
            tried.append("in vain")

        monkeypatch.setattr("time.sleep", try_it)
        TickLockBlocker(world.home, Disk(), linger=0.25).install(keep=lambda was: None)
        assert tried == ["in vain"]


def test_a_file_that_appears_in_the_gap_is_waited_for_and_taken_away(world: World) -> None:
    """Where two names cannot be exchanged there is a moment in which a ticker makes the file."""

    class Gap(CuttingDisk):
        appeared = False

        def rename(self, old: str, new: str) -> None:
            if new == str(world.home.tick_lock) and not self.appeared:
                self.appeared = True
                world.home.tick_lock.write_text("a ticker's")
            super().rename(old, new)

    disk = Gap(swaps=False)
    assert install(world, disk) == ["file", "file"]
    assert disk.appeared
    assert fence_exists(world.home)
    assert (world.home.tenure / "restore" / "tick.lock").read_bytes() == b"old"


def test_a_ticker_beside_it_never_ticks_again(world: World) -> None:
    """A real process that does nothing but tick, before, while and after it is put up."""
    source = """
import fcntl, sys, time
ran = 0
while True:
    try:
        with open(sys.argv[1], "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with open(sys.argv[2], "a") as log:
                log.write("x")
            ran += 1
    except OSError:
        print("refused", flush=True)
    if ran == 50:
        print("going", flush=True)
"""
    log = world.folder / "ticks"
    argv = [sys.executable, "-c", source, str(world.home.tick_lock), str(log)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as ticker:
        try:
            assert ticker.stdout is not None
            while ticker.stdout.readline() != b"going\n":
                pass
            (world.home.tenure / "restore").mkdir(parents=True)
            TickLockBlocker(world.home, Disk(), linger=0.05).install(keep=lambda was: None)
            done = log.stat().st_size
            assert done >= 50
            _refused(ticker.stdout)
            # It may have stood between the open and the lock of the old file, for all that time.
            assert log.stat().st_size - done <= 1
            done = log.stat().st_size
            _refused(ticker.stdout)
            assert log.stat().st_size == done
        finally:
            ticker.kill()


def _refused(said: IO[bytes]) -> None:
    """So many times that the last one was not yet said when this began: a pipe has less room."""
    for _ in range(10_000):
        while said.readline() != b"refused\n":
            pass


# -- watched by the owner --------------------------------------------------------------------------
def test_one_lstat_while_it_stands(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.adopt()
    calls: list[object] = []
    real = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: (calls.append(path), real(path))[1])
    monkeypatch.setattr(fences, "read_adoption", None)
    assert assert_fence(world.home) is None
    assert calls == [world.home.tick_lock]


@pytest.mark.parametrize("became", ["removed", "file", "link"])
def test_a_lost_fence_is_put_up_again_and_told(world: World, became: str) -> None:
    world.adopt()
    for path in world.home.tick_lock.iterdir():
        path.unlink()
    world.home.tick_lock.rmdir()
    if became == "file":
        world.home.tick_lock.write_text("")
    elif became == "link":
        world.home.tick_lock.symlink_to("/nowhere/at/all")
    told = assert_fence(world.home)
    if became == "link":
        assert told is not None
        assert "cannot be restored" in told
        return
    assert told is not None
    assert ("removed" if became == "removed" else "replaced by a file") in told
    assert "it is restored" in told
    assert assert_fence(world.home) is None
    assert not ticks(world)
    assert (world.home.tenure / "restore" / "tick.lock").read_bytes() == b"old"
    world.release()
    assert world.home.tick_lock.read_bytes() == b"old"


def test_it_is_not_put_up_against_a_release(world: World) -> None:
    world.adopt()
    with alone(str(world.home.path)):
        subprocess.run(["rm", "-r", str(world.home.tick_lock)], check=True)
        told = assert_fence(world.home)
        assert told is not None
        assert "in progress" in told
        assert not fence_exists(world.home)
    world.release()
    told = assert_fence(world.home)
    assert told is None or "not restored (no adoption)" in told
    assert not fence_exists(world.home)


def test_it_never_raises(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.adopt()
    subprocess.run(["rm", "-r", str(world.home.tick_lock)], check=True)
    world.home.adoption.write_text("{")
    told = assert_fence(world.home)
    assert told is not None
    assert "cannot be understood" in told
    monkeypatch.setattr(os, "lstat", _denied)
    told = assert_fence(world.home)
    assert told is not None
    assert "cannot be examined" in told


def _denied(path: object) -> os.stat_result:
    raise PermissionError(13, "Permission denied")
