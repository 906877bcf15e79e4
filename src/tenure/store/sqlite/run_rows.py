"""A run's row as the domain's :class:`~tenure.domain.run.Run`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from tenure.domain.errors import CorruptStore, NotFound
from tenure.domain.policy.evidence import Identity
from tenure.domain.run import Attempt, Cause, Late, Run, RunState
from tenure.store.codec import instant, instant_or_none, unpack
from tenure.store.sqlite.sql import Statements

SQL = Statements("runs")
T = TypeVar("T")
_NEVER = instant(0)


class Reading(Protocol):
    """How a value is read; ``other`` is for one that cannot be, where that is allowed."""

    def __call__(self, read: Callable[[Any], T], value: Any, other: T, /) -> T: ...


def unknown_run(run: str) -> NotFound:
    return NotFound(f"there is no run {run!r}", remedy="`tenure runs` lists them")


def load_run(db: sqlite3.Connection, run: str) -> Run:
    row = db.execute(SQL.one, (run,)).fetchone()
    if row is None:
        raise unknown_run(run)
    return run_of(db, row)


def run_of(db: sqlite3.Connection, row: tuple[Any, ...]) -> Run:
    """A row of ``{run_row}``; reads earlier attempts where there are any. One that cannot be read
    whole comes with its damage, and hides no other."""
    try:
        return _run_of(db, row, _exactly)
    except (CorruptStore, TypeError, ValueError, OverflowError) as error:
        found = _run_of(db, row, _or_nothing)
        text = (
            f"its record cannot be read: {error.text if isinstance(error, CorruptStore) else error}"
        )
        return replace(found, damage=text, reason=found.reason or text)


def _exactly(read: Callable[[Any], T], value: Any, other: T, /) -> T:
    return read(value)


def _or_nothing(read: Callable[[Any], T], value: Any, other: T, /) -> T:
    try:
        return read(value)
    except (CorruptStore, TypeError, ValueError, OverflowError):
        return other


def _run_of(db: sqlite3.Connection, row: tuple[Any, ...], read: Reading) -> Run:
    return Run(
        id=row[1],
        job=row[2],
        job_name=row[3],
        revision=row[4],
        fire_time=read(instant, row[5], _NEVER),
        cause=read(Cause, row[6], Cause.SCHEDULE),
        state=read(RunState, row[7], RunState.LOST),
        term=row[8],
        process=row[9],
        holder=row[10],
        policy_version=row[11],
        protected=bool(row[12]),
        attempt=read(int, row[13], 1),
        claimed_at=read(instant, row[14], _NEVER),
        retry_at=read(instant_or_none, row[15], None),
        started_at=read(instant_or_none, row[16], None),
        finished_at=read(instant_or_none, row[17], None),
        reason=row[18],
        exit_code=row[19],
        signal=row[20],
        identity=read(_identity, row[21], None),
        log=row[22],
        request=row[23],
        cancel_requested_at=read(instant_or_none, row[24], None),
        late=read(_late, row[25], None),
        earlier=read(lambda run: _earlier(db, run), row[1], ()) if row[13] != 1 else (),
    )


def _identity(text: str | None) -> Identity | None:
    return None if text is None else unpack(Identity, text)


def _late(text: str | None) -> Late | None:
    return None if text is None else unpack(Late, text)


def _earlier(db: sqlite3.Connection, run: str) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(
            number=row[0],
            claimed_at=instant(row[1]),
            term=row[2],
            process=row[3],
            started_at=instant_or_none(row[4]),
            finished_at=instant_or_none(row[5]),
            state=RunState(row[6]),
            reason=row[7],
            exit_code=row[8],
            signal=row[9],
        )
        for row in db.execute(SQL.attempts, (run,)).fetchall()
    )
