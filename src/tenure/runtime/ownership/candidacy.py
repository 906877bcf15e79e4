"""A process that does not own: whether it can own, whether it may take, what it waits for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from tenure.domain.errors import CorruptStore
from tenure.domain.ownership import (
    Contender,
    Decision,
    HolderLife,
    Ownership,
    OwnershipState,
    consider,
)
from tenure.domain.policy.admission import Admission, Policy
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.settings import Hung
from tenure.runtime.dispatch.context import OwnerContext
from tenure.runtime.members import OBSERVE_EVERY_S, life_of_process
from tenure.runtime.ownership.peers import Peers
from tenure.runtime.ownership.term import OPEN_RANK, ActiveTerm

log = logging.getLogger("tenure.keeper")

SOON_HUNG = timedelta(seconds=1)
"""An owner that leaves a due fire unclaimed for longer is checked every second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectionDecision:
    """What a process that does not own decides in one look."""

    move: Decision
    """``act`` is None where it waits, or may not take at all."""
    standing: ProcessStatus
    why: str
    rule: int | None
    holder: Process | None = None
    """The living owner, whose death must be noticed at once."""
    rests: bool = False
    """Whether only a write, or that death, can change it."""


class Election:
    """Used by the keeper's thread alone."""

    def __init__(self, context: OwnerContext, peers: Peers, term: ActiveTerm) -> None:
        self._profile = context.profile
        self._store = context.store
        self._member = context.member
        self._clock = context.clock
        self._peers = peers
        self._term = term
        self._default_hung = context.program.default_hung
        self._gives_way_since: float | None = None

    def look(self, policy: Policy, admission: Admission, current: Ownership) -> ElectionDecision:
        """Decide from the policy and the owner's life."""
        why_not = self._term.why_cannot_begin()
        if admission.admitted and why_not is None:
            why_not = self.why_not_able()
        rank = admission.rule.rank if admission.rule else OPEN_RANK
        holder, life = self._holder(current)
        # Otherwise the living owner marks the processes that died.
        looks = life is not HolderLife.ALIVE or rank > 0
        if looks:
            self._peers.look(current)
        if not admission.admitted or why_not is not None:
            # Evidence may change: a service manager moves processes after their start.
            self._member.observe_again(at_most_every=OBSERVE_EVERY_S)
            why = why_not or admission.why
            return ElectionDecision(
                move=Decision(act=None, why=why),
                standing=ProcessStatus.REFUSED,
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
            just_ended=self._term.just_ended(current),
            gave_way_for=self._gave_way(),
        )
        move = consider(me, self._clock.now(), current, life)
        if move.act is not None:
            if not looks:
                self._peers.look(current)
            others = self._peers.candidates(policy, rank)
            move = consider(me, self._clock.now(), current, life, others)
        if not move.gives_way:
            self._gives_way_since = None
        elif self._gives_way_since is None:
            self._gives_way_since = self._clock.awake()
        return ElectionDecision(
            move=move,
            standing=ProcessStatus.CANDIDATE,
            why=f"{admission.why}; {move.why}",
            rule=rank,
            holder=holder if life is HolderLife.ALIVE else None,
            rests=move.again_in is None and me.hung_for < SOON_HUNG,
        )

    def why_not_able(self) -> str | None:
        """Why this process cannot own although it is admitted: the folder is a copy, say, or the
        process lacks the code of the jobs. None if it can."""
        try:
            problem = self._profile.identity_problem()
        except CorruptStore as error:
            return str(error)
        if problem is not None:
            return f"{problem.text} ({problem.remedy})"
        return self._peers.why_app_refused()

    def _gave_way(self) -> timedelta:
        """For how long it has let other candidates go first."""
        since = self._gives_way_since
        return timedelta(seconds=0 if since is None else self._clock.awake() - since)

    def _holder(self, current: Ownership) -> tuple[Process | None, HolderLife | None]:
        if current.hold is OwnershipState.VACANT or current.process is None:
            return None, None
        holder = self._store.process(current.process)
        return holder, life_of_process(self._profile, holder)

    def _replaces_hung(self) -> bool:
        return (self._profile.settings().hung or self._default_hung) is Hung.REPLACE
