"""Who holds an exclusive flock: real processes that hold one, nearly hold one, or do not."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure.host import processes
from tenure.host.linux import held_locks as module
from tenure.host.linux.held_locks import MOST, UNREAD, held_locks

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="reads Linux' /proc"),
]

SOURCE = str(Path(__file__).parents[2] / "src")
OPEN = "import fcntl, os, subprocess, sys\nfile = open(sys.argv[1], 'a')\n"
LOCK = OPEN + "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
WAIT = "os.write(1, b'%d\\n' % os.getpid())\nsys.stdin.readline()\n"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path.resolve() / "gateway.lock"


@contextlib.contextmanager
def held(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def locks_of(pid: int) -> tuple[str, ...]:
    evidence = processes.observe(pid)
    assert "locks" not in evidence.unknown
    return evidence.locks


def test_who_took_the_lock_holds_it_as_itself_and_others_see(spawn, lock: Path) -> None:
    child = spawn(
        LOCK
        + f"sys.path.insert(0, {SOURCE!r})\nfrom tenure.host import processes\n"
        + "print(*processes.observe().locks, flush=True)\n"
        + WAIT,
        str(lock),
    )
    assert child.line() == str(lock)
    child.line()
    assert locks_of(child.pid) == (str(lock),)
    child.kill()
    with held(lock):
        assert str(lock) in locks_of(os.getpid())
    assert str(lock) not in locks_of(os.getpid())


@pytest.mark.parametrize(
    "nearly",
    [
        "",
        "fcntl.flock(file, fcntl.LOCK_SH)\n",
        "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "fcntl.flock(file, fcntl.LOCK_EX)\nfcntl.flock(file, fcntl.LOCK_UN)\n",
        "fcntl.flock(file, fcntl.LOCK_EX)\nfcntl.flock(file, fcntl.LOCK_SH)\n",
        "other = open(sys.argv[1])\nfcntl.flock(other, fcntl.LOCK_EX)\nother.close()\n",
    ],
    ids=["open", "shared", "fcntl", "unlocked", "made shared", "closed"],
)
def test_whoever_only_has_it_open_or_another_kind_does_not(spawn, lock: Path, nearly: str) -> None:
    child = spawn(OPEN + nearly + WAIT, str(lock))
    child.line()
    assert locks_of(child.pid) == ()


def test_who_waits_for_it_does_not_hold_it_yet(spawn, lock: Path) -> None:
    with held(lock):
        child = spawn(OPEN + "print(flush=True)\nfcntl.flock(file, 2)\n" + WAIT, str(lock))
        child.line()
        assert locks_of(child.pid) == ()
    child.line()
    assert locks_of(child.pid) == (str(lock),)


def test_a_forked_child_shares_the_lock_and_does_not_hold_it(spawn, lock: Path) -> None:
    """In the kernel's eyes the lock is the open file's, so the child shares it; see the control."""
    parent = spawn(LOCK + "child = os.fork()\n" + WAIT + "if child: os.wait()\n", str(lock))
    pids = {int(parent.line()), int(parent.line())}
    (child,) = pids - {parent.pid}
    fdinfo = [p.read_text() for p in Path(f"/proc/{child}/fdinfo").iterdir()]
    assert any(f"WRITE {parent.pid}" in text for text in fdinfo), "it does share it"
    assert locks_of(child) == ()
    assert locks_of(parent.pid) == (str(lock),)
    parent.kill()
    assert locks_of(child) == (), "nor does it inherit it"
    parent.tell()  # the child, which waits on the same pipe


INHERITS = (
    LOCK
    + """
code = "import fcntl, os, sys\\n%s\\nprint(os.getpid(), flush=True)\\nsys.stdin.readline()\\n"
code %= "fcntl.flock(int(sys.argv[1]), fcntl.LOCK_EX)" if sys.argv[2] == "again" else ""
handed = [sys.executable, "-c", code, str(file.fileno())]
child = subprocess.Popen(handed, pass_fds=[file.fileno()])
child.wait()
"""
)


@pytest.mark.parametrize("then", ["", "again"])
def test_who_inherited_the_descriptor_does_not_hold_it(spawn, lock: Path, then: str) -> None:
    """Nor by locking again what is locked: the kernel keeps the lock as its taker's."""
    parent = spawn(INHERITS, str(lock), then)
    child = int(parent.line())
    assert str(lock) in {os.readlink(p) for p in Path(f"/proc/{child}/fd").iterdir()}
    assert locks_of(child) == ()
    assert locks_of(parent.pid) == (str(lock),)
    parent.tell()


def test_a_program_that_replaces_itself_keeps_its_lock(spawn, lock: Path) -> None:
    then = "import os, sys\n" + WAIT
    child = spawn(
        LOCK
        + "os.set_inheritable(file.fileno(), True)\n"
        + f"os.execv(sys.executable, [sys.executable, '-c', {then!r}])\n",
        str(lock),
    )
    assert int(child.line()) == child.pid
    assert locks_of(child.pid) == (str(lock),)


def test_a_lock_taken_by_a_thread_and_a_copied_descriptor_is_one(lock: Path) -> None:
    opened = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    taker = threading.Thread(target=fcntl.flock, args=(opened, fcntl.LOCK_EX))
    taker.start()
    taker.join()
    copy = os.dup(opened)
    assert locks_of(os.getpid()).count(str(lock)) == 1
    os.close(opened)
    assert str(lock) in locks_of(os.getpid()), "the copy holds it still"
    os.close(copy)
    assert str(lock) not in locks_of(os.getpid())


def test_a_file_that_was_deleted_or_replaced_is_not_held(lock: Path) -> None:
    with held(lock):
        lock.unlink()
        assert str(lock) not in locks_of(os.getpid()), "it is gone"
        lock.write_text("another")
        assert str(lock) not in locks_of(os.getpid()), "it is another"
    with held(lock):
        moved = lock.rename(lock.with_name("moved.lock"))
        lock.write_text("another")
        assert str(moved) in locks_of(os.getpid())
        assert str(lock) not in locks_of(os.getpid())
    with held(lock):
        os.link(lock, lock.with_name("kept.lock"))
        lock.with_name("new").write_text("another")
        lock.with_name("new").replace(lock)
        assert str(lock) not in locks_of(os.getpid()), "its inode lives on by another name"


def test_the_path_is_resolved(lock: Path) -> None:
    link = lock.with_name("link.lock")
    link.symlink_to(lock)
    with held(link):
        found = locks_of(os.getpid())
    assert str(lock) in found
    assert str(link) not in found


def test_a_name_with_odd_characters(lock: Path) -> None:
    odd = lock.with_name("odd \n\t(deleted) ü.lock")
    unspeakable = os.fsdecode(os.fsencode(lock.parent) + b"/\xff.lock")
    with held(odd), held(Path(unspeakable)):
        assert [p for p in locks_of(os.getpid()) if p.startswith(str(lock.parent))] == [str(odd)]


def test_more_than_are_told_is_not_all_that_there_is(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    paths = [tmp_path.resolve() / "live" / f"a{n:02}" for n in range(5)]
    paths += [tmp_path.resolve() / f"z{n:02}.lock" for n in range(MOST)]
    with contextlib.ExitStack() as stack:
        for path in paths:
            stack.enter_context(held(path))
        found = held_locks(os.getpid())
        assert found.unknown == {"locks"}
        assert len(found.paths) == MOST
        assert set(found.paths) <= set(map(str, paths[5:])), "Tenure's own come last"


@pytest.mark.parametrize("missing", ["kernel", "proc"])
def test_where_nobody_tells_it_is_unknown(missing: str, monkeypatch, lock: Path) -> None:
    if missing == "kernel":
        monkeypatch.setattr(module, "_kernel_tells", lambda: False)
    else:
        monkeypatch.setattr(module, "folder", lambda pid: f"/proc/{2**22 + 1}")
    with held(lock):
        assert held_locks(os.getpid()) == UNREAD


@pytest.mark.root
def test_a_process_that_may_not_be_looked_into_is_unknown(spawn, lock: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs a process of another user")
    holder = spawn(LOCK + WAIT, str(lock))
    holder.line()
    child = spawn(
        f"import os, sys; sys.path.insert(0, {SOURCE!r})\n"
        "from tenure.host.linux.held_locks import held_locks\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(*held_locks(int(sys.argv[1])).unknown, flush=True)\n",
        str(holder.pid),
    )
    assert child.line() == "locks"


def _unshare(*options: str) -> tuple[str, ...]:
    probe = subprocess.run(["unshare", *options, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"unshare {' '.join(options)}: {probe.stderr.decode().strip()}")
    return ("unshare", *options)


@pytest.mark.parametrize("proc", ["--mount-proc", "--keep-caps"])
def test_in_another_pid_namespace_it_sees_its_own(spawn, lock: Path, proc: str) -> None:
    """With a /proc of the namespace, and with the /proc of the one outside."""
    wrapper = _unshare("--user", "--map-root-user", "--pid", "--fork", proc)
    child = spawn(
        LOCK
        + f"sys.path.insert(0, {SOURCE!r})\nfrom tenure.host.linux.held_locks import held_locks\n"
        + "found = held_locks(os.getpid())\n"
        + "print(os.getpid(), len(found.unknown), *found.paths, sep='|', flush=True)\n"
        + "sys.stdin.readline()\n",
        str(lock),
        wrapper=wrapper,
    )
    assert child.line() == f"1|0|{lock}"


def test_a_bind_mount_over_the_lock_file_does_not_forge_it(spawn, lock: Path) -> None:
    """In mounts of one's own any file can be given any name."""
    wrapper = _unshare("--user", "--map-root-user", "--mount")
    impostor = lock.with_name("impostor")
    impostor.touch()
    lock.touch()
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    child = spawn(
        LOCK + WAIT,
        str(lock),
        wrapper=(*wrapper, "sh", "-c", script, "sh", str(impostor), str(lock)),
    )
    child.line()
    evidence = processes.observe(child.pid)
    assert evidence.locks == ()
    assert "locks" in evidence.unknown, "it holds something that has no name here"
    with held(lock):
        pass  # the true one is free
