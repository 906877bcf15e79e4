"""A process frozen inside a write transaction is found and named."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tenure.host import write_lock
from tenure.host.write_lock import UNNAMED, write_lock_holder

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")]

WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("writing", flush=True)
sys.stdin.readline()
db.execute("ROLLBACK")
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "tenure.db"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
        connection.execute("CREATE TABLE t (x)")
        connection.commit()
        yield path


def test_the_writer_is_named_also_when_frozen(spawn, database: Path) -> None:
    assert write_lock_holder(database) is None
    child = spawn(WRITER, str(database))
    child.line()
    assert write_lock_holder(database) == child.pid
    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    assert write_lock_holder(database) == child.pid
    with (
        closing(sqlite3.connect(database, timeout=0)) as other,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")
    os.kill(child.pid, signal.SIGCONT)
    child.tell()
    child.line()
    assert write_lock_holder(database) is None


def test_a_reader_is_not_named(spawn, database: Path) -> None:
    child = spawn(
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "db.execute('BEGIN'); db.execute('SELECT * FROM t').fetchall();"
        "print('reading', flush=True); sys.stdin.readline()",
        str(database),
    )
    child.line()
    assert write_lock_holder(database) is None


def test_asking_does_not_drop_our_own_locks(database: Path) -> None:
    """Closing a descriptor of the file would: seen from another process."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES (1)")
        for _ in range(3):
            assert write_lock_holder(database) is None, "our own lock is not another's"
        ask = (
            "import sys; from pathlib import Path; from tenure.host.write_lock import *;"
            "print(write_lock_holder(Path(sys.argv[1])))"
        )
        asked = subprocess.run(
            [sys.executable, "-c", ask, database], capture_output=True, check=True, text=True
        )
        assert asked.stdout.strip() == str(os.getpid())
        connection.execute("COMMIT")


def test_one_descriptor_serves_all_questions(spawn, database: Path) -> None:
    write_lock_holder(database)
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        write_lock_holder(database)
    assert len(os.listdir("/dev/fd")) == before


def test_a_new_shm_file_is_asked_anew(spawn, tmp_path: Path, database: Path) -> None:
    """SQLite removes the file when the last connection is closed, and makes another."""
    write_lock_holder(database)
    Path(f"{database}-shm").rename(tmp_path / "old")
    Path(f"{database}-shm").write_bytes(b"\0" * 32768)
    (tmp_path / "copy.db").symlink_to(database)
    child = spawn(
        "import fcntl, sys; f = open(sys.argv[1], 'r+b');"
        "fcntl.lockf(f, fcntl.LOCK_EX, 1, 120); print('held', flush=True); sys.stdin.readline()",
        f"{database}-shm",
    )
    child.line()
    assert write_lock_holder(database) == child.pid


def test_where_there_is_nothing_nothing_is_created(tmp_path: Path) -> None:
    assert write_lock_holder(tmp_path / "none.db") is None
    assert write_lock_holder(tmp_path / "none" / "none.db") is None
    assert os.listdir(tmp_path) == []
    os.mkfifo(tmp_path / "odd-shm")
    assert write_lock_holder(tmp_path / "odd") is None


def test_a_holder_in_another_pid_namespace_is_told_but_not_named(spawn, database: Path) -> None:
    """Seen from inside the namespace, the holder outside has no pid."""
    wrapper = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    probe = subprocess.run([*wrapper, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no pid namespaces: {probe.stderr.decode().strip()}")
    child = spawn(WRITER, str(database))
    child.line()
    ask = (
        "import sys; from pathlib import Path; from tenure.host.write_lock import *;"
        "print(write_lock_holder(Path(sys.argv[1])))"
    )
    asked = subprocess.run(
        [*wrapper, sys.executable, "-c", ask, database], capture_output=True, check=True, text=True
    )
    assert asked.stdout.strip() == str(UNNAMED)


def test_the_answer_where_locks_cannot_be_asked(database: Path, monkeypatch) -> None:
    def refused(descriptor: int) -> int:
        raise OSError("not supported")

    monkeypatch.setattr(write_lock, "_ask", refused)
    assert write_lock_holder(database) is None
