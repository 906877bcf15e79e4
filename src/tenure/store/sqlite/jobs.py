"""Jobs as they are read. How they change is in :mod:`tenure.store.sqlite.edits`."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import datetime
from typing import Any

from tenure.domain.errors import CorruptStore, NotFound
from tenure.domain.job import Damage, Definition, Job, JobState, jitter_of
from tenure.domain.schedule.zones import is_zone
from tenure.store.contract import Accounting, Page, Revision
from tenure.store.sqlite.codec import job_name, salvage, unpack
from tenure.store.sqlite.connection import Definitions, instant, instant_or_none
from tenure.store.sqlite.tables import Statements, TableVerbs, cursor, cursor_of, limit_of

SQL = Statements("jobs")

MAX_CACHED = 2048
"""Definitions kept in memory; the oldest goes first."""
MAX_READ = 500
"""Up to this number, all jobs are read to find damaged ones; above it, only likely ones."""


def read_definition(
    kept: Definitions,
    job: str,
    revision: int,
    text: str | None,
    *,
    name: str = "",
    runner: str = "command",
) -> Definition:
    """The definition; ``text`` is parsed where it is not kept."""
    key = (job, revision)
    definition = kept.pop(key, None)
    if definition is None:
        try:
            definition = unpack(Definition, "" if text is None else text)
        except CorruptStore as error:
            # Not kept, so that it is read again the next time: the machine may have got its zone.
            return salvage(text, error, name=job_name(name or job), runner=runner)
        if len(kept) >= MAX_CACHED:
            del kept[next(iter(kept))]
    kept[key] = definition
    return definition


def job_of(row: tuple[Any, ...], definitions: Definitions) -> Job:
    """A row of ``{job_row}``; columns after it are the caller's. Never raises: a job that
    cannot be read is returned with its damage."""
    definition = read_definition(definitions, row[0], row[1], row[13], name=row[14], runner=row[15])
    try:
        return Job(
            id=row[0],
            revision=row[1],
            state=JobState(row[2]),
            created_at=instant(row[3]),
            edited_at=instant(row[4]),
            edited_by=row[5],
            watermark=instant(row[6]),
            due_at=instant_or_none(row[7]),
            waiting=bool(row[8]),
            deferred=bool(row[9]),
            approved_revision=row[10],
            app=row[11],
            app_version=row[12],
            definition=definition,
        )
    except (TypeError, ValueError, OverflowError) as error:
        return _damaged(row, definition, error)


def _damaged(row: tuple[Any, ...], definition: Definition, error: Exception) -> Job:
    """A job whose row is invalid: a state of a newer version, or a missing revision."""
    if row[5] is None and row[13] is None:
        reason = f"its revision {row[1]} is missing"
    else:
        reason = f"its record cannot be read: {error}"
    fields = definition.damage.fields if definition.damage is not None else ()
    created = _instant_or(row[3], instant(0))
    return Job(
        id=str(row[0]),
        revision=row[1] if isinstance(row[1], int) else 0,
        state=JobState(row[2]) if row[2] in set(JobState) else JobState.PAUSED,
        created_at=created,
        edited_at=_instant_or(row[4], created),
        edited_by=str(row[5] or "unknown"),
        watermark=_instant_or(row[6], created),
        due_at=None if row[7] is None else _instant_or(row[7], created),
        approved_revision=row[10] if isinstance(row[10], int) else 0,
        app=row[11],
        app_version=row[12],
        definition=replace(definition, damage=Damage(reason=reason, fields=fields)),
    )


def _instant_or(value: Any, other: datetime) -> datetime:
    try:
        return instant(value)
    except (TypeError, ValueError, OverflowError):
        return other


def load_job(db: sqlite3.Connection, definitions: Definitions, job: str) -> Job:
    """By id, also a removed one. NotFound."""
    row = db.execute(SQL.one, (job,)).fetchone()
    if row is None:
        raise unknown_job(job)
    return job_of(row, definitions)


def load_live_job(db: sqlite3.Connection, definitions: Definitions, job: str) -> Job:
    """By id, not a removed one. NotFound."""
    current = load_job(db, definitions, job)
    if current.state is JobState.REMOVED:
        raise removed_job(current.name)
    return current


def removed_job(name: str) -> NotFound:
    return NotFound(f"the job {name!r} was removed", remedy="`tenure add` makes a new one")


def unknown_job(ref: str, near: list[str] | None = None) -> NotFound:
    remedy = "`tenure list` shows the jobs"
    if near:
        remedy = "did you mean " + " or ".join(repr(n) for n in near) + "?"
    return NotFound(f"unknown job {ref!r}", remedy=remedy, near=near or [])


def due_of(job: str, definition: Definition, watermark: datetime) -> datetime | None:
    """The next due time of a job that is accounted for up to ``watermark``."""
    upcoming = definition.schedule.next_after(watermark)
    return None if upcoming is None else upcoming + jitter_of(job, definition.jitter)


def find_job_row(db: sqlite3.Connection, ref: str) -> tuple[Any, ...]:
    """``{job_row}`` by id, or by the name of a job that is not removed. NotFound, with near
    names."""
    row: tuple[Any, ...] | None = (
        db.execute(SQL.one, (ref,)).fetchone() or db.execute(SQL.by_name, (ref,)).fetchone()
    )
    if row is not None:
        return row
    from difflib import get_close_matches

    names = [name for (name,) in db.execute(SQL.some_names).fetchall()]
    raise unknown_job(ref, get_close_matches(ref, names))


def wake_job(db: sqlite3.Connection, job: str, at: int) -> None:
    """Have the owner look at an active job at ``at``, if not sooner."""
    db.execute(SQL.wake_job, (at, job, at))


def wake_held(db: sqlite3.Connection, at: int) -> int:
    """Make the active jobs with open held fires due; how many there are."""
    db.execute(SQL.wake_held, (at, at))
    return int(db.execute(SQL.jobs_held).fetchone()[0])


class JobTable(TableVerbs):
    def job(self, ref: str) -> Job:
        with self._db.snapshot() as db:
            return job_of(find_job_row(db, ref), self._db.definitions)

    def jobs(
        self,
        *,
        states: frozenset[JobState] | None = None,
        text: str | None = None,
        tag: str | None = None,
        page: Page | None = None,
    ) -> tuple[tuple[Job, ...], str | None]:
        limit, position = limit_of(page), cursor_of(page, (str, str))
        where: list[str] = ["j.state <> 'removed'"]
        values: list[Any] = []
        if states is not None:
            where = [f"j.state IN ({', '.join('?' * len(states))})"]
            values.extend(sorted(s.value for s in states))
            if JobState.REMOVED not in states:
                where.append("j.state <> 'removed'")
        if text is not None:
            where.append("instr(lower(j.name), lower(?))")
            values.append(text)
        if tag is not None:
            where.append(SQL.tagged)
            values.append(tag)
        if position is not None:
            where.append("(j.name, j.id) > (?, ?)")
            values.extend(position)
        query = f"{SQL.list} WHERE {' AND '.join(where)} ORDER BY j.name, j.id LIMIT ?"
        with self._db.reading() as db:
            rows = db.execute(query, (*values, limit + 1)).fetchall()
            jobs = tuple(job_of(row, self._db.definitions) for row in rows[:limit])
        return jobs, cursor(jobs[-1].name, jobs[-1].id) if len(rows) > limit else None

    def unreadable_jobs(self) -> tuple[Job, ...]:
        with self._db.snapshot() as db:
            if db.execute(SQL.how_many).fetchone()[0] <= MAX_READ:
                rows = db.execute(SQL.kept, (MAX_READ,)).fetchall()
            else:
                zones = [zone for (zone,) in db.execute(SQL.zones).fetchall() if zone is not None]
                unknown = [zone for zone in zones if not (isinstance(zone, str) and is_zone(zone))]
                rows = db.execute(SQL.suspects, (json.dumps(unknown),)).fetchall()
            jobs = [job_of(row, self._db.definitions) for row in rows]
        return tuple(job for job in jobs if job.damage is not None)

    def find_job_without_code(self, app: str | None) -> str | None:
        if app is None:
            row = self._db.fetch_one(SQL.any_call)
        else:
            row = self._db.fetch_one(SQL.of_another_app, (app,))
        return None if row is None else str(row[0])

    def revisions(self, job: str) -> tuple[Revision, ...]:
        with self._db.reading() as db:
            rows = db.execute(SQL.revisions, (job,)).fetchall()
            if not rows and db.execute(SQL.exists, (job,)).fetchone() is None:
                raise unknown_job(job)
            return tuple(
                Revision(
                    job=row[0],
                    revision=row[1],
                    definition=read_definition(self._db.definitions, *row[:3]),
                    edited_at=instant(row[3]),
                    edited_by=row[4],
                    valid_after=instant(row[5]),
                )
                for row in rows
            )

    def definition(self, job: str, revision: int) -> Definition:
        with self._db.reading() as db:
            row = db.execute(SQL.definition, (job, revision)).fetchone()
            if row is None:
                raise NotFound(f"the job {job!r} has no revision {revision}")
            return read_definition(self._db.definitions, job, revision, row[0])

    def accounting(self, job: str) -> Accounting:
        row = self._db.fetch_one(SQL.accounting, (job,))
        if row is None:
            raise unknown_job(job)
        return Accounting(job=job, accounted_from=instant(row[0]), watermark=instant(row[1]))
