"""Ownership: who may run a profile's jobs, and who may become that.

Authority: the store holds one ownership record per profile and is the only truth about it. The
kernel says who lives; the policy says who is admitted; this module says what follows. Nothing
here reads a clock or asks the OS.

    vacant --take--> held --hand_over | step_down--> vacant
                      |  ^
                      |  +-- take_from_dead | take_by_force (a new term, another holder)
                      +-- reaffirm (same term, a newer policy)

Each take begins a *term*: an integer that only grows (C1). Every claim names its term, its
process and the policy version; when any of them is no longer current the claim changes nothing
(C3). So a loser needs no killing: a frozen owner that wakes finds its term gone.

Failure handling. A dead holder: the kernel's word is enough, take over at once. A holder that
cannot be verified (another pid namespace, a live file gone): only by force. A holder that lives
but makes no progress: 'hung'; a warning, or a forced take where the profile says ``hung =
"replace"``. A holder that is no longer admitted steps down by itself and stops claiming.

Who goes first. A hand-over names a successor that can take the ownership now, and keeps the place
for it; an owner that has just let go, and one of an older version, let the others go first. None of
that outweighs a place that would stay vacant: it holds only towards a candidate that can take now,
and for GIVES_WAY_FOR in all, so that no eligible candidate waits longer than a second (C11).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tenure.domain.durations import format_duration
from tenure.domain.errors import IllegalTransition

PREEMPT_AFTER = timedelta(seconds=10)
"""A better-ranked candidate takes over after this much stable life."""
HUNG_AFTER = timedelta(seconds=30)
"""Awake time that a due fire may stay unclaimed before its owner counts as hung (C9)."""
RESERVED_FOR = timedelta(seconds=0.9)
"""How long a hand-over keeps the place for the candidate it names. With the look that follows it
stays below the second of C11."""
GIVES_WAY_FOR = RESERVED_FOR
"""How long a contender lets others go first, for whatever reasons, before it takes a place that
it could have taken (awake time)."""
ALWAYS = timedelta.max / 2
"""How long no better process has been there where no rule is better."""
GIVES_WAY_LOOK = timedelta(seconds=0.1)
"""A contender that lets another go first looks this often whether the other still can."""


class OwnershipState(StrEnum):
    """Whether anybody owns."""

    VACANT = "vacant"
    HELD = "held"


class OwnershipAction(StrEnum):
    """What may happen to an ownership record."""

    TAKE = "take"
    TAKE_FROM_DEAD = "take_from_dead"
    TAKE_BY_FORCE = "take_by_force"
    REAFFIRM = "reaffirm"
    HAND_OVER = "hand_over"
    STEP_DOWN = "step_down"


TRANSITIONS: dict[tuple[OwnershipState, OwnershipAction], OwnershipState] = {
    (OwnershipState.VACANT, OwnershipAction.TAKE): OwnershipState.HELD,
    (OwnershipState.HELD, OwnershipAction.TAKE_FROM_DEAD): OwnershipState.HELD,
    (OwnershipState.HELD, OwnershipAction.TAKE_BY_FORCE): OwnershipState.HELD,
    (OwnershipState.VACANT, OwnershipAction.TAKE_BY_FORCE): OwnershipState.HELD,
    (OwnershipState.HELD, OwnershipAction.REAFFIRM): OwnershipState.HELD,
    (OwnershipState.HELD, OwnershipAction.HAND_OVER): OwnershipState.VACANT,
    (OwnershipState.HELD, OwnershipAction.STEP_DOWN): OwnershipState.VACANT,
}


def transition(hold: OwnershipState, act: OwnershipAction) -> OwnershipState:
    """The state after ``act``; raises IllegalTransition, changing nothing, if there is none."""
    try:
        return TRANSITIONS[hold, act]
    except KeyError:
        raise IllegalTransition(f"an ownership that is {hold} allows no {act}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """What every claim names: the term, who holds it, under which accepted policy (C3)."""

    term: int
    process: str
    policy_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """The record of a profile. Instants are UTC; ``term`` is the last one begun, 0 before."""

    hold: OwnershipState = OwnershipState.VACANT
    term: int = 0
    process: str | None = None
    rule: int | None = None
    authoritative: bool = False
    policy_version: int = 0
    since: datetime | None = None
    progress_at: datetime | None = None
    progress_awake: float | None = None
    """The holder's awake clock at its last progress, seconds; comparable in one boot only."""
    boot_id: str | None = None
    ended_at: datetime | None = None
    ended_why: str = ""
    reserved_for: str | None = None
    reserved_until: datetime | None = None

    @property
    def authority(self) -> Authority | None:
        if self.hold is not OwnershipState.HELD or self.process is None:
            return None
        return Authority(term=self.term, process=self.process, policy_version=self.policy_version)

    def kept_from(self, process: str, now: datetime, *, instead_of: str | None = None) -> bool:
        """Whether a hand-over keeps the place for another process than ``process``.

        ``instead_of`` names a process that ``process`` found unable to take it: the place is not
        kept for that one. A reservation that ends further ahead than any can was made under a
        wrong clock.
        """
        until = self.reserved_until
        return (
            self.reserved_for not in (None, process, instead_of)
            and until is not None
            and now < until <= now + RESERVED_FOR
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One ownership in the history. ``ended_at`` is None while it lasts."""

    term: int
    process: str
    rule: int | None
    authoritative: bool
    policy_version: int
    taken_at: datetime
    how: OwnershipAction
    ended_at: datetime | None = None
    ended_why: str = ""


class HolderLife(StrEnum):
    """What the kernel says of the holder."""

    ALIVE = "alive"
    DEAD = "dead"
    UNVERIFIABLE = "unverifiable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A candidate as it sees itself when it considers taking. Durations are awake time."""

    process: str
    admitted: bool
    rank: int
    """Of the rule that admits it; 0 is the best. Open profiles: 0."""
    after: timedelta = timedelta(0)
    better_absent_for: timedelta = timedelta(0)
    """How long no process admitted by a better rule has been there."""
    hung_for: timedelta = timedelta(0)
    """How long the owner has left a due fire unclaimed without progress."""
    replaces_hung: bool = False
    just_ended: bool = False
    """Whether the last term, which is over, was its own: others go first."""
    gave_way_for: timedelta = timedelta(0)
    """How long it has let others go first since it could have taken."""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A living candidate as another process of the profile sees it. Durations are awake time."""

    process: str
    rank: int
    """Of the rule that admits it."""
    pid: int = 0
    lived_for: timedelta = timedelta(0)
    """For how long it has been seen as a candidate."""
    after: timedelta = timedelta(0)
    better_absent_for: timedelta = timedelta(0)
    stopped: bool = False
    """By a signal: it does nothing before it is continued."""
    newer: bool = False
    """Whether it runs a newer version of the looker's app."""
    older: bool = False

    @property
    def can_take(self) -> bool:
        """Whether it would take a vacant ownership now."""
        return not self.stopped and self.better_absent_for >= self.after

    @property
    def order(self) -> tuple[int, timedelta]:
        """The sort key of candidates: the better rule, of equals the one seen longest."""
        return self.rank, -self.lived_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """Why the ownership cannot be handed over, and what to do about it."""

    why: str
    remedy: str


def find_successor(candidates: Sequence[Candidate], named: str | None = None) -> Candidate | Unfit:
    """The candidate to hand over to: the one that is named, else the best.

    Only one that can take now. The policy outranks a request: while a rule's ``after`` has not
    passed, its candidates take nothing, and a place kept for one of them would stay vacant.
    """
    asked = [c for c in candidates if named in (None, c.process)]
    able = [c for c in asked if c.can_take]
    if able:
        return min(able, key=lambda c: c.order)
    if not asked:
        return Unfit(
            why=f"{named} is not a running candidate"
            if named
            else "no other process is a candidate",
            remedy="`tenure status` lists the candidates; `tenure owner release` ends the term "
            "without one",
        )
    unfit = [_why_unfit(c) for c in sorted(asked, key=lambda c: c.order)]
    return Unfit(why="; ".join(u.why for u in unfit), remedy=unfit[0].remedy)


def _why_unfit(one: Candidate) -> Unfit:
    who, rule = f"{one.process} (pid {one.pid})", one.rank + 1
    if one.stopped:
        return Unfit(
            why=f"{who} was stopped by a signal and cannot take the ownership",
            remedy=f"continue it (kill -CONT {one.pid}), then ask again",
        )
    after = format_duration(one.after)
    away = "one left a shorter time ago" if one.better_absent_for else "one is there now"
    return Unfit(
        why=f"rule {rule} admits {who} only after {after} without a better-ranked process, "
        f"and {away}",
        remedy=f"stop the better-ranked processes and wait {after}, "
        f"or change `after` of rule {rule} in profile.toml",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a contender does next: take by ``act``, or wait and why.

    ``again_in`` is the awake time after which to ask again, None where only an event changes it.
    """

    act: OwnershipAction | None
    why: str
    again_in: timedelta | None = None
    instead_of: str | None = None
    """The process for which the place is kept, and that cannot take it."""
    gives_way: bool = False
    """Whether it waits only because another goes first."""


def consider(
    me: Contender,
    now: datetime,
    current: Ownership,
    life: HolderLife | None,
    others: Sequence[Candidate] = (),
) -> Decision:
    """Decide what a contender does about the ownership it sees.

    ``life`` is the kernel's answer about the current holder; None where the profile has none.
    ``others`` are the other living candidates.
    """
    if not me.admitted:
        return Decision(act=None, why=me.why)
    if current.process == me.process and current.hold is OwnershipState.HELD:
        return Decision(act=None, why="already the owner")
    waits = me.after - me.better_absent_for
    # No countdown: these words are kept, and a change of them is a write and an event.
    fallback = f"a better-ranked process must be away for {format_duration(me.after)} first"
    if current.hold is OwnershipState.VACANT:
        if waits > timedelta(0):
            return Decision(act=None, why=fallback, again_in=waits)
        return _vacant(me, now, current, others)
    if life is HolderLife.DEAD:
        if waits > timedelta(0):
            return Decision(act=None, why=f"the owner is dead; {fallback}", again_in=waits)
        take = Decision(act=OwnershipAction.TAKE_FROM_DEAD, why="the owner's process is dead")
        return _unless_another_goes_first(me, others, take)
    if me.hung_for >= HUNG_AFTER and me.replaces_hung and waits <= timedelta(0):
        why = f"the owner left a due run unclaimed for {me.hung_for} of awake time"
        return _unless_another_goes_first(
            me, others, Decision(act=OwnershipAction.TAKE_BY_FORCE, why=why)
        )
    if life is HolderLife.UNVERIFIABLE:
        return Decision(act=None, why="it cannot be verified from here whether the owner is alive")
    return Decision(act=None, why=f"{current.process} is the owner (term {current.term})")


def _vacant(
    me: Contender, now: datetime, current: Ownership, others: Sequence[Candidate]
) -> Decision:
    if current.reserved_for == me.process:
        return Decision(act=OwnershipAction.TAKE, why="a hand-over named it")
    if not current.kept_from(me.process, now):
        return _unless_another_goes_first(
            me, others, Decision(act=OwnershipAction.TAKE, why="no process owned the profile")
        )
    named = next((c for c in others if c.process == current.reserved_for), None)
    if named is not None and named.can_take and me.gave_way_for < GIVES_WAY_FOR:
        why = f"kept for {current.reserved_for} by a hand-over"
        return Decision(act=None, why=why, again_in=GIVES_WAY_LOOK, gives_way=True)
    take = Decision(
        act=OwnershipAction.TAKE,
        why=f"{current.reserved_for}, which a hand-over named, does not take it",
        instead_of=current.reserved_for,
    )
    return _unless_another_goes_first(me, others, take)


def _unless_another_goes_first(
    me: Contender, others: Sequence[Candidate], take: Decision
) -> Decision:
    """``take``, or let another go first for a while: every other where the last term was our own,
    and of two versions of one app the newer, so that a deploy changes the declarations once. Never
    one that would let us go first."""
    first = [c for c in others if c.can_take and _goes_first(c, me)]
    if not first or me.gave_way_for >= GIVES_WAY_FOR:
        return take
    one = min(first, key=lambda c: c.order)
    version = "of a newer version, " if one.newer else ""
    why = f"{one.process}, {version}goes first"
    return Decision(act=None, why=why, again_in=GIVES_WAY_LOOK, gives_way=True)


def _goes_first(one: Candidate, me: Contender) -> bool:
    if one.rank == me.rank and (one.newer or one.older):
        return one.newer
    return me.just_ended


def hung_for(
    current: Ownership, due: datetime | None, *, now: datetime, awake: float, boot: str
) -> timedelta:
    """How long the owner has left a due fire unclaimed without any progress, in awake time (C9).

    ``due`` is the earliest that is due in the store, ``awake`` and ``boot`` the reader's awake
    clock (seconds) and boot id: progress noted in another boot tells nothing.
    """
    if current.hold is not OwnershipState.HELD or current.progress_awake is None:
        return timedelta(0)
    if current.boot_id != boot or due is None or due >= now:
        return timedelta(0)
    still = timedelta(seconds=max(0.0, awake - current.progress_awake))
    late: timedelta = now - due
    return min(still, late)


def find_better(
    candidates: Sequence[Candidate], rank: int, *, at_once: bool = False
) -> Candidate | None:
    """The candidate to which an owner of this rank hands over without being asked: one of a better
    rule, or one of its own rule that runs a newer version of its app. Only one that can take now
    and has lived long enough; ``at_once`` where the owner has just lost the rule that admitted it
    (its launcher has ended): then a better one need not have lived long."""
    able = [c for c in candidates if c.can_take]
    best = min(able, key=lambda c: c.order, default=None)
    if best is not None and best.rank < rank:
        return best if at_once or best.lived_for >= PREEMPT_AFTER else None
    newer = [c for c in able if c.newer and c.rank == rank and c.lived_for >= PREEMPT_AFTER]
    return max(newer, key=lambda c: c.lived_for, default=None)
