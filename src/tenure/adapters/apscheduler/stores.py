"""The rows of APScheduler's SQLAlchemy store, read and never written.

A SQLite file is opened read-only with Python's own driver; any other database with SQLAlchemy,
where that is installed beside Tenure.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tenure.domain.errors import InvalidInput, NotFound, OutcomeUnknown

TABLE = "apscheduler_jobs"
MOST = 10_000
"""Jobs of one store."""
_OTHERS = {
    "mongodb": "MongoDB", "mongodb+srv": "MongoDB", "redis": "Redis", "rediss": "Redis",
    "unix": "Redis", "rethinkdb": "RethinkDB", "zookeeper": "ZooKeeper", "zk": "ZooKeeper",
    "etcd": "etcd", "memory": "memory",
}  # fmt: skip
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}(?:\.[A-Za-z_][A-Za-z0-9_$]{0,62})?")


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One job as it is stored."""

    id: str
    state: bytes


def read_rows(url: str, table: str = TABLE) -> list[StoredRow]:
    """All jobs of a store, by id. ``url``: as SQLAlchemy has it, or the path of a SQLite file.

    Raises InvalidInput for another kind of store, NotFound for a file or table that is not there,
    OutcomeUnknown where the database does not answer.
    """
    if not _TABLE.fullmatch(table):
        raise InvalidInput(f"{table[:80]!r} is not a valid table name", field="tablename")
    scheme = urlsplit(url).scheme.lower() if "://" in url else ""
    if scheme in _OTHERS:
        raise InvalidInput(
            f"APScheduler's {_OTHERS[scheme]} store cannot be read, only its SQLAlchemy store",
            field="url",
            remedy="add its jobs to a SQLAlchemyJobStore, and import that one",
        )
    if not scheme:
        return _of_file(Path(url), table)
    if scheme.partition("+")[0] == "sqlite":
        return _of_file(_path(url), table)
    return _of_sqlalchemy(url, table)


def shown(url: str) -> str:
    """The URL without a password."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", url)


def _path(url: str) -> Path:
    """``sqlite:///relative``, ``sqlite:////absolute``."""
    path = unquote(url.partition("://")[2].partition("?")[0])
    if not path.startswith("/") or path in ("/", "/:memory:"):
        raise InvalidInput(
            f"{url!r} does not name a file",
            field="url",
            remedy="sqlite:///jobs.sqlite or its path alone",
        )
    return Path(path[1:])


def _of_file(path: Path, table: str) -> list[StoredRow]:
    if not path.is_file():
        raise NotFound(f"{path} does not exist", field="url")
    quoted = ".".join(f'"{part}"' for part in table.split("."))
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            known = [
                name
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
                )
            ]
            if "." not in table and table not in known:
                raise _no_table(table, known)
            query = f"SELECT id, job_state FROM {quoted} ORDER BY id LIMIT {MOST + 1}"
            return _rows(connection.execute(query))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OutcomeUnknown(
            f"{path} cannot be read: {error}", remedy="name the SQLite file of the job store"
        ) from None


def _no_table(table: str, known: list[str]) -> NotFound:
    if "schedules" in known and "jobs" in known:
        return NotFound(
            "this looks like a store of APScheduler 4; only those of 3.x can be read",
            field="url",
        )
    tables = ", ".join(sorted(known)[:8]) or "none"
    return NotFound(
        f"table {table} does not exist (tables: {tables})", field="tablename", remedy="--tablename"
    )


def _of_sqlalchemy(url: str, table: str) -> list[StoredRow]:
    try:
        import sqlalchemy
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        raise InvalidInput(
            "databases other than SQLite are read with SQLAlchemy, which is not installed here",
            field="url",
            remedy="run this `tenure` from the environment of the application",
        ) from None
    schema, _, name = table.rpartition(".")
    columns: list[Any] = [sqlalchemy.column(column) for column in ("id", "job_state")]
    query = sqlalchemy.select(*columns).select_from(sqlalchemy.table(name, schema=schema or None))
    try:
        engine = sqlalchemy.create_engine(url)
        try:
            with engine.connect() as connection:
                return _rows(tuple(row) for row in connection.execute(query.order_by("id")))
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise OutcomeUnknown(f"{shown(url)} cannot be read: {reason}") from None


def _rows(stored: Iterable[tuple[Any, ...]]) -> list[StoredRow]:
    rows: list[StoredRow] = []
    for id, state in stored:
        if len(rows) == MOST:
            raise InvalidInput(f"more than {MOST} jobs")
        # Some drivers give text, and some serializers write it.
        if isinstance(state, str):
            state = state.encode("utf-8", "surrogateescape")
        plain = isinstance(state, bytes | bytearray | memoryview)
        rows.append(StoredRow(str(id), bytes(state) if plain else b""))
    return rows
