"""A disk that fills up under a living owner, and is emptied again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from worldkit import ROOT, World

from waiting import eventually

pytestmark = [
    pytest.mark.real,
    pytest.mark.root,
    pytest.mark.skipif(not ROOT, reason="only root may mount"),
]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A home on a file system of 4 MB."""
    one = World(tmp_path)
    one.home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(one.home)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        yield one
        one.close()
    finally:
        subprocess.run(["umount", "-l", str(one.home)], check=True)


def fill(world: World) -> Path:
    """Take every byte that is left."""
    ballast = world.home / "ballast"
    with open(ballast, "ab", buffering=0) as file:
        for size in (65536, 4096):
            try:
                while file.write(os.urandom(size)) == size:
                    pass
            except OSError:
                pass
    return ballast


def test_a_full_disk_loses_nothing_and_the_owner_goes_on(world: World) -> None:
    """C4, C5: it claims nothing that it cannot commit; every fire is accounted for."""
    owner = world.owner()
    world.add()
    ran = world.folder / "ran"
    command = f"date +%s.%N >> {ran}; echo a line of output"
    world.ok("add", "every 1s", "--catch-up", "none", "--name", "often", "--", "sh", "-c", command)
    eventually(ran.exists, "a run")
    ballast = fill(world)
    owner.says("is full")

    new = ("add", "every 2h", "--name", "new", "--", "true")
    for verb in (new, ("edit", "job", "--timeout", "5m"), ("pause", "job"), ("trigger", "job")):
        answer = world.tenure("--json", *verb)
        assert answer.code == 75, (verb, answer)
        assert answer.error["code"] == "store_unwritable"
        assert "full" in answer.error["text"]
        assert "free some space" in answer.error["remedy"]
    inside = world.tenure("--json", "backup", str(world.home / "backup.db"))
    assert inside.code == 75, inside
    assert "full" in inside.error["text"]
    assert not list(world.home.glob("backup.db*"))
    # What is only read goes on.
    assert {j["name"] for j in world.ok("list", "--json").json["jobs"]} == {"job", "often"}
    status = world.status()
    assert status.json["owner"]["life"] == "alive"
    world.ok("backup", str(world.folder / "outside.db"))
    assert owner.process.poll() is None

    before = ran.stat().st_size
    ballast.unlink()
    eventually(lambda: ran.stat().st_size > before, "runs once there is room")
    world.ok(*new)
    assert world.trigger().code == 0
    assert world.ok("show", "job", "--json").json["job"]["revision"] == 1
    term = world.status().json["owner"]["term"]
    assert term == 1
    assert owner.terminate() == 0
    # Each line was written by a run that is recorded, and none twice.
    states = dict(
        world.rows(
            "SELECT r.state, count(*) FROM runs r JOIN jobs j ON j.id = r.job "
            "WHERE j.name = 'often' GROUP BY 1"
        )
    )
    lines = len(ran.read_text().splitlines())
    assert states.get("succeeded", 0) <= lines
    assert lines <= sum(n for state, n in states.items() if state != "never_ran")
    world.audit()


def test_output_to_a_full_disk(world: World) -> None:
    """The job's own writes fail, and its true exit code is recorded all the same."""
    owner = world.owner()
    head = world.folder / "head"
    flood = f"head -c 20000000 /dev/zero; echo $? > {head}; exit 7"
    world.ok("add", "in 10h", "--name", "flood", "--", "sh", "-c", flood)
    world.ok("add", "in 10h", "--name", "quiet", "--", "sh", "-c", "exit 3")
    world.ok("trigger", "flood")
    eventually(lambda: head.exists() and head.read_text(), "the flood to be over")
    assert head.read_text() != "0\n"
    # Its end cannot be committed while its output fills the disk; it is kept, not lost.
    owner.says("is full")
    (run,) = world.ok("runs", "flood", "--json").json["runs"]
    assert run["state"] == "running"
    (log,) = (world.profile / "logs" / run["id"]).glob("*.log")
    log.unlink()
    ended = eventually(
        lambda: [
            run
            for run in world.ok("runs", "flood", "--json").json["runs"]
            if run["finished_at"] is not None
        ],
        "its end to be recorded",
    )
    assert (ended[0]["state"], ended[0]["exit_code"]) == ("failed", 7)
    assert world.trigger("quiet").json["run"]["exit_code"] == 3
    world.audit()
