"""Whether the files of an open database are still those that were opened, and complete.

SQLite opens three files by name and never looks at the names again::

    tenure.db        the database
    tenure.db-wal    its write-ahead log: commits that are not in the database yet
    tenure.db-shm    the index of that log, shared memory: where the log ends, which page is where

When one of them is removed, replaced or cut short under an open connection, a commit goes into a
file that no other process will ever read, or the next reader takes one file's pages for another's.
So each is compared with the opened file, before a transaction and again before its commit: the same
device and inode at the path, and not shorter than what was committed. The index has the minimum
lengths (https://www.sqlite.org/walformat.html, 2.1): the number of valid frames, how many of them
were copied back, the sizes of a page and of the database. It also has the salts of the log's
header: a log that was emptied is as long as before once the next frames are written, but it lacks
its header.

The index is read through a descriptor of our own. Closing it would drop the locks that SQLite has
on that file in this process (POSIX), so it is shared by all connections to the file and closed
after the last of them.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
from dataclasses import dataclass
from pathlib import Path

from tenure.domain.errors import StoreUnwritable

_Key = tuple[int, int]
_GONE = frozenset((errno.ENOENT, errno.ENOTDIR))
_TRIES = 5
"""Reads of the index while other processes write it."""
_WAL_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_INDEX = struct.Struct("=12x B x H I I 8x 8s 8x 48x I")
"""Of the two copies of the header, and of what follows: whether it is valid, page size, valid
frames, pages of the database, salts; frames copied back."""
_HEADER_BYTES = 48
_SALTS = slice(16, 24)
"""In the header of the log, and with the same bytes in the index."""


_RESTORE = (
    "end every process of this profile, keep the files, and bring back a backup: "
    "`tenure restore FILE`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What happened to a file. ``text`` is a clause that names it."""

    text: str
    remedy: str
    foldable: bool = False
    """Only the name of the log is gone: an open connection still has its content."""


@dataclass(frozen=True, slots=True)
class _Index:
    raw: bytes
    log_bytes: int
    """How long the log must be at least."""
    database_bytes: int
    """How long the database is once all of the log is copied back; 0: the log does not say."""
    copied: bool
    """Whether all of the log is copied back."""
    salts: bytes


class OpenFiles:
    """The files of one connection. Used under that connection's lock.

    Made before SQLite opens the database; :meth:`bind` once it has read from it. Raises OSError
    if the database cannot be looked at.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._log, self._index = (f"{path}{end}" for end in ("", "-wal", "-shm"))
        found = os.stat(self._path)
        self.key: _Key = (found.st_dev, found.st_ino)
        self.opened_bytes = found.st_size
        self._seen_bytes = found.st_size
        self._log_key: _Key | None = None
        self._index_key: _Key | None = None
        self.bound = False
        self._index_bytes = 0
        self._descriptor = self._log_descriptor = -1

    def bind(self) -> None:
        """Note the log and its index, which SQLite has opened already. Without
        them (the database is not in WAL mode) nothing is noted."""
        try:
            log, index = os.stat(self._log), os.stat(self._index)
        except OSError:
            return
        self._log_key = (log.st_dev, log.st_ino)
        self._index_key = (index.st_dev, index.st_ino)
        self.bound = True
        self._index_bytes = index.st_size
        self._descriptor = _share(self._index, self._index_key)
        self._log_descriptor = _share(self._log, self._log_key)

    def release(self) -> None:
        """After SQLite has closed the database: it opens the log again next time."""
        if self._index_key is not None and self._descriptor >= 0:
            _unshare(self._index_key)
        if self._log_key is not None and self._log_descriptor >= 0:
            _unshare(self._log_key)
        self._log_key = self._index_key = None
        self.bound = False
        self._descriptor = self._log_descriptor = -1

    def is_same_database(self) -> bool:
        """Whether the database at the path is the one that was opened; costs one ``stat``."""
        found = _stat(self._path)
        return found is not None and (found.st_dev, found.st_ino) == self.key

    def loss(self) -> Loss | None:
        """What happened to the files, None while they are whole. Costs three ``stat`` and two
        reads.

        Raises StoreUnwritable where that cannot be found out.
        """
        database = _stat(self._path)
        if database is None or (database.st_dev, database.st_ino) != self.key:
            return Loss(
                text=f"the database at {self._path} is not the one that this process opened",
                remedy="`tenure status` says what became of it; start this process again",
            )
        if database.st_size == 0:
            return self._cut(self._path, "the database", 0, max(1, self._seen_bytes))
        if not self.bound:
            return None
        found = self._loss_of_log(database.st_size)
        if found is None:
            self._seen_bytes = database.st_size
        return found

    def _loss_of_log(self, database_bytes: int) -> Loss | None:
        index = _stat(self._index)
        if index is None or (index.st_dev, index.st_ino) != self._index_key:
            what = "the index of the write-ahead log,"
            return self._moved(self._index, what, gone=index is None)
        if index.st_size < self._index_bytes:
            what = "the index of the write-ahead log,"
            return self._cut(self._index, what, index.st_size, self._index_bytes)
        log = _stat(self._log)
        if log is None or (log.st_dev, log.st_ino) != self._log_key:
            what = "the write-ahead log"
            foldable = log is None or log.st_size == 0
            return self._moved(self._log, what, gone=log is None, foldable=foldable)
        return self._shortage(database_bytes, log.st_size)

    def _shortage(self, database_bytes: int, log_bytes: int) -> Loss | None:
        """A file that is shorter than the index says, or a log of another index. A file is cut, and
        a log begun again, only after the index was changed: a verdict counts if the index is the
        same before and after."""
        for _ in range(_TRIES):
            index = self._read_index()
            if index is None:
                return None
            needed = index.database_bytes
            if not index.copied:  # the rest of it may be in the log alone
                needed = min(needed, self._seen_bytes)
            headed = self._is_log_of(index)
            if headed and log_bytes >= index.log_bytes and database_bytes >= needed:
                return None
            log, database = _stat(self._log), _stat(self._path)
            if log is None or database is None:
                return self.loss()
            log_bytes, database_bytes = log.st_size, database.st_size
            again = self._read_index()
            if again is None or again.raw != index.raw:
                continue
            if log_bytes < index.log_bytes:
                return self._cut(self._log, "the write-ahead log", log_bytes, index.log_bytes)
            if database_bytes < needed:
                return self._cut(self._path, "the database", database_bytes, needed)
            if not headed:
                return self._overwritten()
        return None

    def _is_log_of(self, index: _Index) -> bool:
        if not index.log_bytes or self._log_descriptor < 0:
            return True
        try:
            header = os.pread(self._log_descriptor, _WAL_HEADER_BYTES, 0)
        except OSError:
            return True
        return header[_SALTS] == index.salts

    def _read_index(self) -> _Index | None:
        """None where it cannot be read, or is being written."""
        if self._descriptor < 0:
            return None
        try:
            raw = os.pread(self._descriptor, _INDEX.size, 0)
        except OSError:
            return None
        if len(raw) < _INDEX.size or raw[:_HEADER_BYTES] != raw[_HEADER_BYTES : 2 * _HEADER_BYTES]:
            return None
        valid, page, frames, pages, salts, copied = _INDEX.unpack(raw)
        if not valid:
            return None
        page_bytes = (page & 0xFE00) + ((page & 0x0001) << 16)
        return _Index(
            raw=raw,
            log_bytes=_WAL_HEADER_BYTES + frames * (_FRAME_HEADER_BYTES + page_bytes)
            if frames
            else 0,
            database_bytes=pages * page_bytes,
            copied=copied == frames,
            salts=salts,
        )

    def _moved(self, path: str, what: str, *, gone: bool, foldable: bool = False) -> Loss:
        became = "was removed" if gone else "was replaced"
        return Loss(
            text=f"{what} {path} {became} while this process had it open",
            remedy="end every process of this profile, then start them again; "
            "`tenure audit` says whether something is missing",
            foldable=foldable,
        )

    def _cut(self, path: str, what: str, size: int, needed: int) -> Loss:
        text = f"{what} {path} was cut short: {size} bytes are left of at least {needed}"
        return Loss(text=text, remedy=_RESTORE)

    def _overwritten(self) -> Loss:
        text = f"the write-ahead log {self._log} was cut short or overwritten: its header is gone"
        return Loss(text=text, remedy=_RESTORE)


def _stat(path: str) -> os.stat_result | None:
    """None where nothing is at the path. Raises StoreUnwritable where that cannot be found out."""
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise StoreUnwritable(
            f"{path} cannot be read: {error.strerror}; nothing was changed",
            remedy="check the permissions of the profile folder, and the disk",
        ) from error


# -- descriptors of indexes, shared by the connections of this process ---------------------------
_shared: dict[_Key, list[int]] = {}
"""The descriptor, and how many connections use it."""
_guard = threading.Lock()


def _share(path: str, key: _Key) -> int:
    """A descriptor of the index, -1 where there is none to be had: then lengths are not
    compared."""
    if not hasattr(os, "pread"):
        return -1
    with _guard:
        entry = _shared.get(key)
        if entry is None:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                return -1
            found = os.fstat(descriptor)
            # One that was replaced this very moment stays open: closing it may drop locks.
            entry = _shared.setdefault((found.st_dev, found.st_ino), [descriptor, 0])
            if (found.st_dev, found.st_ino) != key:
                return -1
        entry[1] += 1
        return entry[0]


def _unshare(key: _Key) -> None:
    with _guard:
        entry = _shared[key]
        entry[1] -= 1
        if not entry[1]:
            del _shared[key]
            os.close(entry[0])


def forget_in_child() -> None:
    """After a fork, in the child, which has no locks of SQLite's to lose."""
    global _guard
    _guard = threading.Lock()
    for descriptor, _ in _shared.values():
        os.close(descriptor)
    _shared.clear()
