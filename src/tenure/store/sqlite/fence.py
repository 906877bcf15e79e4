"""The ownership row, and the fence of every executing write (C3)."""

from __future__ import annotations

import sqlite3

from tenure.domain.errors import StaleTerm
from tenure.domain.ownership import Authority, Ownership, OwnershipState
from tenure.store.codec import instant_or_none
from tenure.store.sqlite.sql import Statements

SQL = Statements("ownership")


def fence(db: sqlite3.Connection, authority: Authority) -> bool:
    """Raise StaleTerm unless ``authority`` is current (C3); whether it is authoritative."""
    hold, term, process, version, authoritative, accepted = db.execute(SQL.fence).fetchone()
    if hold == OwnershipState.HELD and term == authority.term and process == authority.process:
        if version == accepted == authority.policy_version:
            return bool(authoritative)
        raise StaleTerm(
            f"term {authority.term} was admitted by policy version {authority.policy_version}; "
            f"version {accepted} is accepted now",
            term=term,
            policy_version=accepted,
        )
    now = f"term {term} is held by {process}" if hold == OwnershipState.HELD else "no process owns"
    raise StaleTerm(
        f"term {authority.term} of {authority.process} is over: {now}", term=term, process=process
    )


def highest_term(db: sqlite3.Connection) -> int:
    """The highest term ever begun here, or the floor that an adoption set."""
    return int(db.execute(SQL.highest_term).fetchone()[0])


def check_version(db: sqlite3.Connection, version: int) -> None:
    accepted = db.execute(SQL.fence).fetchone()[5]
    if version != accepted:
        raise StaleTerm(
            f"policy version {accepted} is accepted, not {version}",
            remedy="decide by the accepted policy",
            policy_version=accepted,
        )


def record_of(db: sqlite3.Connection) -> Ownership:
    row = db.execute(SQL.record).fetchone()
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
