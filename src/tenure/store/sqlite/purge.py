"""PurgeLimits: history is bounded, and no fire is forgotten (C4).

Rows to delete are found outside the write transaction, which then only deletes.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from itertools import groupby

from tenure.domain.history_clock import HistoryClock
from tenure.store.codec import instant, micros
from tenure.store.contract import Purged, PurgeLimits
from tenure.store.sqlite.sql import Statements, TableVerbs

SQL = Statements("purge")

MAX_SPANS = 100
"""The most spans of a job; beyond, the two oldest become one."""
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)

Old = tuple[int, str, str]
"""An instant to sort by, an id, and the job."""
OldOmission = tuple[int, int, str]


class Purge(TableVerbs):
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
