"""What the classes of all tables share: their SQL, pages of lists, and events.

SQL is kept in named files: ``claims.sql`` holds ``-- name: claimable`` and so on.

``{name}`` in a statement is replaced by another section of the same file or of ``shared.sql``, for
column lists that several statements share. A file is read when its first statement is asked for.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from tenure.domain.errors import InvalidInput
from tenure.domain.event import Event, EventKind
from tenure.store.contract import Page
from tenure.store.sqlite.connection import Connection, instant, micros

_HERE = Path(__file__).parent
_SECTION = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


class Statements:
    """The statements of one file, as attributes. Thread-safe: reading twice gives the same."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, wanted: str) -> str:
        if wanted.startswith("_"):
            raise AttributeError(wanted)
        own = _sections(self._name)
        shared = own if self._name == "shared" else {**_sections("shared"), **own}
        for name, body in own.items():
            setattr(self, name, _expand(body, shared))
        if wanted not in own:
            raise AttributeError(f"{self._name}.sql has no statement {wanted!r}")
        statement: str = self.__dict__[wanted]
        return statement


@cache
def _sections(name: str) -> dict[str, str]:
    parts = _SECTION.split((_HERE / f"{name}.sql").read_text(encoding="utf-8"))
    return {parts[i]: parts[i + 1].strip() for i in range(1, len(parts), 2)}


def _expand(text: str, sections: dict[str, str]) -> str:
    while True:
        grown = re.sub(r"\{(\w+)\}", lambda m: sections[m[1]], text)
        if grown == text:
            return text
        text = grown


class TableVerbs:
    """The verbs about one group of tables."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection


def limit_of(page: Page | None) -> int:
    limit = 100 if page is None else page.limit
    if limit < 1:
        raise InvalidInput(f"{limit} is not at least 1", field="limit")
    return limit


def cursor_of(page: Page | None, shape: tuple[type, ...]) -> tuple[Any, ...] | None:
    """The position that a cursor names; InvalidInput for any other text."""
    if page is None or page.cursor is None:
        return None
    try:
        values = tuple(json.loads(page.cursor))
    except (TypeError, ValueError):
        values = ()
    if tuple(type(v) for v in values) != shape:
        raise InvalidInput(
            f"{page.cursor!r} is not a valid cursor for this list",
            field="cursor",
            remedy="use the 'next' value of a page",
        )
    return values


def cursor(*values: Any) -> str:
    return json.dumps(values, separators=(",", ":"))


# -- events: business facts, each in the transaction that makes it true --------------------------
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
        return tuple(_event_of(row) for row in self._db.fetch(SQL.after, (after, limit)))


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
