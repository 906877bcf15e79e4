"""Figures, copies and checks of the file itself."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tenure.domain.errors import CorruptStore, InvalidInput, StoreUnwritable
from tenure.domain.job import JobState
from tenure.store.contract import Counts
from tenure.store.folder.files import sync_folder
from tenure.store.sqlite import schema
from tenure.store.sqlite.connection import open_database
from tenure.store.sqlite.fence import highest_term
from tenure.store.sqlite.files import Loss
from tenure.store.sqlite.sql import Statements, TableVerbs

SQL = Statements("maintenance")


class Maintenance(TableVerbs):
    def counts(self) -> Counts:
        with self._db.snapshot() as db:
            rows = db.execute(SQL.jobs).fetchall()
            return Counts(
                jobs={JobState(state): count for state, count, _ in rows},
                protected=sum(row[2] for row in rows if row[0] != JobState.REMOVED),
                active_runs=db.execute(SQL.active_runs).fetchone()[0],
                open_holds=db.execute(SQL.open_holds).fetchone()[0],
                pending_requests=db.execute(SQL.pending_requests).fetchone()[0],
            )

    def is_same_file(self) -> bool:
        """Whether the files at their paths are those that were opened, and whole. Raises
        StoreUnwritable where that is unknown."""
        return self._db.is_same_file()

    def loss(self) -> Loss | None:
        """What happened to the opened files: removed, replaced, cut short. None while they are
        whole. Raises StoreUnwritable where that is unknown."""
        return self._db.loss()

    def verify(self) -> list[str]:
        """The faults that SQLite finds in the file; [] if it is sound. Reads the whole file."""
        with self._db.snapshot() as db:
            return _verify(db)

    def backup(self, dest: Path | str) -> None:
        """Copy the store, as it is at one moment, to ``dest``: checked, then renamed into place.

        Replaces an older backup there. Writers are not kept waiting. Raises InvalidInput for the
        store's own path, StoreUnwritable, CorruptStore if the copy is not sound.
        """
        target = Path(dest)
        if target.resolve() == self._db.path.resolve():
            raise InvalidInput("that is the store itself", field="dest", remedy="name another file")
        draft = target.with_name(f"{target.name}.new-{os.getpid()}-{os.urandom(4).hex()}")
        try:
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            try:
                self._copy_to(draft)
                os.replace(draft, target)
                sync_folder(target.parent)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise StoreUnwritable(
                f"the backup cannot be written to {target}: {error.strerror}",
                remedy="check the folder, its permissions and its free space",
            ) from error

    def _copy_to(self, draft: Path) -> None:
        """On a connection of its own, so that the store's other threads go on meanwhile."""
        try:
            source = open_database(self._db.path, mode="ro", patience=self._db.patience)
            try:
                copy = open_database(draft, mode="rw", patience=self._db.patience)
                try:
                    source.backup(copy)
                    copy.execute("PRAGMA journal_mode = DELETE")
                    wrong = _verify(copy)
                finally:
                    copy.close()
            finally:
                source.close()
        except sqlite3.Error as error:
            raise self._db.translate_error(error) from error
        if wrong:
            raise CorruptStore(f"the copy is not sound: {'; '.join(wrong[:3])}", findings=wrong)

    def migrate(self, now: datetime, steps: Sequence[schema.Migration] = schema.MIGRATIONS) -> int:
        """Bring the file to this code's schema; the schema it has then. Event MIGRATED."""
        return schema.migrate(self._db, now, steps)

    def set_profile_id(self, new: str) -> None:
        """Give a copied profile its own id."""
        if not new:
            raise InvalidInput("an id is needed", field="profile_id")
        with self._db.writing() as db:
            schema.set_meta(db, "profile_id", new)

    def raise_term_floor(self, term: int) -> None:
        """Each term begun from now on is above ``term``; never lowers what was there (C1).

        An older copy goes on from here, and its missing commits count as present.
        """
        with self._db.writing() as db:
            self._db.rise_above_mark(db)
            if term > highest_term(db):
                schema.set_meta(db, "term_floor", term)


def _verify(db: sqlite3.Connection) -> list[str]:
    found = [row[0] for row in db.execute("PRAGMA integrity_check(20)").fetchall()]
    keys = db.execute("PRAGMA foreign_key_check").fetchall()
    wrong = [text for text in found if text != "ok"]
    return wrong + [f"{row[0]} row {row[1]} names a {row[2]} that is not there" for row in keys]
