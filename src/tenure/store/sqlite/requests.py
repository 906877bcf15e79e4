"""Requests: durable, resolved once (C7)."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tenure.domain.errors import Conflict, InvalidInput, NotFound
from tenure.domain.event import EventKind
from tenure.domain.job import JobState
from tenure.domain.ownership import Authority
from tenure.domain.request import (
    HAND_OVER_EXPIRED,
    OWNERS_WORD,
    HandOverEnd,
    Request,
    Requester,
    RequestKind,
    RequestState,
    check_answer,
)
from tenure.store.ids import new_id
from tenure.store.sqlite.codec import pack, unpack
from tenure.store.sqlite.connection import fence, instant, instant_or_none, micros
from tenure.store.sqlite.jobs import find_job_row, removed_job
from tenure.store.sqlite.runs import load_run
from tenure.store.sqlite.tables import Statements, TableVerbs, emit

SQL = Statements("requests")

EXPIRED = "no owner answered before the deadline"
_UNREADABLE_REQUESTER = Requester(pid=0, via="who asked cannot be read")
ASK_AGAIN = "ask again; with --queue it waits for 24 hours"


def unknown_request(request: str) -> NotFound:
    return NotFound(f"unknown request {request!r}", remedy="`tenure requests list` shows them")


def load_request(db: sqlite3.Connection, request: str) -> Request:
    return request_of(db.execute(SQL.one, (request,)).fetchone(), request)


def record_reply(
    db: sqlite3.Connection,
    request: Request,
    state: RequestState,
    authority: Authority | None,
    now: datetime,
    answer: str,
    remedy: str = "",
) -> Request:
    """Record an answer, and ``request.run``. IllegalTransition if it is already answered."""
    check_answer(request.kind, request.state, state)
    replied = replace(
        request,
        state=state,
        answered_at=now,
        term=authority.term if authority is not None else request.term,
        answer=answer,
        remedy=remedy,
    )
    at = micros(now)
    row = (state.value, at, replied.term, answer, remedy, replied.run, request.id)
    db.execute(SQL.reply, row)
    emit(
        db,
        EventKind.ANSWERED,
        at,
        term=replied.term,
        process=authority.process if authority is not None else None,
        job=request.job,
        run=replied.run,
        request=request.id,
        state=state.value,
        answer=answer,
    )
    return replied


def expire_request(db: sqlite3.Connection, request: Request, now: datetime) -> Request:
    return record_reply(db, request, RequestState.EXPIRED, None, now, EXPIRED, ASK_AGAIN)


def accepted_hand_overs(db: sqlite3.Connection) -> list[Request]:
    """Hand-overs whose successor has not taken the term yet. Reads every request: call it only
    when a term begins."""
    return _readable(db.execute(SQL.accepted_hand_overs).fetchall())


def end_hand_over(
    db: sqlite3.Connection, request: Request, end: HandOverEnd, now: datetime
) -> Request:
    return record_reply(db, request, end.state, None, now, end.answer, end.remedy)


def _readable(rows: Iterable[tuple[Any, ...]]) -> list[Request]:
    """The requests of a kind and state that this version knows. It cannot carry out the others;
    their deadline passes."""
    requests = []
    for row in rows:
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            requests.append(request_of(row))
    return requests


def request_of(row: tuple[Any, ...] | None, request: str = "") -> Request:
    """NotFound, for ``request``, without a row."""
    if row is None:
        raise unknown_request(request)
    return Request(
        id=row[0],
        kind=RequestKind(row[1]),
        key=row[2],
        state=RequestState(row[3]),
        asked_at=instant(row[4]),
        deadline=instant(row[5]),
        job=row[7],
        run=row[8],
        to_process=row[9],
        queued=bool(row[10]),
        answered_at=instant_or_none(row[11]),
        term=row[12],
        answer=row[13],
        remedy=row[14],
        requester=unpack(Requester, row[6], other=_UNREADABLE_REQUESTER),
    )


class RequestTable(TableVerbs):
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
            row = find_job_row(db, job)
            if row[2] == JobState.REMOVED:
                raise removed_job(row[14])
            return str(row[0])
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
            current = load_request(db, request)
            check_answer(current.kind, current.state, state)
            takes = current.state is RequestState.PENDING and state in OWNERS_WORD
            if takes and now > current.deadline:
                return expire_request(db, current, now)
            current = replace(current, run=run or current.run)
            return record_reply(db, current, state, authority, now, answer, remedy)

    def request(self, request: str) -> Request:
        return request_of(self._db.fetch_one(SQL.one, (request,)), request)

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
        return tuple(_readable(rows)) if rows else ()

    def expire_requests(self, now: datetime) -> int:
        at = (micros(now),)
        with self._db.reading() as db:
            # Called often, nearly always with nothing to expire: no write transaction for that.
            if not any(
                db.execute(query, at).fetchone() for query in (SQL.past, SQL.late_hand_overs)
            ):
                return 0
        with self._db.writing() as db:
            past = _readable(db.execute(SQL.past, at).fetchall())
            for request in past:
                expire_request(db, request, now)
            late = _readable(db.execute(SQL.late_hand_overs, at).fetchall())
            for request in late:
                end_hand_over(db, request, HAND_OVER_EXPIRED, now)
            return len(past) + len(late)

    def observe_requester(self, request: str, requester: Requester) -> None:
        with self._db.writing() as db:
            via = load_request(db, request).requester.via
            db.execute(SQL.observe, (pack(replace(requester, via=via)), request))


def _same_ask(
    known: Request, kind: RequestKind, job: str | None, run: str | None, to_process: str | None
) -> Request:
    """The request that a key made before; Conflict if the key was for something else."""
    # An accepted one names the run it became instead of the one it asked about.
    same_run = known.run == run or known.state is not RequestState.PENDING
    same = (known.kind, known.job, known.to_process) == (kind, job, to_process)
    if not same or not same_run:
        raise Conflict(f"key {known.key!r} was already used for a different request", field="key")
    return known
