"""What the owner changes of jobs by itself: an app's declared jobs, and planning after the clock
was set back (C5, C13)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tenure.domain.errors import Conflict, InvalidInput
from tenure.domain.event import EventKind
from tenure.domain.job import Definition, Job, JobState
from tenure.domain.omission import Omission
from tenure.domain.ownership import Authority
from tenure.domain.schedule.model import ScheduleKind
from tenure.domain.version import is_newer
from tenure.store.contract import Declaration, Reconciled
from tenure.store.sqlite.connection import Definitions, fence, micros, micros_or_none
from tenure.store.sqlite.edits import JobChange, add, change_together, edit, reschedule, set_state
from tenure.store.sqlite.jobs import SQL as JOBS
from tenure.store.sqlite.jobs import job_of, read_definition, wake_held
from tenure.store.sqlite.omissions import omission_of
from tenure.store.sqlite.tables import Statements, TableVerbs, emit

SQL = Statements("owner_edits")

RESTARTED = "planning restarted: the clock was set back"
LONGEST_BACKOFF = timedelta(hours=1)
_OUTCOMES = ("added", "changed", "woken", "dormant", "kept_newer")


class OwnerEdits(TableVerbs):
    def reconcile(
        self,
        authority: Authority,
        app: str,
        version: str,
        declarations: Sequence[Declaration],
        now: datetime,
    ) -> Reconciled:
        by = f"app {app} {version}".rstrip()
        wanted: dict[str, Declaration] = {}
        for declared in declarations:
            name = declared.definition.name
            if not name.startswith(f"{app}:"):
                raise InvalidInput(f"{name!r} is not named {app}:...", field="name")
            if name in wanted:
                raise Conflict(f"two jobs are named {name!r}", field="name")
            wanted[name] = declared
        names = [name for (name,) in self._db.fetch(SQL.declared_names, (app,))]

        def bring_in_line(name: str) -> JobChange[list[str]]:
            return lambda db, definitions: _bring_in_line(
                db, definitions, name, wanted.get(name), app, version, by, now
            )

        def first(db: sqlite3.Connection) -> None:
            fence(db, authority)
            _check_app(db, app)

        every = [*wanted, *(name for name in names if name not in wanted)]
        made = change_together(self._db, [bring_in_line(name) for name in every], first=first)
        did: dict[str, list[str]] = {outcome: [] for outcome in _OUTCOMES}
        for name, outcomes in zip(every, made, strict=True):
            for outcome in outcomes:
                did[outcome].append(name)
        return Reconciled(**{outcome: tuple(sorted(names)) for outcome, names in did.items()})

    def restart_planning(self, authority: Authority, now: datetime) -> int:
        at = micros(now)
        with self._db.executing(authority) as (db, _):
            rows = db.execute(SQL.ahead, (at,)).fetchall()
            # These were put off by a clock that read years ahead: nothing else would wake them.
            db.execute(SQL.bring_near, (at, at))
            db.execute(SQL.bring_retries_near, (at, micros(now + LONGEST_BACKOFF)))
            ahead = [job_of(row, self._db.definitions) for row in rows]
            for job in ahead:
                _restart(db, self._db.definitions, job, now)
            if ahead:
                db.execute(SQL.next_era)
                emit(
                    db,
                    EventKind.PLANNING_RESTARTED,
                    at,
                    term=authority.term,
                    process=authority.process,
                    jobs=len(ahead),
                    was=max(job.watermark for job in ahead).isoformat(),
                )
            return len(ahead)

    def wake_held_jobs(self, authority: Authority, now: datetime) -> int:
        with self._db.executing(authority) as (db, _):
            return wake_held(db, micros(now))

    def replan(self, authority: Authority, jobs: Collection[str], now: datetime) -> int:
        at = micros(now)
        with self._db.executing(authority) as (db, _):
            return db.execute(SQL.replan, (at, json.dumps(sorted(jobs)), at)).rowcount


def _bring_in_line(
    db: sqlite3.Connection,
    definitions: Definitions,
    name: str,
    declared: Declaration | None,
    app: str,
    version: str,
    by: str,
    now: datetime,
) -> list[str]:
    """Bring one job in line, declared now or before; returns the outcomes."""
    row = db.execute(JOBS.by_name, (name,)).fetchone()
    job = job_of(row, definitions) if row is not None else None
    if job is not None and job.app != app:
        # Its name is taken: to add one of that name says so.
        job = None
    if declared is not None:
        return _declare(db, definitions, job, declared, app, version, by, now)
    if job is None:
        return []
    if _is_of_newer(job, version):
        return ["kept_newer"]
    if job.state is not JobState.ACTIVE:
        return []
    set_state(db, definitions, job, JobState.DORMANT, by, now)
    return ["dormant"]


def _check_app(db: sqlite3.Connection, app: str) -> None:
    other = db.execute(SQL.other_app, (app,)).fetchone()
    if other is not None:
        raise Conflict(
            f"the profile belongs to the app {other[0]!r}",
            remedy=f"give {app!r} a profile of its own",
        )


def _declare(
    db: sqlite3.Connection,
    definitions: Definitions,
    job: Job | None,
    declared: Declaration,
    app: str,
    version: str,
    by: str,
    now: datetime,
) -> list[str]:
    """Bring one declared job in line; returns the outcomes."""
    if job is None:
        add(db, definitions, declared.definition, by, now, app, version, declared.since)
        return ["added"]
    if _is_of_newer(job, version):
        return ["kept_newer"]
    did = []
    if job.state is JobState.DORMANT:
        job = set_state(db, definitions, job, JobState.ACTIVE, by, now)
        did.append("woken")
    definition = _with_anchor_of(declared.definition, job.definition)
    if definition != job.definition:
        job = edit(db, definitions, job, definition, by, now)
        did.append("changed")
    if job.app_version != version:
        db.execute(SQL.set_version, (version, job.id))
    return did


def _is_of_newer(job: Job, version: str) -> bool:
    return job.app_version is not None and is_newer(job.app_version, version)


def _with_anchor_of(new: Definition, old: Definition) -> Definition:
    """``new``, with the old anchor if it is an interval of the same length."""
    if new.schedule.kind is ScheduleKind.EVERY and old.schedule.kind is ScheduleKind.EVERY:
        moved = replace(new.schedule, anchor=old.schedule.anchor)
        if moved == old.schedule:
            return replace(new, schedule=moved)
    return new


def _restart(db: sqlite3.Connection, definitions: Definitions, job: Job, now: datetime) -> None:
    at = micros(now)
    for row in db.execute(SQL.reaching, (job.id, at)).fetchall():
        _cut(db, definitions, omission_of(row), now)
    db.execute(SQL.valid_from_now, (at, job.id, at))
    state, due = reschedule(db, job.id, job.definition, job.state, now, now)
    db.execute(SQL.restart, (at, at, state.value, micros_or_none(due), job.id))


def _cut(
    db: sqlite3.Connection, definitions: Definitions, omission: Omission, now: datetime
) -> None:
    """Leave of a record what lies up to ``now``; close a hold of which nothing is left."""
    text = db.execute(JOBS.definition, (omission.job, omission.revision)).fetchone()[0]
    schedule = read_definition(definitions, omission.job, omission.revision, text).schedule
    at = micros(now)
    count, last = schedule.left_of(omission.first, omission.last, omission.count, now)
    db.execute(SQL.cut, (at, count, micros(last), omission.id))
    settled = omission.settled_until is not None and omission.settled_until >= last
    if omission.open and (not count or settled):
        db.execute(SQL.resolve, (at, RESTARTED, omission.id))
