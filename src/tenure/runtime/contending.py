"""A process that does not own: whether it is able to, whether it may take, for what it waits."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from tenure.domain.errors import Damaged
from tenure.domain.ownership import (
    RESERVED_FOR,
    Act,
    Contender,
    Hold,
    HolderLife,
    Move,
    Ownership,
    consider,
)
from tenure.domain.policy import Admission, Policy
from tenure.domain.process import Process, Standing
from tenure.domain.settings import Hung
from tenure.host.clocks import Clock
from tenure.runtime.holding import OPEN_RANK
from tenure.runtime.liveness import life_of_process
from tenure.runtime.member import Member
from tenure.runtime.peers import Peers
from tenure.runtime.profile import Profile

log = logging.getLogger("tenure.keeper")

GIVES_WAY = timedelta(seconds=0.2)
SOON_HUNG = timedelta(seconds=1)
"""An owner that leaves a due fire for so long is looked at every second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a process that does not own makes of a look."""

    move: Move
    """``act`` is None where it waits, or may not take at all."""
    standing: Standing
    why: str
    rule: int | None
    holder: Process | None = None
    """The living owner, whose death is to be noticed at once."""
    rests: bool = False
    """Whether nothing but a write, or that death, can change it."""


class Contending:
    """Used by the keeper's thread alone."""

    def __init__(
        self,
        profile: Profile,
        member: Member,
        *,
        clock: Clock,
        peers: Peers,
        default_hung: Hung,
        observe_every: float,
    ) -> None:
        self._profile = profile
        self._store = profile.store
        self._member = member
        self._clock = clock
        self._peers = peers
        self._default_hung = default_hung
        self._observe_every = observe_every
        self._gives_way_until: float | None = None

    def look(self, policy: Policy, admission: Admission, current: Ownership) -> Wish:
        """What the policy and the owner's life say about this process now."""
        why_not = self.why_not_able() if admission.admitted else None
        rank = admission.rule.rank if admission.rule else OPEN_RANK
        holder, life = self._holder(current)
        if life is not HolderLife.ALIVE or rank > 0:  # else that is the owner's to do
            self._peers.look(policy, current)
        if not admission.admitted or why_not is not None:
            # Evidence may change: a service manager moves processes after their start.
            self._member.observe_again(at_most_every=self._observe_every)
            why = why_not or admission.why
            return Wish(
                move=Move(act=None, why=why),
                standing=Standing.REFUSED,
                why=why,
                rule=rank if admission.rule else None,
            )
        me = Contender(
            process=self._member.id,
            admitted=True,
            rank=rank,
            after=admission.after,
            better_absent_for=self._peers.better_absent_for(rank),
            hung_for=self._peers.hung_for(current),
            replaces_hung=self._replaces_hung(),
        )
        move = consider(me, self._clock.now(), current, life)
        move = self._unless_newer(move, policy, current, rank)
        return Wish(
            move=move,
            standing=Standing.CANDIDATE,
            why=f"{admission.why}; {move.why}",
            rule=rank,
            holder=holder if life is HolderLife.ALIVE else None,
            rests=move.again_in is None and me.hung_for < SOON_HUNG,
        )

    def why_not_able(self) -> str | None:
        """Why this process cannot own although it is admitted: the folder is a copy, say, or it
        does not carry the code of the jobs. None if it can."""
        try:
            problem = self._profile.identity_problem()
        except Damaged as error:
            return str(error)
        if problem is not None:
            return f"{problem.text} ({problem.remedy})"
        return self._peers.why_app_refused()

    def _unless_newer(self, move: Move, policy: Policy, current: Ownership, rank: int) -> Move:
        """Of two versions of one app the newer goes first, so that a deploy changes the
        declarations once; for a while, since its process may be frozen."""
        if move.act is Act.TAKE_BY_FORCE:
            self._peers.look(policy, current)
        newer = self._peers.newer_candidate(rank) if move.act is not None else None
        if newer is None:
            self._gives_way_until = None
            return move
        awake = self._clock.awake()
        if self._gives_way_until is None:
            self._gives_way_until = awake + RESERVED_FOR.total_seconds()
        if awake >= self._gives_way_until:
            return move
        why = f"{newer.process}, of a newer version, goes first"
        return Move(act=None, why=why, again_in=GIVES_WAY)

    def _holder(self, current: Ownership) -> tuple[Process | None, HolderLife | None]:
        if current.hold is Hold.VACANT or current.process is None:
            return None, None
        holder = self._store.process(current.process)
        return holder, life_of_process(self._profile, holder)

    def _replaces_hung(self) -> bool:
        return (self._profile.settings().hung or self._default_hung) is Hung.REPLACE
