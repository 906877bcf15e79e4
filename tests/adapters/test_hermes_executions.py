"""Hermes' ledger: read by a copy, nothing of it touched; rows matched to exactly one process."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hermestree import LEDGER, ROW

from tenure.adapters.hermes.look import executions
from tenure.adapters.hermes.look.executions import (
    Execution,
    read_ledger,
    role_in,
    tally,
    was_run_by,
)
from tenure.adapters.hermes.look.scan import ProcessStart

AT = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "cron").mkdir()
    return tmp_path / "cron" / "executions.db"


@pytest.fixture
def writer(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody like Hermes, who has the ledger open in WAL mode."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(LEDGER)
        yield connection


def insert(writer: sqlite3.Connection, number: int, pid: int = 7, stamp: int | None = 70) -> None:
    at = (AT + timedelta(seconds=number)).isoformat()
    writer.execute(ROW, (f"e{number:04}", "builtin", pid, stamp, at, at, at))


def row(pid: int = 7, stamp: int | None = 70, at: datetime | None = AT) -> Execution:
    return Execution(
        job="j", source="builtin", pid=pid, stamp=stamp, status="completed", claimed_at=at,
        started_at=at, finished_at=at,
    )  # fmt: skip


def test_the_newest_rows_first(path: Path, writer: sqlite3.Connection) -> None:
    for number in range(60):
        insert(writer, number)
    found = read_ledger(path, limit=50)
    assert found.known
    assert len(found.rows) == 50
    assert found.rows[0].claimed_at == AT + timedelta(seconds=59)
    assert (found.rows[0].job, found.rows[0].pid, found.rows[0].stamp) == ("j0", 7, 70)


def test_rows_that_stand_in_the_log_alone(path: Path, writer: sqlite3.Connection) -> None:
    writer.execute("PRAGMA wal_autocheckpoint=0")
    insert(writer, 1)
    assert Path(f"{path}-wal").stat().st_size > 0
    assert len(read_ledger(path).rows) == 1


def test_nothing_is_written_locked_or_made(path: Path, writer: sqlite3.Connection) -> None:
    insert(writer, 1)
    before = _state(path.parent)
    assert len(read_ledger(path).rows) == 1
    assert _state(path.parent) == before
    # A reader that SQLite counts would keep the writer from emptying its log.
    assert writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


def test_nor_where_nobody_has_it_open(path: Path, writer: sqlite3.Connection) -> None:
    insert(writer, 1)
    writer.close()
    assert os.listdir(path.parent) == ["executions.db"]
    assert len(read_ledger(path).rows) == 1
    assert os.listdir(path.parent) == ["executions.db"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_in_a_folder_that_may_not_be_written(path: Path, writer: sqlite3.Connection) -> None:
    insert(writer, 1)
    writer.close()
    path.parent.chmod(0o500)
    try:
        assert len(read_ledger(path).rows) == 1
    finally:
        path.parent.chmod(0o700)


def _state(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        entry.name: (entry.read_bytes(), entry.stat().st_mtime_ns, entry.stat().st_ino)
        for entry in folder.iterdir()
    }


class TestWhileItIsWritten:
    def test_a_checkpoint_in_between_is_noticed(
        self, path: Path, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The database is copied, then everything moves into it from the log: copied again."""
        writer.execute("PRAGMA wal_autocheckpoint=0")
        insert(writer, 1)
        copy, times = Path.write_bytes, []

        def write_bytes(self: Path, data: bytes) -> int:
            if self.name == "executions.db" and not times:
                insert(writer, 2)
                writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                insert(writer, 3)
            times.append(self.name)
            return copy(self, data)

        monkeypatch.setattr(Path, "write_bytes", write_bytes)
        assert len(read_ledger(path).rows) == 3
        assert times.count("executions.db") == 2

    def test_one_that_never_stands_still(
        self, path: Path, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        marks = iter(range(100))
        monkeypatch.setattr(executions, "_mark", lambda *_: next(marks))
        found = read_ledger(path, attempts=3)
        assert (found.known, found.damaged) == (False, False)
        assert "written to each time" in found.why

    def test_a_rollback_journal_is_waited_for(self, path: Path, writer: sqlite3.Connection) -> None:
        Path(f"{path}-journal").write_bytes(b"x")
        assert not read_ledger(path).known


class TestWhatCannotBeRead:
    def test_none_there(self, path: Path) -> None:
        found = read_ledger(path)
        assert (found.known, found.damaged, found.rows) == (False, False, ())

    def test_a_folder_in_its_place(self, path: Path) -> None:
        path.mkdir()
        found = read_ledger(path)
        assert (found.known, found.why) == (False, "executions.db: Is a directory")

    def test_no_database(self, path: Path) -> None:
        path.write_bytes(b"this is not a database, not even remotely" * 100)
        found = read_ledger(path)
        assert (found.known, found.damaged) == (False, True)
        assert "not a database" in found.why

    def test_another_schema(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE executions (id TEXT)")
        assert read_ledger(path).damaged

    def test_strange_values(self, path: Path, writer: sqlite3.Connection) -> None:
        writer.execute(ROW, ("e1", "direct", "seven", None, "yesterday", None, ""))
        (found,) = read_ledger(path).rows
        assert (found.pid, found.stamp, found.claimed_at, found.source) == (0, None, None, "direct")


class TestMatching:
    START = ProcessStart(70, AT - timedelta(hours=1))

    def test_pid_and_start(self) -> None:
        assert was_run_by(row(), 7, self.START)
        assert not was_run_by(row(pid=8), 7, self.START)
        assert not was_run_by(row(stamp=71), 7, self.START)
        assert not was_run_by(row(stamp=None), 7, self.START)

    def test_a_run_older_than_the_process_is_another_boots(self) -> None:
        assert not was_run_by(row(at=AT - timedelta(hours=2)), 7, self.START)
        assert was_run_by(row(at=None), 7, self.START)

    def test_roles(self) -> None:
        roles = {(7, 70): "desktop", (8, 80): "gateway"}
        rows = [row(), row(), row(pid=8, stamp=80), row(pid=9), row(stamp=None)]
        assert tally(rows, roles) == {"desktop": 2, "gateway": 1, "gone": 1, "unknown": 1}
        assert role_in(row(stamp=71), roles) == "gone"
