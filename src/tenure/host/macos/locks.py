"""macOS: on which files this very process holds an exclusive flock. Untested on a real Mac.

The kernel does not list locks. But it answers two attempts, in this order:

1. Through a descriptor of our own on the same file, a *shared* lock, without waiting. Granted:
   no process holds an exclusive lock. The shared lock is released at once.
2. Refused: some process does. Through this process's own open descriptor, an exclusive lock.
   Granted: this descriptor holds it already, and nothing has changed. Refused: another holds it.

What this may do to others, and why it is kept to files named ``*.lock`` that the process has open:

* For microseconds the first attempt can make another process's attempt to lock alone fail.
* If the holder releases it between the two, the second does take the lock, through a descriptor
  that the process had opened for it. It is then held in truth, though unasked.
* Closing any descriptor of a file drops the process's fcntl(2) locks on it. So the descriptor of
  our own is kept, one for each file, for the life of the process.

The kernel does not show which process took a lock, so what may have come from another process is
unknown: everything in a forked child, and what a descriptor holds that exec does not close.

Source: flock(2), fcntl(2) of macOS. Thread-safe.
"""

from __future__ import annotations

import errno
import os
import threading

from tenure.host.file_locks import LOOK_FLAGS, try_exclusive, try_shared, unlock
from tenure.host.linux.held_locks import UNREAD, HeldLocks, at_most
from tenure.host.macos import calls

_MOST_KEPT = 64


class _Kept:
    """The descriptors of our own, by device and inode, and whether a fork has shared them."""

    def __init__(self) -> None:
        self.one_at_a_time = threading.Lock()
        self.descriptors: dict[tuple[int, int], int] = {}
        self.forked = False

    def forget_in_child(self) -> None:
        self.one_at_a_time = threading.Lock()
        self.forked = True


_kept = _Kept()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.forget_in_child)


def own_locks() -> HeldLocks:
    """The locks of the calling process. Raises nothing."""
    files = calls.open_files()
    if files is None or _kept.forked:
        return UNREAD
    paths: set[str] = set()
    whole = True
    with _kept.one_at_a_time:
        for descriptor, path in files.items():
            if path.endswith(".lock") and descriptor not in _kept.descriptors.values():
                held = _is_held(descriptor, path)
                whole = whole and held is not None
                if held:
                    paths.add(path)
    return at_most(paths, whole=whole, unknown=("locks.other",))


def _is_held(descriptor: int, path: str) -> bool | None:
    """Whether the process holds ``path`` alone through this descriptor; None if that is unclear."""
    try:
        file = os.fstat(descriptor)
        probe = _probe(path, file)
        if probe is None:
            return False
        if try_shared(probe):
            unlock(probe)
            return False
        if os.get_inheritable(descriptor):
            return None
        if not try_exclusive(descriptor):
            return False
        # Another thread may have closed it, and the number have passed to another file.
        return os.path.samestat(os.fstat(descriptor), file)
    except OSError as error:
        return False if error.errno == errno.EBADF else None


def _probe(path: str, file: os.stat_result) -> int | None:
    """A descriptor of our own on ``file``; None if ``path`` leads to another. Raises OSError."""
    try:
        if not os.path.samestat(os.stat(path), file):
            return None
    except FileNotFoundError:
        return None
    key = (file.st_dev, file.st_ino)
    if key not in _kept.descriptors:
        if len(_kept.descriptors) >= _MOST_KEPT:
            raise OSError(errno.EMFILE, "too many lock files")
        opened = os.open(path, os.O_RDONLY | LOOK_FLAGS)
        found = os.fstat(opened)
        _kept.descriptors[found.st_dev, found.st_ino] = opened
    return _kept.descriptors.get(key)
