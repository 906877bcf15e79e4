"""Figures, copies and checks of the file, and the retention of history (C4)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

from tenure.domain.errors import CorruptStore, InvalidInput, StoreUnwritable
from tenure.domain.history_clock import HistoryClock
from tenure.domain.job import JobState
from tenure.store.contract import Counts, Purged, PurgeLimits
from tenure.store.folder.files import sync_folder
from tenure.store.sqlite import schema
from tenure.store.sqlite.connection import instant, micros
from tenure.store.sqlite.database_file import open_database
from tenure.store.sqlite.schema import highest_term
from tenure.store.sqlite.tables import Statements, TableVerbs

SQL = Statements("maintenance")
MAX_SPANS = 100
"""The most spans of a job; beyond, the two oldest become one."""
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)

Old = tuple[int, str, str]
"""An instant to sort by, an id, and the job."""
OldOmission = tuple[int, int, str]


class Maintenance(TableVerbs):
    def counts(self) -> Counts:
        with self._db.snapshot() as db:
            rows = db.execute(SQL.jobs_by_state).fetchall()
            return Counts(
                jobs={JobState(state): count for state, count, _ in rows},
                protected=sum(row[2] for row in rows if row[0] != JobState.REMOVED),
                active_runs=db.execute(SQL.count_active).fetchone()[0],
                open_holds=db.execute(SQL.count_holds).fetchone()[0],
                pending_requests=db.execute(SQL.count_pending).fetchone()[0],
            )

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

    # -- retention: what is deleted is looked up outside the write transaction -----------------
    def history_now(self, now: datetime, ran: timedelta) -> datetime:
        with self._db.writing() as db:
            clock = _history_clock(db).advanced(now, ran)
            for key, value in (
                ("history_at", micros(clock.at)),
                ("history_parted", clock.parted // _MICROSECOND),
                ("history_ahead", int(clock.ahead)),
            ):
                db.execute(SQL.set_meta, (key, value))
        return clock.now(now)

    def purge(self, retention: PurgeLimits, now: datetime) -> Purged:
        before = now - timedelta(days=retention.days)
        limit, edge = retention.batch, micros(before)
        with self._db.snapshot() as db:
            old_runs = _old_runs(db, retention, edge)
            old_omissions = _old_omissions(db, retention, edge)
        with self._db.writing() as db:
            runs = _forget_runs(db, old_runs)
            omissions = 0
            for last, omission, job in old_omissions:
                omissions += db.execute(SQL.delete_omission, (omission, last)).rowcount
                db.execute(SQL.account_from, (last, job))
            events = db.execute(SQL.delete_events, (retention.events, limit)).rowcount
            answered = micros(min(before, now - _DAY))
            requests = db.execute(SQL.delete_requests, (answered, limit)).rowcount
            processes = 0
            if db.execute(SQL.gone_processes, (edge,)).fetchone() is not None:
                processes = db.execute(SQL.delete_processes, (edge, limit)).rowcount
        return Purged(
            runs=runs,
            omissions=omissions,
            events=events,
            requests=requests,
            processes=processes,
        )


def _verify(db: sqlite3.Connection) -> list[str]:
    faults = [row[0] for row in db.execute("PRAGMA integrity_check(20)").fetchall()]
    keys = db.execute("PRAGMA foreign_key_check").fetchall()
    wrong = [text for text in faults if text != "ok"]
    return wrong + [f"{row[0]} row {row[1]} names a {row[2]} that is not there" for row in keys]


def _history_clock(db: sqlite3.Connection) -> HistoryClock:
    """In a store that has none yet it starts where the store was made, and catches up."""
    meta = dict(db.execute(SQL.history_clock).fetchall())
    return HistoryClock(
        at=instant(int(meta.get("history_at") or meta["created_at"])),
        parted=timedelta(microseconds=int(meta.get("history_parted", 0))),
        ahead=bool(meta.get("history_ahead", 0)),
    )


def _old_runs(db: sqlite3.Connection, retention: PurgeLimits, edge: int) -> list[Old]:
    """Final runs beyond a bound, at most a batch, earliest fires first."""
    keep, limit = retention.runs_per_job, retention.batch
    old: set[Old] = set(db.execute(SQL.runs_by_age, (edge, edge, limit)).fetchall())
    for job, surplus in db.execute(SQL.jobs_with_surplus, (keep, keep)).fetchall():
        old.update(db.execute(SQL.surplus, (job, surplus, limit)).fetchall())
    return sorted(old)[:limit]


def _old_omissions(db: sqlite3.Connection, retention: PurgeLimits, edge: int) -> list[OldOmission]:
    keep, limit = retention.runs_per_job, retention.batch
    old: set[OldOmission] = set(db.execute(SQL.omissions_by_age, (edge, limit)).fetchall())
    for job, surplus in db.execute(SQL.jobs_with_omissions, (keep, keep)).fetchall():
        old.update(db.execute(SQL.surplus_omissions, (job, surplus, limit)).fetchall())
    return sorted(old)[:limit]


def _forget_runs(db: sqlite3.Connection, old: list[Old]) -> tuple[str, ...]:
    """Delete rows and keep the spans of their fires; the ids that were deleted."""
    deleted = [entry for entry in old if db.execute(SQL.delete_run, (entry[1],)).rowcount]
    by_job = sorted(deleted, key=lambda entry: (entry[2], entry[0]))
    for job, group in groupby(by_job, key=lambda entry: entry[2]):
        fires = [fire for fire, _, _ in group]
        _add_span(db, job, fires[0], fires[-1])
        db.execute(SQL.account, (fires[-1], fires[-1], fires[-1], job))
    return tuple(run for _, run, _ in deleted)


def _add_span(db: sqlite3.Connection, job: str, first: int, last: int) -> None:
    """Spans that overlap are one."""
    for old_first, old_last in db.execute(SQL.touching, (job, first, last)).fetchall():
        first, last = min(first, old_first), max(last, old_last)
        db.execute(SQL.delete_span, (job, old_last))
    db.execute(SQL.add_span, (job, first, last))
    if db.execute(SQL.count_spans, (job,)).fetchone()[0] > MAX_SPANS:
        (first, end), (_, last) = db.execute(SQL.oldest_spans, (job, 2)).fetchall()
        db.execute(SQL.delete_span, (job, end))
        db.execute(SQL.delete_span, (job, last))
        db.execute(SQL.add_span, (job, first, last))
