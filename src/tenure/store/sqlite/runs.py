"""Runs after their claim: started, finished, adopted, cancelled, read (C6)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from tenure.domain.errors import CorruptStore, IllegalTransition, InvalidInput, NotFound
from tenure.domain.event import EventKind
from tenure.domain.ownership import Authority
from tenure.domain.policy.evidence import Evidence, Identity
from tenure.domain.request import RequestState
from tenure.domain.run import (
    ACTIVE,
    FINAL,
    Attempt,
    Cause,
    FinishOutcome,
    Late,
    Result,
    Run,
    RunState,
    Start,
    check_transition,
)
from tenure.store.contract import Mark, Page, RunFilter
from tenure.store.sqlite.codec import pack, unpack
from tenure.store.sqlite.connection import instant, instant_or_none, micros, micros_or_none
from tenure.store.sqlite.processes import evidence_of
from tenure.store.sqlite.tables import Statements, TableVerbs, cursor, cursor_of, emit, limit_of

SQL = Statements("runs")
_UNREADABLE = (CorruptStore, TypeError, ValueError, OverflowError)
_NEVER = instant(0)


def _attempts(text: str) -> tuple[Attempt, ...]:
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
        for row in json.loads(text)
    )


# The columns of ``{run_row}`` after its number.
_COLUMNS = (
    *("id", "job", "job_name", "revision", "fire_time", "cause", "state", "term", "process"),
    *("holder", "policy_version", "protected", "attempt", "claimed_at", "retry_at", "started_at"),
    *("finished_at", "reason", "exit_code", "signal", "identity", "log", "request"),
    *("cancel_requested_at", "late", "earlier"),
)
_READERS: tuple[tuple[str, Callable[[Any], Any], Any], ...] = (
    ("fire_time", instant, _NEVER),
    ("cause", Cause, Cause.SCHEDULE),
    ("state", RunState, RunState.LOST),
    ("protected", bool, False),
    ("attempt", int, 1),
    ("claimed_at", instant, _NEVER),
    ("retry_at", instant, None),
    ("started_at", instant, None),
    ("finished_at", instant, None),
    ("identity", partial(unpack, Identity), None),
    ("cancel_requested_at", instant, None),
    ("late", partial(unpack, Late), None),
    ("earlier", _attempts, ()),
)
"""How a column is read, and its value where it cannot be."""


def unknown_run(run: str) -> NotFound:
    return NotFound(f"unknown run {run!r}", remedy="`tenure runs` lists them")


def load_run(db: sqlite3.Connection, run: str) -> Run:
    return _known(db.execute(SQL.one, (run,)).fetchone(), run)


def _known(row: tuple[Any, ...] | None, run: str) -> Run:
    """NotFound, for ``run``, without a row."""
    if row is None:
        raise unknown_run(run)
    return run_of(row)


def run_of(row: tuple[Any, ...]) -> Run:
    """A row of ``{run_row}``. A damaged run is returned with its damage and hides no other."""
    values: dict[str, Any] = dict(zip(_COLUMNS, row[1:], strict=False))
    damage = ""
    for name, read, other in _READERS:
        value = values[name]
        if value is None:
            continue
        try:
            values[name] = read(value)
        except _UNREADABLE as error:
            damage = damage or _damage_of(error)
            values[name] = other
    values["earlier"] = values["earlier"] or ()
    if damage:
        values |= {"damage": damage, "reason": values["reason"] or damage}
    return Run(**values)


def _damage_of(error: Exception) -> str:
    return f"its record cannot be read: {error.text if isinstance(error, CorruptStore) else error}"


_DECLARED = frozenset({RunState.LOST, RunState.NEVER_RAN, RunState.RETRYING})
"""States that a successor declares; none of them is a late result."""


def close_run(
    db: sqlite3.Connection, run: str, state: RunState, job: str, request: str | None, at: int
) -> None:
    """A run of ``job`` reached a final state: wake a fire that waits, close its request."""
    db.execute(SQL.wake, (at, job, at))
    answer = f"run {run} {state}"
    if request is not None and db.execute(SQL.request_done, (answer, request)).rowcount:
        facts: dict[str, Any] = {
            "request": request,
            "state": RequestState.DONE.value,
            "answer": answer,
        }
        emit(db, EventKind.ANSWERED, at, job=job, run=run, **facts)


def end_retries(db: sqlite3.Connection, run: Run, state: RunState, reason: str, at: int) -> None:
    """No further attempt. The last one's exit code stays."""
    check_transition(run.state, state)
    db.execute(SQL.end_retries, (state.value, reason, at, run.id))
    close_run(db, run.id, state, run.job, run.request, at)


def cancel(db: sqlite3.Connection, run_id: str, at: int) -> None:
    """Mark an active run for its holder; one that only waits for its next attempt ends here."""
    run = load_run(db, run_id)
    if run.state in FINAL:
        return
    db.execute(SQL.request_cancel, (at, run_id))
    if run.state is RunState.RETRYING:
        end_retries(db, run, RunState.CANCELLED, "cancelled before its next attempt", at)


def _standing(db: sqlite3.Connection, runs: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """The columns that an end depends on, by run. A single statement: each statement lets other
    threads run in between."""
    rows = db.execute(SQL.standing, (json.dumps(runs),)).fetchall()
    return {row[0]: row[1:] for row in rows}


def _finish(
    db: sqlite3.Connection, result: Result, row: tuple[Any, ...] | None, at: int
) -> FinishOutcome:
    """``row`` is the run's, of ``standing``."""
    if row is None:
        return FinishOutcome.ALREADY
    if row[1] != result.attempt:
        return FinishOutcome.NOT_HELD
    if row[0] == RunState.LOST and row[5] is None and result.state not in _DECLARED:
        _keep_late(db, result, row[3], at)
        return FinishOutcome.LATE
    if row[0] not in (RunState.CLAIMED, RunState.RUNNING):
        return FinishOutcome.ALREADY
    if row[2] != result.process:
        return FinishOutcome.NOT_HELD
    state = result.state
    if state is RunState.RETRYING and row[6] is not None:
        state = RunState.CANCELLED
    check_transition(RunState(row[0]), state)
    retry_at = result.retry_at if state is RunState.RETRYING else None
    db.execute(
        SQL.finish,
        (
            state.value,
            micros(result.at),
            micros_or_none(result.started_at),
            result.reason,
            result.exit_code,
            result.signal,
            micros_or_none(retry_at),
            result.run,
        ),
    )
    if state is not RunState.RETRYING and (row[7] or row[4] is not None):
        close_run(db, result.run, state, row[3], row[4], at)
    if state is RunState.LOST:
        emit(
            db,
            EventKind.RUN_LOST,
            at,
            process=result.process,
            job=row[3],
            run=result.run,
            reason=result.reason,
        )
    return FinishOutcome.TAKEN


def _keep_late(db: sqlite3.Connection, result: Result, job: str, at: int) -> None:
    late = Late(
        at=result.at,
        state=result.state,
        reason=result.reason,
        exit_code=result.exit_code,
        signal=result.signal,
    )
    db.execute(SQL.keep_late, (pack(late), result.run))
    emit(
        db,
        EventKind.LATE_RESULT,
        at,
        process=result.process,
        job=job,
        run=result.run,
        state=result.state.value,
        exit_code=result.exit_code,
    )


def _check_result(result: Result) -> None:
    if result.state in (RunState.CLAIMED, RunState.RUNNING):
        raise IllegalTransition(f"{result.state} does not end a run")
    if result.state is RunState.RETRYING and result.retry_at is None:
        raise InvalidInput("a retry needs its instant", field="retry_at")


class RunTable(TableVerbs):
    def start(self, authority: Authority, starts: Sequence[Start]) -> tuple[bool, ...]:
        rows = [
            (
                None if start.identity is None else pack(start.identity),
                micros(start.at),
                start.log,
                start.run,
                start.attempt,
                authority.term,
            )
            for start in starts
        ]
        with self._db.executing(authority) as (db, _):
            return tuple(db.execute(SQL.start, row).rowcount > 0 for row in rows)

    def finish(self, results: Sequence[Result], now: datetime) -> tuple[FinishOutcome, ...]:
        for result in results:
            _check_result(result)
        at = micros(now)
        with self._db.writing() as db:
            rows = _standing(db, [result.run for result in results])
            took = []
            for result in results:
                # Taken out, so that a second result of the run sees the changes of the first.
                row = rows.pop(result.run, None) or _standing(db, [result.run]).get(result.run)
                took.append(_finish(db, result, row, at))
            return tuple(took)

    def note_started(self, runs: Sequence[tuple[str, int, datetime]]) -> None:
        with self._db.writing() as db:
            db.executemany(SQL.entered, [(micros(at), run, attempt) for run, attempt, at in runs])

    def note_reasons(self, process: str, notes: Sequence[tuple[str, int, str]]) -> None:
        with self._db.writing() as db:
            db.executemany(
                SQL.note_reason, [(why, run, attempt, process) for run, attempt, why in notes]
            )

    def orphans(self, process: str) -> tuple[Run, ...]:
        return tuple(run_of(row) for row in self._db.fetch(SQL.orphans, (process,)))

    def runs_held_by(self, process: str) -> tuple[Run, ...]:
        return tuple(run_of(row) for row in self._db.fetch(SQL.held_by, (process,)))

    def adopt_run(self, authority: Authority, run: str, attempt: int, now: datetime) -> bool:
        with self._db.executing(authority) as (db, _):
            row = _standing(db, [run]).get(run)
            if row is None:
                raise unknown_run(run)
            if row[0] not in (RunState.CLAIMED, RunState.RUNNING) or row[1] != attempt:
                return False
            if row[2] != authority.process:
                db.execute(SQL.adopt, (authority.process, run))
                emit(
                    db,
                    EventKind.RUN_ADOPTED,
                    micros(now),
                    term=authority.term,
                    process=authority.process,
                    job=row[3],
                    run=run,
                    **{"from": row[2]},
                )
            return True

    def request_cancel(self, run: str, now: datetime) -> None:
        with self._db.writing() as db:
            cancel(db, run, micros(now))

    def run(self, run: str) -> Run:
        return _known(self._db.fetch_one(SQL.one, (run,)), run)

    def runs(
        self, where: RunFilter, page: Page | None = None
    ) -> tuple[tuple[Run, ...], str | None]:
        limit, position = limit_of(page), cursor_of(page, (int, int))
        terms, values = _conditions(where)
        if position is not None:
            terms.append("(x.claimed_at, x.seq) < (?, ?)")
            values.extend(position)
        source = SQL.list_active if _only_active(where) else SQL.list
        query = (
            f"{source} WHERE {' AND '.join(terms)} ORDER BY x.claimed_at DESC, x.seq DESC LIMIT ?"
        )
        rows = self._db.fetch(query, (*values, limit + 1))
        runs = tuple(run_of(row) for row in rows[:limit])
        more = len(rows) > limit
        return runs, cursor(rows[limit - 1][14], rows[limit - 1][0]) if more else None

    def mark(self) -> Mark:
        ((event, run, omission),) = self._db.fetch(SQL.newest)
        return Mark(event=event, run=run, omission=omission)

    def runs_after(self, number: int, *, limit: int = 100) -> tuple[tuple[Run, ...], int]:
        rows = self._db.fetch(SQL.after, (number, limit))
        return tuple(run_of(row) for row in rows), rows[-1][0] if rows else number

    def runs_by_id(self, runs: Collection[str]) -> tuple[Run, ...]:
        rows = self._db.fetch(SQL.named, (json.dumps(sorted(runs)),))
        return tuple(run_of(row) for row in rows)

    def latest_runs(self, jobs: Collection[str], *, each: int = 1) -> Mapping[str, Sequence[Run]]:
        latest: dict[str, Sequence[Run]] = {}
        with self._db.snapshot() as db:
            for job in jobs:
                rows = db.execute(SQL.latest, (job, each)).fetchall()
                if rows:
                    latest[job] = tuple(run_of(row) for row in rows)
        return latest

    def provenance(self, run: str) -> Evidence:
        with self._db.snapshot() as db:
            row = db.execute(SQL.provenance, (run,)).fetchone()
            if row is None:
                process = load_run(db, run).process
                raise NotFound(f"the process {process!r} of run {run!r} is not recorded")
        return evidence_of(row[0])


def _only_active(where: RunFilter) -> bool:
    """Active runs have their own index, which SQLite would not use because of the order."""
    return where.states is not None and frozenset() < where.states <= ACTIVE


def _conditions(where: RunFilter) -> tuple[list[str], list[Any]]:
    terms = [SQL.of_active if _only_active(where) else "1"]
    values: list[Any] = []
    for column, value in (("job", where.job), ("term", where.term), ("process", where.process)):
        if value is not None:
            terms.append(f"x.{column} = ?")
            values.append(value)
    if where.states is not None:
        terms.append(f"x.state IN ({', '.join('?' * len(where.states))})")
        values.extend(sorted(s.value for s in where.states))
    if where.since is not None:
        terms.append("x.claimed_at >= ?")
        values.append(micros(where.since))
    return terms, values
