"""C7 Delegate or refuse. Definitions (add, edit, pause, resume, remove) are store transactions by
revision, valid from any process with or without an owner. Trigger, cancel and hand-over are
requests that the owner answers [...] Without an owner the answer is a refusal that says who should
own, why nobody does, and what to type; never a quiet success, never a run here.
"""

from __future__ import annotations

import pytest
from contractkit import World, processes  # noqa: F401

from waiting import eventually

pytestmark = pytest.mark.real
POLICY = '[[owner]]\nservice = "ai.example.gateway"\n'


def test_definitions_are_valid_without_an_owner(processes: World) -> None:  # noqa: F811
    """C7: valid from any process with or without an owner."""
    world = processes
    world.add()
    for verb in (("edit", "job", "--timeout", "5m"), ("pause", "job"), ("resume", "job")):
        world.ok(*verb)
    job = world.ok("show", "job", "--json").json["job"]
    assert (job["revision"], job["timeout"], job["state"]) == (2, 300, "active")
    world.ok("remove", "job")
    assert world.ok("list", "--json").json["jobs"] == []
    assert world.status().json["owner"] is None


def test_without_an_owner_everything_that_runs_is_refused(
    processes: World,  # noqa: F811
) -> None:
    """C7: a refusal that says who should own, why nobody does, and what to type; never a quiet
    success, never a run here."""
    world = processes
    ran = world.folder / "ran"
    world.ok("add", "in 10h", "--name", "job", "--", "sh", "-c", f"echo > {ran}")
    world.toml.write_text(POLICY)
    stranger = world.serve()
    eventually(lambda: "refused" in world.status().out, "a process that is refused")
    asked = world.tenure("trigger", "job", "--json")
    assert asked.code == 3
    assert "ai.example.gateway" in asked.error["facts"]["should_own"]
    (seen,) = asked.error["facts"]["processes"]
    assert (seen["pid"], seen["standing"]) == (stranger.pid, "refused")
    assert "refused" in asked.error["text"]
    assert "start the service" in asked.error["remedy"]
    refused = world.ok("requests", "list", "--json").json["requests"]
    assert [r["state"] for r in refused] == ["refused"]
    hand_over = world.tenure("owner", "hand-over", "--json")
    assert hand_over.code == 3
    assert hand_over.error["remedy"]
    assert world.tenure("cancel", "r1m81none", "--json").code == 4
    assert not ran.exists()
    assert world.ok("runs", "--json").json["runs"] == []


def test_the_owner_executes_what_others_ask(processes: World) -> None:  # noqa: F811
    """C7: Trigger, cancel and hand-over are requests that the owner answers."""
    world = processes
    world.ok("add", "in 10h", "--name", "long", "--", "sleep", "60")
    queued = world.tenure("trigger", "long", "--queue", "--key", "early", "--json")
    assert queued.code == 0
    assert queued.json["request"]["state"] == "pending"
    first = world.owner()
    eventually(
        lambda: world.rows("SELECT 1 FROM runs WHERE state = 'running'"), "what was queued to run"
    )
    again = world.tenure("trigger", "long", "--queue", "--key", "early", "--json")
    assert again.json["request"]["id"] == queued.json["request"]["id"]
    (run,) = world.ok("runs", "--json").json["runs"]
    assert run["evidence"]["pid"] == first.pid  # by the owner, not by the one who asked
    assert "tenure trigger" in run["requested_by"]
    world.ok("cancel", run["id"])
    ended = eventually(
        lambda: (r := world.ok("runs", "--json").json["runs"][0])["finished_at"] and r, "its end"
    )
    assert ended["state"] == "cancelled"
    second = world.serve()
    eventually(lambda: "candidate" in world.status().out, "a candidate")
    world.ok("owner", "hand-over")
    second.says("owner of default")
    assert world.status().json["owner"]["term"] == 2
    world.audit()
