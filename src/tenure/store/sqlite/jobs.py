"""Jobs as they are read. How they change is in :mod:`tenure.store.sqlite.edits`."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any

from tenure.domain.errors import NotFound
from tenure.domain.job import Definition, Job, State, jitter_of
from tenure.store.codec import instant, instant_or_none
from tenure.store.contract import Accounting, Page, Revision
from tenure.store.sqlite.definitions import Definitions
from tenure.store.sqlite.part import Part, cursor, cursor_of, limit_of
from tenure.store.sqlite.sql import Statements

SQL = Statements("jobs")


def job_of(row: tuple[Any, ...], definitions: Definitions) -> Job:
    """A row of ``{job_row}``; columns after it are the caller's."""
    return Job(
        id=row[0],
        revision=row[1],
        state=State(row[2]),
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
        definition=definitions.get(row[0], row[1], row[13]),
    )


def load(db: sqlite3.Connection, definitions: Definitions, job: str) -> Job:
    """By id, also a removed one. NotFound."""
    row = db.execute(SQL.one, (job,)).fetchone()
    if row is None:
        raise unknown_job(job)
    return job_of(row, definitions)


def load_kept(db: sqlite3.Connection, definitions: Definitions, job: str) -> Job:
    """By id, not a removed one. NotFound."""
    found = load(db, definitions, job)
    if found.state is State.REMOVED:
        raise NotFound(f"the job {found.name!r} was removed", remedy="`tenure add` makes a new one")
    return found


def unknown_job(ref: str, near: list[str] | None = None) -> NotFound:
    remedy = "`tenure list` shows the jobs"
    if near:
        remedy = "did you mean " + " or ".join(repr(n) for n in near) + "?"
    return NotFound(f"there is no job {ref!r}", remedy=remedy, near=near or [])


def due_of(job: str, definition: Definition, watermark: datetime) -> datetime | None:
    """When the owner looks at a job next that is accounted for up to ``watermark``."""
    upcoming = definition.schedule.next_after(watermark)
    return None if upcoming is None else upcoming + jitter_of(job, definition.jitter)


def find(db: sqlite3.Connection, definitions: Definitions, ref: str) -> Job:
    """By id, or by the name of a job that is not removed. NotFound, with near names."""
    row = db.execute(SQL.one, (ref,)).fetchone() or db.execute(SQL.by_name, (ref,)).fetchone()
    if row is not None:
        return job_of(row, definitions)
    from difflib import get_close_matches

    names = [name for (name,) in db.execute(SQL.some_names).fetchall()]
    raise unknown_job(ref, get_close_matches(ref, names))


def wake_one(db: sqlite3.Connection, job: str, at: int) -> None:
    """Have the owner look at an active job at ``at``, if not sooner."""
    db.execute(SQL.wake_one, (at, job, at))


class Jobs(Part):
    def job(self, ref: str) -> Job:
        with self._db.snapshot() as db:
            return find(db, self._db.definitions, ref)

    def jobs(
        self,
        *,
        states: frozenset[State] | None = None,
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
            if State.REMOVED not in states:
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
            found = tuple(job_of(row, self._db.definitions) for row in rows[:limit])
        return found, cursor(found[-1].name, found[-1].id) if len(rows) > limit else None

    def uncarried(self, app: str | None) -> str | None:
        with self._db.reading() as db:
            if app is None:
                row = db.execute(SQL.any_call).fetchone()
            else:
                row = db.execute(SQL.of_another_app, (app,)).fetchone()
        return None if row is None else str(row[0])

    def revisions(self, job: str) -> tuple[Revision, ...]:
        with self._db.reading() as db:
            rows = db.execute(SQL.revisions, (job,)).fetchall()
            if not rows:
                raise unknown_job(job)
            return tuple(
                Revision(
                    job=row[0],
                    revision=row[1],
                    definition=self._db.definitions.get(row[0], row[1], row[2]),
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
            return self._db.definitions.get(job, revision, row[0])

    def accounting(self, job: str) -> Accounting:
        with self._db.reading() as db:
            row = db.execute(SQL.accounting, (job,)).fetchone()
        if row is None:
            raise unknown_job(job)
        return Accounting(job=job, accounted_from=instant(row[0]), watermark=instant(row[1]))
