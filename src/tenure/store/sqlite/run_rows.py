"""A run's row as the domain's :class:`~tenure.domain.run.Run`."""

from __future__ import annotations

import sqlite3
from typing import Any

from tenure.domain.errors import NotFound
from tenure.domain.evidence import Identity
from tenure.domain.run import Attempt, Cause, Late, Run, RunState
from tenure.store.codec import instant, instant_or_none, unpack
from tenure.store.sqlite.sql import Statements

SQL = Statements("runs")


def unknown_run(run: str) -> NotFound:
    return NotFound(f"there is no run {run!r}", remedy="`tenure runs` lists them")


def load_run(db: sqlite3.Connection, run: str) -> Run:
    row = db.execute(SQL.one, (run,)).fetchone()
    if row is None:
        raise unknown_run(run)
    return run_of(db, row)


def run_of(db: sqlite3.Connection, row: tuple[Any, ...]) -> Run:
    """A row of ``{run_row}``; reads earlier attempts where there are any."""
    return Run(
        id=row[1],
        job=row[2],
        job_name=row[3],
        revision=row[4],
        fire_time=instant(row[5]),
        cause=Cause(row[6]),
        state=RunState(row[7]),
        term=row[8],
        process=row[9],
        holder=row[10],
        policy_version=row[11],
        protected=bool(row[12]),
        attempt=row[13],
        claimed_at=instant(row[14]),
        retry_at=instant_or_none(row[15]),
        started_at=instant_or_none(row[16]),
        finished_at=instant_or_none(row[17]),
        reason=row[18],
        exit_code=row[19],
        signal=row[20],
        identity=None if row[21] is None else unpack(Identity, row[21]),
        log=row[22],
        request=row[23],
        cancel_requested_at=instant_or_none(row[24]),
        late=None if row[25] is None else unpack(Late, row[25]),
        earlier=_earlier(db, row[1]) if row[13] > 1 else (),
    )


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
