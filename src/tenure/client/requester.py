"""Who edits and requests: this process, as it says itself (C14)."""

from __future__ import annotations

import os

from tenure.domain.request import Requester


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
