"""Fires that did not become runs: written as ranges, merged with the record before (C5)."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any

from tenure.domain.job import Job
from tenure.domain.omission import FireRange, Omission, OmissionKind, resolution
from tenure.domain.planning.plan import HoldResolution
from tenure.domain.schedule.model import Schedule
from tenure.store.contract import Page
from tenure.store.sqlite.connection import instant, instant_or_none, micros
from tenure.store.sqlite.tables import Statements, TableVerbs, cursor, cursor_of, limit_of

SQL = Statements("omissions")


def write_omission(
    db: sqlite3.Connection,
    job: str,
    name: str,
    revision: int,
    schedule: Schedule,
    stretch: FireRange,
    *,
    accounted: datetime,
    at: int,
    by: str,
    term: int,
) -> None:
    """Write what an owner decided; it extends the record whose next fire it begins with.
    ``accounted``: the job's watermark before."""
    kind, reason = stretch.kind.value, stretch.reason
    first, last = micros(stretch.first), micros(stretch.last)
    before = db.execute(SQL.before, (job, first, revision, kind, reason)).fetchone()
    if before is not None and schedule.adjoin(instant(before[1]), stretch.first, accounted):
        db.execute(SQL.extend, (last, stretch.count, at, by, term, before[0]))
        return
    row = (job, name, revision, kind, first, last, stretch.count, reason, at, by, term)
    db.execute(SQL.add, row)


def account_pending(
    db: sqlite3.Connection,
    job: Job,
    kind: OmissionKind,
    until: datetime,
    reason: str,
    *,
    now: datetime,
    by: str,
) -> None:
    """Write a job's fires in (watermark, until] as one record of an editor, if there is any."""
    schedule, after = job.definition.schedule, job.watermark
    last = schedule.latest(after, until)
    first = schedule.next_after(after)
    if last is None or first is None:
        return
    count = schedule.count(after, until)
    row = (job.id, job.name, job.revision, kind.value, micros(first), micros(last), count, reason)
    db.execute(SQL.add, (*row, micros(now), by, 0))


def settle_hold(
    db: sqlite3.Connection, job: str, held: HoldResolution, runs: list[str], at: int
) -> None:
    """Resolve an open hold, or its beginning."""
    count, claimed = db.execute(SQL.hold, (held.omission, job)).fetchone()
    claimed += len(runs)
    if held.settled_until is not None:
        db.execute(SQL.settle, (claimed, micros(held.settled_until), held.omission))
        return
    text = resolution(
        claimed=claimed,
        missed=count - claimed,
        reason=held.missed_reason,
        run=runs[-1] if runs else None,
    )
    db.execute(SQL.resolve, (claimed, at, text, held.omission))


def is_open(db: sqlite3.Connection, job: str, omission: int) -> bool:
    return db.execute(SQL.hold, (omission, job)).fetchone() is not None


def miss_holds(db: sqlite3.Connection, job: str, reason: str, at: int) -> None:
    """Close a job's open held stretches: what is left of them is missed."""
    for hold in open_holds(db, job):
        text = resolution(claimed=hold.claimed, missed=hold.count - hold.claimed, reason=reason)
        db.execute(SQL.resolve, (hold.claimed, at, text, hold.id))


def has_open_hold(db: sqlite3.Connection, job: str) -> bool:
    return bool(db.execute(SQL.has_open_hold, (job,)).fetchone()[0])


def open_holds(db: sqlite3.Connection, job: str) -> tuple[Omission, ...]:
    return tuple(omission_of(row) for row in db.execute(SQL.open_holds, (job,)).fetchall())


class OmissionTable(TableVerbs):
    def omissions(
        self,
        *,
        job: str | None = None,
        kind: OmissionKind | None = None,
        only_open: bool = False,
        since: datetime | None = None,
        page: Page | None = None,
    ) -> tuple[tuple[Omission, ...], str | None]:
        limit, position = limit_of(page), cursor_of(page, (int,))
        where: list[str] = ["1"]
        values: list[Any] = []
        if job is not None:
            where.append("o.job = ?")
            values.append(job)
        if kind is not None:
            where.append("o.kind = ?")
            values.append(kind.value)
        if only_open:
            where.append("o.kind = 'held' AND o.resolved_at IS NULL")
        if since is not None:
            where.append("o.decided_at >= ?")
            values.append(micros(since))
        if position is not None:
            where.append("o.id < ?")
            values.append(position[0])
        query = f"{SQL.list} WHERE {' AND '.join(where)} ORDER BY o.id DESC LIMIT ?"
        rows = self._db.fetch(query, (*values, limit + 1))
        omissions = tuple(omission_of(row) for row in rows[:limit])
        return omissions, cursor(omissions[-1].id) if len(rows) > limit else None


def omission_of(row: tuple[Any, ...]) -> Omission:
    return Omission(
        id=row[0],
        job=row[1],
        job_name=row[2],
        revision=row[3],
        kind=OmissionKind(row[4]),
        first=instant(row[5]),
        last=instant(row[6]),
        count=row[7],
        reason=row[8],
        decided_at=instant(row[9]),
        decided_by=row[10],
        term=row[11],
        resolved_at=instant_or_none(row[12]),
        resolution=row[13],
        claimed=row[14],
        settled_until=instant_or_none(row[15]),
        cut_at=instant_or_none(row[16]),
    )
