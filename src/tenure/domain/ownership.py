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
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tenure.domain.durations import format_duration
from tenure.domain.errors import IllegalTransition

PREEMPT_AFTER = timedelta(seconds=10)
"""A better-ranked candidate takes over after this much stable life."""
HUNG_AFTER = timedelta(seconds=30)
"""Awake time that a due fire may stay unclaimed before its owner counts as hung (C9)."""
RESERVED_FOR = timedelta(seconds=5)
"""How long a hand-over keeps the place for the candidate it names."""


class Hold(StrEnum):
    """Whether anybody owns."""

    VACANT = "vacant"
    HELD = "held"


class Act(StrEnum):
    """What may happen to an ownership record."""

    TAKE = "take"
    TAKE_FROM_DEAD = "take_from_dead"
    TAKE_BY_FORCE = "take_by_force"
    REAFFIRM = "reaffirm"
    HAND_OVER = "hand_over"
    STEP_DOWN = "step_down"


TRANSITIONS: dict[tuple[Hold, Act], Hold] = {
    (Hold.VACANT, Act.TAKE): Hold.HELD,
    (Hold.HELD, Act.TAKE_FROM_DEAD): Hold.HELD,
    (Hold.HELD, Act.TAKE_BY_FORCE): Hold.HELD,
    (Hold.VACANT, Act.TAKE_BY_FORCE): Hold.HELD,
    (Hold.HELD, Act.REAFFIRM): Hold.HELD,
    (Hold.HELD, Act.HAND_OVER): Hold.VACANT,
    (Hold.HELD, Act.STEP_DOWN): Hold.VACANT,
}


def transition(hold: Hold, act: Act) -> Hold:
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

    hold: Hold = Hold.VACANT
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
        if self.hold is not Hold.HELD or self.process is None:
            return None
        return Authority(term=self.term, process=self.process, policy_version=self.policy_version)

    def kept_from(self, process: str, now: datetime) -> bool:
        """Whether a hand-over keeps the place for somebody else than ``process``.

        A reservation that ends further ahead than any can was made under a wrong clock.
        """
        until = self.reserved_until
        return (
            self.reserved_for not in (None, process)
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
    how: Act
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
    lived_for: timedelta = timedelta(0)
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What a contender does next: take by ``act``, or wait and why.

    ``again_in`` is the awake time after which to ask again, None where only an event changes it.
    """

    act: Act | None
    why: str
    again_in: timedelta | None = None


def consider(me: Contender, now: datetime, current: Ownership, life: HolderLife | None) -> Move:
    """Decide what a contender does about the ownership it sees.

    ``life`` is the kernel's answer about the current holder; None where nobody holds.
    """
    if not me.admitted:
        return Move(act=None, why=me.why)
    if current.process == me.process and current.hold is Hold.HELD:
        return Move(act=None, why="already the owner")
    waits = me.after - me.better_absent_for
    # No countdown: these words are kept, and a change of them is a write and an event.
    fallback = f"a better-ranked process must be away for {format_duration(me.after)} first"
    if current.hold is Hold.VACANT:
        if waits > timedelta(0):
            return Move(act=None, why=fallback, again_in=waits)
        return _vacant(me, now, current)
    if life is HolderLife.DEAD:
        if waits > timedelta(0):
            return Move(act=None, why=f"the owner is dead; {fallback}", again_in=waits)
        return Move(act=Act.TAKE_FROM_DEAD, why="the owner's process is dead")
    if me.hung_for >= HUNG_AFTER and me.replaces_hung and waits <= timedelta(0):
        return Move(
            act=Act.TAKE_BY_FORCE,
            why=f"the owner left a due fire unclaimed for {me.hung_for} of awake time",
        )
    if life is HolderLife.UNVERIFIABLE:
        return Move(act=None, why="whether the owner lives cannot be verified from here")
    return Move(act=None, why=f"term {current.term} is held by {current.process}")


def _vacant(me: Contender, now: datetime, current: Ownership) -> Move:
    if current.reserved_until is not None and current.kept_from(me.process, now):
        left = current.reserved_until - now
        return Move(act=None, why=f"kept for {current.reserved_for} by a hand-over", again_in=left)
    return Move(act=Act.TAKE, why="nobody owns")


def hung_for(
    current: Ownership, due: datetime | None, *, now: datetime, awake: float, boot: str
) -> timedelta:
    """How long the owner has left a due fire unclaimed without any progress, in awake time (C9).

    ``due`` is the earliest that is due in the store, ``awake`` and ``boot`` the reader's awake
    clock (seconds) and boot id: progress noted in another boot tells nothing.
    """
    if current.hold is not Hold.HELD or current.progress_awake is None:
        return timedelta(0)
    if current.boot_id != boot or due is None or due >= now:
        return timedelta(0)
    still = timedelta(seconds=max(0.0, awake - current.progress_awake))
    late: timedelta = now - due
    return min(still, late)


def should_yield_to_newer(lived_for: timedelta | None) -> bool:
    """Whether an owner hands over to a candidate of its own rank that runs a newer version of the
    same app, once that has lived long enough; None where there is none."""
    return lived_for is not None and lived_for >= PREEMPT_AFTER


def should_yield(my_rank: int, better_rank: int | None, better_lived_for: timedelta) -> bool:
    """Whether an owner hands over to a better-ranked candidate that has lived long enough."""
    return better_rank is not None and better_rank < my_rank and better_lived_for >= PREEMPT_AFTER
