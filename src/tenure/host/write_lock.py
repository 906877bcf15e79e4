"""Who holds the write lock of a SQLite database in WAL mode.

In WAL mode a writer holds a POSIX lock on one byte of the ``-shm`` file: ``WAL_WRITE_LOCK`` (0)
behind ``UNIX_SHM_BASE`` (120); see ``os_unix.c`` (unixShmLock) and ``wal.c`` in SQLite. The
kernel names the holder of a POSIX lock to any process (``F_GETLK``, fcntl(2)).

One trap: closing *any* descriptor of a file drops every POSIX lock that this process has on it,
SQLite's own included. So a descriptor that was opened here is never closed; there is one for
each ``-shm`` file the process has ever asked about. For the same reason nothing else in a
process that is connected may open and close a database's files.

Linux and macOS; elsewhere the answer is always None. Safe from any thread.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from pathlib import Path

UNNAMED = -1
"""The lock is held, by a process that the kernel cannot name here (another pid namespace)."""

_WRITE_LOCK_BYTE = 120
_descriptors: dict[tuple[int, int], int] = {}
_guard = threading.Lock()


def write_lock_holder(database: Path) -> int | None:
    """The pid of *another* process that holds the write lock now, or None if none does.

    None also where there is no ``-shm`` file, it may not be read, or the calling process itself
    is the writer. :data:`UNNAMED` if the holder is in a pid namespace that is hidden from here.
    Nothing is created, locked or waited for. The answer may be old when it arrives: verify the
    process's identity, and ask again, before acting on it.
    """
    if sys.platform == "win32":
        return None
    descriptor = _descriptor_of(f"{os.fspath(database)}-shm")
    if descriptor is None:
        return None
    try:
        return _ask(descriptor)
    except OSError:
        return None


def _descriptor_of(path: str) -> int | None:
    with _guard:
        try:
            # Looked up before it is opened: a second descriptor could not be closed again.
            status = os.stat(path)
            known = _descriptors.get((status.st_dev, status.st_ino))
            if known is not None:
                return known
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        opened = os.fstat(descriptor)
        return _descriptors.setdefault((opened.st_dev, opened.st_ino), descriptor)


if sys.platform != "win32":
    import fcntl

    # struct flock: short type, whence; off_t start, length; pid_t holder (Linux).
    #               off_t start, length; pid_t holder; short type, whence (macOS).
    _LINUX, _MACOS = struct.Struct("@hhqqi4x"), struct.Struct("@qqihh")

    def _ask(descriptor: int) -> int | None:
        if sys.platform == "darwin":
            question = _MACOS.pack(_WRITE_LOCK_BYTE, 1, 0, fcntl.F_WRLCK, os.SEEK_SET)
            _, _, pid, kind, _ = _MACOS.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
        else:
            question = _LINUX.pack(fcntl.F_WRLCK, os.SEEK_SET, _WRITE_LOCK_BYTE, 1, 0)
            kind, _, _, _, pid = _LINUX.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
        if kind == fcntl.F_UNLCK:
            return None
        return pid if pid > 0 else UNNAMED
