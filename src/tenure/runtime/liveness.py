"""Whether a process that joined still lives, and which candidates could take ownership now.

The kernel decides, never the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from tenure.domain.ownership import ALWAYS, Candidate, HolderLife
from tenure.domain.policy.admission import Policy
from tenure.domain.process import Process, ProcessStatus
from tenure.host.live import Life, life_of
from tenure.host.processes import activity_of, boot_id
from tenure.runtime.profile import Profile

_LIVES = {
    Life.ALIVE: HolderLife.ALIVE,
    Life.DEAD: HolderLife.DEAD,
    Life.UNVERIFIABLE: HolderLife.UNVERIFIABLE,
}


def life_of_process(profile: Profile, process: Process) -> HolderLife:
    """By its live lock; where that lock has leaked to another process, by its identity."""
    if process.left_at is not None:
        return HolderLife.DEAD
    return _LIVES[life_of(profile.folder.live, process.id, process.evidence.identity)]


def candidates_among(
    profile: Profile,
    policy: Policy,
    living: Iterable[Process],
    *,
    awake: float,
    my_rank: int | None = None,
) -> tuple[Candidate, ...]:
    """The candidates among ``living``, with what their rules and the kernel say.

    ``living`` are the processes not known to be dead, without the caller, ``my_rank`` the rank
    under which the caller owns or is a candidate, ``awake`` its awake clock (seconds).
    """
    present = list(living)
    ranks = {
        p.rule or 0 for p in present if p.standing in (ProcessStatus.OWNER, ProcessStatus.CANDIDATE)
    }
    if my_rank is not None:
        ranks.add(my_rank)
    return tuple(
        Candidate(
            process=p.id,
            pid=p.evidence.identity.pid,
            rank=rank,
            after=policy.rules[rank].after if rank < len(policy.rules) else timedelta(0),
            better_absent_for=_better_absent_for(profile, rank, ranks, awake),
            stopped=activity_of(p.evidence.identity).halted,
        )
        for p in present
        if p.standing is ProcessStatus.CANDIDATE
        for rank in (p.rule or 0,)
    )


def _better_absent_for(profile: Profile, rank: int, ranks: set[int], awake: float) -> timedelta:
    if rank == 0:
        return ALWAYS
    if min(ranks) < rank:
        return timedelta(0)
    kept = profile.store.absence(rank)
    if kept is None or kept.boot_id != boot_id():
        return timedelta(0)
    return timedelta(seconds=max(0.0, awake - kept.awake))
