"""Which files a process holds an exclusive lock on (flock(2)), from the Linux kernel.

Authority: ``/proc/<pid>/fdinfo/<n>``, where the kernel lists the locks of that very open file.
``/proc/locks`` lists locks by inode only, without the open file through which each is held.

A flock belongs to the open file, not to a process: a process that shares the open file (a child
after a bare fork, a receiver of the descriptor) shares the lock. That does not show that it took
the lock: a gateway's shell would pass for the gateway. So the kernel must name this process itself
as the taker. A program that takes its lock and then forks into the background is therefore not
recognised. Locks by fcntl(2) are another kind and are not reported.

A path counts only while it leads, here and now, to the locked file: not once the file was deleted
or replaced, and not if it has that name in the process's own mounts alone.

Source: proc_pid_fdinfo(5), flock(2). Safe from any thread and after a fork.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass

from tenure.host.file_locks import try_exclusive
from tenure.host.linux.proc import folder, holds_flock, namespace, read

MOST = 20
"""The most paths that are reported for one process."""
_MOST_OPEN = 10_000
"""The most descriptors that are read: some microseconds each, and this runs every second."""
_DELETED = " (deleted)"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLocks:
    """Resolved paths, and which of the fields of Evidence are not wholly known by them."""

    paths: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()


UNREAD = HeldLocks(unknown=frozenset({"locks"}))


def held_locks(pid: int) -> HeldLocks:
    """The locks of a process that this user may look into; else unknown. Raises nothing."""
    process = folder(pid)
    try:
        if not _kernel_tells():
            return UNREAD
        taker = _number_in_proc(pid)
        numbers = os.listdir(f"{process}/fd")
    except OSError:
        return UNREAD
    paths: set[str] = set()
    whole = len(numbers) <= _MOST_OPEN
    for number in numbers[:_MOST_OPEN]:
        link = f"{process}/fd/{number}"
        try:
            path = os.readlink(link)
            if not path.startswith(("/", "(unreachable)")):  # a socket, a pipe
                continue
            if not holds_flock(read(f"{process}/fdinfo/{number}"), taker):
                continue
            file = os.stat(link)
        except (FileNotFoundError, ProcessLookupError):  # closed meanwhile
            continue
        except OSError:
            whole = False
            continue
        try:
            if os.path.samestat(os.stat(path), file):
                paths.add(os.fsencode(path).decode())
                continue
        except UnicodeDecodeError:  # a name that no rule can spell
            continue
        except OSError:
            pass
        # Its name leads elsewhere here: no path holds it only if the file is gone everywhere.
        gone = file.st_nlink == 0 or path.endswith(_DELETED)
        whole = whole and gone and namespace("mnt", pid) == namespace("mnt")
    return at_most(paths, whole=whole)


def at_most(paths: Iterable[str], *, whole: bool, unknown: Iterable[str] = ()) -> HeldLocks:
    """At most ``MOST`` paths. Live locks of Tenure's members come last: no rule asks for them."""
    shown = sorted(set(paths), key=lambda p: (p.split("/")[-2:-1] == ["live"], p))
    more = () if whole and len(shown) <= MOST else ("locks",)
    return HeldLocks(paths=tuple(shown[:MOST]), unknown=frozenset((*unknown, *more)))


def _number_in_proc(pid: int) -> str:
    """The pid as this /proc counts. In one of another pid namespace only our own is known."""
    return os.readlink("/proc/self") if pid == os.getpid() else str(pid)


@functools.cache
def _kernel_tells() -> bool:
    """Whether locks are listed at all, asked of a lock that is certainly held.

    Before Linux 4.1, and where something else plays the kernel, they are not; then nothing listed
    does not mean nothing held.
    """
    reading, writing = os.pipe()
    try:
        taken = try_exclusive(reading)
        return taken and holds_flock(
            read(f"/proc/self/fdinfo/{reading}"), _number_in_proc(os.getpid())
        )
    finally:
        os.close(reading)
        os.close(writing)
