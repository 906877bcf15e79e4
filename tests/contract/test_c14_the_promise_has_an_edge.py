"""C14 The promise has an edge. Fencing protects the record and the start of work, not what a
started process does to the outside world. [...] Every revision records its editor, and
`approve_protected = true` holds a changed protected job until it is approved; that guards against
mistakes, not malice. The docs say so.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from contractkit import World, processes  # noqa: F401

from waiting import eventually

pytestmark = pytest.mark.real
DOCS = Path(__file__).parents[2] / "docs"


def test_a_started_command_is_not_undone_by_deposing_its_owner(
    processes: World,  # noqa: F811
) -> None:
    """C14: Fencing protects the record and the start of work, not what a started process does."""
    world = processes
    first = world.owner()
    go, done = world.folder / "go", world.folder / "done"
    wait = f"while [ ! -e {go} ]; do sleep 0.05; done; echo > {done}; exit 4"
    world.ok("add", "in 10h", "--name", "long", "--", "sh", "-c", wait)
    world.ok("trigger", "long")
    eventually(lambda: world.rows("SELECT 1 FROM runs WHERE state = 'running'"), "the run")
    second = world.serve()
    eventually(lambda: "candidate" in world.status().out, "a candidate")
    world.ok("owner", "take", "--force")
    second.says("owner of default")
    go.touch()
    eventually(done.exists, "the command to go on")
    ended = eventually(
        lambda: (r := world.ok("runs", "--json").json["runs"][0])["finished_at"] and r, "its end"
    )
    assert (ended["state"], ended["exit_code"], ended["term"]) == ("failed", 4, 1)
    assert first.process.poll() is None
    world.audit()


def test_every_revision_names_its_editor(processes: World) -> None:  # noqa: F811
    """C14: Every revision records its editor."""
    world = processes
    world.add()
    world.ok("edit", "job", "--timeout", "1m")
    by = [row[0] for row in world.rows("SELECT edited_by FROM job_revisions ORDER BY revision")]
    assert [re.sub(r"\d+", "N", text.split(", ", 1)[1]) for text in by] == [
        "pid N, tenure add",
        "pid N, tenure edit",
    ]


def test_a_changed_protected_job_waits_for_approval(processes: World) -> None:  # noqa: F811
    """C14: `approve_protected = true` holds a changed protected job until it is approved."""
    world = processes
    world.add("--protected")
    world.toml.write_text(f"approve_protected = true\n[[owner]]\nuser = {os.geteuid()}\n")
    world.owner()
    ended = "succeeded"
    for revision in (1, 2):
        held = world.tenure("trigger", "job", "--json")
        assert held.code == 3
        assert f"revision {revision} waits for approval" in held.error["text"]
        world.ok("edit", "job", "--approve")
        assert world.trigger().json["run"]["state"] == ended
        world.ok("edit", "job", "--env", f"N={revision}")
    world.audit()


def test_the_docs_say_so() -> None:
    """C14: The docs say so."""
    page = " ".join((DOCS / "contract.md").read_text().split())
    assert "peers that cooperate, not adversaries" in page
    assert "not against malice" in page
