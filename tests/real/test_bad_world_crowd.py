"""Two of everything: whoever comes at the same moment, nothing is lost and nothing is ignored."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from worldkit import World

from waiting import eventually

pytestmark = pytest.mark.real


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.close()


def test_two_first_comers_make_one_profile(world: World) -> None:
    """Nobody was here before: the folder, the database and profile.id are made by all at once."""
    commands = [
        world.begin("--json", "add", "every 1h", "--name", f"job{n}", "--", "true")
        for n in range(6)
    ]
    serves = [world.serve(), world.serve()]
    answers = [world.end(command) for command in commands]
    assert [a.code for a in answers] == [0] * 6, answers
    eventually(lambda: any("owner of" in s.log for s in serves), "an owner")
    assert len(world.ok("list", "--json").json["jobs"]) == 6
    processes = eventually(
        lambda: (found := world.status().json["processes"]) and len(found) == 2 and found,
        "both to be there",
    )
    standings = Counter(p["standing"] for p in processes)
    assert standings["owner"] <= 1
    assert "identity_problem" not in world.status().codes
    world.audit()


def test_two_adds_of_one_name(world: World) -> None:
    world.add(name="first")
    commands = [
        world.begin("--json", "add", "every 1h", "--name", "same", "--", "true") for _ in range(4)
    ]
    answers = [world.end(command) for command in commands]
    assert sorted(a.code for a in answers) == [0, 5, 5, 5]
    for answer in answers:
        if answer.code:
            assert answer.error["code"] == "conflict"
            assert "same" in answer.error["text"]
    names = [j["name"] for j in world.ok("list", "--json").json["jobs"]]
    assert sorted(names) == ["first", "same"]


EDITORS, EDITS = 4, 50


def test_concurrent_edits_lose_nothing(world: World) -> None:
    """C12: 'Concurrent edits by any number of processes lose nothing and are never ignored by the
    running owner'."""
    world.owner()
    world.add(name="shared")
    editors = [_edit_often(world, n) for n in range(EDITORS)]
    taken, conflicts = 0, 0
    for pid, report in editors:
        _wait(pid)
        codes = Counter(re.findall(r"^exit (\d+)$", report.read_text(), re.M))
        assert set(codes) <= {"0", "5"}, report.read_text()
        taken += codes["0"]
        conflicts += codes["5"]
    assert taken + conflicts == EDITORS * EDITS
    job = world.ok("show", "shared", "--json").json["job"]
    assert job["revision"] == taken + 1
    # Each edit that was answered with 0 is in the history, with its editor's mark.
    history = world.rows("SELECT definition FROM job_revisions ORDER BY revision")
    marks = [m for (d,) in history for m in re.findall(r"mark-\d-\d+", d)]
    seen = set(marks)
    for number, (_, report) in enumerate(editors):
        done = re.findall(r"^done (mark-\d+-\d+)$", report.read_text(), re.M)
        assert set(done) <= seen
        assert len(done) == len(set(done)), number
    # The owner runs the last revision.
    assert world.trigger("shared").json["run"]["revision"] == job["revision"]
    world.audit()


def _edit_often(world: World, number: int) -> tuple[int, Path]:
    """A process that edits one field of its own and, every fifth time, one that all edit."""
    report = world.folder / f"editor-{number}"
    pid = os.fork()
    if pid:
        return pid, report
    try:
        with open(report, "w") as file:
            for n in range(EDITS):
                mark = f"mark-{number}-{n}"
                field = ("--tag", mark) if n % 5 == 0 else ("--env", f"E{number}={mark}")
                answer = world.tenure("edit", "shared", *field)
                file.write(f"exit {answer.code}\n{answer.err}")
                if answer.code == 0:
                    file.write(f"done {mark}\n")
        os._exit(0)
    finally:
        os._exit(1)


def _wait(pid: int) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_pause_during_a_burst(world: World) -> None:
    """C12: 'a claim names job, revision and fire time, and fails if the job is paused'."""
    world.owner()
    ran = world.folder / "ran"
    for n in range(6):
        world.ok(
            "add", "* * * * * *", "--name", f"burst{n}", "--overlap", "allow",
            "--", "sh", "-c", f"echo {n} >> {ran}",
        )  # fmt: skip
    eventually(lambda: ran.exists() and ran.stat().st_size > 20, "the burst")
    world.ok("pause", "--all", "--json")
    paused = world.rows("SELECT max(claimed_at) FROM runs")[0][0]
    time.sleep(1.2)  # a second's fires come and go
    assert world.rows("SELECT max(claimed_at) FROM runs")[0][0] == paused
    eventually(
        lambda: not world.rows("SELECT 1 FROM runs WHERE state IN ('claimed', 'running')"),
        "the runs to end",
    )
    lines = len(ran.read_text().splitlines())
    ok = world.rows("SELECT count(*) FROM runs WHERE state = 'succeeded'")[0][0]
    assert lines == ok
    world.ok("resume", "--all")
    eventually(lambda: len(ran.read_text().splitlines()) > lines, "the burst to go on")
    world.audit()


def test_a_storm_of_triggers_with_one_key(world: World) -> None:
    """C7: 'each with an idempotency key': asked many times, run once."""
    world.owner()
    ran = world.folder / "ran"
    world.ok("add", "in 10h", "--name", "once", "--", "sh", "-c", f"echo >> {ran}")
    storm = [world.begin("--json", "trigger", "once", "--wait", "--key", "k1") for _ in range(12)]
    answers = [world.end(command) for command in storm]
    assert [a.code for a in answers] == [0] * 12, answers
    assert len({a.json["run"]["id"] for a in answers}) == 1
    assert ran.read_text() == "\n"
    # Another key is another request.
    assert world.tenure("trigger", "once", "--wait", "--key", "k2").code == 0
    assert ran.read_text() == "\n\n"
    world.audit()


def test_two_profiles_are_removed_and_made_at_once(world: World) -> None:
    owner = world.owner()
    world.add()
    refused = world.tenure("profile", "remove", "default", "--yes", "--json")
    assert refused.code == 3
    assert "before removing it" in refused.error["text"]
    assert world.trigger().code == 0
    owner.kill()
    world.ok("profile", "remove", "default", "--yes")
    assert not world.profile.exists()
    assert world.tenure("profile", "remove", "default", "--yes").code == 4
    assert world.tenure("status").code == 4
    bad = world.tenure("profile", "remove", "../x", "--yes", "--json")
    assert bad.code == 2
    assert bad.error["field"] == "profile"
    link = world.home / "profiles" / "link"
    world.add(name="again")
    link.symlink_to(world.profile)
    linked = world.tenure("profile", "remove", "link", "--yes", "--json")
    assert linked.code == 3
    assert world.ok("list", "--json").json["jobs"][0]["name"] == "again"
