"""Is a process of the profile there, by the kernel's word; and is its owner?"""

from __future__ import annotations

from dataclasses import dataclass

from tenure.domain.errors import NotFound
from tenure.domain.ownership import HolderLife, OwnershipState
from tenure.domain.process import Activity, Process
from tenure.host.processes import activity_of
from tenure.runtime.liveness import life_of_process
from tenure.runtime.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """A process of the profile, and what the kernel says of it."""

    process: Process
    life: HolderLife
    activity: Activity = Activity.UNKNOWN

    @property
    def halted(self) -> bool:
        """It lives, and does nothing until it is continued: stopped, or frozen."""
        return self.activity.halted


def find_owner(profile: Profile) -> Present | None:
    """The owner, unless it is known to be dead; None also for a copied or restored profile, whose
    database names an owner of another folder or time."""
    ownership = profile.store.ownership()
    if ownership.hold is not OwnershipState.HELD or ownership.process is None:
        return None
    try:
        process = profile.store.process(ownership.process)
    except NotFound:
        return None
    if process.left_at is not None or profile.identity_problem() is not None:
        return None
    owner = look_at(profile, process)
    return None if owner.life is HolderLife.DEAD else owner


def look_at(profile: Profile, process: Process) -> Present:
    """Ask the kernel about one process of the profile."""
    life = life_of_process(profile, process)
    activity = Activity.UNKNOWN
    if life is HolderLife.ALIVE:
        activity = activity_of(process.evidence.identity)
    return Present(process=process, life=life, activity=activity)


def gone_owner(profile: Profile, process: str) -> Present | None:
    """An owner that has left, or died and was swept."""
    try:
        return Present(process=profile.store.process(process), life=HolderLife.DEAD)
    except NotFound:
        return None
