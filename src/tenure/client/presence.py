"""The processes of a profile as seen from this one: the owner, its life, and how to nudge it.

A nudge is a hint: the store is the truth, and polling suffices.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

from tenure.domain.errors import NotFound
from tenure.domain.ownership import HolderLife, OwnershipState
from tenure.domain.process import Activity, Process
from tenure.domain.request import Requester
from tenure.runtime.ownership.control import nudge
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


def recorded_owner(profile: Profile) -> Process | None:
    """The owner by the store, dead or alive; None also for a copied or restored profile, whose
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
    return process


def find_owner(profile: Profile) -> Present | None:
    """The owner, unless there is none or it is known to be dead."""
    process = recorded_owner(profile)
    if process is None:
        return None
    owner = look_at(profile, process)
    return None if owner.life is HolderLife.DEAD else owner


def look_at(profile: Profile, process: Process) -> Present:
    """Ask the kernel about one process of the profile."""
    # A request to an owner that answers does without these.
    from tenure.host.processes import activity_of
    from tenure.runtime.members import life_of_process

    life = life_of_process(profile, process)
    activity = Activity.UNKNOWN
    if life is HolderLife.ALIVE:
        activity = activity_of(process.evidence.identity)
    return Present(process=process, life=life, activity=activity)


# A hung process does not answer, and there may be many.
NOTIFY_TOTAL_TIMEOUT_S = 1.0


def nudge_owner(profile: Profile, what: str) -> None:
    """Let the owner, if any, look at ``jobs``, ``policy`` or ``ownership`` at once."""
    authority = profile.store.ownership().authority
    if authority is not None:
        nudge(profile.store.process(authority.process).socket, {"nudge": what}, 0.2)


def nudge_all(profile: Profile, what: str) -> None:
    """The same for every process of the profile that listens."""
    nudge_each((process.socket for process in profile.store.processes()), what)


def nudge_each(sockets: Iterable[str | None], what: str) -> None:
    """The same for each of these."""
    until = time.monotonic() + NOTIFY_TOTAL_TIMEOUT_S
    for socket in sockets:
        nudge(socket, {"nudge": what}, max(0.01, min(0.2, until - time.monotonic())))


def user_name() -> str | None:
    """The user's name as the passwd file has it; None for a uid without an entry."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return None


def requester(via: str) -> Requester:
    """This process, as it says itself; the control socket may observe it later."""
    return Requester(pid=os.getpid(), uid=os.geteuid(), user=user_name(), via=via)


def editor(via: str) -> str:
    """Who edits, for the revision (C14)."""
    return requester(via).describe()
