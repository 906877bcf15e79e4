"""What is due, and the claim: the one place where a fire becomes a run (C3, C4, C5, C8, C12)."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tenure.domain.errors import InvalidInput
from tenure.domain.event import EventKind
from tenure.domain.job import (
    Job,
    JobState,
    Overlap,
    Runner,
    remedy_for_paused,
    remedy_for_unreadable,
    why_unreadable,
)
from tenure.domain.ownership import Authority
from tenure.domain.planning.plan import Due, Plan
from tenure.domain.request import Request, RequestKind, RequestState
from tenure.domain.run import Cause, Run, RunState
from tenure.store.contract import Claimed, ClaimOutcome
from tenure.store.ids import new_id
from tenure.store.sqlite.connection import (
    Definitions,
    instant,
    instant_or_none,
    micros,
    micros_or_none,
)
from tenure.store.sqlite.jobs import job_of, load_job, read_definition, wake_job
from tenure.store.sqlite.omissions import is_open, open_holds, settle_hold, write_omission
from tenure.store.sqlite.requests import expire_request, load_request, record_reply
from tenure.store.sqlite.runs import cancel, end_retries, load_run, run_of
from tenure.store.sqlite.tables import Statements, TableVerbs, emit

SQL = Statements("claims")

_INSTANT = timedelta(microseconds=1)
UNREADABLE_FOR = timedelta(minutes=1)
"""The delay before the owner looks at a job that cannot be read again."""


def purged_until(db: sqlite3.Connection, job: str, fire: int) -> int | None:
    """The end of the span of deleted runs in which a fire lies, if it does."""
    last: int | None = db.execute(SQL.purged, (job, fire, fire)).fetchone()[0]
    return last


def _claimable(db: sqlite3.Connection, jobs: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """The columns that a claim depends on, by job."""
    # A single statement: each statement lets other threads run in between.
    rows = db.execute(SQL.claimable, (json.dumps(jobs),)).fetchall()
    return {row[0]: row[1:] for row in rows}


def count_active(db: sqlite3.Connection, job: str) -> int:
    return int(db.execute(SQL.count_active, (job,)).fetchone()[0])


@dataclass(frozen=True, slots=True)
class _ClaimTransaction:
    """Claims of one owner, inside one transaction."""

    db: sqlite3.Connection
    definitions: Definitions
    authority: Authority
    authoritative: bool
    now: datetime
    at: int
    """``now`` as a column has it."""

    def insert_run(
        self,
        *,
        job: str,
        name: str,
        revision: int,
        fire: datetime,
        fire_at: int,
        cause: Cause,
        protected: bool,
        request: str | None = None,
    ) -> Run | None:
        """Claim one fire; None if it was claimed before and its row is still there."""
        authority = self.authority
        run = Run(
            id=new_id("r", self.now),
            job=job,
            job_name=name,
            revision=revision,
            fire_time=fire,
            cause=cause,
            state=RunState.CLAIMED,
            term=authority.term,
            process=authority.process,
            holder=authority.process,
            policy_version=authority.policy_version,
            protected=protected,
            attempt=1,
            claimed_at=self.now,
            request=request,
        )
        row = (
            *(run.id, job, name, revision, fire_at, cause.value),
            *(run.term, run.process, run.holder, run.policy_version),
            *(protected, self.at, request),
        )
        return run if self.db.execute(SQL.insert, row).rowcount else None

    def carry_out(self, plan: Plan, row: tuple[Any, ...] | None) -> Claimed:
        """``row`` is the job's, of ``claimable``."""
        db, at = self.db, self.at
        was, fires = micros(plan.was), [micros(fire.at) for fire in plan.claims]
        if (
            row is None
            or row[1:4] != (plan.revision, "active", was)
            or not all(is_open(db, plan.job, hold.omission) for hold in plan.holds)
        ):
            return Claimed(job=plan.job, outcome=ClaimOutcome.CHANGED)
        if plan.claims and row[4] and not self.authoritative:
            emit(
                db,
                EventKind.CLAIM_REFUSED,
                at,
                term=self.authority.term,
                process=self.authority.process,
                job=plan.job,
                why="only an authoritative owner may run it",
            )
            return Claimed(job=plan.job, outcome=ClaimOutcome.PROTECTED)
        runs, from_holds = self._claim_fires(plan, row, fires)
        for hold in plan.holds:
            settle_hold(db, plan.job, hold, from_holds.get(hold.omission, []), at)
        if plan.omissions:
            self._omit(plan, row[0])
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
            wake_job(db, plan.job, at)
        repeated = len(runs) < len(plan.claims)
        outcome = ClaimOutcome.REPEATED if repeated else ClaimOutcome.CLAIMED
        return Claimed(job=plan.job, outcome=outcome, runs=tuple(runs))

    def _claim_fires(
        self, plan: Plan, row: tuple[Any, ...], fires: Sequence[int]
    ) -> tuple[list[Run], dict[int, list[str]]]:
        """The claimed runs, and by held record those that came from it."""
        runs: list[Run] = []
        from_holds: dict[int, list[str]] = {}
        for fire, at in zip(plan.claims, fires, strict=True):
            # Only a fire up to the last purged one can lie in a span.
            if (
                row[5] is not None
                and at <= row[5]
                and purged_until(self.db, plan.job, at) is not None
            ):
                self.db.execute(SQL.account_from, (at, plan.job))
                continue
            run = self.insert_run(
                job=plan.job,
                name=row[0],
                revision=plan.revision,
                fire=fire.at,
                fire_at=at,
                cause=fire.cause,
                protected=bool(row[4]),
            )
            if run is None:
                continue
            runs.append(run)
            if fire.hold is not None:
                from_holds.setdefault(fire.hold, []).append(run.id)
        return runs, from_holds

    def _omit(self, plan: Plan, name: str) -> None:
        text = self.db.execute(SQL.definition, (plan.job, plan.revision)).fetchone()[0]
        schedule = read_definition(self.definitions, plan.job, plan.revision, text).schedule
        for stretch in plan.omissions:
            write_omission(
                self.db,
                plan.job,
                name,
                plan.revision,
                schedule,
                stretch,
                accounted=plan.was,
                at=self.at,
                by=self.authority.process,
                term=self.authority.term,
            )


class Claims(TableVerbs):
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
        with self._db.executing(authority) as (db, _):
            db.execute(SQL.put_off, (micros(now + UNREADABLE_FOR), job.id))
            known = db.execute(SQL.last_warning, (job.id,)).fetchone()
            if known is None or json.loads(known[0]) != facts:
                emit(db, EventKind.WARNING, micros(now), job=job.id, **facts)

    def next_due(self, runners: Collection[Runner] | None = None) -> datetime | None:
        kinds = {kind.value: runners is None or kind in runners for kind in Runner}
        ((at,),) = self._db.fetch(SQL.next_due, kinds)
        return instant_or_none(at)

    def claim(
        self, authority: Authority, plans: Sequence[Plan], now: datetime
    ) -> tuple[Claimed, ...]:
        at = micros(now)
        with self._db.executing(authority) as (db, authoritative):
            rows = _claimable(db, [plan.job for plan in plans])
            claim = _ClaimTransaction(db, self._db.definitions, authority, authoritative, now, at)
            claimed = []
            for plan in plans:
                # Taken out, so that a second plan for the job sees the changes of the first.
                row = rows.pop(plan.job, None) or _claimable(db, [plan.job]).get(plan.job)
                claimed.append(claim.carry_out(plan, row))
            return tuple(claimed)

    def due_retries(self, now: datetime, room: Mapping[Runner, int]) -> tuple[Run, ...]:
        taken: Counter[str] = Counter()
        with self._db.snapshot() as db:
            runs: list[Run] = []
            left = sum(max(limit, 0) for limit in room.values())
            # Rows are read one by one: as many retries may be due as there are jobs.
            for row in db.execute(SQL.due_retries, (micros(now),)):
                if len(runs) >= left:
                    break
                runner = row[-1]
                if taken[runner] < room.get(Runner(runner), 0):
                    taken[runner] += 1
                    runs.append(run_of(row))
            return tuple(runs)

    def claim_retry(self, authority: Authority, run: str, now: datetime) -> Claimed:
        at = micros(now)
        with self._db.executing(authority) as (db, authoritative):
            current = load_run(db, run)
            changed = Claimed(job=current.job, outcome=ClaimOutcome.CHANGED)
            if current.state is not RunState.RETRYING:
                return changed
            state, revision, needs_authority = db.execute(SQL.retry_job, (current.job,)).fetchone()
            why = _why_no_retry(JobState(state), revision, current)
            if why is not None:
                end_retries(db, current, RunState.FAILED, why, at)
                return changed
            if needs_authority and not authoritative:
                return Claimed(job=current.job, outcome=ClaimOutcome.PROTECTED)
            db.execute(SQL.keep_attempt, (run,))
            process = authority.process
            row = (authority.term, process, process, authority.policy_version, at, run)
            db.execute(SQL.claim_retry, row)
            again = load_run(db, run)
            return Claimed(job=current.job, outcome=ClaimOutcome.CLAIMED, runs=(again,))

    def claim_trigger(
        self, authority: Authority, request: str, now: datetime
    ) -> tuple[Request, Run | None]:
        at = micros(now)
        with self._db.executing(authority) as (db, authoritative):
            asked = load_request(db, request)
            if asked.kind not in (RequestKind.TRIGGER, RequestKind.RETRY) or asked.job is None:
                raise InvalidInput(f"a {asked.kind} request triggers nothing", field="request")
            if asked.state is not RequestState.PENDING:
                return asked, None
            if now > asked.deadline:
                return expire_request(db, asked, now), None
            job = load_job(db, self._db.definitions, asked.job)
            may_run = authoritative or not job.definition.needs_authority
            newest = db.execute(SQL.newest_active, (job.id,)).fetchone()
            active = None if newest is None else str(newest[0])
            refusal = _why_refused(job, asked, may_run, active)
            if refusal is not None:
                return record_reply(db, asked, RequestState.REFUSED, authority, now, *refusal), None
            if not may_run or (active and job.definition.overlap is Overlap.QUEUE):
                return asked, None
            fire, fire_at = _free_instant(db, job, now, at)
            claim = _ClaimTransaction(db, self._db.definitions, authority, authoritative, now, at)
            run = claim.insert_run(
                job=job.id,
                name=job.name,
                revision=job.revision,
                fire=fire,
                fire_at=fire_at,
                cause=Cause.REQUEST,
                protected=job.definition.needs_authority,
                request=asked.id,
            )
            assert run is not None
            asked = replace(asked, run=run.id)
            answer = f"claimed as run {run.id}"
            return record_reply(db, asked, RequestState.ACCEPTED, authority, now, answer), run


def _why_no_retry(state: JobState, revision: int, run: Run) -> str | None:
    """Why a run is not retried, though it has retries left."""
    if state not in (JobState.ACTIVE, JobState.DONE):
        return f"not retried: the job is {state}"
    if revision != run.revision:
        return f"not retried: the job is at revision {revision} now"
    return None


def _why_refused(
    job: Job, request: Request, may_run: bool, active: str | None
) -> tuple[str, str] | None:
    """The refusal and its remedy; None if the request may be accepted, now or later."""
    if job.state is JobState.REMOVED:
        return "the job was removed", "add it again"
    if job.state is JobState.PAUSED:
        return "the job is paused", remedy_for_paused(job)
    if job.damage is not None:
        return why_unreadable(job), remedy_for_unreadable(job)
    if job.state is JobState.DORMANT:
        return "the app no longer declares the job", "start the version that declares it"
    if not may_run and not request.queued:
        return (
            "the job is protected, and the owner is not authoritative",
            "start the authoritative process, or ask with --queue to wait for it",
        )
    if active and job.definition.overlap in (Overlap.SKIP, Overlap.CANCEL):
        return f"{job.name} is already running ({active})", "wait for that run, or cancel it"
    return None


def _free_instant(db: sqlite3.Connection, job: Job, now: datetime, at: int) -> tuple[datetime, int]:
    """``now``, or soon after, and as a column has it: nothing claimed, in no span, and no fire of
    the schedule. ``at``: ``now`` as a column has it."""
    fire = now
    while True:
        span_end = purged_until(db, job.id, at)
        if span_end is not None:
            fire = instant(span_end) + _INSTANT
        elif (
            job.definition.schedule.latest(fire - _INSTANT, fire) is not None
            or db.execute(SQL.fire_is_taken, (job.id, at)).fetchone() is not None
        ):
            fire += _INSTANT
        else:
            return fire, at
        at = micros(fire)
