"""The library inside programs that do as they like with their children: reapers and forks."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from kit import Canary, Started, World, state_of

from freezing import is_frozen
from tenure.domain.ownership import OwnershipState
from tenure.domain.process import ProcessStatus
from tenure.domain.run import RunState
from waiting import eventually

pytestmark = pytest.mark.real

REAPING = {
    "handler": """
def reap(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
signal.signal(signal.SIGCHLD, reap)
""",
    "thread": """
def reap():
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.001)
threading.Thread(target=reap, daemon=True).start()
""",
    "ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n",
}

HOST = """
import os, signal, sys, threading, time
from tenure.library import Tenure
{reaping}
tenure = Tenure(sys.argv[2], home=sys.argv[1]).start()
while True:
    time.sleep(0.05)
"""


@pytest.mark.parametrize("how", sorted(REAPING))
def test_a_host_that_reaps_every_child_changes_no_exit_code(
    how: str, world: World, canary: Canary
) -> None:
    """Exit records, not wait statuses, are the truth: exit 7 stays 7."""
    host = world.script(HOST.format(reaping=REAPING[how]), world.home, world.name)
    world.wait_owner(host)
    world.job(f"{canary.sing}; exit 7")
    run = world.wait_end()
    assert (run.state, run.exit_code, run.signal) == (RunState.FAILED, 7, None)
    assert canary.times == 1
    assert host.process.poll() is None
    world.check_audit()


FORKING = """
import json, multiprocessing, os, sys, threading, time
from tenure.library import Tenure

tenure = Tenure(sys.argv[2], home=sys.argv[1], rejoin=sys.argv[6] == "rejoin").start()
while not tenure.owns:
    time.sleep(0.01)

def held():
    # Live locks, the database, sockets, what watches processes.
    folder = os.path.realpath(os.path.join(sys.argv[1], "profiles", sys.argv[2]))
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue
        if target.startswith((folder, "socket:", "anon_inode:")):
            found.append(target)
    return found

def child():
    said = {
        "pid": os.getpid(),
        "owns": tenure.owns,
        "threads": sorted(t.name for t in threading.enumerate() if t.name.startswith("tenure")),
        "held": held(),
    }
    with open(sys.argv[4] + ".new", "w") as file:
        json.dump(said, file)
    os.rename(sys.argv[4] + ".new", sys.argv[4])
    time.sleep(float(sys.argv[5]))

if sys.argv[3] == "fork":
    if os.fork() == 0:
        child()
        sys.exit(0)  # with the interpreter's whole ending: atexit, destructors
else:
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
while True:
    time.sleep(0.05)
"""


def forked(
    world: World, how: str, seconds: float, then: str = "stay out"
) -> tuple[Started, dict[str, Any]]:
    """A host that owned and then forked; what its child says of itself."""
    said = world.folder / "child.json"
    host = world.script(FORKING, world.home, world.name, how, said, str(seconds), then)
    world.wait_owner(host)
    eventually(said.exists, "the child's word")
    child = json.loads(said.read_text())
    assert isinstance(child, dict)
    return host, child


@pytest.mark.parametrize("how", ["fork", "multiprocessing"])
def test_a_forked_child_holds_neither_lock_nor_ownership(how: str, world: World) -> None:
    """Ownership and threads do not cross a fork; the child living on keeps nobody waiting."""
    host, child = forked(world, how, 600)
    try:
        assert child["owns"] is False
        assert child["threads"] == []
        assert child["held"] == []
        candidate = world.serve()
        world.wait_standing(candidate, ProcessStatus.CANDIDATE)
        host.kill()
        world.wait_owner(candidate)
        assert state_of(child["pid"]) not in (None, "Z"), "the child lives on"
        world.check_audit()
    finally:
        os.kill(child["pid"], signal.SIGKILL)


@pytest.mark.parametrize("how", ["fork", "multiprocessing"])
def test_a_started_instance_joins_anew_in_a_forked_child(how: str, world: World) -> None:
    """A candidate of its own, with its own identity; it takes over when the parent dies."""
    host, child = forked(world, how, 600, "rejoin")
    try:

        def standing() -> dict[int, ProcessStatus]:
            found = world.store.processes()
            return {p.evidence.identity.pid: p.standing for p in found}

        wanted = {host.pid: ProcessStatus.OWNER, child["pid"]: ProcessStatus.CANDIDATE}
        eventually(lambda: standing() == wanted, "the child to stand by")
        host.kill()
        eventually(lambda: standing().get(child["pid"]) is ProcessStatus.OWNER, "the child to own")
        world.check_audit()
    finally:
        os.kill(child["pid"], signal.SIGKILL)


@pytest.mark.parametrize("how", ["fork", "multiprocessing"])
def test_a_forked_child_that_ends_takes_nothing_with_it(how: str, world: World) -> None:
    """Its exit handlers hand over nothing, and close no connection of its parent's."""
    host, child = forked(world, how, 0)
    eventually(lambda: state_of(child["pid"]) in (None, "Z"), "the child's end")
    assert world.owns(host)
    world.job("exit 7")
    assert world.wait_end().exit_code == 7
    assert world.ownership().hold is OwnershipState.HELD
    assert len(world.store.terms()) == 1
    world.check_audit()


STUBBORN = """
import os, sys, time
from tenure.library import Tenure
tenure = Tenure(sys.argv[2], home=sys.argv[1]).start()
while not tenure.owns:
    time.sleep(0.01)
if os.fork() == 0:
    import xml.dom.minidom  # any work of the child's own
    inner = Tenure(sys.argv[2], home=sys.argv[1]).start()
    time.sleep(600)
time.sleep(600)
"""


def test_a_forked_child_may_join_by_itself(world: World, tmp_path: Path) -> None:
    """A new instance in the child is a process of its own: a candidate, with its own identity."""
    host = world.script(STUBBORN, world.home, world.name)
    world.wait_owner(host)

    def the_other() -> int | None:
        for process in world.store.processes():
            pid = process.evidence.identity.pid
            if pid != host.pid and process.standing is ProcessStatus.CANDIDATE:
                return pid
        return None

    child = eventually(the_other, "the child to stand by")
    assert child is not None
    try:
        assert not is_frozen(child)
        host.kill()
        eventually(
            lambda: (
                world.ownership().hold is OwnershipState.HELD
                and world.store.process(world.ownership().process or "").evidence.identity.pid
                == child
            ),
            "the child to take over",
        )
        world.check_audit()
    finally:
        os.kill(child, signal.SIGKILL)
