"""Tell the owner that something changed. A hint: the store is the truth, and polling suffices."""

from __future__ import annotations

import time
from collections.abc import Iterable

from tenure.runtime.ownership.control import nudge
from tenure.runtime.profile import Profile

NOTIFY_TOTAL_TIMEOUT_S = 1.0
"""A hung process does not answer; the total wait is capped."""


def nudge_owner(profile: Profile, what: str) -> None:
    """Let the owner, if any, look at ``jobs``, ``policy`` or ``ownership`` at once."""
    authority = profile.store.ownership().authority
    if authority is not None:
        nudge(profile.store.process(authority.process).socket, {"nudge": what}, 0.2)


def nudge_all(profile: Profile, what: str) -> None:
    """The same for every process of the profile that listens."""
    nudge_each((process.socket for process in profile.store.processes()), what)


def nudge_each(sockets: Iterable[str | None], what: str) -> None:
    """The same for each of these; the total wait is capped."""
    until = time.monotonic() + NOTIFY_TOTAL_TIMEOUT_S
    for socket in sockets:
        nudge(socket, {"nudge": what}, max(0.01, min(0.2, until - time.monotonic())))
