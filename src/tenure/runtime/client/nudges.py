"""Tell the owner that something changed. A hint: the store is the truth, and polling suffices."""

from __future__ import annotations

from tenure.runtime.control import nudge
from tenure.runtime.profile import Profile


def nudge_owner(profile: Profile, what: str) -> None:
    """Let the owner, if any, look at ``jobs``, ``policy`` or ``ownership`` at once."""
    authority = profile.store.ownership().authority
    if authority is not None:
        nudge(profile.store.process(authority.process).socket, {"nudge": what}, 0.2)


def nudge_all(profile: Profile, what: str) -> None:
    """The same for every process of the profile that listens."""
    for process in profile.store.processes():
        nudge(process.socket, {"nudge": what}, 0.2)
