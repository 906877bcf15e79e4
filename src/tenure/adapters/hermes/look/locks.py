"""Who holds a lock file of Hermes, by the kernel's word and without touching the file.

On Linux ``/proc/locks`` names the holder of every ``flock`` by device and inode. Some file systems
(btrfs, overlays) show a file another device number than the kernel's lock table does; then what
the holders' own descriptors say (``fdinfo``) decides. Elsewhere the answer is 'unknown': to find
out one would have to take the lock, and a tick that finds it taken is skipped.

Source: proc(5), ``/proc/locks``; flock(2).
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A lock file at one moment."""

    known: bool
    held: bool | None = None
    """None: unknown."""
    pid: int | None = None
    """The holder; None also where it is held by a process that is hidden from here."""
    fence: bool = False
    """The path is a folder: no ticker can open it, so none can lock it."""


UNKNOWN = Lock(known=False)


def read_lock(
    path: Path,
    *,
    proc: str = "/proc",
    holders: Sequence[int] | None = None,
    linux: bool = sys.platform == "linux",
) -> Lock:
    """The lock at ``path``. ``holders``: pids seen to hold it by their own descriptors."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return Lock(known=True, held=False)
    except OSError:
        return UNKNOWN
    if stat.S_ISDIR(found.st_mode):
        return Lock(known=True, held=False, fence=True)
    if holders:
        return Lock(known=True, held=True, pid=holders[0])
    if not linux:
        return UNKNOWN
    try:
        table = Path(proc, "locks").read_text("ascii", "replace")
    except OSError:
        return UNKNOWN
    return _look_up(_flocks(table.splitlines()), found)


def _look_up(flocks: Iterable[tuple[int, int, int]], file: os.stat_result) -> Lock:
    doubtful = False
    for pid, device, inode in flocks:
        if inode != file.st_ino:
            continue
        if device == file.st_dev:
            return Lock(known=True, held=True, pid=pid if pid > 0 else None)
        doubtful = True
    return UNKNOWN if doubtful else Lock(known=True, held=False)


def _flocks(lines: Iterable[str]) -> Iterable[tuple[int, int, int]]:
    """Pid, device and inode of every ``flock`` that is held; those that wait are left out."""
    for line in lines:
        fields = line.split()
        if len(fields) < 6 or fields[1] != "FLOCK":
            continue
        try:
            major, minor, inode = fields[5].split(":")
            yield int(fields[4]), os.makedev(int(major, 16), int(minor, 16)), int(inode)
        except ValueError:
            continue
