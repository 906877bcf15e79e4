"""C9: an owner that does not do its work is seen: stopped, frozen, or with all slots taken."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from kit import PYTHON, Started, World, now

from tenure.client import explain, health, status
from tenure.client.documents import to_json
from tenure.domain.event import EventKind
from tenure.domain.policy.evidence import Manager, Service
from tenure.domain.process import Activity
from tenure.domain.run import RunState
from tenure.host import processes
from tenure.surfaces.web.pages.ownership import bar
from tenure.surfaces.web.reports import state_of
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real

WITHIN_S = 2.0
"""From the stop to the word of it."""


def owner_of(world: World) -> Started:
    owner = world.serve()
    world.wait_owner(owner)
    eventually(lambda: world.ownership().progress_at, "the owner's first progress")
    return owner


def codes(world: World) -> dict[str, str]:
    found = status.read_status(world.profile, now())
    return {w.code: f"{w.text} ({w.remedy})" for w in found.warnings}


# -- its program replaced -----------------------------------------------------------------------
def test_an_owner_whose_program_was_replaced_is_to_be_restarted(
    world: World, tmp_path: Path
) -> None:
    """As by an upgrade of Python, which puts a new file in the old one's place."""
    python = tmp_path / "venv" / "bin" / "python"
    argv = [PYTHON, "-m", "venv", "--copies", "--without-pip", python.parent.parent]
    subprocess.run(argv, check=True)
    above = os.pathsep.join(path for path in sys.path if path)
    serve = [python.resolve(), "-m", "tenure", "serve"]
    owner = world.start(serve, env={"PYTHONPATH": above})
    world.wait_owner(owner)
    assert "owner_code_replaced" not in codes(world)

    shutil.copy(python, python.with_name("new"))
    os.replace(python.with_name("new"), python.resolve())
    told = codes(world)["owner_code_replaced"]
    assert f"the program of the owner (pid {owner.pid}), {python.resolve()}, was replaced" in told
    assert f"restart it: `kill {owner.pid}`, and start it again" in told
    owner.signal(signal.SIGTERM)
    owner.wait_end()
    world.wait_owner(world.start(serve, env={"PYTHONPATH": above}))
    assert "owner_code_replaced" not in codes(world)


@pytest.mark.parametrize(
    ("service", "remedy"),
    [
        (
            Service(name="shop.service", manager=Manager.SYSTEMD_USER),
            "restart its service: `systemctl --user restart shop.service`",
        ),
        (Service(name="session-3.scope", manager=Manager.SYSTEMD_SYSTEM), "and start it again"),
    ],
)
def test_a_service_is_restarted_by_its_manager(world: World, service: Service, remedy: str) -> None:
    owner_of(world)
    found = health.examine(world.profile, now())
    assert found.owner is not None
    process = found.owner.process
    process = replace(process, evidence=replace(process.evidence, service=service))
    found = replace(found, owner=replace(found.owner, process=process))
    assert remedy in health.how_to_restart(found)


# -- stopped -----------------------------------------------------------------------------------
def test_a_stopped_owner_is_named_within_two_seconds(world: World) -> None:
    world.job("true", name="later", soon=86400)
    owner = owner_of(world)
    world.freeze_outside_a_transaction(owner)
    began = time.monotonic()
    found = codes(world)
    assert time.monotonic() - began < WITHIN_S
    assert (
        f"the owner (pid {owner.pid}) is stopped by a signal or a debugger"
        in (found["owner_stopped"])
    )
    assert f"kill -CONT {owner.pid}" in found["owner_stopped"]

    said = world.tenure("status", "--json")
    assert said.code == 1
    assert said.json["owner"]["life"] == "alive"
    assert said.json["owner"]["activity"] == "stopped"
    (process,) = said.json["processes"]
    assert process["activity"] == "stopped"
    words = world.tenure("status").out
    assert f"pid {owner.pid} stopped" in words
    assert "(stopped)" in words

    listed = world.tenure("list")
    assert listed.code == 0
    assert listed.out.startswith("warning owner_stopped: ")
    assert [w["code"] for w in world.tenure("list", "--json").json["warnings"]] == ["owner_stopped"]
    explained = world.tenure("explain", "later")
    assert explained.code == 1
    assert "is stopped by a signal" in explained.out

    seen = health.examine(world.profile, now())
    assert state_of(seen) == "stopped"
    assert "is stopped" in bar(seen, now()).text

    owner.wake()
    eventually(lambda: "owner_stopped" not in codes(world), "the warning to go")
    assert world.tenure("list", "--json").json["warnings"] == []


def test_a_request_to_a_stopped_owner_is_refused_soon(world: World) -> None:
    """C7: a refusal says what to do next. The request is not carried out when it wakes."""
    world.job("true", soon=86400)
    owner = owner_of(world)
    world.freeze_outside_a_transaction(owner)
    began = time.monotonic()
    said = world.tenure("trigger", "work", "--json")
    assert time.monotonic() - began < 10, "not its deadline of 30 s"
    assert said.code == 3, said
    assert f"the owner (pid {owner.pid}) is stopped" in said.json["error"]["text"]
    assert f"kill -CONT {owner.pid}" in said.json["error"]["remedy"]
    queued = world.tenure("trigger", "work", "--queue", "--json")
    owner.wake()
    run = world.wait_end()
    assert run.state is RunState.SUCCEEDED
    assert run.request == queued.json["request"]["id"]


def test_a_request_is_answered_by_an_owner_that_was_stopped_for_a_moment(world: World) -> None:
    world.job("true", soon=86400)
    owner = owner_of(world)
    world.freeze_outside_a_transaction(owner)
    command = world.script(
        "import sys; from tenure.surfaces.cli.main import main; sys.exit(main(sys.argv[1:]))",
        "trigger",
        "work",
    )
    eventually(lambda: world.store.requests(), "the request")
    owner.wake()
    assert command.wait_end() == 0, command.said()


def test_a_stopped_owner_is_taken_from_without_force(world: World) -> None:
    owner = owner_of(world)
    candidate = world.serve()
    eventually(lambda: world.member(candidate), "the candidate")
    world.freeze_outside_a_transaction(owner)
    remedy = eventually(
        lambda: "tenure owner take" in codes(world)["owner_stopped"], "the candidate in the remedy"
    )
    assert remedy
    taken = world.tenure("owner", "take", "--json")
    assert taken.code == 0, taken
    world.wait_owner(candidate)
    owner.wake()
    assert world.owns(candidate)


def test_an_owner_under_a_debugger_is_stopped_too(world: World) -> None:
    owner = owner_of(world)
    libc = ctypes.CDLL(None, use_errno=True)
    seize, interrupt, detach = 0x4206, 0x4207, 17
    if libc.ptrace(seize, owner.pid, None, None) != 0:
        pytest.skip(f"no process may be traced here: {os.strerror(ctypes.get_errno())}")
    libc.ptrace(interrupt, owner.pid, None, None)
    try:
        eventually(lambda: "owner_stopped" in codes(world), "the warning")
    finally:
        libc.ptrace(detach, owner.pid, None, None)
    eventually(lambda: "owner_stopped" not in codes(world), "the warning to go")


def test_a_state_that_cannot_be_read_is_unknown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another pid namespace, say: not 'alive and well', and no warning either."""
    owner = owner_of(world)
    monkeypatch.setattr(processes, "activity_of", lambda identity: Activity.UNKNOWN)
    found = status.read_status(world.profile, now())
    document = to_json(status.status_document(found))
    assert document["owner"]["activity"] == "unknown"
    assert document["processes"][0]["activity"] == "unknown"
    assert "owner_stopped" not in codes(world)
    assert world.owns(owner)


# -- slots -------------------------------------------------------------------------------------
SLOTS = "[slots]\ncommands = 1\n"


@pytest.fixture
def full(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> World:
    """One slot, held by a command that goes on, and a due fire that waits for it."""
    monkeypatch.setattr(health, "HUNG_AFTER", timedelta(seconds=0.5))
    world = make(toml=SLOTS)
    owner_of(world)
    world.job(f"until test -e {world.folder / 'go'}; do sleep 0.1; done", name="long")
    eventually(lambda: world.runs(states=frozenset({RunState.RUNNING})), "the long run")
    world.job("true", name="waits")
    return world


def test_a_due_fire_without_a_slot_is_named_with_what_holds_it(full: World) -> None:
    (run,) = full.runs()
    # Progress is noted every ten seconds: the owner has looked since the fire was due.
    text = eventually(lambda: codes(full).get("due_unclaimed"), "the warning", DEADLINE)
    assert "the scheduled run of waits has been due for " in text
    assert f"the only slot for commands is taken by long (run {run.id}, for " in text
    assert f"`tenure cancel {run.id} --profile la`" in text
    assert "--timeout" in text
    assert "raise commands under [slots] in " in text

    explained = explain.explain(full.profile, "waits", now())
    assert not explained.would_run
    slots = next(check for check in explained.checks if check.name == "slots")
    assert slots.text.startswith("it would wait for a slot: the only slot for commands is taken")
    assert run.id in slots.text
    said = full.tenure("explain", "waits", "--json")
    assert said.code == 1
    assert said.json["would_run"] is False

    (full.folder / "go").touch()
    eventually(lambda: len([r for r in full.runs() if r.finished_at]) == 2, "both runs")
    assert "due_unclaimed" not in codes(full)
    assert explain.explain(full.profile, "waits", now()).checks[-1].name != "slots"


def test_more_runs_than_are_named(make: Callable[..., World]) -> None:
    world = make(toml="[slots]\ncommands = 5\n")
    owner_of(world)
    for number in range(5):
        world.job(f"until test -e {world.folder / 'go'}; do sleep 0.1; done", name=f"j{number}")
    running = frozenset({RunState.RUNNING})
    eventually(lambda: len(world.runs(states=running)) == 5, "five runs")
    job = world.job("true", name="waits", soon=86400)
    checks = explain.explain(world.profile, job.id, now()).checks
    (slots,) = (check for check in checks if check.name == "slots")
    assert "all 5 slots for commands are taken by j" in slots.text
    assert slots.text.endswith("and 2 more")
    (world.folder / "go").touch()
    eventually(lambda: not world.runs(states=running), "the ends")


def test_a_machine_that_slept_leaves_no_fire_unclaimed(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was slept, as the owner wrote it down, is no awake time."""
    eventually(lambda: codes(full).get("due_unclaimed"), "the warning", DEADLINE)
    facts = {"kind": "suspended", "seconds": 3600.0}
    full.store.record_event(EventKind.CLOCK, now(), facts=facts)
    assert "due_unclaimed" not in codes(full)
    (full.folder / "go").touch()


def test_who_has_not_looked_since_is_not_accused(full: World) -> None:
    found = health.examine(full.profile, now())
    before = replace(found.ownership, progress_at=now() - timedelta(hours=1))
    assert health.find_unclaimed(full.profile, replace(found, ownership=before), now()) is None
    (full.folder / "go").touch()
