"""Orphans that the kernel gives to this process: process 1 of a container, or a subreaper.

A process whose parent has ended gets a new one: process 1 of its pid namespace, or the nearest
ancestor that asked for that (``PR_SET_CHILD_SUBREAPER``, kept by exec). A new parent that never
waits for them fills the process table with zombies.

The kernel does not show which process started a child. But it gives orphans to the first living
thread of the new parent, its main thread, while a child stays with the thread that forked it. So an
orphan is a child of the main thread, in a session that is not ours. A child that this program, or
the code of its user, forked and still waits for has another thread as parent, or our session, or
was there before: its status is never taken.

Linux. Elsewhere, and where the kernel does not list a thread's children, nothing is reaped.
"""

from __future__ import annotations

import contextlib
import os
import sys

from tenure.host.linux.proc import read_stat

_PR_GET_CHILD_SUBREAPER = 37


def adopts_orphans() -> bool:
    """Whether orphans come to this process."""
    if sys.platform != "linux":
        return False
    if os.getpid() == 1:
        return True
    import ctypes

    flag = ctypes.c_int(0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(flag), 0, 0, 0)
    return bool(flag.value)


class Orphans:
    """Used by one thread. Made before this process forks children of its own."""

    def __init__(self) -> None:
        pid = os.getpid()
        self._path = f"/proc/self/task/{pid}/children"
        self._session = os.getsid(0)
        self._not_ours_to_reap = frozenset(self._children() or ())

    def can_reap(self) -> bool:
        """Whether the kernel lists the children of a thread."""
        return self._children() is not None

    def reap(self) -> int:
        """Reap the orphans that have ended; how many."""
        reaped = 0
        for pid in self._children() or ():
            if pid in self._not_ours_to_reap:
                continue
            with contextlib.suppress(OSError, ValueError):
                stat = read_stat(pid)
                if stat.dead and stat.session != self._session:
                    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
                    reaped += ended is not None
        return reaped

    def _children(self) -> list[int] | None:
        try:
            with open(self._path, encoding="ascii") as file:
                return [int(pid) for pid in file.read().split()]
        except (OSError, ValueError):
            return None
