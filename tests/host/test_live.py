"""Live locks: the kernel says who lives (C11, C14)."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from freezing import is_frozen
from tenure.domain.errors import Conflict, InvalidInput
from tenure.domain.ownership import HolderLife
from tenure.host import live, processes
from tenure.host.live import LiveLock, life_of, sweep
from waiting import DEADLINE, eventually

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform == "win32", reason="flock and fork"),
]

HOLD = """
import sys
from pathlib import Path
from tenure.host import processes
from tenure.host.live import LiveLock
i = processes.own_identity()
lock = LiveLock.hold(Path(sys.argv[1]), sys.argv[2], i)
print(i.pid, i.start, i.boot_id, i.pid_namespace, sep="|", flush=True)
"""
STAY = "sys.stdin.read()\n"


def identity_from(line: str) -> processes.Identity:
    pid, start, boot, namespace = line.split("|")
    return processes.Identity(boot_id=boot, pid=int(pid), start=int(start), pid_namespace=namespace)


def test_alive_while_held_and_dead_once_killed(spawn, tmp_path: Path) -> None:
    folder = tmp_path / "live"
    child = spawn(HOLD + STAY, str(folder), "p1")
    identity = identity_from(child.line())
    assert life_of(folder, "p1", identity) is HolderLife.ALIVE
    assert life_of(folder, "p1", None) is HolderLife.ALIVE
    os.kill(child.pid, signal.SIGSTOP)
    assert life_of(folder, "p1", identity) is HolderLife.ALIVE, "frozen is not dead"
    child.kill()
    assert life_of(folder, "p1", identity) is HolderLife.DEAD
    assert life_of(folder, "p1", None) is HolderLife.DEAD
    assert (folder / "p1").exists(), "nobody unlinks another's file by looking"
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    assert oct((folder / "p1").stat().st_mode & 0o777) == "0o600"


def test_release_leaves_no_file(tmp_path: Path) -> None:
    identity = processes.own_identity()
    lock = LiveLock.hold(tmp_path, "me", identity)
    assert lock.held
    assert life_of(tmp_path, "me", identity) is HolderLife.ALIVE
    lock.release()
    lock.release()
    assert not lock.held
    assert os.listdir(tmp_path) == []
    assert life_of(tmp_path, "me", identity) is HolderLife.UNVERIFIABLE, "it lives, without a lock"
    gone = dataclasses.replace(identity, start=identity.start - 1)
    assert life_of(tmp_path, "me", gone) is HolderLife.DEAD
    assert life_of(tmp_path, "me", None) is HolderLife.UNVERIFIABLE


def test_one_name_is_held_once(spawn, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(live, "_PROBERS_WAIT_S", 0.0)
    child = spawn(HOLD + STAY, str(tmp_path), "p1")
    child.line()
    with pytest.raises(Conflict):
        LiveLock.hold(tmp_path, "p1", processes.own_identity())
    child.kill()
    LiveLock.hold(tmp_path, "p1", processes.own_identity()).release()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "x" * 200, "a\0b"])
def test_a_process_id_is_a_plain_file_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        LiveLock.hold(tmp_path / "live", name, processes.own_identity())
    with pytest.raises(InvalidInput):
        life_of(tmp_path, name, None)
    assert not (tmp_path / "live").exists()


def test_a_child_by_exec_does_not_inherit_the_lock(spawn, tmp_path: Path) -> None:
    child = spawn(
        HOLD
        + "import subprocess; p = subprocess.Popen(['sleep', '60'], close_fds=False,"
        + "stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL);print(p.pid, flush=True)\n"
        + STAY,
        str(tmp_path),
        "p1",
    )
    identity = identity_from(child.line())
    sleeper = int(child.line())
    try:
        assert life_of(tmp_path, "p1", identity) is HolderLife.ALIVE
        child.kill()
        assert life_of(tmp_path, "p1", None) is HolderLife.DEAD
    finally:
        os.kill(sleeper, signal.SIGKILL)


FORK_AND_TELL = """
import os
pid = {fork}
if pid == 0:
    {child}
    while True:
        import signal; signal.pause()
print(pid, flush=True)
"""


def test_a_forked_child_drops_its_copy_and_leaves_the_parents(spawn, tmp_path: Path) -> None:
    source = HOLD + FORK_AND_TELL.format(fork="os.fork()", child="lock.release()") + STAY
    child = spawn(source, str(tmp_path), "p1")
    identity = identity_from(child.line())
    grandchild = int(child.line())
    try:
        assert life_of(tmp_path, "p1", identity) is HolderLife.ALIVE
        assert (tmp_path / "p1").exists(), "the child's release() only forgot"
        child.kill()
        eventually(
            lambda: life_of(tmp_path, "p1", None) is HolderLife.DEAD,
            "the forked child to have dropped the lock",
        )
    finally:
        os.kill(grandchild, signal.SIGKILL)


def test_a_leaked_lock_does_not_keep_the_dead_alive(spawn, tmp_path: Path) -> None:
    """A child forked behind Python's back keeps the descriptor, and so the lock."""
    fork = "__import__('ctypes').CDLL(None).fork()"
    source = HOLD + FORK_AND_TELL.format(fork=fork, child="pass") + STAY
    child = spawn(source, str(tmp_path), "p1")
    identity = identity_from(child.line())
    grandchild = int(child.line())
    try:
        child.kill()
        assert life_of(tmp_path, "p1", None) is HolderLife.ALIVE, "the lock alone says so"
        assert life_of(tmp_path, "p1", identity) is HolderLife.DEAD
        assert sweep(tmp_path, ()) == (), "a held file stays"
        foreign = dataclasses.replace(identity, pid_namespace="pid:[1]")
        assert life_of(tmp_path, "p1", foreign) is HolderLife.ALIVE
    finally:
        os.kill(grandchild, signal.SIGKILL)


def test_another_boots_process_is_dead_unless_its_lock_is_held(spawn, tmp_path: Path) -> None:
    child = spawn(HOLD + STAY, str(tmp_path), "p1")
    identity = dataclasses.replace(identity_from(child.line()), boot_id="another")
    assert life_of(tmp_path, "p1", identity) is HolderLife.UNVERIFIABLE
    assert life_of(tmp_path, "gone", identity) is HolderLife.DEAD
    child.kill()
    assert life_of(tmp_path, "p1", identity) is HolderLife.DEAD


def test_the_lock_decides_across_pid_namespaces(spawn, tmp_path: Path) -> None:
    wrapper = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc",
               "--kill-child")  # fmt: skip
    probe = subprocess.run([*wrapper, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no pid namespaces: {probe.stderr.decode().strip()}")
    child = spawn(HOLD + STAY, str(tmp_path), "p1", wrapper=wrapper)
    identity = identity_from(child.line())
    assert processes.is_alive(identity) is None
    assert life_of(tmp_path, "p1", identity) is HolderLife.ALIVE
    child.tell()
    child.process.stdin.close()
    child.process.wait(DEADLINE)
    assert life_of(tmp_path, "p1", identity) is HolderLife.DEAD
    (tmp_path / "p1").unlink()
    assert life_of(tmp_path, "p1", identity) is HolderLife.UNVERIFIABLE


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"not json", b"\xff\xfe"])
def test_a_stranger_in_the_files_place_is_not_believed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p1").write_bytes(content)
    alive = processes.own_identity()
    assert life_of(tmp_path, "p1", alive) is HolderLife.UNVERIFIABLE
    assert life_of(tmp_path, "p1", None) is HolderLife.UNVERIFIABLE
    dead = dataclasses.replace(alive, start=alive.start - 1)
    assert life_of(tmp_path, "p1", dead) is HolderLife.DEAD


@pytest.mark.parametrize("field", ["pid", "start", "boot_id", "pid_namespace"])
def test_a_free_lock_of_another_process_says_nothing_of_this_one(
    tmp_path: Path, field: str
) -> None:
    """Its record names another identity: who held that lock is dead, and it was not ours."""
    identity = processes.own_identity()
    value = getattr(identity, field)
    other = dataclasses.replace(identity, **{field: "x" if isinstance(value, str) else value + 1})
    LiveLock.hold(tmp_path, "me", other).drop()
    assert life_of(tmp_path, "me", other) is HolderLife.DEAD
    assert life_of(tmp_path, "me", identity) is HolderLife.UNVERIFIABLE


def test_a_lock_that_was_renamed_is_not_that_names(tmp_path: Path) -> None:
    LiveLock.hold(tmp_path, "another", processes.own_identity()).drop()
    (tmp_path / "another").rename(tmp_path / "me")
    assert life_of(tmp_path, "me", None) is HolderLife.UNVERIFIABLE


def test_a_file_that_was_swept_between_opening_and_locking_is_made_again(
    tmp_path: Path, monkeypatch
) -> None:
    """A lock on a file without a name would be seen by no other process."""
    identity = processes.own_identity()
    real, swept = live.try_exclusive, []

    def after_a_sweep(descriptor: int) -> bool:
        if not swept:
            swept.append((tmp_path / "me").unlink())
        return real(descriptor)

    monkeypatch.setattr(live, "try_exclusive", after_a_sweep)
    lock = LiveLock.hold(tmp_path, "me", identity)
    assert swept
    assert life_of(tmp_path, "me", identity) is HolderLife.ALIVE
    lock.release()
    assert os.listdir(tmp_path) == []


def test_a_sweeper_that_is_late_does_not_remove_the_file_of_one_that_joined(
    tmp_path: Path, monkeypatch
) -> None:
    """It has the file of the dead open; that was removed since, and another made in its place."""
    identity = processes.own_identity()
    LiveLock.hold(tmp_path, "me", identity).drop()
    real, joined = live.try_exclusive, list[LiveLock]()

    def after_another_joined(descriptor: int) -> bool:
        monkeypatch.setattr(live, "try_exclusive", real)
        (tmp_path / "me").unlink()
        joined.append(LiveLock.hold(tmp_path, "me", identity))
        return real(descriptor)

    monkeypatch.setattr(live, "try_exclusive", after_another_joined)
    assert sweep(tmp_path, keep=()) == ()
    assert life_of(tmp_path, "me", identity) is HolderLife.ALIVE
    joined[0].release()


def test_one_that_leaves_while_it_is_asked_about_has_not_died(tmp_path: Path, monkeypatch) -> None:
    """The prober has the file open, and gets the lock of one that left, and lives on."""
    identity = processes.own_identity()
    lock = LiveLock.hold(tmp_path, "me", identity)
    real = live.try_shared

    def after_its_leave(descriptor: int) -> bool:
        lock.release()
        return real(descriptor)

    monkeypatch.setattr(live, "try_shared", after_its_leave)
    assert life_of(tmp_path, "me", identity) is HolderLife.UNVERIFIABLE


def test_a_copied_folder_kills_nobody(tmp_path: Path) -> None:
    identity = processes.own_identity()
    lock = LiveLock.hold(tmp_path / "live", "p1", identity)
    shutil.copytree(tmp_path / "live", tmp_path / "copy")
    assert life_of(tmp_path / "copy", "p1", identity) is HolderLife.UNVERIFIABLE
    shutil.copy(tmp_path / "copy" / "p1", tmp_path / "new")
    os.replace(tmp_path / "new", tmp_path / "live" / "p1")
    assert life_of(tmp_path / "live", "p1", identity) is HolderLife.UNVERIFIABLE
    lock.release()
    assert (tmp_path / "live" / "p1").exists(), "what is not its own it does not unlink"


def test_a_fifo_or_a_link_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    own = processes.own_identity()
    assert life_of(tmp_path, "fifo", own) is HolderLife.UNVERIFIABLE
    assert life_of(tmp_path, "link", own) is HolderLife.UNVERIFIABLE


def test_probers_do_not_disturb_each_other_nor_a_joiner(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(live, "_PROBERS_WAIT_S", DEADLINE)
    identity = processes.own_identity()
    stop, answers = threading.Event(), set()

    def probe() -> None:
        while not stop.is_set():
            answers.add(life_of(tmp_path, "p1", identity))

    probers = [threading.Thread(target=probe) for _ in range(3)]
    for prober in probers:
        prober.start()
    try:
        for _ in range(50):
            LiveLock.hold(tmp_path, "p1", identity).release()
    finally:
        stop.set()
        for prober in probers:
            prober.join()
    assert answers <= {HolderLife.ALIVE, HolderLife.UNVERIFIABLE}, (
        "a prober was never taken for a death"
    )


def test_sweep_removes_the_dead_alone(spawn, tmp_path: Path) -> None:
    living = spawn(HOLD + STAY, str(tmp_path), "living")
    dead, kept = (spawn(HOLD, str(tmp_path), name) for name in ("dead", "kept"))
    for child in (living, dead, kept):
        child.line()
    dead.process.wait(DEADLINE)
    kept.process.wait(DEADLINE)
    assert sweep(tmp_path, {"kept"}) == ("dead",)
    assert sorted(os.listdir(tmp_path)) == ["kept", "living"]
    assert sweep(tmp_path / "none", ()) == ()


def test_joining_and_sweeping_at_once_robs_nobody(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(live, "_PROBERS_WAIT_S", DEADLINE)
    stop = threading.Event()
    identity = processes.own_identity()

    def sweeping() -> None:
        while not stop.is_set():
            sweep(tmp_path, ())

    sweeper = threading.Thread(target=sweeping)
    sweeper.start()
    try:
        for _ in range(200):
            lock = LiveLock.hold(tmp_path, "p1", identity)
            assert (tmp_path / "p1").stat().st_ino == os.fstat(lock._descriptor).st_ino
            lock.release()
    finally:
        stop.set()
        sweeper.join()


def test_the_file_tells_whose_it_is(tmp_path: Path) -> None:
    identity = processes.own_identity()
    lock = LiveLock.hold(tmp_path, "p1", identity)
    record = json.loads((tmp_path / "p1").read_text())
    assert record["process"] == "p1"
    assert processes.Identity(**record["identity"]) == identity
    lock.release()


SWEEPS = """
import os, signal, sys
from pathlib import Path
from tenure.host import live

take = live.try_exclusive

def stand_still(descriptor):
    taken = take(descriptor)
    os.kill(os.getpid(), signal.SIGSTOP)
    return taken

live.try_exclusive = stand_still
live.sweep(Path(sys.argv[1]), ())
"""


def test_a_sweeper_that_stands_still_keeps_nobody_from_joining(tmp_path: Path) -> None:
    """Which has just made its file, and is about to lock it."""
    (tmp_path / "p1").touch()
    sweeper = subprocess.Popen([sys.executable, "-c", SWEEPS, tmp_path])
    try:
        eventually(
            lambda: sweeper.poll() is not None or is_frozen(sweeper.pid), "it to sweep or to stop"
        )
        lock = LiveLock.hold(tmp_path, "p1", processes.own_identity())
        assert lock.held
        lock.release()
    finally:
        sweeper.kill()
        sweeper.wait()


def test_an_empty_file_is_swept_once_it_is_old(tmp_path: Path) -> None:
    (tmp_path / "p1").touch()
    assert sweep(tmp_path, ()) == ()
    os.utime(tmp_path / "p1", (0, 0))
    assert sweep(tmp_path, ()) == ("p1",)
