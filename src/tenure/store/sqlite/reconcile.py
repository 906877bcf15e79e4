"""Bringing an app's declared jobs in line with its code."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from tenure.domain.errors import Conflict, InvalidInput
from tenure.domain.job import Definition, Job, State
from tenure.domain.ownership import Authority
from tenure.domain.schedule import Kind
from tenure.domain.version import is_newer
from tenure.store.contract import Declaration, Reconciled
from tenure.store.sqlite.definitions import Definitions
from tenure.store.sqlite.edits import add, edit, set_state
from tenure.store.sqlite.jobs import SQL, job_of
from tenure.store.sqlite.ownership import fence
from tenure.store.sqlite.part import Part

_OUTCOMES = ("added", "changed", "woken", "dormant", "kept_newer")


class Reconciling(Part):
    def reconcile(
        self,
        authority: Authority,
        app: str,
        version: str,
        declarations: Sequence[Declaration],
        now: datetime,
    ) -> Reconciled:
        did: dict[str, list[str]] = {outcome: [] for outcome in _OUTCOMES}
        by, definitions = f"app {app} {version}".rstrip(), self._db.definitions
        with self._db.writing() as db:
            fence(db, authority)
            mine = _declared(db, definitions, app)
            for declared in declarations:
                wanted = declared.definition
                if not wanted.name.startswith(f"{app}:"):
                    raise InvalidInput(f"{wanted.name!r} is not named {app}:...", field="name")
                job = mine.pop(wanted.name, None)
                for outcome in _declare(db, definitions, job, declared, app, version, by, now):
                    did[outcome].append(wanted.name)
            for name, job in mine.items():
                if _is_of_newer(job, version):
                    did["kept_newer"].append(name)
                elif job.state is State.ACTIVE:
                    set_state(db, definitions, job, State.DORMANT, by, now)
                    did["dormant"].append(name)
        return Reconciled(**{outcome: tuple(sorted(names)) for outcome, names in did.items()})


def _declared(db: sqlite3.Connection, definitions: Definitions, app: str) -> dict[str, Job]:
    other = db.execute(SQL.other_app, (app,)).fetchone()
    if other is not None:
        raise Conflict(
            f"the profile belongs to the app {other[0]!r}",
            remedy=f"give {app!r} a profile of its own",
        )
    rows = db.execute(SQL.declared, (app,)).fetchall()
    return {job.name: job for job in (job_of(row, definitions) for row in rows)}


def _declare(
    db: sqlite3.Connection,
    definitions: Definitions,
    job: Job | None,
    declared: Declaration,
    app: str,
    version: str,
    by: str,
    now: datetime,
) -> list[str]:
    """Bring one declared job in line; which outcomes that was."""
    if job is None:
        add(db, definitions, declared.definition, by, now, app, version, declared.since)
        return ["added"]
    if _is_of_newer(job, version):
        return ["kept_newer"]
    did = []
    if job.state is State.DORMANT:
        job = set_state(db, definitions, job, State.ACTIVE, by, now)
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
    """``new``, on the old grid if it is an interval of the same length."""
    if new.schedule.kind is Kind.EVERY and old.schedule.kind is Kind.EVERY:
        moved = replace(new.schedule, anchor=old.schedule.anchor)
        if moved == old.schedule:
            return replace(new, schedule=moved)
    return new
