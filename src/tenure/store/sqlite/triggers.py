"""Accepting a request to run a job, and claiming its run, in one commit (C7, C8)."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta

from tenure.domain.errors import InvalidInput
from tenure.domain.job import (
    Job,
    JobState,
    Overlap,
    remedy_for_paused,
    remedy_for_unreadable,
    why_unreadable,
)
from tenure.domain.ownership import Authority
from tenure.domain.request import Request, RequestKind, RequestState
from tenure.domain.run import Cause, Run
from tenure.store.codec import instant, micros
from tenure.store.sqlite.claims import count_active, insert_run, purged_until
from tenure.store.sqlite.jobs import load
from tenure.store.sqlite.ownership import fence
from tenure.store.sqlite.part import Part
from tenure.store.sqlite.request_rows import SQL, expire, load_request, reply

_INSTANT = timedelta(microseconds=1)


class Triggers(Part):
    def claim_trigger(
        self, authority: Authority, request: str, now: datetime
    ) -> tuple[Request, Run | None]:
        with self._db.writing() as db:
            authoritative = fence(db, authority)
            found = load_request(db, request)
            if found.kind not in (RequestKind.TRIGGER, RequestKind.RETRY) or found.job is None:
                raise InvalidInput(f"a {found.kind} request triggers nothing", field="request")
            if found.state is not RequestState.PENDING:
                return found, None
            if now > found.deadline:
                return expire(db, found, now), None
            job = load(db, self._db.definitions, found.job)
            may_run = authoritative or not job.definition.needs_authority
            active = count_active(db, job.id) > 0
            refusal = _why_not(job, found, may_run, active)
            if refusal is not None:
                return reply(db, found, RequestState.REFUSED, authority, now, *refusal), None
            if not may_run or (active and job.definition.overlap is Overlap.QUEUE):
                return found, None
            run = insert_run(
                db,
                authority,
                job=job.id,
                name=job.name,
                revision=job.revision,
                fire=_free_instant(db, job, now),
                cause=Cause.REQUEST,
                protected=job.definition.needs_authority,
                now=now,
                request=found.id,
            )
            assert run is not None
            found = replace(found, run=run.id)
            answer = f"claimed as run {run.id}"
            return reply(db, found, RequestState.ACCEPTED, authority, now, answer), run


def _why_not(job: Job, request: Request, may_run: bool, active: bool) -> tuple[str, str] | None:
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
        return "its previous run is still active", "wait for that run, or cancel it"
    return None


def _free_instant(db: sqlite3.Connection, job: Job, now: datetime) -> datetime:
    """``now``, or soon after: nothing claimed, in no span, and no fire of the schedule."""
    at = now
    while True:
        inside = purged_until(db, job.id, micros(at))
        if inside is not None:
            at = instant(inside) + _INSTANT
        elif (
            job.definition.schedule.latest(at - _INSTANT, at) is not None
            or db.execute(SQL.fire_is_taken, (job.id, micros(at))).fetchone() is not None
        ):
            at += _INSTANT
        else:
            return at
