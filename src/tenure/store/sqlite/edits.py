"""How jobs change: add, edit, pause, resume, remove, approve (C7, C12).

Fires follow the revision valid at their instant. So a change accounts, in the same
transaction, for the fires that the old revision leaves pending, and moves the watermark.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from tenure.domain.errors import Conflict, InvalidInput
from tenure.domain.event import EventKind
from tenure.domain.job import Definition, Job, JobState, check_state, jitter_of, looks_like
from tenure.domain.names import look_of
from tenure.domain.omission import OmissionKind
from tenure.domain.schedule.model import ScheduleKind
from tenure.store.contract import JobEditor
from tenure.store.ids import new_id
from tenure.store.sqlite import omissions
from tenure.store.sqlite.codec import pack
from tenure.store.sqlite.connection import Connection, Definitions, micros, micros_or_none
from tenure.store.sqlite.jobs import due_of, load_job, load_live_job, wake_job
from tenure.store.sqlite.tables import Statements, TableVerbs, emit

SQL = Statements("edits")
T = TypeVar("T")
JobChange = Callable[[sqlite3.Connection, Definitions], T]
"""A change; reads and writes only through the connection that it is given."""
MAX_UNREHEARSED = 20
"""Up to this number of steps, doing them is faster than rehearsing them."""
_INSTANT = timedelta(microseconds=1)
_BECAME = {
    JobState.ACTIVE: "resumed",
    JobState.PAUSED: "paused",
    JobState.DORMANT: "made dormant",
    JobState.REMOVED: "removed",
}


def add(
    db: sqlite3.Connection,
    definitions: Definitions,
    definition: Definition,
    by: str,
    now: datetime,
    app: str | None = None,
    app_version: str | None = None,
    since: datetime | None = None,
) -> Job:
    """Add a job. If its schedule has no further fire, the job is DONE."""
    _check_name(db, definition.name, None)
    job, at = new_id("j", now), micros(now)
    watermark = min(since or now, now)
    due = due_of(job, definition, watermark)
    state = JobState.DONE if definition.schedule.is_over(watermark) else JobState.ACTIVE
    db.execute(
        SQL.add,
        (
            job,
            definition.name,
            state.value,
            definition.runner.value,
            definition.needs_authority,
            at,
            micros(watermark),
            micros(watermark),
            micros_or_none(due),
            app,
            app_version,
        ),
    )
    db.execute(SQL.add_revision, (job, 1, pack(definition), at, by, micros(watermark)))
    emit(db, EventKind.JOB_ADDED, at, job=job, name=definition.name, by=by)
    return load_job(db, definitions, job)


def edit(
    db: sqlite3.Connection,
    definitions: Definitions,
    job: Job,
    definition: Definition,
    by: str,
    now: datetime,
) -> Job:
    """Make a new revision; an equal definition changes nothing."""
    if definition == job.definition:
        return job
    check_readable(definition)
    if definition.name != job.name:
        _check_name(db, definition.name, job.id)
    watermark = _account_before_edit(db, job, definition, now, by)
    state, due = reschedule(db, job.id, definition, job.state, watermark, now)
    revision, at = job.revision + 1, micros(now)
    db.execute(
        SQL.revise,
        (
            definition.name,
            revision,
            state.value,
            definition.runner.value,
            definition.needs_authority,
            micros(watermark),
            micros_or_none(due),
            job.id,
        ),
    )
    row = (job.id, revision, pack(definition), at, by, micros(watermark))
    db.execute(SQL.add_revision, row)
    emit(db, EventKind.JOB_EDITED, at, job=job.id, name=definition.name, revision=revision, by=by)
    return load_job(db, definitions, job.id)


def set_state(
    db: sqlite3.Connection,
    definitions: Definitions,
    job: Job,
    state: JobState,
    by: str,
    now: datetime,
) -> Job:
    """Change a job's state and account for what the change leaves behind."""
    if state is not job.state:
        check_state(job.state, state)
    elif job.damage is None:
        return job
    at = micros(now)
    if job.damage is None:
        _account_by_state(db, job, f"the job was {_BECAME[state]} before it ran", now, by)
        watermark = job.watermark_after_change(job.definition, now)
    else:  # its fires are accounted for by the edit that mends it
        watermark = job.watermark
        text = f"{job.damage.reason}; its scheduled runs since its watermark are not known"
        facts: dict[str, Any] = {"code": "unreadable_job", "since": micros(watermark)}
        emit(db, EventKind.WARNING, at, job=job.id, text=text, **facts)
    if state is JobState.REMOVED:
        omissions.miss_holds(db, job.id, "the job was removed", at)
    after, due = reschedule(db, job.id, job.definition, state, watermark, now)
    db.execute(SQL.set_state, (after.value, micros(watermark), micros_or_none(due), job.id))
    change: dict[str, Any] = {"from": job.state.value, "to": after.value, "by": by}
    emit(db, EventKind.JOB_STATE, at, job=job.id, **change)
    return load_job(db, definitions, job.id)


def _account_by_state(
    db: sqlite3.Connection, job: Job, reason: str, now: datetime, by: str
) -> None:
    """Fires up to ``now``: missed for ``reason`` if the job was active, else skipped as it is."""
    if job.state is JobState.ACTIVE:
        omissions.account_pending(db, job, OmissionKind.MISSED, now, reason, now=now, by=by)
    elif job.state is not JobState.DONE:
        omissions.account_pending(
            db, job, OmissionKind.SKIPPED, now, job.state.value, now=now, by=by
        )


def _account_before_edit(
    db: sqlite3.Connection, job: Job, definition: Definition, now: datetime, by: str
) -> datetime:
    """Account for the old revision's pending fires; the watermark that the new one starts from."""
    if job.damage is not None:
        return _account_after_mending(db, job, definition, now, by)
    reason = "the job was edited before it ran"
    latest = job.definition.schedule.latest(job.watermark, now)
    if job.state is JobState.ACTIVE and latest is not None:
        late = now - jitter_of(job.id, job.definition.jitter) - latest
        before = latest - _INSTANT
        if late <= job.definition.grace and definition.schedule.latest(before, now) == latest:
            omissions.account_pending(db, job, OmissionKind.MISSED, before, reason, now=now, by=by)
            return max(job.watermark, before)
    _account_by_state(db, job, reason, now, by)
    return job.watermark_after_change(definition, now)


def _account_after_mending(
    db: sqlite3.Connection, job: Job, definition: Definition, now: datetime, by: str
) -> datetime:
    """Account for the fires of a job that could not be read, by its repaired definition: catch-up
    decides about those of an active job, the others are skipped."""
    if job.state in (JobState.ACTIVE, JobState.DONE):
        return job.watermark
    mended = replace(job, definition=definition)
    omissions.account_pending(
        db, mended, OmissionKind.SKIPPED, now, job.state.value, now=now, by=by
    )
    return max(job.watermark, now)


def reschedule(
    db: sqlite3.Connection,
    job: str,
    definition: Definition,
    state: JobState,
    watermark: datetime,
    now: datetime,
) -> tuple[JobState, datetime | None]:
    """State and due time of a job planned from ``watermark``; open holds are due at once."""
    if state not in (JobState.ACTIVE, JobState.DONE):
        return state, None
    due = due_of(job, definition, watermark)
    if definition.damage is not None:
        return state, now if state is JobState.ACTIVE else None
    if omissions.has_open_hold(db, job):
        return JobState.ACTIVE, now
    return (JobState.DONE if definition.schedule.is_over(watermark) else JobState.ACTIVE), due


def check_readable(definition: Definition) -> None:
    """InvalidInput for a damaged definition: it must not be stored as if the user wrote it."""
    if definition.damage is not None:
        raise InvalidInput(
            f"it cannot be read: {definition.damage.reason}",
            field=definition.damage.fields[0] if definition.damage.fields else None,
            remedy="give a new value for what cannot be read",
        )


def _refuse_look_alike(db: sqlite3.Connection, name: str, own: str | None) -> None:
    """Conflict for a new name that looks like another job's name. Changes that are made together
    check this themselves, since each check here reads all names."""
    look = look_of(name)
    rows = db.execute(SQL.alike, (look,)).fetchall()
    if (own, name) in rows:
        # It keeps its name.
        return
    for job, known in rows:
        if job != own and known != name and look_of(known) == look:
            raise looks_like(known, job)


def _check_name(db: sqlite3.Connection, name: str, own: str | None) -> None:
    row = db.execute(SQL.name_taken, (name,)).fetchone()
    if row is not None and row[0] != own:
        raise Conflict(
            f"a job named {name!r} already exists",
            field="name",
            remedy="choose another name, or edit that job",
            job=row[0],
        )


class Editor:
    """The changes of jobs inside one transaction; see :class:`tenure.store.contract.JobEditor`."""

    def __init__(self, db: sqlite3.Connection, definitions: Definitions) -> None:
        self._db = db
        self._definitions = definitions

    def add_job(
        self, definition: Definition, *, by: str, now: datetime, since: datetime | None = None
    ) -> Job:
        return add(self._db, self._definitions, definition, by, now, since=since)

    def edit_job(
        self, job: str, expected_revision: int, definition: Definition, *, by: str, now: datetime
    ) -> Job:
        current = load_live_job(self._db, self._definitions, job)
        _check_revision(current, expected_revision)
        return edit(self._db, self._definitions, current, definition, by, now)

    def set_job_state(self, job: str, state: JobState, *, by: str, now: datetime) -> Job:
        current = load_live_job(self._db, self._definitions, job)
        return set_state(self._db, self._definitions, current, state, by, now)


class JobEdits(TableVerbs):
    def change_jobs(self, steps: Sequence[Callable[[JobEditor], Job]]) -> tuple[Job, ...]:
        def inside(step: Callable[[JobEditor], Job]) -> JobChange[Job]:
            return lambda db, definitions: step(Editor(db, definitions))

        return tuple(change_together(self._db, [inside(step) for step in steps]))

    def add_job(
        self, definition: Definition, *, by: str, now: datetime, since: datetime | None = None
    ) -> Job:
        with self._db.writing() as db:
            _refuse_look_alike(db, definition.name, None)
            return Editor(db, self._db.definitions).add_job(definition, by=by, now=now, since=since)

    def edit_job(
        self, job: str, expected_revision: int, definition: Definition, *, by: str, now: datetime
    ) -> Job:
        with self._db.writing() as db:
            _refuse_look_alike(db, definition.name, job)
            editor = Editor(db, self._db.definitions)
            return editor.edit_job(job, expected_revision, definition, by=by, now=now)

    def set_job_state(self, job: str, state: JobState, *, by: str, now: datetime) -> Job:
        with self._db.writing() as db:
            return Editor(db, self._db.definitions).set_job_state(job, state, by=by, now=now)

    def miss_held_fires(self, job: str, reason: str, *, now: datetime) -> None:
        with self._db.writing() as db:
            current = load_job(db, self._db.definitions, job)
            omissions.miss_holds(db, current.id, reason, micros(now))
            if current.definition.schedule.kind is ScheduleKind.FOREIGN:
                db.execute(SQL.pass_over, (micros(now), current.id))

    def approve_job(self, job: str, revision: int, *, by: str, now: datetime) -> Job:
        at = micros(now)
        with self._db.writing() as db:
            current = load_live_job(db, self._db.definitions, job)
            _check_revision(current, revision)
            if current.approved_revision == revision:
                return current
            db.execute(SQL.approve, (revision, job))
            emit(db, EventKind.JOB_STATE, at, job=job, approved=revision, by=by)
            if omissions.has_open_hold(db, job):
                wake_job(db, job, at)
            return load_job(db, self._db.definitions, job)


def _check_revision(job: Job, expected: int) -> None:
    if job.revision != expected:
        raise Conflict(
            f"the job {job.name!r} is at revision {job.revision}, not {expected}: "
            f"{job.edited_by} edited it",
            remedy="read it again and retry",
            revision=job.revision,
        )


# -- many changes in one commit, without a long write lock -----------------------------------------
# A change of a job takes milliseconds of computing (its schedule's fires, its definition as JSON),
# and thousands of them inside one transaction kept the owner from claiming for seconds. So they are
# rehearsed first, on a copy of the jobs in memory, and their writes are recorded; the transaction
# then only repeats the writes:
#
#   read the jobs (snapshot) -> carry out each step on the copy, recording what it asks and writes
#   BEGIN IMMEDIATE -> which jobs have changed since? -> each step: its writes, or itself -> COMMIT
#
# A step that read a job, or a name, that has changed since the snapshot is carried out again inside
# the transaction, on the current jobs; so is each later step that reads the same. A step that
# raises, at either time, leaves nothing behind.
class _Recording(sqlite3.Connection):
    """Records the writes, and the text parameters (ids and names) of the reads."""

    writes: list[tuple[str, Any]]
    asked: set[str]

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql.lstrip()[:6].upper() == "SELECT":
            self.asked.update(value for value in parameters if isinstance(value, str))
        else:
            self.writes.append((sql, parameters))
        return super().execute(sql, parameters)

    def begin_step(self) -> None:
        self.writes, self.asked = [], set()


def change_together(
    connection: Connection,
    steps: Sequence[JobChange[T]],
    *,
    first: Callable[[sqlite3.Connection], object] = lambda db: None,
) -> list[T]:
    """Carry out all steps in one commit, or none; returns the result of each.

    ``first`` is called in the transaction before them. Raises what it and the steps raise.
    """
    if len(steps) <= MAX_UNREHEARSED or connection.is_batching:
        with connection.writing() as db:
            first(db)
            return [step(db, connection.definitions) for step in steps]
    with _copy(connection) as (copy, before):
        rehearsed = []
        definitions: Definitions = {}
        for step in steps:
            copy.begin_step()
            rehearsed.append((step(copy, definitions), copy.writes, copy.asked))
    with connection.writing() as db:
        first(db)
        changed = _changed(before, _state(db))
        made: list[T] = []
        for step, (result, writes, asked) in zip(steps, rehearsed, strict=True):
            if asked.isdisjoint(changed):
                for sql, parameters in writes:
                    db.execute(sql, parameters)
                made.append(result)
            else:
                made.append(step(db, connection.definitions))
                changed |= asked
        return made


@contextmanager
def _copy(connection: Connection) -> Iterator[tuple[_Recording, dict[str, Any]]]:
    """The jobs, their current revisions and open holds, in memory; and their state."""
    copy = sqlite3.connect(":memory:", isolation_level=None, factory=_Recording)
    copy.begin_step()
    try:
        with connection.snapshot() as db:
            schema = [row[0] for row in db.execute(SQL.rehearsed_schema).fetchall()]
            tables = {
                table: db.execute(query).fetchall()
                for table, query in (
                    ("jobs", SQL.rehearsed_jobs),
                    ("job_revisions", SQL.rehearsed_revisions),
                    ("omissions", SQL.rehearsed_holds),
                )
            }
            state = _state(db)
        for statement in schema:
            copy.execute(statement)
        copy.execute("BEGIN")
        for table, rows in tables.items():
            if rows:
                places = ", ".join("?" * len(rows[0]))
                copy.executemany(f"INSERT INTO {table} VALUES ({places})", rows)
        yield copy, state
    finally:
        copy.close()


def _state(db: sqlite3.Connection) -> dict[str, Any]:
    """All that a change of a job depends on, by its id."""
    return {row[0]: row[1:] for row in db.execute(SQL.state_of_all).fetchall()}


def _changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """The ids and names of the jobs that differ; a name that came or went among them."""
    different = {job for job in before.keys() | after.keys() if before.get(job) != after.get(job)}
    names = {state[job][0] for state in (before, after) for job in different if job in state}
    return different | names
