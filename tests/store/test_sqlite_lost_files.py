"""A file of an open store is removed, replaced or cut short: no write goes on as if it were there.

Each case is what an administrator's hand, a clean-up script or a synced folder does to a profile
that is in use. Another process then sees what a process that starts afterwards would see.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenure.domain.errors import CorruptStore, StoreUnwritable
from tenure.store.sqlite import SqliteStore, connection
from testkit.factories import START, make_definition


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "profile" / "tenure.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    """With 'folded' in the database and 'logged' in its log alone."""
    path.parent.mkdir()
    with SqliteStore.create(path, profile_id="p", now=START) as one:
        add(one, "folded")
    with SqliteStore.open(path) as one:
        add(one, "logged")
        yield one


def add(store: SqliteStore, name: str) -> None:
    store.add_job(make_definition(name), by="ada", now=START)


def names(path: Path) -> list[str]:
    """What a process that opens the store now finds, or why it cannot."""
    script = (
        "import sys\n"
        "from tenure.domain.errors import TenureError\n"
        "from tenure.store.sqlite import SqliteStore\n"
        "try:\n"
        "    with SqliteStore.open(sys.argv[1]) as store:\n"
        "        print(*(job.name for job in store.jobs()[0]))\n"
        "except TenureError as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def remove(end: str) -> Callable[[Path], None]:
    return lambda path: beside(path, end).unlink()


def replace(end: str) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        file = beside(path, end)
        copy = file.with_name("copy")
        shutil.copy(file, copy)
        os.replace(copy, file)

    return act


def cut(end: str, to: int = 0) -> Callable[[Path], None]:
    return lambda path: os.truncate(beside(path, end), to)


def remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def empty_folder(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()


def move_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def replace_folder(path: Path) -> None:
    move_folder(path)
    shutil.copytree(path.parent.with_name("elsewhere"), path.parent)


def empty_and_fill(path: Path) -> None:
    """As a commit does that was under way when the log was emptied: it is as long as before."""
    log = beside(path, "-wal")
    size = log.stat().st_size
    os.truncate(log, 0)
    os.truncate(log, size)


LOSSES = {
    "log removed": (remove("-wal"), "write-ahead log .*-wal was removed"),
    "log replaced": (replace("-wal"), "write-ahead log .*-wal was replaced"),
    "log emptied": (cut("-wal"), "write-ahead log .*-wal was cut short: 0 bytes"),
    "log cut": (cut("-wal", 4096), "write-ahead log .*-wal was cut short: 4096 bytes"),
    "log emptied amid a commit": (empty_and_fill, "write-ahead log .*-wal was cut short or"),
    "index removed": (remove("-shm"), "index of the write-ahead log, .*-shm was removed"),
    "index replaced": (replace("-shm"), "index of the write-ahead log, .*-shm was replaced"),
    "index emptied": (cut("-shm"), "index of the write-ahead log, .*-shm was cut short"),
    "database removed": (remove(""), "database .* is not the one"),
    "database replaced": (replace(""), "database .* is not the one"),
    "database emptied": (cut(""), "database .* was cut short: 0 bytes"),
    "database cut": (cut("", 8192), "database .* was cut short: 8192 bytes"),
    "folder removed": (remove_folder, "database .* is not the one"),
    "folder emptied": (empty_folder, "database .* is not the one"),
    "folder moved": (move_folder, "database .* is not the one"),
    "folder replaced": (replace_folder, "database .* is not the one"),
}


@pytest.mark.parametrize("case", LOSSES)
def test_no_write_and_no_read_goes_on(case: str, store: SqliteStore, path: Path) -> None:
    """C11: who is in doubt about its store stops at once; nothing of it is changed any more."""
    act, said = LOSSES[case]
    act(path)
    loss = store.loss()
    assert loss is not None
    assert loss.remedy
    assert not store.is_same_file()
    with pytest.raises(CorruptStore, match=said):
        add(store, "lost")
    with pytest.raises(CorruptStore, match=said):
        store.jobs()
    with pytest.raises(CorruptStore, match=said):
        store.change_mark()
    left = {file: file.read_bytes() for file in path.parent.glob("*")} if path.exists() else {}
    store.close()
    assert {file: file.read_bytes() for file in left} == left, "closing it is a write too"


@pytest.mark.parametrize(
    "case",
    # SQLite itself looks into an index that is emptied before it commits: the kernel ends that.
    [case for case in LOSSES if "folder" not in case and case != "index emptied"],
)
def test_what_is_lost_inside_a_transaction_is_not_committed(
    case: str, store: SqliteStore, path: Path
) -> None:
    act, said = LOSSES[case]
    with pytest.raises(CorruptStore, match=said), store.batch():  # noqa: PT012 - its end raises
        add(store, "lost")
        act(path)
    found = names(path)
    assert "lost" not in found, found


def test_a_removed_log_is_folded_in_first(store: SqliteStore, path: Path) -> None:
    """Who notices still has all of it, and so does who opens the store from then on, also while
    the one that noticed lives."""
    beside(path, "-wal").unlink()
    with pytest.raises(CorruptStore, match="was removed"):
        add(store, "lost")
    assert names(path) == ["folded", "logged"]
    with SqliteStore.open(path) as other:
        add(other, "after")
    with pytest.raises(CorruptStore):
        store.jobs()
    store.close()
    assert names(path) == ["after", "folded", "logged"]
    with SqliteStore.open(path) as other:
        assert other.verify() == []


def test_who_comes_between_the_removal_and_the_notice_is_refused(
    store: SqliteStore, path: Path
) -> None:
    """It would write into a log that those before never read."""
    beside(path, "-wal").unlink()
    assert names(path)[0] == "CorruptStore"
    with pytest.raises(CorruptStore):
        store.jobs()
    assert names(path) == ["folded", "logged"]


@pytest.mark.parametrize("case", ["log emptied", "log cut"])
def test_who_comes_to_a_log_that_was_cut_is_refused(
    case: str, store: SqliteStore, path: Path
) -> None:
    LOSSES[case][0](path)
    assert names(path)[0] == "CorruptStore"
    assert store.loss() is not None


def test_an_index_that_was_removed_loses_nothing(store: SqliteStore, path: Path) -> None:
    beside(path, "-shm").unlink()
    with pytest.raises(CorruptStore):
        add(store, "lost")
    assert names(path) == ["folded", "logged"]


# -- what is no loss ---------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_a_checkpoint_by_another_is_no_loss(how: str, store: SqliteStore, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    for number in range(30):
        add(store, f"job-{number}")
        other.execute(f"PRAGMA wal_checkpoint({how})").fetchall()
        assert store.loss() is None
    other.close()
    assert len(store.jobs()[0]) == 32


def test_a_vacuum_by_another_is_no_loss(store: SqliteStore, path: Path) -> None:
    for number in range(50):
        add(store, f"job-{number}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE big AS SELECT hex(randomblob(500000)) AS text")
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert store.loss() is None
    before = path.stat().st_size
    other.execute("DROP TABLE big")
    other.execute("VACUUM")
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    other.close()
    assert path.stat().st_size < before
    assert store.loss() is None
    add(store, "after")
    assert store.verify() == []


def test_a_log_that_shrinks_to_its_limit_is_no_loss(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store._db.reading() as db:
        db.execute("PRAGMA journal_size_limit = 20000")
    for number in range(40):
        add(store, f"job-{number}")
    grown = beside(path, "-wal").stat().st_size
    with store._db.reading() as db:
        db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    add(store, "after")
    assert beside(path, "-wal").stat().st_size < grown
    assert store.loss() is None


def test_a_fork_opens_the_files_again_and_looks_at_those(store: SqliteStore, path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    add(store, "after")
    assert store.loss() is None
    beside(path, "-wal").unlink()
    with pytest.raises(CorruptStore, match="was removed"):
        add(store, "lost")


def test_closing_one_connection_keeps_the_locks_of_another(path: Path, store: SqliteStore) -> None:
    """POSIX: closing a descriptor of a file drops every lock that the process has on it."""
    with store.batch():
        add(store, "first")
        SqliteStore.open(path, readonly=True).close()
        script = (
            "import sqlite3, sys\n"
            "db = sqlite3.connect(sys.argv[1], timeout=0.1, isolation_level=None)\n"
            "db.execute('BEGIN IMMEDIATE')\n"
        )
        blocked = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
        )
        assert "database is locked" in blocked.stderr
    assert store.loss() is None


def test_descriptors_of_the_index_do_not_pile_up(path: Path, store: SqliteStore) -> None:
    store.close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with SqliteStore.open(path) as one:
            one.jobs()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_cannot_be_looked_at_is_no_loss(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not known to be gone: ask again, change nothing meanwhile."""

    def refuse(path: str) -> os.stat_result:
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr("tenure.store.sqlite.connection.os.stat", refuse)
        with pytest.raises(StoreUnwritable, match="cannot be read: Permission denied"):
            add(store, "lost")
    add(store, "after")
    assert connection.FOLD_PATIENCE_MS <= 1000, "a host's threads wait for it"
