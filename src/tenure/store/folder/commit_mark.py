"""``profile.mark``: how many commits the database beside it has reached.

A term lasts weeks, so a backup is mostly one of the current term, and ``cp`` over the database
leaves its inode as it was: neither ``profile.id`` nor the term tells that an older database was
put in its place, and each fire that ran since would run again (C4). So the database counts its
commits, and the count is kept here as well, where a backup of the database does not hold it::

    commit (count 41 -> 42, on the disk) -> the mark says 42

The mark is written after the commit and is not synced. So a crash, a power loss or a full disk can
only leave a mark that is too low, which hides an old database and never accuses a good one. A
database below its mark is an older copy: :func:`.identity.check` says so, and only
``tenure profile adopt`` raises its count above the mark.

The file is 32 slots of 16 bytes: a count, and a check sum over the profile's id and the count.
Count ``n`` has slot ``n % 32`` and the mark is the highest of all, so that processes need no lock:
one that was stopped between its commit and its mark overwrites at most one slot, with an old count.
A slot that is torn, or belongs to another profile, does not count.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

NAME = "profile.mark"
_SLOTS = 32
_SLOT = struct.Struct("<QQ")
_ALL = struct.Struct(f"<{2 * _SLOTS}Q")
_FLAGS = (
    getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
_NOT_EMPTY = 1 << 32
"""Part of each check sum, so that an empty slot has none."""


class CommitMark:
    """The mark of the database at ``database``. Thread-safe: it keeps nothing open."""

    def __init__(self, database: Path) -> None:
        self._path = os.fspath(database.with_name(NAME))

    def read(self, profile_id: str) -> int:
        """The highest count that was written for this profile; 0 where there is none.

        Raises OSError where the file is there and cannot be read.
        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            return 0
        try:
            return _highest(descriptor, profile_id)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def opened(self, profile_id: str) -> Iterator[tuple[int, Callable[[int], None]]]:
        """What :meth:`read` gives, and what writes a higher count. Raises OSError, as both do."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
        try:
            yield (
                _highest(descriptor, profile_id),
                lambda count: _write(descriptor, profile_id, count),
            )
        finally:
            os.close(descriptor)


def _highest(descriptor: int, profile_id: str) -> int:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    content = os.read(descriptor, _ALL.size).ljust(_ALL.size, b"\0")
    numbers: tuple[int, ...] = _ALL.unpack(content)
    counts = numbers[::2]
    for count in sorted(counts, reverse=True):
        if numbers[2 * counts.index(count) + 1] == _check(profile_id, count):
            return count
    return 0


def _write(descriptor: int, profile_id: str, count: int) -> None:
    os.lseek(descriptor, count % _SLOTS * _SLOT.size, os.SEEK_SET)
    os.write(descriptor, _SLOT.pack(count, _check(profile_id, count)))


def _check(profile_id: str, count: int) -> int:
    return zlib.crc32(b"%s %d" % (profile_id.encode(), count)) | _NOT_EMPTY
