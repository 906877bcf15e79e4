"""What is due, and the claim: the one place where a fire becomes a run (C3, C4, C5, C8, C12)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tenure.domain.event import EventKind
from tenure.domain.job import Job, JobState, Runner
from tenure.domain.ownership import Authority
from tenure.domain.planning.plan import Due, Plan
from tenure.domain.run import Cause, Run, RunState
from tenure.store.codec import instant_or_none, micros, micros_or_none
from tenure.store.contract import Claimed, ClaimOutcome
from tenure.store.ids import new_id
from tenure.store.sqlite.definitions import Definitions
from tenure.store.sqlite.events import emit
from tenure.store.sqlite.jobs import job_of, wake_one
from tenure.store.sqlite.omissions import is_open, omit, open_holds, settle
from tenure.store.sqlite.ownership import fence
from tenure.store.sqlite.part import Part
from tenure.store.sqlite.runs import cancel
from tenure.store.sqlite.sql import Statements

SQL = Statements("claims")

UNREADABLE_FOR = timedelta(minutes=1)
"""How long a job that cannot be read is put off before it is looked at again."""


def insert_run(
    db: sqlite3.Connection,
    authority: Authority,
    *,
    job: str,
    name: str,
    revision: int,
    fire: datetime,
    cause: Cause,
    protected: bool,
    now: datetime,
    request: str | None = None,
) -> Run | None:
    """Claim one fire; None if it was claimed before and its row is still there."""
    run, process = new_id("r", now), authority.process
    row = (
        run,
        job,
        name,
        revision,
        micros(fire),
        cause.value,
        authority.term,
        process,
        process,
        authority.policy_version,
        protected,
        micros(now),
        request,
    )
    if not db.execute(SQL.insert, row).rowcount:
        return None
    return Run(
        id=run,
        job=job,
        job_name=name,
        revision=revision,
        fire_time=fire,
        cause=cause,
        state=RunState.CLAIMED,
        term=authority.term,
        process=process,
        holder=process,
        policy_version=authority.policy_version,
        protected=protected,
        attempt=1,
        claimed_at=now,
        request=request,
    )


def purged_until(db: sqlite3.Connection, job: str, fire: int) -> int | None:
    """The end of the span of deleted runs in which a fire lies, if it does."""
    found: int | None = db.execute(SQL.purged, (job, fire, fire)).fetchone()[0]
    return found


def _claimable(db: sqlite3.Connection, jobs: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """What a claim depends on, by job; one statement, for each lets other threads in between."""
    rows = db.execute(SQL.claimable, (json.dumps(jobs),)).fetchall()
    return {row[0]: row[1:] for row in rows}


def _carry_out(
    db: sqlite3.Connection,
    definitions: Definitions,
    authority: Authority,
    authoritative: bool,
    plan: Plan,
    row: tuple[Any, ...] | None,
    now: datetime,
) -> Claimed:
    """``row`` is the job's, of ``claimable``."""
    if (
        row is None
        or row[1:4] != (plan.revision, "active", micros(plan.was))
        or not all(is_open(db, plan.job, hold.omission) for hold in plan.holds)
    ):
        return Claimed(job=plan.job, outcome=ClaimOutcome.CHANGED)
    if plan.claims and row[4] and not authoritative:
        emit(
            db,
            EventKind.CLAIM_REFUSED,
            micros(now),
            term=authority.term,
            process=authority.process,
            job=plan.job,
            why="only an authoritative owner may run it",
        )
        return Claimed(job=plan.job, outcome=ClaimOutcome.PROTECTED)
    runs, from_holds = _claim_fires(db, authority, plan, row, now)
    at = micros(now)
    for hold in plan.holds:
        settle(db, plan.job, hold, from_holds.get(hold.omission, []), at)
    if plan.omissions:
        _omit(db, definitions, authority, plan, row[0], at)
    db.execute(
        SQL.advance,
        (
            micros(plan.watermark),
            None if plan.done else micros_or_none(plan.due_at),
            plan.waiting,
            plan.deferred,
            (JobState.DONE if plan.done else JobState.ACTIVE).value,
            plan.job,
        ),
    )
    if plan.cancel_previous:
        for (run,) in db.execute(SQL.active_runs, (plan.job,)).fetchall():
            cancel(db, run, at)
    if plan.waiting and not count_active(db, plan.job):
        wake_one(db, plan.job, at)
    repeated = len(runs) < len(plan.claims)
    outcome = ClaimOutcome.REPEATED if repeated else ClaimOutcome.CLAIMED
    return Claimed(job=plan.job, outcome=outcome, runs=tuple(runs))


def _omit(
    db: sqlite3.Connection,
    definitions: Definitions,
    authority: Authority,
    plan: Plan,
    name: str,
    at: int,
) -> None:
    text = db.execute(SQL.definition, (plan.job, plan.revision)).fetchone()[0]
    schedule = definitions.get(plan.job, plan.revision, text).schedule
    by, term = authority.process, authority.term
    for stretch in plan.omissions:
        omit(
            db,
            plan.job,
            name,
            plan.revision,
            schedule,
            stretch,
            accounted=plan.was,
            at=at,
            by=by,
            term=term,
        )


def count_active(db: sqlite3.Connection, job: str) -> int:
    return int(db.execute(SQL.count_active, (job,)).fetchone()[0])


def _claim_fires(
    db: sqlite3.Connection, authority: Authority, plan: Plan, row: tuple[Any, ...], now: datetime
) -> tuple[list[Run], dict[int, list[str]]]:
    """The runs that were claimed, and which of them came from which hold."""
    runs: list[Run] = []
    from_holds: dict[int, list[str]] = {}
    for fire in plan.claims:
        at = micros(fire.at)
        if row[5] is not None and at <= row[5] and purged_until(db, plan.job, at) is not None:
            db.execute(SQL.account_from, (at, plan.job))
            continue
        run = insert_run(
            db,
            authority,
            job=plan.job,
            name=row[0],
            revision=plan.revision,
            fire=fire.at,
            cause=fire.cause,
            protected=bool(row[4]),
            now=now,
        )
        if run is None:
            continue
        runs.append(run)
        if fire.hold is not None:
            from_holds.setdefault(fire.hold, []).append(run.id)
    return runs, from_holds


class Claiming(Part):
    def due(self, now: datetime, room: Mapping[Runner, int]) -> tuple[Due, ...]:
        at = micros(now)
        with self._db.snapshot() as db:
            rows: list[tuple[Any, ...]] = []
            for runner, limit in room.items():
                if limit > 0:
                    rows += db.execute(SQL.due, (runner.value, at, limit)).fetchall()
            rows.sort(key=lambda row: row[7])
            return tuple(
                Due(
                    job=job_of(row, self._db.definitions),
                    active=row[16],
                    holds=open_holds(db, row[0]) if row[17] else (),
                )
                for row in rows
            )

    def defer_unreadable_job(self, authority: Authority, job: Job, now: datetime) -> None:
        assert job.damage is not None
        facts: dict[str, Any] = {
            "code": "unreadable_job",
            "text": job.damage.reason,
            "revision": job.revision,
        }
        with self._db.writing() as db:
            fence(db, authority)
            db.execute(SQL.put_off, (micros(now + UNREADABLE_FOR), job.id))
            known = db.execute(SQL.last_warning, (job.id,)).fetchone()
            if known is None or json.loads(known[0]) != facts:
                emit(db, EventKind.WARNING, micros(now), job=job.id, **facts)

    def next_due(self, runners: Collection[Runner] | None = None) -> datetime | None:
        kinds = {kind.value: runners is None or kind in runners for kind in Runner}
        with self._db.reading() as db:
            return instant_or_none(db.execute(SQL.next_due, kinds).fetchone()[0])

    def claim(
        self, authority: Authority, plans: Sequence[Plan], now: datetime
    ) -> tuple[Claimed, ...]:
        with self._db.writing() as db:
            authoritative = fence(db, authority)
            rows = _claimable(db, [plan.job for plan in plans])
            claimed = []
            for plan in plans:
                # Taken out: a second plan for the job is to see what the first one made of it.
                row = rows.pop(plan.job, None) or _claimable(db, [plan.job]).get(plan.job)
                made = _carry_out(
                    db, self._db.definitions, authority, authoritative, plan, row, now
                )
                claimed.append(made)
            return tuple(claimed)
