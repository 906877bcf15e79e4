"""Bringing an app's declared jobs in line with its code."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from tenure.domain.errors import Conflict, InvalidInput
from tenure.domain.job import Definition, Job, JobState
from tenure.domain.ownership import Authority
from tenure.domain.schedule.model import ScheduleKind
from tenure.domain.version import is_newer
from tenure.store.contract import Declaration, Reconciled
from tenure.store.sqlite.definitions import DefinitionCache
from tenure.store.sqlite.edits import add, edit, set_state
from tenure.store.sqlite.fence import fence
from tenure.store.sqlite.jobs import SQL, job_of
from tenure.store.sqlite.rehearsal import JobChange, change_together
from tenure.store.sqlite.sql import TableVerbs

_OUTCOMES = ("added", "changed", "woken", "dormant", "kept_newer")


class Reconciliation(TableVerbs):
    def reconcile(
        self,
        authority: Authority,
        app: str,
        version: str,
        declarations: Sequence[Declaration],
        now: datetime,
    ) -> Reconciled:
        by = f"app {app} {version}".rstrip()
        wanted: dict[str, Declaration] = {}
        for declared in declarations:
            name = declared.definition.name
            if not name.startswith(f"{app}:"):
                raise InvalidInput(f"{name!r} is not named {app}:...", field="name")
            if name in wanted:
                raise Conflict(f"two jobs are named {name!r}", field="name")
            wanted[name] = declared
        with self._db.reading() as db:
            names = [name for (name,) in db.execute(SQL.declared_names, (app,)).fetchall()]

        def bring_in_line(name: str) -> JobChange[list[str]]:
            return lambda db, definitions: _bring_in_line(
                db, definitions, name, wanted.get(name), app, version, by, now
            )

        def first(db: sqlite3.Connection) -> None:
            fence(db, authority)
            _check_app(db, app)

        every = [*wanted, *(name for name in names if name not in wanted)]
        made = change_together(self._db, [bring_in_line(name) for name in every], first=first)
        did: dict[str, list[str]] = {outcome: [] for outcome in _OUTCOMES}
        for name, outcomes in zip(every, made, strict=True):
            for outcome in outcomes:
                did[outcome].append(name)
        return Reconciled(**{outcome: tuple(sorted(names)) for outcome, names in did.items()})


def _bring_in_line(
    db: sqlite3.Connection,
    definitions: DefinitionCache,
    name: str,
    declared: Declaration | None,
    app: str,
    version: str,
    by: str,
    now: datetime,
) -> list[str]:
    """Bring one job in line, declared now or before; returns the outcomes."""
    row = db.execute(SQL.by_name, (name,)).fetchone()
    job = job_of(row, definitions) if row is not None else None
    if job is not None and job.app != app:
        job = None  # its name is taken: to add one of that name says so
    if declared is not None:
        return _declare(db, definitions, job, declared, app, version, by, now)
    if job is None:
        return []
    if _is_of_newer(job, version):
        return ["kept_newer"]
    if job.state is not JobState.ACTIVE:
        return []
    set_state(db, definitions, job, JobState.DORMANT, by, now)
    return ["dormant"]


def _check_app(db: sqlite3.Connection, app: str) -> None:
    other = db.execute(SQL.other_app, (app,)).fetchone()
    if other is not None:
        raise Conflict(
            f"the profile belongs to the app {other[0]!r}",
            remedy=f"give {app!r} a profile of its own",
        )


def _declare(
    db: sqlite3.Connection,
    definitions: DefinitionCache,
    job: Job | None,
    declared: Declaration,
    app: str,
    version: str,
    by: str,
    now: datetime,
) -> list[str]:
    """Bring one declared job in line; returns the outcomes."""
    if job is None:
        add(db, definitions, declared.definition, by, now, app, version, declared.since)
        return ["added"]
    if _is_of_newer(job, version):
        return ["kept_newer"]
    did = []
    if job.state is JobState.DORMANT:
        job = set_state(db, definitions, job, JobState.ACTIVE, by, now)
        did.append("woken")
    wanted = _with_anchor_of(declared.definition, job.definition)
    if wanted != job.definition:
        job = edit(db, definitions, job, wanted, by, now)
        did.append("changed")
    if job.app_version != version:
        db.execute(SQL.set_version, (version, job.id))
    return did


def _is_of_newer(job: Job, version: str) -> bool:
    return job.app_version is not None and is_newer(job.app_version, version)


def _with_anchor_of(new: Definition, old: Definition) -> Definition:
    """``new``, with the old anchor if it is an interval of the same length."""
    if new.schedule.kind is ScheduleKind.EVERY and old.schedule.kind is ScheduleKind.EVERY:
        moved = replace(new.schedule, anchor=old.schedule.anchor)
        if moved == old.schedule:
            return replace(new, schedule=moved)
    return new
