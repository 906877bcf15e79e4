"""Requests: durable asks, answered once (C7)."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tenure.domain.errors import Conflict, InvalidInput
from tenure.domain.event import EventKind
from tenure.domain.job import JobState
from tenure.domain.ownership import Authority, OwnershipState
from tenure.domain.request import (
    HAND_OVER_EXPIRED,
    OWNERS_WORD,
    Request,
    Requester,
    RequestKind,
    RequestState,
    check_answer,
)
from tenure.store.codec import micros, pack
from tenure.store.ids import new_id
from tenure.store.sqlite.events import emit
from tenure.store.sqlite.jobs import find, load_kept
from tenure.store.sqlite.ownership import fence, record_of
from tenure.store.sqlite.part import Part
from tenure.store.sqlite.request_rows import (
    SQL,
    accepted_hand_overs,
    end_hand_over,
    expire,
    load_request,
    readable,
    reply,
    request_of,
)
from tenure.store.sqlite.run_rows import load_run


class Requests(Part):
    def create_request(
        self,
        *,
        kind: RequestKind,
        key: str,
        requester: Requester,
        now: datetime,
        deadline: timedelta,
        job: str | None = None,
        run: str | None = None,
        to_process: str | None = None,
        queued: bool = False,
    ) -> Request:
        with self._db.writing() as db:
            job = self._asked_job(db, kind, job, run)
            row = db.execute(SQL.by_key, (key,)).fetchone()
            if row is not None:
                return _same_ask(request_of(row), kind, job, run, to_process)
            request = Request(
                id=new_id("q", now),
                kind=kind,
                key=key,
                state=RequestState.PENDING,
                asked_at=now,
                deadline=now + deadline,
                requester=requester,
                job=job,
                run=run,
                to_process=to_process,
                queued=queued,
            )
            at, until, who = micros(now), micros(request.deadline), pack(requester)
            values = (request.id, kind.value, key, at, until, who, job, run, to_process, queued)
            db.execute(SQL.add, values)
            facts: dict[str, Any] = {
                "request": request.id,
                "kind": kind.value,
                "by": requester.describe(),
            }
            emit(db, EventKind.REQUESTED, at, job=job, run=run, **facts)
            return request

    def _asked_job(
        self, db: sqlite3.Connection, kind: RequestKind, job: str | None, run: str | None
    ) -> str | None:
        """The id of the job that a request is about, None for a hand-over."""
        if kind is RequestKind.HAND_OVER:
            return None
        if kind is RequestKind.TRIGGER:
            if job is None:
                raise InvalidInput("a trigger names a job", field="job")
            found = find(db, self._db.definitions, job)
            if found.state is JobState.REMOVED:
                load_kept(db, self._db.definitions, found.id)
            return found.id
        if run is None:
            raise InvalidInput(f"a {kind} request names a run", field="run")
        return load_run(db, run).job

    def resolve_request(
        self,
        request: str,
        state: RequestState,
        *,
        authority: Authority | None,
        now: datetime,
        answer: str,
        remedy: str = "",
        run: str | None = None,
    ) -> Request:
        if authority is None and state in OWNERS_WORD:
            raise InvalidInput(f"only the owner may answer {state}", field="authority")
        with self._db.writing() as db:
            if authority is not None:
                fence(db, authority)
            found = load_request(db, request)
            check_answer(found.kind, found.state, state)
            takes = found.state is RequestState.PENDING and state in OWNERS_WORD
            if takes and now > found.deadline:
                return expire(db, found, now)
            found = replace(found, run=run or found.run)
            return reply(db, found, state, authority, now, answer, remedy)

    def request(self, request: str) -> Request:
        with self._db.reading() as db:
            return load_request(db, request)

    def requests(
        self,
        *,
        states: frozenset[RequestState] | None = None,
        limit: int = 100,
        before: str | None = None,
        newest_first: bool = False,
    ) -> tuple[Request, ...]:
        values: list[Any] = sorted(s.value for s in states or ())
        where = "1" if states is None else f"state IN ({', '.join('?' * len(values))})"
        oldest_first = states == frozenset({RequestState.PENDING}) and not newest_first
        # One statement is a snapshot by itself.
        with self._db.reading() if before is None else self._db.snapshot() as db:
            if before is not None:
                load_request(db, before)
                where += f" AND {SQL.before}"
                values.append(before)
            order = "seq" if oldest_first else "seq DESC"
            query = f"{SQL.list} WHERE {where} ORDER BY {order} LIMIT ?"
            rows = db.execute(query, (*values, limit)).fetchall()
        return readable(rows)

    def expire_requests(self, now: datetime) -> int:
        with self._db.reading() as db:  # Asked often, and nearly always for nothing.
            if db.execute(SQL.past, (micros(now),)).fetchone() is None and not _late(db, now):
                return 0
        with self._db.writing() as db:
            past = readable(db.execute(SQL.past, (micros(now),)).fetchall())
            for request in past:
                expire(db, request, now)
            late = _late(db, now)
            for request in late:
                end_hand_over(db, request, HAND_OVER_EXPIRED, now)
            return len(past) + len(late)

    def observe_requester(self, request: str, requester: Requester) -> None:
        with self._db.writing() as db:
            load_request(db, request)
            db.execute(SQL.observe, (pack(requester), request))


def _late(db: sqlite3.Connection, now: datetime) -> list[Request]:
    """Accepted hand-overs past their deadline. A take ends them all, so that an owner has none."""
    if record_of(db).hold is OwnershipState.HELD:
        return []
    return [request for request in accepted_hand_overs(db) if now > request.deadline]


def _same_ask(
    known: Request, kind: RequestKind, job: str | None, run: str | None, to_process: str | None
) -> Request:
    """The request that a key made before; Conflict if the key was for something else."""
    # An accepted one names the run it became instead of the one it asked about.
    same_run = known.run == run or known.state is not RequestState.PENDING
    same = (known.kind, known.job, known.to_process) == (kind, job, to_process)
    if not same or not same_run:
        raise Conflict(f"the key {known.key!r} was used to ask something else", field="key")
    return known
