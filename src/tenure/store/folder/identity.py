"""``profile.id``: which profile a folder is, and the highest term it has seen.

It keeps C1's 'never reused, not even after a backup is restored': the database cannot attest
itself, because people copy and restore it. So a few facts lie beside it: an id, the folder's device
and inode, the machine, the highest term. Where they disagree with the folder or the database, no
process may own until a person says what happened (``tenure profile adopt``).

::

    reserve_term -> take ownership in the database -> commit_term
        |                                                |
        reserved_term: no lower term is given out again  term: a database below it is an old one

A crash between the three leaves a gap in the terms, never a repeat. Every change is
on the disk before its function returns, and one process at a time makes one. A process that is
suspended in the middle of a change does not block the others (see
:mod:`tenure.store.folder.identity_file`).

What counts as the same place: the same inode on the same machine. The *device* number is
recorded and not compared, because it changes at reboot on btrfs, LVM, overlays and USB disks. A
machine whose id cannot be read ('') is not compared. A folder that is restored in place whole,
this file with it, looks like one that never changed. A backup of the current term that
was put in the database's place is noticed by its inode, and by the commits that it lacks (see
:mod:`tenure.store.sqlite.connection`).
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from tenure.domain.errors import Conflict, InvalidInput, NotFound
from tenure.store.folder.identity_file import ProfileId, change, look, read
from tenure.store.folder.layout import ProfileFolder

__all__ = [
    "AdoptionReason",
    "IdentityKind",
    "IdentityProblem",
    "ProfileId",
    "adopt",
    "check",
    "commit_term",
    "create",
    "read",
    "reserve_term",
]

_LARGEST_TERM = 2**62
_ADOPTIONS_KEPT = 20


class AdoptionReason(StrEnum):
    """What happened to a profile, as the user says."""

    MOVED = "moved"
    """This folder is the only one; it is in a new place."""
    COPIED = "copied"
    """The original is still in use; this folder becomes a separate profile."""
    RESTORED = "restored"
    """The database came from a backup."""


class IdentityKind(StrEnum):
    """How folder and database disagree."""

    MISSING_ID = "missing_id"
    MISSING_DB = "missing_db"
    ELSEWHERE = "elsewhere"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityProblem:
    """The reason why no process may own this profile now, and the command that fixes it."""

    kind: IdentityKind
    text: str
    remedy: str


def create(folder: ProfileFolder, *, machine: str, id: str | None = None) -> ProfileId:
    """Write the first ``profile.id`` of a folder, with a new id unless one is given.

    Create the database first, then this with the database's id: a crash between the two leaves a
    database of term 0, which :func:`check` lets pass, rather than an id without a database.
    Raises :class:`Conflict` if there is one already.
    """
    status = os.stat(folder.path)
    fresh = ProfileId(
        id=_check_id(id) if id is not None else str(uuid.uuid4()),
        device=status.st_dev,
        inode=status.st_ino,
        machine=machine,
        database=_inode(folder),
    )

    def first(known: ProfileId | None) -> ProfileId:
        if known is not None:
            raise Conflict(
                f"{folder.id_file} already exists", remedy="open the profile, do not create it"
            )
        return fresh

    change(folder, first)
    return fresh


def reserve_term(folder: ProfileFolder, at_least: int = 0) -> int:
    """A new term, above ``at_least`` and every term reserved before; durable when it returns.

    Raises :class:`NotFound` where ``profile.id`` is missing, :class:`CorruptStore`.
    """
    new = 0

    def reserve(found: ProfileId | None) -> ProfileId:
        nonlocal new
        known = _existing(folder, found)
        new = _check_term(max(known.term, known.reserved_term, _check_term(at_least)) + 1)
        return replace(known, reserved_term=new)

    change(folder, reserve)
    return new


def commit_term(folder: ProfileFolder, term: int) -> None:
    """Record that ``term`` is owned. Never lowers what is recorded; durable when it returns."""

    def commit(found: ProfileId | None) -> ProfileId | None:
        known = _existing(folder, found)
        if _check_term(term) <= known.term:
            return None
        return replace(known, term=term, reserved_term=max(known.reserved_term, term))

    change(folder, commit)


def check(
    folder: ProfileFolder,
    database: tuple[str, int] | None,
    *,
    machine: str,
    commits_missing: int = 0,
) -> IdentityProblem | None:
    """Whether folder, ``profile.id`` and database belong together; None if they do.

    ``database`` is the id and the term that the database holds, None where the database is missing;
    ``commits_missing`` is how far its commit count lies below ``profile.mark``.
    A database of term 0 without a ``profile.id`` is a profile in the making: no problem, and the
    caller is to :func:`create` it with the database's id. Raises :class:`CorruptStore`.
    """
    known = look(folder)
    if known is None:
        return _missing_id(folder, database)
    if database is None:
        return IdentityProblem(
            kind=IdentityKind.MISSING_DB,
            text=f"{folder.path} had a database up to term {known.term}, and it is gone",
            remedy="put a backup in its place with `tenure restore FILE`; to start again, "
            "`tenure profile remove` first",
        )
    return _elsewhere(folder, known, machine) or _restored(folder, known, database, commits_missing)


def adopt(
    folder: ProfileFolder,
    how: AdoptionReason | str,
    database_term: int,
    *,
    machine: str,
    now: datetime,
    database_id: str | None = None,
) -> int:
    """Make folder and database belong together again; returns the new floor of the term.

    The floor lies above every term that either has seen; the caller writes it to the database.
    ``copied`` mints a new id (``read(folder).id``) for the caller to write there too; otherwise
    the database's own id, where given, is taken over. ``now`` is UTC, for the record. The
    caller has made sure that no process owns. Raises :class:`InvalidInput`, :class:`CorruptStore`.
    """
    try:
        how = AdoptionReason(how)
    except ValueError as e:
        raise InvalidInput("moved, copied or restored expected", field="how") from e
    if database_id is not None:
        _check_id(database_id)
    floor = 0

    def adopted(known: ProfileId | None) -> ProfileId:
        nonlocal floor
        status = os.stat(folder.path)
        seen = max(known.term, known.reserved_term) if known else 0
        floor = _check_term(max(seen, _check_term(database_term)) + 1)
        kept = database_id or (known.id if known else None)
        record = {
            "how": str(how),
            "at": now.isoformat(),
            "from_id": known.id if known else None,
            "from_inode": known.inode if known else None,
            "from_machine": known.machine if known else None,
            "term": floor,
        }
        return ProfileId(
            id=str(uuid.uuid4()) if how is AdoptionReason.COPIED or kept is None else kept,
            device=status.st_dev,
            inode=status.st_ino,
            machine=machine,
            term=floor,
            reserved_term=floor,
            database=_inode(folder),
            adopted=(*(known.adopted if known else ()), record)[-_ADOPTIONS_KEPT:],
        )

    change(folder, adopted)
    return floor


def _missing_id(folder: ProfileFolder, database: tuple[str, int] | None) -> IdentityProblem | None:
    if database is None or database[1] == 0:
        return None
    return IdentityProblem(
        kind=IdentityKind.MISSING_ID,
        text=f"{folder.path} has a database of term {database[1]} but no profile.id, so it is "
        "not known whether the database is a copy",
        remedy="`tenure profile adopt --restored` if it is the only one, --copied if another "
        "one is in use",
    )


def _elsewhere(folder: ProfileFolder, known: ProfileId, machine: str) -> IdentityProblem | None:
    inode = os.stat(folder.path).st_ino
    if known.machine and machine and known.machine != machine:
        what = "was made on another machine"
    elif known.inode != inode:
        what = "was made in another folder"
    else:
        return None
    return IdentityProblem(
        kind=IdentityKind.ELSEWHERE,
        text=f"the profile in {folder.path} {what}: it was moved or copied, and the folder "
        "does not show which",
        remedy="`tenure profile adopt --moved` if the original is gone, "
        "`tenure profile adopt --copied` if it is still in use",
    )


def _inode(folder: ProfileFolder) -> int | None:
    try:
        return os.stat(folder.database).st_ino
    except FileNotFoundError:
        return None


def _restored(
    folder: ProfileFolder, known: ProfileId, database: tuple[str, int], commits_missing: int
) -> IdentityProblem | None:
    found_id, found_term = database
    if found_id != known.id or known.database not in (None, _inode(folder)):
        what = "the database is not the one that this profile had"
    elif found_term < known.term:
        what = f"the database is at term {found_term}, but term {known.term} was owned here"
    elif commits_missing:
        what = f"the database lacks the last {commits_missing} commits that were made here"
    else:
        return None
    return IdentityProblem(
        kind=IdentityKind.RESTORED,
        text=f"{what}: it is a backup or a replacement",
        remedy="`tenure profile adopt --restored` to continue from it; later runs are not in it",
    )


def _existing(folder: ProfileFolder, known: ProfileId | None) -> ProfileId:
    if known is None:
        raise NotFound(
            f"{folder.id_file} is gone",
            remedy="`tenure profile adopt --restored` writes a new one",
        )
    return known


def _check_term(term: int) -> int:
    if not 0 <= term <= _LARGEST_TERM:
        raise InvalidInput(f"{term} is not a term from 0 to 2**62", field="term")
    return term


def _check_id(id: str) -> str:
    try:
        return str(uuid.UUID(id))
    except (ValueError, AttributeError, TypeError) as e:
        raise InvalidInput("a uuid expected", field="id") from e
