"""A file of the store is removed, replaced or cut short under real processes (C6, C11).

The owner notices before it writes, steps down and ends with 75, so that its service manager
starts it again; a host goes on without it. What was committed is not lost without a word.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from worldkit import Serve, World

from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.close()


def part(world: World, end: str) -> Path:
    return world.database.with_name(world.database.name + end)


def remove_log(world: World) -> None:
    part(world, "-wal").unlink()


def cut_log(world: World) -> None:
    os.truncate(part(world, "-wal"), 0)


def replace_log(world: World) -> None:
    copy = part(world, "-copy")
    shutil.copy(part(world, "-wal"), copy)
    os.replace(copy, part(world, "-wal"))


def remove_index(world: World) -> None:
    part(world, "-shm").unlink()


def cut_database(world: World) -> None:
    os.truncate(world.database, 0)


def replace_database(world: World) -> None:
    copy = part(world, "-copy")
    shutil.copy(world.database, copy)
    os.replace(copy, world.database)


def remove_folder(world: World) -> None:
    shutil.rmtree(world.profile)


def empty_folder(world: World) -> None:
    for entry in world.profile.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def move_folder(world: World) -> None:
    world.profile.rename(world.profile.with_name("elsewhere"))


LOSSES: dict[Callable[[World], None], str] = {
    remove_log: "-wal was removed",
    cut_log: "-wal was cut short",
    replace_log: "-wal was replaced",
    remove_index: "-shm was removed",
    cut_database: "tenure.db was cut short",
    replace_database: "is not the one that this process opened",
    remove_folder: "is not the one that this process opened",
    empty_folder: "is not the one that this process opened",
    move_folder: "is not the one that this process opened",
}
MENDED = (remove_log, replace_log, remove_index)
"""Nothing is lost with them: what was committed is still there."""


def working(world: World) -> Serve:
    """An owner with a job that runs each second, and one that was run."""
    owner = world.owner()
    world.add()
    assert world.trigger().code == 0
    world.ok("add", "every 1s", "--name", "often", "--", "true")
    eventually(lambda: world.rows("SELECT 1 FROM runs WHERE cause = 'schedule'"), "a run")
    return owner


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_serve_says_it_and_ends_with_75(lose: Callable[[World], None], world: World) -> None:
    owner = working(world)
    candidate = world.serve()
    eventually(lambda: "candidate" in world.status().out, "the candidate")
    lose(world)
    for one in (owner, candidate):
        assert one.process.wait(DEADLINE) == 75, one.log
        assert LOSSES[lose] in one.log
        assert "this process no longer runs jobs: " in one.log
        assert "Traceback" not in one.log
    assert "ownership lost (term 1)" in owner.log


@pytest.mark.parametrize("lose", MENDED, ids=lambda lose: lose.__name__)
def test_nothing_that_was_committed_is_lost(lose: Callable[[World], None], world: World) -> None:
    owner = working(world)
    lose(world)
    # What is said to be done while the owner has not noticed yet is done; else it is refused.
    done = [
        n for n in range(5) if world.tenure("add", "1d", "--name", f"n{n}", "--", "true").code == 0
    ]
    assert owner.process.wait(DEADLINE) == 75
    again = world.owner()
    names = {job["name"] for job in world.ok("list", "--json").json["jobs"]}
    assert {"job", "often", *(f"n{n}" for n in done)} <= names
    assert world.term() == 2
    assert world.trigger().code == 0
    assert again.terminate() == 0
    assert world.rows("PRAGMA integrity_check") == [("ok",)]
    world.audit()


def test_an_add_without_an_owner_is_kept_after_the_log_was_removed(world: World) -> None:
    owner = working(world)
    owner.kill()
    world.add(name="kept")
    part(world, "-wal").unlink(missing_ok=True)
    world.add(name="after")
    names = {job["name"] for job in world.ok("list", "--json").json["jobs"]}
    assert {"job", "kept", "after"} <= names


HOST = """
import logging, sys, threading, time
from pathlib import Path
from tenure import Tenure, every

logging.basicConfig(level=logging.INFO)
tenure = Tenure(home=sys.argv[1])
ran = Path(sys.argv[2])

@tenure.job(every("1s"))
def often():
    with ran.open("a") as file:
        file.write("!")

tenure.start()
while tenure.problem is None:
    time.sleep(0.01)
while any(t.name.startswith("tenure-") for t in threading.enumerate()):
    time.sleep(0.01)
print("problem:", tenure.problem, repr(tenure), tenure.owns, flush=True)
sys.stdin.readline()
tenure.start()
while not tenure.owns:
    time.sleep(0.01)
print("owns again", tenure.problem, flush=True)
sys.stdin.readline()
tenure.stop()
"""


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_a_host_goes_on_without_it(lose: Callable[[World], None], world: World) -> None:
    ran, log = world.folder / "ran", world.folder / "host.log"
    with open(log, "wb") as err:
        host = subprocess.Popen(
            [sys.executable, "-c", HOST, str(world.home), str(ran)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=err,
            env=world.env(),
            text=True,
        )
    assert host.stdin is not None
    assert host.stdout is not None
    try:
        eventually(lambda: ran.exists() or host.poll() is not None, "the first run")
        assert host.poll() is None, log.read_text()
        lose(world)
        said = host.stdout.readline()
        assert LOSSES[lose] in said, (said, log.read_text())
        assert "<Tenure 'default': stopped by itself: " in said
        assert said.endswith("False\n")
        assert "Traceback" not in log.read_text()
        if lose in MENDED:
            host.stdin.write("\n")
            host.stdin.flush()
            assert host.stdout.readline() == "owns again None\n", log.read_text()
            more = ran.stat().st_size
            eventually(lambda: ran.stat().st_size > more, "a run of the instance started again")
            host.stdin.write("\n")
            host.stdin.flush()
            assert host.wait(DEADLINE) == 0
            world.audit()
    finally:
        host.kill()
        host.wait(DEADLINE)
        host.stdin.close()
        host.stdout.close()
