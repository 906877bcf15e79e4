"""The ownership record and its terms, the accepted owner policy, and absences of better owners."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from tenure.domain.errors import (
    Conflict,
    CorruptStore,
    IllegalTransition,
    InvalidInput,
    Refused,
    StaleTerm,
)
from tenure.domain.event import EventKind
from tenure.domain.ownership import (
    Authority,
    Ownership,
    OwnershipAction,
    OwnershipState,
    Term,
    transition,
)
from tenure.domain.policy.admission import OPEN, Policy
from tenure.domain.policy.rule import Rule
from tenure.store.contract import Absence
from tenure.store.sqlite.codec import from_json, pack
from tenure.store.sqlite.connection import instant, instant_or_none, micros, micros_or_none
from tenure.store.sqlite.jobs import wake_held
from tenure.store.sqlite.processes import is_here, unknown_process
from tenure.store.sqlite.requests import accepted_hand_overs, end_hand_over
from tenure.store.sqlite.schema import highest_term
from tenure.store.sqlite.tables import Statements, TableVerbs, emit

SQL = Statements("ownership")

_TAKES = frozenset(
    {OwnershipAction.TAKE, OwnershipAction.TAKE_FROM_DEAD, OwnershipAction.TAKE_BY_FORCE}
)
_ENDS = frozenset({OwnershipAction.HAND_OVER, OwnershipAction.STEP_DOWN})
_ACCEPT_AGAIN = "`tenure owner policy --accept` accepts what profile.toml says"


def _record(db: sqlite3.Connection) -> Ownership:
    return _ownership_of(db.execute(SQL.record).fetchone())


def _ownership_of(row: Any) -> Ownership:
    return Ownership(
        hold=OwnershipState(row[0]),
        term=row[1],
        process=row[2],
        rule=row[3],
        authoritative=bool(row[4]),
        policy_version=row[5],
        since=instant_or_none(row[6]),
        progress_at=instant_or_none(row[7]),
        progress_awake=row[8],
        boot_id=row[9],
        ended_at=instant_or_none(row[10]),
        ended_why=row[11],
        reserved_for=row[12],
        reserved_until=instant_or_none(row[13]),
    )


class OwnershipTable(TableVerbs):
    def ownership(self) -> Ownership:
        return _ownership_of(self._db.fetch_one(SQL.record))

    def take_ownership(
        self,
        *,
        process: str,
        act: OwnershipAction,
        expected_term: int,
        new_term: int,
        rule: int | None,
        authoritative: bool,
        policy_version: int,
        boot_id: str,
        awake: float,
        now: datetime,
        why: str = "",
        instead_of: str | None = None,
    ) -> Authority:
        at = micros(now)
        with self._db.writing() as db:
            record = _record(db)
            _check_take(db, record, act, process, expected_term, new_term, policy_version)
            if act is not OwnershipAction.TAKE_BY_FORCE and record.kept_from(
                process, now, instead_of=instead_of
            ):
                raise Refused(
                    f"the ownership is kept for {record.reserved_for} until "
                    f"{record.reserved_until}",
                    remedy="wait until then",
                )
            if record.hold is OwnershipState.HELD:
                ended_why = f"{act} by {process}" + (f": {why}" if why else "")
                db.execute(SQL.close_term, (at, ended_why, record.term))
            quality = (rule, authoritative, policy_version)
            db.execute(SQL.take, (new_term, process, *quality, at, at, awake, boot_id))
            db.execute(SQL.begin_term, (new_term, process, *quality, at, act.value))
            if authoritative:
                wake_held(db, at)
            emit(
                db,
                EventKind.OWNERSHIP_TAKEN,
                at,
                term=new_term,
                process=process,
                act=act.value,
                rule=rule,
                authoritative=authoritative,
                why=why,
                previous=record.process,
            )
            for request in accepted_hand_overs(db):
                end = request.end_of_hand_over(record, process, new_term)
                end_hand_over(db, request, end, now)
        return Authority(term=new_term, process=process, policy_version=policy_version)

    def reaffirm(
        self,
        authority: Authority,
        *,
        rule: int | None,
        authoritative: bool,
        policy_version: int,
        now: datetime,
    ) -> Authority:
        with self._db.writing() as db:
            record = _record(db)
            holder = record.authority
            if holder is None or (holder.term, holder.process) != (
                authority.term,
                authority.process,
            ):
                raise StaleTerm(f"term {authority.term} of {authority.process} is over")
            _check_version(db, policy_version)
            new = (rule, authoritative, policy_version)
            db.execute(SQL.reaffirm, new)
            db.execute(SQL.reaffirm_term, (*new, record.term))
            emit(
                db,
                EventKind.OWNERSHIP_REAFFIRMED,
                micros(now),
                term=record.term,
                process=record.process,
                rule=rule,
                authoritative=authoritative,
                policy_version=policy_version,
            )
            if authoritative and not record.authoritative:
                wake_held(db, micros(now))
        return Authority(
            term=authority.term, process=authority.process, policy_version=policy_version
        )

    def end_term(
        self,
        authority: Authority,
        *,
        act: OwnershipAction,
        why: str,
        now: datetime,
        reserved_for: str | None = None,
        reserved_until: datetime | None = None,
    ) -> bool:
        if act not in _ENDS:
            raise IllegalTransition(f"{act} does not end a term")
        at = micros(now)
        with self._db.writing() as db:
            record = _record(db)
            holder = record.authority
            if holder is None or (holder.term, holder.process) != (
                authority.term,
                authority.process,
            ):
                return False
            db.execute(SQL.vacate, (at, why, reserved_for, micros_or_none(reserved_until)))
            db.execute(SQL.close_term, (at, why, record.term))
            emit(
                db,
                EventKind.OWNERSHIP_ENDED,
                at,
                term=record.term,
                process=record.process,
                act=act.value,
                why=why,
                reserved_for=reserved_for,
            )
        return True

    def record_progress(self, authority: Authority, awake: float, now: datetime) -> None:
        with self._db.executing(authority) as (db, _):
            db.execute(SQL.progress, (micros(now), awake))

    def terms(self, *, limit: int = 100, before: int | None = None) -> tuple[Term, ...]:
        rows = self._db.fetch(SQL.terms, (before, before, limit))
        return tuple(
            Term(
                term=row[0],
                process=row[1],
                rule=row[2],
                authoritative=bool(row[3]),
                policy_version=row[4],
                taken_at=instant(row[5]),
                how=OwnershipAction(row[6]),
                ended_at=instant_or_none(row[7]),
                ended_why=row[8],
            )
            for row in rows
        )

    # -- the accepted policy, and absences of better owners ----------------------------------
    def policy(self) -> Policy:
        return _policy_of(self._db.fetch_one(SQL.current_policy))

    def accept_policy(self, policy: Policy, by: str, now: datetime) -> Policy:
        with self._db.writing() as db:
            current = _policy_of(db.execute(SQL.current_policy).fetchone())
            if current.hash == policy.hash and not current.closed:
                return current
            new = replace(policy, version=current.version + 1)
            rules = pack(new.rules)
            db.execute(SQL.accept_policy, (new.version, new.text, new.hash, rules, micros(now), by))
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
        return _absence_of(self._db.fetch_one(SQL.absence, (rank,)))

    def note_absence(self, absence: Absence) -> Absence:
        with self._db.writing() as db:
            kept = _absence_of(db.execute(SQL.absence, (absence.rank,)).fetchone())
            if kept is not None and kept.boot_id == absence.boot_id and kept.awake <= absence.awake:
                return kept
            row = (absence.rank, absence.boot_id, absence.awake, micros(absence.since))
            db.execute(SQL.note_absence, row)
            return absence

    def end_absence(self, ranks: Iterable[int]) -> None:
        with self._db.writing() as db:
            db.executemany(SQL.end_absence, [(rank,) for rank in ranks])


def _check_version(db: sqlite3.Connection, version: int) -> None:
    accepted = db.execute(SQL.accepted_version).fetchone()[0]
    if version != accepted:
        raise StaleTerm(
            f"policy version {accepted} is accepted, not {version}",
            remedy="decide by the accepted policy",
            policy_version=accepted,
        )


def _check_take(
    db: sqlite3.Connection,
    record: Ownership,
    act: OwnershipAction,
    process: str,
    expected_term: int,
    new_term: int,
    policy_version: int,
) -> None:
    if record.term != expected_term:
        raise Conflict(
            f"term {record.term} has begun, {expected_term} was expected",
            remedy="look again",
            term=record.term,
        )
    if act not in _TAKES:
        raise IllegalTransition(f"{act} begins no term")
    transition(record.hold, act)
    _check_version(db, policy_version)
    if new_term <= highest_term(db):
        raise InvalidInput(f"{new_term} is not above every term begun here", field="new_term")
    if not is_here(db, process):
        raise unknown_process(process)


def _policy_of(row: tuple[Any, ...] | None) -> Policy:
    if row is None:
        return OPEN
    try:
        rules = tuple(from_json(Rule, rule) for rule in json.loads(row[3]))
    except (CorruptStore, TypeError, ValueError) as error:
        unread = f"the accepted owner policy in the store cannot be read: {error}"
        return Policy(version=row[0], text=row[1], hash=row[2], unread=unread, remedy=_ACCEPT_AGAIN)
    return Policy(rules=rules, version=row[0], text=row[1], hash=row[2])


def _absence_of(row: tuple[Any, ...] | None) -> Absence | None:
    if row is None:
        return None
    return Absence(rank=row[0], boot_id=row[1], awake=row[2], since=instant(row[3]))
