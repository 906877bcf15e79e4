"""The file: made whole, checked when opened, migrated by additive steps only when asked."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tenure.domain.errors import Conflict, CorruptStore, Refused, StoreUnwritable
from tenure.domain.event import EventKind
from tenure.store.contract import SCHEMA
from tenure.store.folder.files import sync_folder
from tenure.store.sqlite.connection import Connection, micros
from tenure.store.sqlite.database_file import RESTORE, open_database, translate_error
from tenure.store.sqlite.tables import emit

APPLICATION_ID = 0x54_4E_55_52
"""``TNUR`` in the header, so that ``file`` and we know the store from any other database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One additive change of the schema, from ``to - 1``."""

    to: int
    change: Callable[[sqlite3.Connection], None]
    min_reader: int
    min_writer: int
    """The oldest schema whose code may read, and write, the store afterwards."""


_HIGHEST_TERM = (
    "SELECT max((SELECT term FROM ownership), (SELECT coalesce(max(term), 0) FROM terms), "
    "(SELECT coalesce(max(value), 0) FROM meta WHERE key = 'term_floor'))"
)
FACTS = f"SELECT key, value FROM meta UNION ALL SELECT 'term', ({_HIGHEST_TERM})"
MIGRATIONS: tuple[Migration, ...] = ()


def create(path: Path, *, profile_id: str, now: datetime) -> None:
    """Make a store beside ``path`` and link it there, so that no process sees half a store."""
    draft = path.with_name(f"{path.name}.new-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        try:
            _fill(draft, profile_id, now)
            os.link(draft, path)
            sync_folder(path.parent)
        finally:
            os.unlink(draft)
    except FileExistsError:
        raise Conflict(f"{path} already exists; it was not changed") from None
    except OSError as error:
        raise StoreUnwritable(
            f"no store can be made at {path}: {error.strerror}",
            remedy="check the folder, its permissions and its free space",
        ) from error
    except sqlite3.Error as error:
        raise translate_error(error, path, 0, None) from error


def _fill(path: Path, profile_id: str, now: datetime) -> None:
    db = open_database(path, mode="rw", patience=5)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        ddl = (Path(__file__).parent / "schema.sql").read_text(encoding="utf-8")
        meta = {
            "profile_id": profile_id,
            "schema": SCHEMA,
            "min_reader": 1,
            "min_writer": 1,
            "term_floor": 0,
            "clock_era": 0,
            "commits": 0,
            "created_at": micros(now),
        }
        db.executescript(f"BEGIN;\nPRAGMA application_id = {APPLICATION_ID};\n{ddl}")
        db.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", list(meta.items()))
        db.execute("COMMIT")
    finally:
        db.close()


def read_meta(db: sqlite3.Connection) -> dict[str, Any]:
    return dict(db.execute("SELECT key, value FROM meta").fetchall())


def check(connection: Connection, *, readonly: bool, outdated: bool) -> None:
    """Check that the file is a Tenure store that this code may use."""
    path = connection.path
    with connection.reading() as db:
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise CorruptStore(
                f"{path} is not a store of Tenure's; it is left alone", remedy=RESTORE
            )
        try:
            meta = read_meta(db)
            schema, reader, writer = (int(meta[k]) for k in ("schema", "min_reader", "min_writer"))
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptStore(
                f"{path} does not say its schema: {error!r}", remedy=RESTORE
            ) from error
        needed = reader if readonly else writer
        if needed > SCHEMA:
            raise Refused(
                f"{path} has schema {schema}; {'reading' if readonly else 'writing'} it needs a "
                f"Tenure that knows schema {needed}, this one knows {SCHEMA}",
                remedy="upgrade Tenure",
            )
        if schema < SCHEMA and not outdated:
            raise Refused(
                f"{path} has schema {schema}, this Tenure needs {SCHEMA}",
                remedy="`tenure migrate`, once no older process uses it",
            )
        if not readonly and db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            db.execute("PRAGMA journal_mode = WAL")


def migrate(connection: Connection, now: datetime, steps: Sequence[Migration] = MIGRATIONS) -> int:
    """Take every step above the file's schema in one transaction; the schema it has then."""
    with connection.writing() as db:
        before = schema = int(read_meta(db)["schema"])
        for step in steps:
            if step.to != schema + 1:
                continue
            step.change(db)
            schema = step.to
            for key, value in (
                ("schema", step.to),
                ("min_reader", step.min_reader),
                ("min_writer", step.min_writer),
            ):
                set_meta(db, key, value)
        if schema < SCHEMA:
            raise Refused(
                f"{connection.path} has schema {before}, and this Tenure cannot bring it to "
                f"{SCHEMA}",
                remedy="migrate it with an older Tenure first",
            )
        if schema != before:
            emit(db, EventKind.MIGRATED, micros(now), before=before, after=schema)
        return schema


def highest_term(db: sqlite3.Connection) -> int:
    """The highest term ever begun here, or the floor that an adoption set."""
    return int(db.execute(_HIGHEST_TERM).fetchone()[0])


def set_meta(db: sqlite3.Connection, key: str, value: str | int) -> None:
    db.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))
