"""Many changes of definitions in one commit, without a long write lock.

A change of a job takes milliseconds of computing (its schedule's fires, its definition as JSON),
and thousands of them inside one transaction kept the owner from claiming for seconds. So they are
rehearsed first, on a copy of the jobs in memory, and their writes are recorded; the transaction
then only repeats the writes::

    read the jobs (snapshot) -> carry out each step on the copy, recording what it asks and writes
    BEGIN IMMEDIATE -> which jobs have changed since? -> each step: its writes, or itself -> COMMIT

A step that read a job, or a name, that has changed since the snapshot is carried out again inside
the transaction, on the current jobs; so is each later step that reads the same. A step that raises,
at either time, leaves nothing behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from tenure.store.sqlite.connection import Connection
from tenure.store.sqlite.definitions import DefinitionCache
from tenure.store.sqlite.sql import Statements

T = TypeVar("T")
JobChange = Callable[[sqlite3.Connection, DefinitionCache], T]
"""A change; reads and writes only through the connection that it is given."""

SQL = Statements("rehearsal")
MAX_UNREHEARSED = 20
"""Up to this number of steps, doing them is faster than rehearsing them."""


class _Recording(sqlite3.Connection):
    """Records the writes, and the text parameters (ids and names) of the reads."""

    writes: list[tuple[str, Any]]
    asked: set[str]

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql.lstrip()[:6].upper() == "SELECT":
            self.asked.update(value for value in parameters if isinstance(value, str))
        else:
            self.writes.append((sql, parameters))
        return super().execute(sql, parameters)

    def begin_step(self) -> None:
        self.writes, self.asked = [], set()


def change_together(
    connection: Connection,
    steps: Sequence[JobChange[T]],
    *,
    first: Callable[[sqlite3.Connection], object] = lambda db: None,
) -> list[T]:
    """Carry out all steps in one commit, or none; returns the result of each.

    ``first`` is called in the transaction before them. Raises what it and the steps raise.
    """
    if len(steps) <= MAX_UNREHEARSED or connection.is_batching:
        with connection.writing() as db:
            first(db)
            return [step(db, connection.definitions) for step in steps]
    with _copy(connection) as (copy, before):
        rehearsed = []
        definitions = DefinitionCache()
        for step in steps:
            copy.begin_step()
            rehearsed.append((step(copy, definitions), copy.writes, copy.asked))
    with connection.writing() as db:
        first(db)
        changed = _changed(before, _state(db))
        made: list[T] = []
        for step, (result, writes, asked) in zip(steps, rehearsed, strict=True):
            if asked.isdisjoint(changed):
                for sql, parameters in writes:
                    db.execute(sql, parameters)
                made.append(result)
            else:
                made.append(step(db, connection.definitions))
                changed |= asked
        return made


@contextmanager
def _copy(connection: Connection) -> Iterator[tuple[_Recording, dict[str, Any]]]:
    """The jobs, their current revisions and open holds, in memory; and their state."""
    copy = sqlite3.connect(":memory:", isolation_level=None, factory=_Recording)
    copy.begin_step()
    try:
        with connection.snapshot() as db:
            schema = [row[0] for row in db.execute(SQL.schema).fetchall()]
            found = {
                table: db.execute(query).fetchall()
                for table, query in (
                    ("jobs", SQL.jobs),
                    ("job_revisions", SQL.revisions),
                    ("omissions", SQL.holds),
                )
            }
            state = _state(db)
        for statement in schema:
            copy.execute(statement)
        copy.execute("BEGIN")
        for table, rows in found.items():
            if rows:
                places = ", ".join("?" * len(rows[0]))
                copy.executemany(f"INSERT INTO {table} VALUES ({places})", rows)
        yield copy, state
    finally:
        copy.close()


def _state(db: sqlite3.Connection) -> dict[str, Any]:
    """All that a change of a job depends on, by its id."""
    return {row[0]: row[1:] for row in db.execute(SQL.state).fetchall()}


def _changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """The ids and names of the jobs that differ; a name that came or went among them."""
    different = {job for job in before.keys() | after.keys() if before.get(job) != after.get(job)}
    names = {state[job][0] for state in (before, after) for job in different if job in state}
    return different | names
