"""macOS: which locks this process holds, by attempts. With real locks of this machine's kernel.

flock(2) answers these attempts alike here; only the list of open files is put in its place.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenure.host.linux.held_locks import UNREAD, HeldLocks
from tenure.host.macos import calls
from tenure.host.macos import locks as macos_locks
from tenure.host.macos.locks import own_locks
from tenure.host.macos.processes import MacHost

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="flock")

WHOLE = frozenset({"locks.other"})
HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.readline()
file.close()
print(flush=True)
sys.stdin.readline()
"""
TRY = """
import fcntl, sys
file = open(sys.argv[1], "a")
try:
    getattr(fcntl, sys.argv[2])(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("free", flush=True)
except BlockingIOError:
    print("taken", flush=True)
"""

Mine = Callable[[], HeldLocks]


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path.resolve() / "gateway.lock"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mine]:
    """What is told of the files below the test's own folder."""
    kept = macos_locks._Kept()
    monkeypatch.setattr(macos_locks, "_kept", kept)
    below = str(tmp_path.resolve())

    def open_files() -> dict[int, str]:
        found = {}
        for name in os.listdir("/dev/fd"):
            with contextlib.suppress(OSError):
                path = os.readlink(f"/dev/fd/{name}")
                if stat.S_ISREG(os.fstat(int(name)).st_mode) and path.startswith(below):
                    found[int(name)] = path.removesuffix(" (deleted)")
        return found

    monkeypatch.setattr(calls, "open_files", open_files)
    yield own_locks
    for descriptor in kept.descriptors.values():
        os.close(descriptor)


@contextlib.contextmanager
def opened(path: Path, lock: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if lock is not None:
            fcntl.flock(descriptor, lock | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def test_what_it_holds_alone(mine: Mine, lock: Path, spawn) -> None:
    with opened(lock, fcntl.LOCK_EX):
        mine()
        before = len(os.listdir("/dev/fd"))
        for _ in range(3):
            assert mine() == HeldLocks(paths=(str(lock),), unknown=WHOLE)
        assert len(os.listdir("/dev/fd")) == before, "one descriptor for each file, once"
        assert spawn(TRY, str(lock), "flock").line() == "taken", "asking did not lose it"
    assert mine().paths == ()
    assert spawn(TRY, str(lock), "flock").line() == "free"


def test_what_nobody_holds_is_free_afterwards(mine: Mine, lock: Path, spawn) -> None:
    with opened(lock):
        assert mine() == HeldLocks(unknown=WHOLE)
        assert spawn(TRY, str(lock), "flock").line() == "free"


def test_what_another_holds(mine: Mine, lock: Path, spawn) -> None:
    child = spawn(HOLDER, str(lock))
    child.line()
    with opened(lock):
        assert mine() == HeldLocks(unknown=WHOLE)
        child.tell()
        child.line()
        assert mine().paths == (), "nor when the other has let go"
        assert spawn(TRY, str(lock), "flock").line() == "free"


def test_a_shared_lock_is_none_and_stays_shared(mine: Mine, lock: Path) -> None:
    with opened(lock, fcntl.LOCK_SH), opened(lock) as other:
        assert mine().paths == ()
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_UN)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_locks_of_the_other_kind_survive_the_question(mine: Mine, lock: Path, spawn) -> None:
    """Closing a descriptor of a file drops a process's fcntl locks on it."""
    with opened(lock) as descriptor:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine()
        assert spawn(TRY, str(lock), "lockf").line() == "taken"


def test_what_exec_may_have_brought_is_unknown(mine: Mine, lock: Path) -> None:
    with opened(lock, fcntl.LOCK_EX) as descriptor:
        os.set_inheritable(descriptor, True)
        assert mine() == HeldLocks(unknown=WHOLE | {"locks"})


def test_a_file_of_another_name_is_not_looked_at(mine: Mine, lock: Path) -> None:
    with opened(lock.with_suffix(".pid"), fcntl.LOCK_EX), opened(lock, fcntl.LOCK_EX):
        assert mine() == HeldLocks(paths=(str(lock),), unknown=WHOLE)


def test_a_file_that_was_deleted_or_replaced_is_not_held(mine: Mine, lock: Path) -> None:
    with opened(lock, fcntl.LOCK_EX):
        assert mine().paths == (str(lock),)
        lock.unlink()
        assert mine().paths == ()
        lock.touch()
        assert mine().paths == ()
        with opened(lock, fcntl.LOCK_EX):
            assert mine().paths == (str(lock),)


def test_too_many_lock_files_are_unknown(
    mine: Mine, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(macos_locks, "_MOST_KEPT", 1)
    with opened(lock, fcntl.LOCK_EX), opened(lock.with_name("b.lock"), fcntl.LOCK_EX):
        found = mine()
        assert len(found.paths) == 1
        assert "locks" in found.unknown
        assert mine() == found


def test_a_forked_child_cannot_tell(mine: Mine, lock: Path) -> None:
    reading, writing = os.pipe()
    with opened(lock, fcntl.LOCK_EX):
        assert mine().paths == (str(lock),)
        child = os.fork()
        if child == 0:
            macos_locks._kept.forget_in_child()  # as its hook does for the module's own
            os.write(writing, b"unknown" if mine() == UNREAD else b"told")
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reading, 10) == b"unknown"
        assert mine().paths == (str(lock),), "the parent can"
    os.close(reading)
    os.close(writing)


def test_the_hook_after_a_fork_is_there() -> None:
    child = os.fork()
    if child == 0:
        os._exit(7 if macos_locks._kept.forked else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert not macos_locks._kept.forked


def test_of_another_process_and_without_the_call_it_is_unknown(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MacHost().locks_of(os.getppid()) == UNREAD
    monkeypatch.setattr(calls, "open_files", lambda: None)
    assert MacHost().locks_of(os.getpid()) == UNREAD


def test_the_list_of_open_files(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``F_GETPATH`` answers with a path and zeros up to the end of the buffer."""
    with opened(lock) as descriptor:
        real = fcntl.fcntl

        def recorded(number: int, command: int, argument: bytes) -> bytes:
            assert (command, len(argument)) == (50, 1024)
            if number != descriptor:
                raise OSError(2, "no path")
            return os.fsencode(lock).ljust(1024, b"\0")

        monkeypatch.setattr(fcntl, "F_GETPATH", 50, raising=False)
        monkeypatch.setattr(fcntl, "fcntl", recorded)
        assert calls.open_files() == {descriptor: str(lock)}
        monkeypatch.setattr(fcntl, "fcntl", real)
        monkeypatch.delattr(fcntl, "F_GETPATH")
        assert calls.open_files() is None
