"""What executed Hermes' last runs, from its own ledger (``cron/executions.db``, from 0.19 on).

The ledger is a SQLite database in WAL mode. Opened in place, even for reading only, SQLite would
make or write a ``-shm`` file in Hermes' folder; opened as immutable it would not see what is only
in the ``-wal``, which is most of it while Hermes runs. So the two files are copied
and the copy is opened. The copy counts only if no checkpoint ran meanwhile: the database's date
and size and the header of the ``-wal`` must be the same before and after.

Not for use inside a process of Hermes: closing the files drops that process's own SQLite locks.

A row names pid and start stamp of the process that claimed it, which distinguishes it from a later
process of the same pid.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tenure.adapters.hermes.facts.jobs_file import instant_of
from tenure.adapters.hermes.look.scan import ProcessStart

LIMIT = 50
GONE = "gone"
UNKNOWN = "unknown"
"""The ledger has no start stamp for it, so the pid may belong to another process now."""
_ATTEMPTS = 5
_WAL_HEADER = 32
_COLUMNS = "job_id, source, pid, process_started_at, status, claimed_at, started_at, finished_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One row. Instants are UTC."""

    job: str
    source: str
    """``builtin`` a ticker's, ``direct`` a command's or an agent's, else a provider's name."""
    pid: int
    stamp: int | None
    status: str
    claimed_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The last runs, the newest first."""

    known: bool
    why: str = ""
    """Why nothing is known."""
    rows: tuple[Execution, ...] = ()
    damaged: bool = False

    def by(self, pid: int, start: ProcessStart) -> tuple[Execution, ...]:
        """Those that one living process executed."""
        return tuple(row for row in self.rows if was_run_by(row, pid, start))


class _Moving(Exception):
    """Hermes wrote to the database proper while it was copied."""


def read_ledger(path: Path, *, limit: int = LIMIT, attempts: int = _ATTEMPTS) -> Ledger:
    """The newest ``limit`` rows of the ledger at ``path``. Nothing is raised."""
    for _ in range(attempts):
        try:
            return _read_copy(path, limit)
        except _Moving:
            continue
        except sqlite3.DatabaseError as error:
            return Ledger(known=False, why=f"executions.db: {error}", damaged=True)
        except FileNotFoundError:
            return Ledger(known=False, why="no record of runs exists")
        except OSError as error:
            return Ledger(known=False, why=f"executions.db: {error.strerror or error}")
    return Ledger(known=False, why="executions.db was written to each time it was looked at")


def was_run_by(row: Execution, pid: int, start: ProcessStart) -> bool:
    """Whether a row is of exactly this living process, not of one that had its pid before."""
    if (row.pid, row.stamp) != (pid, start.stamp):
        return False
    # The stamp counts from the boot on Linux: one of an earlier boot may be the same number.
    return row.claimed_at is None or (start.at - row.claimed_at).total_seconds() < 2


def tally(rows: Iterable[Execution], roles: Mapping[tuple[int, int], str]) -> dict[str, int]:
    """How many runs each role executed, the most first. ``roles``: by pid and start stamp."""
    counted = Counter(role_in(row, roles) for row in rows)
    return dict(counted.most_common())


def role_in(row: Execution, roles: Mapping[tuple[int, int], str]) -> str:
    """The role of the process that executed a row: one that lives, ``gone`` or ``unknown``."""
    if row.stamp is None:
        return UNKNOWN
    return roles.get((row.pid, row.stamp), GONE)


def _read_copy(path: Path, limit: int) -> Ledger:
    with tempfile.TemporaryDirectory(prefix="tenure-") as folder:
        copy = Path(folder, "executions.db")
        _copy(path, copy)
        with closing(sqlite3.connect(copy)) as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM executions ORDER BY claimed_at DESC, id DESC LIMIT ?",
                (limit,),
            ).fetchall()
    return Ledger(known=True, rows=tuple(map(_row, rows)))


def _copy(path: Path, copy: Path) -> None:
    # Without a checkpoint meanwhile, the two files belong together, however they grew.
    wal = Path(f"{path}-wal")
    before = _mark(path, wal)
    copy.write_bytes(path.read_bytes())
    try:
        frames = wal.read_bytes()
    except FileNotFoundError:
        frames = b""
    if frames:
        Path(f"{copy}-wal").write_bytes(frames)
    if Path(f"{path}-journal").exists() or _mark(path, wal) != before:
        raise _Moving


def _mark(path: Path, wal: Path) -> tuple[int, int, int, bytes]:
    """What changes when frames move from the ``-wal`` into the database, and not otherwise."""
    try:
        with open(wal, "rb") as file:
            header = file.read(_WAL_HEADER)
    except FileNotFoundError:
        header = b""
    state = os.stat(path)
    return state.st_ino, state.st_size, state.st_mtime_ns, header


def _row(columns: Sequence[object]) -> Execution:
    job, source, pid, stamp, status, *instants = columns
    claimed, started, finished = map(instant_of, instants)
    return Execution(
        job=str(job),
        source=str(source),
        pid=pid if isinstance(pid, int) else 0,
        stamp=stamp if isinstance(stamp, int) else None,
        status=str(status),
        claimed_at=claimed,
        started_at=started,
        finished_at=finished,
    )
