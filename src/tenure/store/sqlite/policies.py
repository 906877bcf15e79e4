"""The accepted owner policy, and the absences of better-ranked processes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from tenure.domain.errors import CorruptStore
from tenure.domain.event import EventKind
from tenure.domain.policy.admission import OPEN, Policy
from tenure.domain.policy.rule import Rule
from tenure.store.codec import from_json, instant, micros, pack
from tenure.store.contract import Absence
from tenure.store.sqlite.events import emit
from tenure.store.sqlite.sql import Statements, TableVerbs

SQL = Statements("policies")


_AGAIN = "`tenure owner policy --accept` accepts what profile.toml says"


def accepted(db: sqlite3.Connection) -> Policy:
    row = db.execute(SQL.current).fetchone()
    if row is None:
        return OPEN
    try:
        rules = tuple(from_json(Rule, rule) for rule in json.loads(row[3]))
    except (CorruptStore, TypeError, ValueError) as error:
        unread = f"the accepted owner policy in the store cannot be read: {error}"
        return Policy(version=row[0], text=row[1], hash=row[2], unread=unread, remedy=_AGAIN)
    return Policy(rules=rules, version=row[0], text=row[1], hash=row[2])


class PolicyTable(TableVerbs):
    def policy(self) -> Policy:
        with self._db.reading() as db:
            return accepted(db)

    def accept_policy(self, policy: Policy, by: str, now: datetime) -> Policy:
        with self._db.writing() as db:
            current = accepted(db)
            if current.hash == policy.hash and not current.closed:
                return current
            new = replace(policy, version=current.version + 1)
            rules = pack(new.rules)
            db.execute(SQL.accept, (new.version, new.text, new.hash, rules, micros(now), by))
            emit(
                db,
                EventKind.POLICY_ACCEPTED,
                micros(now),
                version=new.version,
                hash=new.hash,
                by=by,
            )
            return new

    def absence(self, rank: int) -> Absence | None:
        with self._db.reading() as db:
            return _absence(db, rank)

    def note_absence(self, absence: Absence) -> Absence:
        with self._db.writing() as db:
            kept = _absence(db, absence.rank)
            if kept is not None and kept.boot_id == absence.boot_id and kept.awake <= absence.awake:
                return kept
            row = (absence.rank, absence.boot_id, absence.awake, micros(absence.since))
            db.execute(SQL.note_absence, row)
            return absence

    def end_absence(self, ranks: Iterable[int]) -> None:
        with self._db.writing() as db:
            db.executemany(SQL.end_absence, [(rank,) for rank in ranks])


def _absence(db: sqlite3.Connection, rank: int) -> Absence | None:
    row = db.execute(SQL.absence, (rank,)).fetchone()
    if row is None:
        return None
    return Absence(rank=row[0], boot_id=row[1], awake=row[2], since=instant(row[3]))
