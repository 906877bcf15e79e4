"""Who holds a lock file, by the kernel's table; and that finding out disturbs nobody."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

import pytest

from tenure.adapters.hermes.look.scan import Lock, read_lock

FREE = Lock(known=True, held=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "gateway.lock"
    found.write_text("{}")
    return found


def table(tmp_path: Path, *lines: str) -> str:
    (tmp_path / "locks").write_text("".join(f"{line}\n" for line in lines))
    return str(tmp_path)


def entry(
    path: Path, pid: int = 42, *, kind: str = "FLOCK", device: str = "", more: str = ""
) -> str:
    found = path.stat()
    here = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
    return f"1: {more}{kind}  ADVISORY  WRITE {pid} {device or here}:{found.st_ino} 0 EOF"


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_a_real_lock(path: Path) -> None:
    assert read_lock(path) == FREE
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert read_lock(path) == Lock(known=True, held=True, pid=os.getpid())
        fcntl.flock(file, fcntl.LOCK_UN)
        assert read_lock(path) == FREE


def test_the_table(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    proc = table(tmp_path, entry(other, 1), "nonsense", entry(path, 42))
    assert read_lock(path, proc=proc, linux=True) == Lock(known=True, held=True, pid=42)


@pytest.mark.parametrize("how", [{"kind": "POSIX"}, {"more": "-> "}])
def test_other_kinds_and_those_that_wait(path: Path, tmp_path: Path, how: dict[str, str]) -> None:
    assert read_lock(path, proc=table(tmp_path, entry(path, **how)), linux=True) == FREE  # type: ignore[arg-type]


def test_a_holder_that_is_hidden_from_here(path: Path, tmp_path: Path) -> None:
    found = read_lock(path, proc=table(tmp_path, entry(path, 0)), linux=True)
    assert found == Lock(known=True, held=True, pid=None)


def test_a_file_system_that_shows_another_device(path: Path, tmp_path: Path) -> None:
    """Then the table alone proves nothing, either way; the holder's own descriptor does."""
    proc = table(tmp_path, entry(path, device="00:99"))
    assert read_lock(path, proc=proc, linux=True).known is False
    assert read_lock(path, proc=proc, holders=[42], linux=True).pid == 42


def test_the_fence(tmp_path: Path) -> None:
    folder = tmp_path / ".tick.lock"
    folder.mkdir()
    assert read_lock(folder, linux=False) == Lock(known=True, held=False, fence=True)


def test_no_such_file(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "none", linux=False) == FREE


def test_elsewhere_it_is_unknown_unless_a_holder_was_seen(path: Path, tmp_path: Path) -> None:
    assert read_lock(path, linux=False).known is False
    assert read_lock(path, holders=[9], linux=False) == Lock(known=True, held=True, pid=9)
    assert read_lock(path, proc=str(tmp_path / "none"), linux=True).known is False
