"""Processes that joined, and their status (C9)."""

from __future__ import annotations

import sqlite3
from dataclasses import fields
from datetime import datetime
from functools import lru_cache
from typing import Any

from tenure.domain.errors import Conflict, CorruptStore, NotFound
from tenure.domain.event import EventKind
from tenure.domain.policy.evidence import Evidence, Identity
from tenure.domain.process import Process, ProcessStatus
from tenure.store.sqlite.codec import pack, unpack
from tenure.store.sqlite.connection import instant, instant_or_none, micros, micros_or_none
from tenure.store.sqlite.tables import Statements, TableVerbs, emit

SQL = Statements("processes")


def unknown_process(process: str) -> NotFound:
    return NotFound(f"no process {process!r} has joined", remedy="`tenure status` lists them")


def is_here(db: sqlite3.Connection, process: str) -> bool:
    row = db.execute(SQL.left_at, (process,)).fetchone()
    return row is not None and row[0] is None


class ProcessTable(TableVerbs):
    def join(self, process: Process) -> None:
        row = (
            process.id,
            pack(process.evidence),
            micros(process.joined_at),
            process.executes,
            process.standing.value,
            process.why,
            process.role,
            process.rule,
            process.app,
            process.app_version,
            process.socket,
            micros_or_none(process.left_at),
        )
        with self._db.writing() as db:
            if not db.execute(SQL.join, row).rowcount:
                raise Conflict(f"a process {process.id!r} has already joined")
            emit(
                db,
                EventKind.PROCESS_JOINED,
                micros(process.joined_at),
                process=process.id,
                pid=process.evidence.identity.pid,
                role=process.role,
                executes=process.executes,
                standing=process.standing.value,
            )

    def set_standing(
        self, process: str, standing: ProcessStatus, why: str, rule: int | None, now: datetime
    ) -> None:
        new = (standing.value, why, rule)
        with self._db.writing() as db:
            was = db.execute(SQL.standing_of, (process,)).fetchone()
            if was is None:
                raise unknown_process(process)
            if was == new:
                return
            db.execute(SQL.set_standing, (*new, process))
            emit(
                db,
                EventKind.STANDING_CHANGED,
                micros(now),
                process=process,
                standing=standing.value,
                was=was[0],
                why=why,
                rule=rule,
            )

    def observe_process(self, process: str, evidence: Evidence) -> None:
        with self._db.writing() as db:
            if not db.execute(SQL.observe, (pack(evidence), process)).rowcount:
                raise unknown_process(process)

    def leave(self, process: str, now: datetime, *, died: bool = False, why: str = "") -> None:
        kind = EventKind.PROCESS_DIED if died else EventKind.PROCESS_LEFT
        with self._db.writing() as db:
            row = db.execute(SQL.left_at, (process,)).fetchone()
            if row is None:
                raise unknown_process(process)
            if row[0] is not None:
                return
            db.execute(SQL.leave, (micros(now), process))
            emit(db, kind, micros(now), process=process, why=why)

    def process(self, process: str) -> Process:
        row = self._db.fetch_one(SQL.one, (process,))
        if row is None:
            raise unknown_process(process)
        return _process_of(row)

    def processes(self, *, gone: bool = False) -> tuple[Process, ...]:
        return tuple(_process_of(row) for row in self._db.fetch(SQL.all if gone else SQL.here))


@lru_cache(maxsize=256)
def evidence_of(text: str) -> Evidence:
    """Cached, since every process reads the evidence of all. In unreadable evidence every fact is
    unknown, so that no rule admits the process and its life cannot be verified."""
    try:
        return unpack(Evidence, text)
    except CorruptStore:
        unknown = frozenset(f.name for f in fields(Evidence)) - {"identity", "unknown"}
        nowhere = Identity(boot_id="", pid=0, start=0, pid_namespace="unreadable")
        return Evidence(identity=nowhere, observed_at=instant(0), unknown=unknown)


def _process_of(row: tuple[Any, ...]) -> Process:
    return Process(
        id=row[0],
        evidence=evidence_of(row[1]),
        joined_at=instant(row[2]),
        executes=bool(row[3]),
        standing=ProcessStatus(row[4]) if row[4] in set(ProcessStatus) else ProcessStatus.OBSERVER,
        why=row[5],
        role=row[6],
        rule=row[7],
        app=row[8],
        app_version=row[9],
        socket=row[10],
        left_at=instant_or_none(row[11]),
    )
