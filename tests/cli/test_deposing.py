"""Taking the ownership from a process that hangs; who may be killed, and who may not (C3, C9)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from clikit import Tenure, World

from tenure.client import force_takeover, warnings
from tenure.domain.policy.evidence import Evidence
from tenure.domain.process import Process, ProcessStatus
from tenure.host.live import LiveLock
from tenure.host.processes import is_alive, observe
from waiting import DEADLINE


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours that is to be taken for the owner's."""
    code = "import sys, time; sys.stdout.write('x'); sys.stdout.flush(); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        yield process
        process.kill()


def own_as(world: World, evidence: Evidence) -> None:
    live = world.profile.folder.live
    world.locks["p-hung"] = LiveLock.hold(live, "p-hung", evidence.identity)
    world.store.join(
        Process(
            id="p-hung", evidence=evidence, joined_at=world.now(), executes=True,
            standing=ProcessStatus.CANDIDATE, why="",
        )
    )  # fmt: skip
    world.own("p-hung")


def blocked_by(monkeypatch: pytest.MonkeyPatch, pid: int) -> None:
    for module in (force_takeover, warnings):
        monkeypatch.setattr(module, "write_lock_holder", lambda _: pid)


def test_an_owner_that_blocks_the_store_is_named_and_killed(
    tenure: Tenure, world: World, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_as(world, observe(sleeper.pid))
    world.join("p-next")
    blocked_by(monkeypatch, sleeper.pid)
    found = tenure("status", "--json").json["warnings"]
    (blocked,) = [w for w in found if w["code"] == "store_blocked"]
    assert f"pid {sleeper.pid} (the owner)" in blocked["text"]
    assert blocked["remedy"] == "`tenure owner take --kill`"
    done = tenure("owner", "take", "--kill", "--json").json
    assert (done["killed"], done["candidate"]) == (sleeper.pid, "p-next")
    assert sleeper.wait(DEADLINE) == -9
    assert world.store.ownership().reserved_for == "p-next"


def test_a_stranger_that_blocks_the_store_is_named_and_not_killed(
    tenure: Tenure, world: World, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.owner()
    world.join("p-next")
    blocked_by(monkeypatch, sleeper.pid)
    found = {w["code"]: w for w in tenure("status", "--json").json["warnings"]}
    assert f"end pid {sleeper.pid}" in found["store_blocked"]["remedy"]
    assert tenure("owner", "take", "--kill").code == 3
    assert sleeper.poll() is None


def test_a_recycled_pid_is_not_killed(
    tenure: Tenure, world: World, sleeper: subprocess.Popen[bytes]
) -> None:
    seen = observe(sleeper.pid)
    former = replace(seen, identity=replace(seen.identity, start=seen.identity.start - 1))
    own_as(world, former)
    world.join("p-next")
    done = tenure("owner", "take", "--force", "--kill", "--json")
    assert done.code == 0  # the owner is dead: its pid belongs to another now
    assert done.json["killed"] is None
    assert is_alive(seen.identity)


def test_a_healthy_owner_is_not_killed_without_force(
    tenure: Tenure, world: World, sleeper: subprocess.Popen[bytes]
) -> None:
    own_as(world, observe(sleeper.pid))
    world.join("p-next")
    assert tenure("owner", "take", "--kill").code == 3
    assert sleeper.poll() is None
    assert world.store.ownership().authority is not None
