"""C2: nothing that a process can say of itself admits it; what the OS says of it does.

Each test has its control: the same policy admits the process that really is what the other one
claims to be.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import PYTHON, TENURE, Canary, Started, World, state_of

from tenure.domain.ownership import OwnershipAction, OwnershipState
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.run import RunState
from waiting import eventually

pytestmark = pytest.mark.real

SAYING_SO = {
    "XPC_SERVICE_NAME": "ai.hermes.gateway-la",
    "INVOCATION_ID": "0123456789abcdef0123456789abcdef",
    "JOURNAL_STREAM": "8:12345",
    "SYSTEMD_EXEC_PID": "1",
    "HERMES_DESKTOP": "0",
    "TENURE_ROLE": "gateway",
    "TENURE_OWNER": "1",
    "TENURE_TERM": "1",
    "TENURE_EXECUTABLE": "gateway",
}

# argv[0], comm and the process's own memory of its arguments and environment, overwritten.
FORGER = """
import ctypes, os, sys
launcher = sys.argv[1]
libc = ctypes.CDLL(None)
libc.prctl(15, b"gateway", 0, 0, 0)
open("/proc/self/comm", "w").write("gateway")
start, = [int(f) for f in open("/proc/self/stat").read().rpartition(")")[2].split()[45:46]]
said = launcher.encode() + b"\\0serve\\0"
ctypes.memmove(start, said, len(said))
assert open("/proc/self/cmdline", "rb").read().startswith(said)
from tenure.surfaces.cli.main import main
sys.exit(main(["serve", "--role", "gateway"]))
"""


def launcher_in(world: World) -> Path:
    """A program of the user's own, copied so that no other has its path."""
    path = world.folder / "opt" / "gateway"
    path.parent.mkdir()
    shutil.copy(os.path.realpath("/bin/sh"), path)
    return path


def launched(world: World, launcher: Path) -> Started:
    """A scheduler process that is really a child of the launcher."""
    return world.start([launcher, "-c", f"{TENURE} serve; exit $?"])


def served_by(world: World, launched: Started) -> Process:
    """The row of the scheduler whose parent is the launched program."""

    def look() -> Process | None:
        for process in world.store.processes(gone=True):
            chain = process.evidence.chain
            if len(chain) > 1 and chain[1].pid == launched.pid and process.why != "just joined":
                return process
        return None

    found = eventually(look, f"the scheduler that pid {launched.pid} launched")
    assert found is not None
    return found


def forged(world: World, launcher: Path) -> Started:
    environment = {
        **SAYING_SO,
        "PYTHONHOME": sys.base_prefix,
        "PYTHONPATH": ":".join(path for path in sys.path if path),
        "PADDING": "x" * 4096,
    }
    return world.start(
        [str(launcher), "-c", FORGER, str(launcher)],
        executable=PYTHON,
        env=environment,
        cwd=launcher.parent,
    )


RULES = {
    "service": 'service = "ai.hermes.gateway-la"',
    "unit": 'service = "gateway.service"',
    "executable": 'executable = "{launcher}"',
    "ancestor": 'ancestor = "{launcher}"',
    "cgroup": 'cgroup = "/system.slice/gateway.service"',
}


@pytest.mark.parametrize("rule", sorted(RULES))
def test_nothing_it_says_of_itself_admits_it(rule: str, world: World) -> None:
    launcher = launcher_in(world)
    world.policy("[[owner]]\n" + RULES[rule].format(launcher=launcher) + "\n")
    liar = forged(world, launcher)
    row = world.wait_standing(liar, ProcessStatus.REFUSED)
    assert "rule 1 asks for" in row.why
    assert row.rule is None
    assert world.ownership().hold is OwnershipState.VACANT
    if rule in ("executable", "ancestor"):
        real = served_by(world, launched(world, launcher))
        eventually(lambda: world.ownership().process == real.id, "the real one to own")
        assert world.ownership().authoritative
    again = world.wait_standing(liar, ProcessStatus.REFUSED)
    assert again.id == row.id
    assert world.store.ownership().process != row.id


def test_its_own_word_for_its_role_needs_something_that_the_os_vouches_for(
    make: Callable[..., World],
) -> None:
    world = make()
    launcher = launcher_in(world)
    world.policy(f'[[owner]]\nexecutable = "{launcher}"\nrole = "gateway"\n')
    liar = forged(world, launcher)
    world.wait_standing(liar, ProcessStatus.REFUSED)
    assert world.ownership().term == 0


# Takes the lock of a live file: the file itself, or a copy that is put in its place.
SQUATTER = """
import fcntl, os, shutil, sys, time
path, how = sys.argv[1:3]
if how == "copy":
    shutil.copy2(path, path + ".new")
    os.rename(path + ".new", path)
file = open(path, "r+")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", ["copy", "original"])
def test_a_live_file_held_by_another_keeps_no_dead_owner_alive(how: str, world: World) -> None:
    """A copied or stolen live file is no life: the holder's identity is dead."""
    owner = world.serve()
    world.wait_owner(owner)
    row = world.member(owner)
    assert row is not None
    owner.kill()
    squatter = world.script(SQUATTER, world.profile.folder.live / row.id, how)
    eventually(lambda: "held" in squatter.said(), "the live file to be squatted")
    candidate = world.serve()
    world.wait_owner(candidate)
    assert world.store.terms(limit=1)[0].how is OwnershipAction.TAKE_FROM_DEAD


@pytest.mark.root
@pytest.mark.skipif(
    not os.access("/proc/sys/kernel/ns_last_pid", os.W_OK), reason="pids cannot be chosen here"
)
def test_a_recycled_pid_is_another_process(world: World) -> None:
    """The dead owner's pid, given to a process that also holds its live file: still dead."""
    owner = world.serve()
    world.wait_owner(owner)
    row = world.member(owner)
    assert row is not None
    owner.kill()

    def recycle() -> Started | None:
        try:
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(owner.pid - 1))
        except OSError:
            pytest.skip("pids cannot be chosen here")
        squatter = world.script(SQUATTER, world.profile.folder.live / row.id, "original")
        if squatter.pid == owner.pid:
            return squatter
        squatter.kill()
        return None

    squatter = eventually(recycle, "a process with the dead owner's pid")
    assert squatter is not None
    eventually(lambda: "held" in squatter.said(), "the live file to be squatted")
    assert state_of(owner.pid) not in (None, "Z")
    said = world.tenure("status", "--json").json
    assert said["warnings"][0]["code"] == "owner_dead"
    assert world.tenure("owner", "take", "--kill", "--force").code == 0
    assert state_of(squatter.pid) not in (None, "Z"), "who has its pid now is not killed for it"
    candidate = world.serve()
    world.wait_owner(candidate)


def test_a_scheduler_started_by_a_run_is_refused(world: World, canary: Canary) -> None:
    """Design, part 6: a process that descends from a run is never a candidate."""
    owner = world.serve()
    world.wait_owner(owner)
    # Through a shell and a session of its own, so that it is no mere child.
    world.job(f"{canary.sing}; setsid sh -c 'setsid {TENURE} serve; true'; true")
    run = world.wait_run(RunState.RUNNING)

    def the_other() -> Process | None:
        for process in world.store.processes():
            if process.evidence.identity.pid != owner.pid and process.why != "just joined":
                return process
        return None

    row = eventually(the_other, "the scheduler that the run started")
    assert row is not None
    assert row.standing is ProcessStatus.REFUSED
    assert "descends from a run" in row.why
    owner.kill()
    # It sees the owner die, and has looked since.
    candidate = world.serve()
    world.wait_owner(candidate)
    assert world.store.process(row.id).standing is ProcessStatus.REFUSED
    assert [t.process for t in world.store.terms()][1:] == [run.process]
    assert world.tenure("cancel", run.id, "--wait").code == 0
    eventually(
        lambda: state_of(row.evidence.identity.pid) in (None, "Z"),
        "the run's scheduler to end with its run",
    )
    assert world.wait_end().state is RunState.CANCELLED
    assert canary.times == 1
    world.check_audit()
