"""Events: business facts, each in the transaction that makes it true."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tenure.domain.errors import InvalidInput
from tenure.domain.event import Event, EventKind
from tenure.store.codec import instant, micros
from tenure.store.sqlite.sql import Statements, TableVerbs

SQL = Statements("events")


def emit(
    db: sqlite3.Connection,
    kind: EventKind,
    at: int,
    /,
    *,
    term: int | None = None,
    process: str | None = None,
    job: str | None = None,
    run: str | None = None,
    **facts: Any,
) -> None:
    """Write one event; ``at`` is in microseconds, facts are JSON values."""
    text = json.dumps(facts, separators=(",", ":"), ensure_ascii=False)
    db.execute(SQL.emit, (kind.value, at, term, process, job, run, text))


class EventTable(TableVerbs):
    def record_event(
        self,
        kind: EventKind,
        now: datetime,
        *,
        term: int | None = None,
        process: str | None = None,
        job: str | None = None,
        run: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        try:
            text = json.dumps(dict(facts or {}), separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"not JSON: {error}", field="facts") from None
        with self._db.writing() as db:
            db.execute(SQL.emit, (kind.value, micros(now), term, process, job, run, text))

    def events(self, *, after: int = 0, limit: int = 100) -> tuple[Event, ...]:
        with self._db.reading() as db:
            rows = db.execute(SQL.after, (after, limit)).fetchall()
        return tuple(_event_of(row) for row in rows)


def _event_of(row: tuple[Any, ...]) -> Event:
    """One that cannot be read, of a newer version say, is a warning that says so."""
    seq, kind, at, term, process, job, run, facts = row
    try:
        read = json.loads(facts)
        known = EventKind(kind)
        when = instant(at)
    except (TypeError, ValueError, OverflowError) as error:
        read = {"code": "unreadable_event", "text": f"{kind}: {error}"}
        known, when = EventKind.WARNING, instant(at if isinstance(at, int) else 0)
    return Event(
        seq=seq, kind=known, at=when, term=term, process=process, job=job, run=run, facts=read
    )
