"""After the clock was set back: planning starts again from now, and nothing repeats (C5, C13)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from datetime import datetime, timedelta

from tenure.domain.event import EventKind
from tenure.domain.job import Job
from tenure.domain.omission import Omission
from tenure.domain.ownership import Authority
from tenure.store.codec import micros, micros_or_none
from tenure.store.sqlite.definitions import DefinitionCache
from tenure.store.sqlite.edits import reschedule
from tenure.store.sqlite.events import emit
from tenure.store.sqlite.fence import fence
from tenure.store.sqlite.jobs import SQL as JOBS
from tenure.store.sqlite.jobs import job_of
from tenure.store.sqlite.omissions import omission_of, wake_held
from tenure.store.sqlite.sql import Statements, TableVerbs

SQL = Statements("restart")

RESTARTED = "planning restarted: the clock was set back"
LONGEST_BACKOFF = timedelta(hours=1)


class PlanningRestart(TableVerbs):
    def restart_planning(self, authority: Authority, now: datetime) -> int:
        at = micros(now)
        with self._db.writing() as db:
            fence(db, authority)
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
        with self._db.writing() as db:
            fence(db, authority)
            return wake_held(db, micros(now))

    def replan(self, authority: Authority, jobs: Collection[str], now: datetime) -> int:
        at = micros(now)
        with self._db.writing() as db:
            fence(db, authority)
            return db.execute(SQL.replan, (at, json.dumps(sorted(jobs)), at)).rowcount


def _restart(db: sqlite3.Connection, definitions: DefinitionCache, job: Job, now: datetime) -> None:
    at = micros(now)
    for row in db.execute(SQL.reaching, (job.id, at)).fetchall():
        _cut(db, definitions, omission_of(row), now)
    db.execute(SQL.valid_from_now, (at, job.id, at))
    state, due = reschedule(db, job.id, job.definition, job.state, now, now)
    db.execute(SQL.restart, (at, at, state.value, micros_or_none(due), job.id))


def _cut(
    db: sqlite3.Connection, definitions: DefinitionCache, omission: Omission, now: datetime
) -> None:
    """Leave of a record what lies up to ``now``; close a hold of which nothing is left."""
    text = db.execute(JOBS.definition, (omission.job, omission.revision)).fetchone()[0]
    schedule = definitions.get(omission.job, omission.revision, text).schedule
    at = micros(now)
    count, last = schedule.left_of(omission.first, omission.last, omission.count, now)
    db.execute(SQL.cut, (at, count, micros(last), omission.id))
    settled = omission.settled_until is not None and omission.settled_until >= last
    if omission.open and (not count or settled):
        db.execute(SQL.resolve, (at, RESTARTED, omission.id))
