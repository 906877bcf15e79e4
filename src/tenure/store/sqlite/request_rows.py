"""The rows of requests, and the one way to answer them: what the verbs about requests share with
those about ownership."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from tenure.domain.errors import CorruptStore, NotFound
from tenure.domain.event import EventKind
from tenure.domain.ownership import Authority
from tenure.domain.request import (
    HandOverEnd,
    Request,
    Requester,
    RequestKind,
    RequestState,
    check_answer,
)
from tenure.store.codec import instant, instant_or_none, micros, unpack
from tenure.store.sqlite.events import emit
from tenure.store.sqlite.sql import Statements

SQL = Statements("requests")

EXPIRED = "nobody answered before its deadline"
ASK_AGAIN = "ask again; with --queue it waits for 24 hours"


def load_request(db: sqlite3.Connection, request: str) -> Request:
    row = db.execute(SQL.one, (request,)).fetchone()
    if row is None:
        raise NotFound(
            f"there is no request {request!r}", remedy="`tenure requests list` shows them"
        )
    return request_of(row)


def reply(
    db: sqlite3.Connection,
    request: Request,
    state: RequestState,
    authority: Authority | None,
    now: datetime,
    answer: str,
    remedy: str = "",
) -> Request:
    """Record an answer; IllegalTransition for what is answered. ``request.run`` is kept too."""
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


def expire(db: sqlite3.Connection, request: Request, now: datetime) -> Request:
    return reply(db, request, RequestState.EXPIRED, None, now, EXPIRED, ASK_AGAIN)


def accepted_hand_overs(db: sqlite3.Connection) -> list[Request]:
    """Those whose successor has still to take the term. Reads every request: to be asked only
    when a term begins, and while no process owns."""
    return list(readable(db.execute(SQL.accepted_hand_overs).fetchall()))


def end_hand_over(
    db: sqlite3.Connection, request: Request, end: HandOverEnd, now: datetime
) -> Request:
    return reply(db, request, end.state, None, now, end.answer, end.remedy)


def readable(rows: Iterable[tuple[Any, ...]]) -> tuple[Request, ...]:
    """Those of a kind and state that this version knows. One that it cannot read it cannot carry
    out either: its deadline passes."""
    found = []
    for row in rows:
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            found.append(request_of(row))
    return tuple(found)


def _requester(text: str) -> Requester:
    try:
        return unpack(Requester, text)
    except CorruptStore:
        return Requester(pid=0, via="who asked cannot be read")


def request_of(row: tuple[Any, ...]) -> Request:
    return Request(
        id=row[0],
        kind=RequestKind(row[1]),
        key=row[2],
        state=RequestState(row[3]),
        asked_at=instant(row[4]),
        deadline=instant(row[5]),
        requester=_requester(row[6]),
        job=row[7],
        run=row[8],
        to_process=row[9],
        queued=bool(row[10]),
        answered_at=instant_or_none(row[11]),
        term=row[12],
        answer=row[13],
        remedy=row[14],
    )
