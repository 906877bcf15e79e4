"""Is there an owner, does it live, does it work: what every report and refusal stands on.

The store says who owns, the kernel says who lives; both are read here, once, for one report.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tenure.domain.errors import NotFound
from tenure.domain.ownership import (
    HUNG_AFTER,
    Candidate,
    Hold,
    HolderLife,
    Ownership,
    Unfit,
    find_successor,
    hung_for,
)
from tenure.domain.policy import Policy
from tenure.domain.process import Process, Standing
from tenure.host.clocks import SystemClock
from tenure.host.processes import boot_id
from tenure.runtime.liveness import candidates_among, life_of_process
from tenure.runtime.profile import Profile
from tenure.store.profile_id import IdentityKind, IdentityProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """A process of the profile, and what the kernel says of it."""

    process: Process
    life: HolderLife


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A profile's processes and its owner at one moment."""

    ownership: Ownership
    policy: Policy
    present: tuple[Present, ...]
    """Those that are not known to be dead; the owner even then."""
    owner: Present | None
    hung_for: timedelta = field(default=timedelta(0))
    start: str | None = None
    """What a person types to start the owner, as the profile's settings say."""
    able: tuple[Candidate, ...] = ()
    """The living candidates, each as far as it can take the ownership now."""
    problem: IdentityProblem | None = None
    """Why nobody may own at all: a copy or a restored backup, not adopted yet."""

    @property
    def owned(self) -> bool:
        """Somebody owns who is not known to be dead."""
        return self.owner is not None and self.owner.life is not HolderLife.DEAD

    @property
    def hung(self) -> bool:
        return self.owned and self.hung_for >= HUNG_AFTER

    def successor(self) -> Process | Unfit:
        """The best candidate that can take the ownership now, or why there is none."""
        found = find_successor(self.able)
        if isinstance(found, Unfit):
            return found
        return next(p.process for p in self.present if p.process.id == found.process)

    def candidates(self) -> tuple[Process, ...]:
        """Living candidates, the best rule first, of equals the longest there."""
        found = [p.process for p in self.present if p.process.standing is Standing.CANDIDATE]
        return tuple(sorted(found, key=lambda p: (p.rule or 0, p.joined_at)))

    def executors(self) -> tuple[Process, ...]:
        """Every process that could execute if it were let."""
        return tuple(p.process for p in self.present if p.process.executes)


def examine(profile: Profile, now: datetime) -> Health:
    """Ask the store and the kernel. ``now`` is UTC."""
    ownership = profile.store.ownership()
    present = tuple(
        Present(process=process, life=life_of_process(profile, process))
        for process in profile.store.processes()
    )
    owner = None
    if ownership.hold is Hold.HELD and ownership.process is not None:
        owner = next((p for p in present if p.process.id == ownership.process), None)
        if owner is None:
            owner = _departed(profile, ownership.process)
    problem = profile.identity_problem()
    if problem is not None:
        # What the database says of an owner is about another folder, or another time.
        owner = None
    if problem is not None and problem.kind is IdentityKind.ELSEWHERE:
        present = tuple(p for p in present if p.life is HolderLife.ALIVE)
    living = tuple(p for p in present if p.life is not HolderLife.DEAD or p is owner)
    return Health(
        ownership=ownership,
        policy=profile.policy(),
        present=living,
        owner=owner,
        hung_for=timedelta(0) if problem else _hung_for(profile, ownership, now),
        start=profile.settings().start,
        able=_able(profile, living),
        problem=problem,
    )


def _able(profile: Profile, living: tuple[Present, ...]) -> tuple[Candidate, ...]:
    there = [p.process for p in living if p.life is not HolderLife.DEAD]
    awake = SystemClock().awake()
    return candidates_among(profile, profile.policy(), there, awake=awake)


def _departed(profile: Profile, process: str) -> Present | None:
    try:
        return Present(process=profile.store.process(process), life=HolderLife.DEAD)
    except NotFound:
        return None


def _hung_for(profile: Profile, current: Ownership, now: datetime) -> timedelta:
    due, awake = profile.store.next_due(), SystemClock().awake()
    return hung_for(current, due, now=now, awake=awake, boot=boot_id())
