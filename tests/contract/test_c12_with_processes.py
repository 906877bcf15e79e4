"""C12 Edits are kept. Concurrent edits by any number of processes lose nothing and are never
ignored by the running owner: a claim names job, revision and fire time, and fails if the job is
paused, removed or revised.
"""

from __future__ import annotations

import time

import pytest
from contractkit import World, processes  # noqa: F401

from waiting import eventually

pytestmark = pytest.mark.real


def micros() -> int:
    return int(time.time() * 1_000_000)


def test_the_running_owner_ignores_no_edit(processes: World) -> None:  # noqa: F811
    """C12: never ignored by the running owner."""
    world = processes
    world.owner()
    world.ok("add", "* * * * * *", "--name", "busy", "--overlap", "allow", "--", "true")
    eventually(lambda: world.rows("SELECT 1 FROM runs"), "a run")
    known: list[tuple[int, int]] = []
    for n in range(8):
        world.ok("edit", "busy", "--env", f"N={n}")
        known.append((micros(), n + 2))
        time.sleep(0.3)
    eventually(
        lambda: world.rows("SELECT 1 FROM runs WHERE revision = ?", known[-1][1]),
        "a run of the last revision",
    )
    for claimed, revision in world.rows("SELECT claimed_at, revision FROM runs"):
        assert revision >= max((r for at, r in known if at < claimed), default=1)
    world.ok("pause", "busy")
    paused = micros()
    time.sleep(1.1)
    assert world.rows("SELECT 1 FROM runs WHERE claimed_at > ?", paused) == []
    world.ok("resume", "busy")
    eventually(lambda: world.rows("SELECT 1 FROM runs WHERE claimed_at > ?", paused), "a run")
    world.ok("remove", "busy")
    removed = micros()
    time.sleep(1.1)
    assert world.rows("SELECT 1 FROM runs WHERE claimed_at > ?", removed) == []
    world.audit()


def test_an_edit_that_is_overtaken_is_told_so(processes: World) -> None:  # noqa: F811
    """C12: lose nothing: of two that say the same thing differently one is refused, and named."""
    world = processes
    world.add()
    edits = [world.begin("--json", "edit", "job", "--timeout", f"{n}m") for n in range(1, 7)]
    answers = [world.end(edit) for edit in edits]
    assert {a.code for a in answers} <= {0, 5}, answers
    taken = [a for a in answers if a.code == 0]
    for answer in answers:
        if answer.code:
            assert "timeout" in answer.error["text"]
            assert "tenure show job" in answer.error["remedy"]
    assert world.ok("show", "job", "--json").json["job"]["revision"] == 1 + len(taken)
