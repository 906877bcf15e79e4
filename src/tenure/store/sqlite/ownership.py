"""The ownership record: compare-and-set on the term, and the fence of every executing write."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from tenure.domain.errors import Conflict, IllegalTransition, InvalidInput, Refused, StaleTerm
from tenure.domain.event import EventKind
from tenure.domain.ownership import (
    Authority,
    Ownership,
    OwnershipAction,
    OwnershipState,
    Term,
    transition,
)
from tenure.store.codec import instant, instant_or_none, micros, micros_or_none
from tenure.store.sqlite.events import emit
from tenure.store.sqlite.fence import SQL, check_version, fence, highest_term, record_of
from tenure.store.sqlite.omissions import wake_held
from tenure.store.sqlite.processes import is_here, unknown_process
from tenure.store.sqlite.requests import accepted_hand_overs, end_hand_over
from tenure.store.sqlite.sql import TableVerbs

_TAKES = frozenset(
    {OwnershipAction.TAKE, OwnershipAction.TAKE_FROM_DEAD, OwnershipAction.TAKE_BY_FORCE}
)
_ENDS = frozenset({OwnershipAction.HAND_OVER, OwnershipAction.STEP_DOWN})


class OwnershipTable(TableVerbs):
    def ownership(self) -> Ownership:
        with self._db.reading() as db:
            return record_of(db)

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
            record = record_of(db)
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
            record = record_of(db)
            holder = record.authority
            if holder is None or (holder.term, holder.process) != (
                authority.term,
                authority.process,
            ):
                raise StaleTerm(f"term {authority.term} of {authority.process} is over")
            check_version(db, policy_version)
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
            record = record_of(db)
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
        with self._db.writing() as db:
            fence(db, authority)
            db.execute(SQL.progress, (micros(now), awake))

    def terms(self, *, limit: int = 100, before: int | None = None) -> tuple[Term, ...]:
        with self._db.reading() as db:
            rows = db.execute(SQL.terms, (before, before, limit)).fetchall()
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

    def check_authority(self, authority: Authority) -> None:
        with self._db.reading() as db:
            fence(db, authority)


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
    check_version(db, policy_version)
    if new_term <= highest_term(db):
        raise InvalidInput(f"{new_term} is not above every term begun here", field="new_term")
    if not is_here(db, process):
        raise unknown_process(process)
