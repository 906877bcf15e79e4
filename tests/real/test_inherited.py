"""Whatever its parent left behind, `tenure serve` runs jobs, ends when asked to, and hands over.

The table is what a process inherits across fork and exec (execve(2), fork(2)) or what a container
adds. Each entry is Python that a parent runs before it becomes `tenure serve`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kit import PYTHON, TENURE, Started, World

from tenure.domain.ownership import OwnershipState
from tenure.domain.run import Run, RunState
from tenure.host import orphans
from tenure.runtime.inherited_state import umask_for
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real

ROOT = os.geteuid() == 0
ALL_SIGNALS = "signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}"

LEFT_BEHIND = {
    # signals
    "all signals blocked": f"signal.pthread_sigmask(signal.SIG_BLOCK, {ALL_SIGNALS})",
    "the usual signals ignored (trap '')": (
        "for n in (1, 2, 3, 13, 14, 15, 10, 12, 20, 21, 22): signal.signal(n, signal.SIG_IGN)"
    ),
    "SIGHUP ignored (nohup)": "signal.signal(signal.SIGHUP, signal.SIG_IGN)",
    "SIGCHLD ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "SIGCHLD blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})",
    # descriptors
    "standard input closed": "os.close(0)",
    "standard output closed": "os.close(1)",
    "standard error closed": "os.close(2)",
    "all three closed": "os.closerange(0, 3)",
    "a pipe without a reader as output": (
        "r, w = os.pipe(); os.dup2(w, 1); os.dup2(w, 2); os.close(r); os.close(w)"
    ),
    "descriptors that are not ours": (
        "[os.set_inheritable(os.dup(os.open(os.devnull, 0)), True) for _ in range(40)]"
    ),
    "few descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
    "too few descriptors, for now": "resource.setrlimit(resource.RLIMIT_NOFILE, (20, 4096))",
    # limits
    "no core": "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
    "files of 64 MB": "resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))",
    "tiny files, for now": "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))",
    "1 GB of address space": "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))",
    "few processes": "resource.setrlimit(resource.RLIMIT_NPROC, (4000, 4000))",
    "a small stack": "resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20))",
    "no locked memory": "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))",
    # the rest
    "umask 0": "os.umask(0)",
    "umask 0777": "os.umask(0o777)",
    "an empty environment": (
        "os.environ.clear(); os.environ.update(TENURE_HOME=sys.argv[2], TENURE_PROFILE=sys.argv[3])"
    ),
    "a folder that is gone": "d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d)",
    "the lowest priority": "os.nice(19)",
    "a subreaper": "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)",
    "no terminal": "os.setsid() if os.getpgid(0) != os.getpid() else None",
    "an alarm": "signal.setitimer(signal.ITIMER_REAL, 3600)",
}
STANDARD_SIGNALS = (1 << 31) - 1
"""The C library keeps the first two above them for itself, and ignores those in what it spawns."""
PARENT = """import ctypes, os, resource, signal, sys, tempfile
{}
os.execv(sys.argv[1], [sys.argv[1], 'serve'])
"""

# `ls` looks at itself: the shell's own list has both ends of a pipe until it has closed one.
STATE = (
    "umask; grep -E '^Sig(Blk|Ign):' /proc/self/status; echo fds: $(ls /proc/self/fd); touch made"
)


def start(world: World, left: str) -> Started:
    script = PARENT.format(left)
    return world.start([PYTHON, "-c", script, str(TENURE), str(world.home), world.name])


def run_job(world: World, name: str, line: str) -> Run:
    job = world.job(line, name=name)

    def look() -> Run | None:
        ended = [r for r in world.runs(job=job.id) if r.finished_at is not None]
        return ended[0] if ended else None

    run = eventually(look, f"the end of {name}")
    assert run is not None
    return run


def logged(world: World, run: Run) -> dict[str, str]:
    text = (world.profile.folder.logs / run.id / "1.log").read_text()
    lines = text.splitlines()
    return {"umask": lines[0], **dict(line.split(":", 1) for line in lines[1:])}


@pytest.mark.parametrize("left", LEFT_BEHIND)
def test_it_runs_jobs_ends_when_asked_to_and_hands_over(left: str, world: World) -> None:
    owner = start(world, LEFT_BEHIND[left])
    world.wait_owner(owner)
    run = run_job(world, "state", STATE)
    assert run.state is RunState.SUCCEEDED, run.reason

    # The job's own state is sane.
    said = logged(world, run)
    assert int(said["SigBlk"], 16) == 0
    assert int(said["SigIgn"], 16) & STANDARD_SIGNALS == 0
    assert said["fds"].split() == ["0", "1", "2", "3"], said  # the last is the folder it lists
    assert int(said["umask"], 8) & 0o700 == 0
    assert int(said["umask"], 8) & 0o022, "no other user may write what it makes"
    assert (world.folder / "made").stat().st_mode & 0o600 == 0o600

    # Tenure's own files are private, and what it writes goes nowhere else.
    for file in world.profile.folder.path.rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file
    for number in range(3):
        target = os.readlink(f"/proc/{owner.pid}/fd/{number}")
        assert not target.startswith(str(world.home)), (number, target)

    failed = run_job(world, "status", "exit 7")
    assert (failed.state, failed.exit_code) == (RunState.FAILED, 7)

    candidate = world.serve()
    eventually(lambda: world.member(candidate), "the candidate")
    owner.signal(signal.SIGTERM)
    assert owner.wait_end() == 0, owner.said()
    world.wait_owner(candidate)
    assert world.store.terms(limit=2)[1].ended_why, "it handed over"
    world.check_audit()


@pytest.mark.parametrize(
    ("inherited", "used"),
    [(0o022, 0o022), (0o077, 0o077), (0o002, 0o002), (0, 0o022), (0o777, 0o077), (0o700, 0o022)],
)
def test_the_umask_of_jobs(inherited: int, used: int) -> None:
    assert umask_for(inherited) == used


@pytest.mark.parametrize("left", ["all three closed", "umask 0777", "a folder that is gone"])
def test_other_verbs_work_too(left: str, tmp_path: Path) -> None:
    script = PARENT.format(LEFT_BEHIND[left]).replace("'serve'", "'add', 'every 1h', '--', 'true'")
    home = tmp_path / "home"
    done = subprocess.run(
        [PYTHON, "-c", script, str(TENURE)],
        env={**os.environ, "TENURE_HOME": str(home)},
        check=False,
    )
    assert done.returncode == 0
    shown = subprocess.run(
        [TENURE, "--home", home, "list", "--json"], capture_output=True, text=True, check=True
    )
    assert "every 1h" in shown.stdout
    assert (home / "profiles" / "default").stat().st_mode & 0o777 == 0o700


def test_a_limit_that_cannot_be_raised_is_said(world: World) -> None:
    small = "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    serve = start(world, small)
    eventually(lambda: "may write files of at most 100000 bytes" in serve.said(), "the limit")
    assert "ulimit -f" in serve.said()
    eventually(lambda: "joined" in serve.said(), "serve to hear signals")
    serve.signal(signal.SIGTERM)
    assert serve.wait_end() == 0


# -- orphans -----------------------------------------------------------------------------------
ORPHANS = "(sh -c 'sleep 0.2' &); (setsid sh -c 'sleep 0.3' &); exit 0"


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def leave_orphans(world: World, serve: int, number: int = 8) -> None:
    for n in range(number):
        run = run_job(world, f"orphans-{n}", ORPHANS)
        assert run.state is RunState.SUCCEEDED
    eventually(lambda: not children(serve), "all orphans to end and to be reaped")
    failed = run_job(world, "status", "exit 7")
    assert (failed.state, failed.exit_code) == (RunState.FAILED, 7)


def test_a_subreaper_reaps_what_jobs_leave_behind(world: World) -> None:
    owner = start(world, LEFT_BEHIND["a subreaper"])
    world.wait_owner(owner)
    leave_orphans(world, owner.pid)


@pytest.mark.root
def test_process_1_reaps_what_jobs_leave_behind_and_ends_when_asked_to(world: World) -> None:
    namespace = ["unshare", "-pf", "--kill-child", "--mount-proc"]
    if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this user may make no pid namespace here")
    outer = world.start([*namespace, TENURE, "serve"])
    eventually(lambda: world.ownership().hold is OwnershipState.HELD, "process 1 to own")
    (serve,) = children(outer.pid)
    leave_orphans(world, serve)
    candidate = world.serve()
    eventually(lambda: world.member(candidate), "the candidate")
    os.kill(serve, signal.SIGTERM)
    assert outer.wait_end() == 0, outer.said()
    world.wait_owner(candidate)


KEEPS = """
import ctypes, os, subprocess, sys, threading, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
before = subprocess.Popen(["sh", "-c", "exit 5"], start_new_session=True)
from tenure.host.orphans import Orphans, adopts_orphans

assert adopts_orphans()
orphans = Orphans()
assert orphans.can_reap()
made, done = {}, threading.Event()

def work():
    made["session"] = subprocess.Popen(["sh", "-c", "exit 7"], start_new_session=True)
    made["plain"] = subprocess.Popen(["sh", "-c", "exit 8"])
    line = "(setsid sh -c 'exit 9' &); (sh -c 'exit 9' &); exit 6"
    made["parent"] = subprocess.Popen(["sh", "-c", line], start_new_session=True)
    done.wait(60)

threading.Thread(target=work, daemon=True).start()
while len(made) < 3:
    time.sleep(0.01)
main = subprocess.Popen(["sh", "-c", "exit 4"])
reaped, until = 0, time.monotonic() + 60
while reaped < 2 and time.monotonic() < until:
    reaped += orphans.reap()
    time.sleep(0.01)
time.sleep(0.3)
reaped += orphans.reap()
done.set()
print(reaped, before.wait(), main.wait(), *(made[n].wait() for n in ("session", "plain", "parent")))
"""


def test_the_status_of_its_own_children_is_never_taken() -> None:
    """Neither of those that another thread forked, nor of those of the main thread."""
    done = subprocess.run(
        [sys.executable, "-c", KEEPS], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.stdout.split() == ["2", "5", "4", "7", "8", "6"], done


def test_a_kernel_that_lists_no_children_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from tenure.runtime import daemon

    said: list[Any] = []
    monkeypatch.setattr(daemon, "adopts_orphans", lambda: True)
    monkeypatch.setattr(orphans.Orphans, "_children", lambda self: None)
    monkeypatch.setattr(daemon.log, "warning", lambda *text: said.append(text))
    assert daemon._adopted_orphans() is None
    assert "docker run --init" in said[0][0]
    monkeypatch.setattr(daemon, "adopts_orphans", lambda: False)
    assert daemon._adopted_orphans() is None
    assert len(said) == 1
