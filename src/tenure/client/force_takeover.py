"""Take the ownership from a process that will not, or cannot, hand it over.

A command of the user does not become owner: it ends the term, reserves the next for the best
candidate, and tells the candidates. The term fences the loser whenever it wakes (C3), so nothing
needs to be killed. ``kill`` is for an owner that is frozen inside a write transaction and so
blocks the store: it is ended only if the ownership record (read without a lock), the kernel's
lock table and its identity (boot, pid, start time) all name the same process.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from datetime import datetime

from tenure.client.health import Health, examine, expected_owner, why_no_owner
from tenure.client.presence import nudge_each
from tenure.domain.errors import NotFound, OutcomeUnknown, Refused, StoreBlocked
from tenure.domain.ownership import (
    RESERVED_FOR,
    HolderLife,
    OwnershipAction,
    OwnershipState,
    Unfit,
)
from tenure.domain.process import Process
from tenure.host.processes import is_alive, own_identity
from tenure.host.write_lock import write_lock_holder
from tenure.runtime.commands.terminate import SessionMember, signal_member
from tenure.runtime.profile import Profile

KILL_PATIENCE_S = 5.0
TAKE_PATIENCE_S = 2.0
"""How long to wait for the next owner: each process that may own takes within a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposed:
    """What a take did. ``term`` is the one that ended; None if there was no owner."""

    term: int | None
    killed: int | None
    candidate: Process | None
    """For which the place was kept: the best that could take it at once."""
    owner: Process | None = None
    """Which process owns now; None if none took the ownership soon."""
    new_term: int | None = None


def take(
    profile: Profile, *, by: str, now: datetime, force: bool = False, kill: bool = False
) -> Deposed:
    """Make the ownership vacant for the best candidate.

    A healthy owner, and one that cannot be verified, only with ``force``. Raises Refused, with
    what to do instead; StoreBlocked if another process than the owner blocks the store.
    """
    health = examine(profile, now)
    hung = health.hung or health.halted or _blocks_the_store(profile, health)
    _check(health, force=force, hung=hung)
    killed = _kill(health, force or hung) if kill else None
    return _depose(profile, health, by, now, killed)


def release(profile: Profile, *, by: str, now: datetime) -> Deposed:
    """End the term of a living owner, for the best candidate if there is one.

    Raises Refused if there is no owner.
    """
    health = examine(profile, now)
    if health.ownership.authority is None:
        raise Refused(
            "no process owns the profile, so there is nothing to release",
            remedy="see `tenure status`",
        )
    return _depose(profile, health, by, now, None)


def _depose(
    profile: Profile, health: Health, by: str, now: datetime, killed: int | None
) -> Deposed:
    """End the term, nudge the processes, and see which of them owns then."""
    successor = health.successor()
    candidate = None if isinstance(successor, Unfit) else successor
    ended = _end(profile, health, by, now, candidate)
    # The candidate first: it has precedence.
    processes = [candidate] if candidate else []
    processes += [p.process for p in health.present if p.process is not candidate]
    nudge_each((process.socket for process in processes), "ownership")
    current = profile.store.ownership()
    until = time.monotonic() + (TAKE_PATIENCE_S if ended or killed is not None else 0)
    while current.hold is not OwnershipState.HELD and time.monotonic() < until:
        time.sleep(0.02)
        current = profile.store.ownership()
    return Deposed(
        term=health.ownership.term if ended else None,
        killed=killed,
        candidate=candidate,
        owner=profile.store.process(current.process) if current.process else None,
        new_term=current.term if current.process else None,
    )


def _check(health: Health, *, force: bool, hung: bool) -> None:
    if force:
        return
    owner, successor = health.owner, health.successor()
    if isinstance(successor, Unfit):
        raise Refused(
            "no other process may become owner: "
            + (why_no_owner(health) if not health.owned else successor.why)
            + f". Expected owner: {expected_owner(health.policy)}",
            remedy="start one first; or --force to end the term without a successor",
        )
    if owner is None or owner.life is HolderLife.DEAD:
        return
    if owner.life is HolderLife.UNVERIFIABLE:
        raise Refused(
            f"it cannot be verified from here whether the owner (pid {owner.process.pid}) is alive",
            remedy="if you know that it is dead: --force",
        )
    if not hung:
        raise Refused(
            f"the owner (pid {owner.process.pid}) is alive and working",
            remedy="`tenure owner hand-over` asks it to hand over; --force takes it anyway",
        )


def _blocks_the_store(profile: Profile, health: Health) -> bool:
    """Whether the owner holds the write lock, now and a second later."""
    if health.owner is None:
        return False
    pid = health.owner.process.pid
    for pause in (0.0, 0.5, 0.5):
        time.sleep(pause)
        if write_lock_holder(profile.folder.database) != pid:
            return False
    return True


def _kill(health: Health, allowed: bool) -> int | None:
    owner = health.owner
    if owner is None or owner.life is HolderLife.DEAD:
        return None
    if not allowed:
        raise Refused("only a hung owner is killed", remedy="--force, if it must be")
    identity = owner.process.evidence.identity
    if identity == own_identity():
        raise Refused("the owner is this very process")
    if owner.life is not HolderLife.ALIVE or is_alive(identity) is not True:
        raise Refused(
            f"pid {identity.pid} cannot be verified to be the owner; it was not killed",
            remedy="take without --kill: the term fences it when it wakes",
        )
    # Its start time is compared again: the pid may belong to another process since.
    member = SessionMember(pid=identity.pid, start=identity.start, parent=0, session=0)
    if not signal_member(member, signal.SIGKILL):
        raise Refused(f"pid {identity.pid} could not be killed", remedy="end it by other means")
    until = time.monotonic() + KILL_PATIENCE_S
    while is_alive(identity):
        if time.monotonic() > until:
            raise OutcomeUnknown(
                f"pid {identity.pid} was killed and is still there",
                remedy="it may hang in the kernel; look at it with ps",
            )
        time.sleep(0.02)
    return identity.pid


def _end(
    profile: Profile, health: Health, by: str, now: datetime, candidate: Process | None
) -> bool:
    authority = health.ownership.authority
    if authority is None:
        return False
    try:
        return profile.store.end_term(
            authority,
            act=OwnershipAction.STEP_DOWN,
            why=f"ended by {by}",
            now=now,
            reserved_for=candidate.id if candidate else None,
            reserved_until=now + RESERVED_FOR if candidate else None,
        )
    except NotFound:
        return False
    except StoreBlocked as error:
        error.remedy = "`tenure owner take --kill` ends the owner if it is the one that blocks"
        raise
