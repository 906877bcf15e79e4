"""The one connection of a store object, shared by its threads under one lock.

Transactions are explicit. A write begins IMMEDIATE, so that it waits for other processes at its
start, within the store's patience, and never fails half-way for a lock. Inside a batch each verb
is a savepoint. WAL with ``synchronous=FULL``: a commit is on the disk when it returns (C4).

A fork must find no connection open (https://www.sqlite.org/howtocorrupt.html, 2.6): SQLite keeps
locks per process and file, so a child that opens the file again treats its parent's locks as its
own, and its commits could go to a log that others have deleted. So each connection is closed as the
fork begins, between transactions, and opened again in the parent at its next use. The child opens
its own. A child that was forked inside a transaction gets an error; the connection that it
inherited stays referenced for ever, since closing it could truncate the parent's log.

SQLite opens three files by name and never looks at the names again::

    tenure.db        the database
    tenure.db-wal    its write-ahead log: commits that are not in the database yet
    tenure.db-shm    the index of that log, shared memory: where the log ends, which page is where

When one of them is removed, replaced or cut short under an open connection, a commit goes into a
file that no other process will ever read, or the next reader takes one file's pages for another's.
So each use first compares the files with those that were opened, and each transaction compares them
again before its commit: the same device and inode at the path, and not shorter than what was
committed. A connection that lost its files is abandoned, not closed, since the checkpoint of the
close would be a write too. So is a connection to a damaged database, which is left as it was. An
empty file is not even opened, since SQLite would delete its log. If only the name of the log is
gone, its content is copied into the database first.

Each transaction that changes something is counted, in the database and in the commit mark beside
it. If the count falls below one that this connection saw, an older copy replaced the database while
it was open: nothing is written to it. A database below the mark keeps its count, so that no number
of writes hides it; only an adoption raises the count.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import struct
import threading
import weakref
import zlib
from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tenure.domain.errors import (
    CorruptStore,
    InvalidInput,
    StaleTerm,
    StoreUnwritable,
    TenureError,
)
from tenure.domain.job import Definition
from tenure.domain.ownership import Authority, OwnershipState
from tenure.store.sqlite.database_file import (
    BRING_BACK,
    RESTORE,
    HolderProbe,
    Loss,
    abandon,
    close_shared_in_child,
    cut_short,
    is_failed_read,
    missing,
    moved,
    open_database,
    share,
    translate_error,
    unshare,
)

_connections: weakref.WeakSet[Connection] = weakref.WeakSet()
_guard = threading.Lock()
_COUNTED = (
    "SELECT (SELECT value FROM meta WHERE key = 'commits'), "
    "(SELECT value FROM meta WHERE key = 'profile_id')"
)
_SET_COMMITS = (
    "INSERT INTO meta (key, value) VALUES ('commits', ?) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_FENCE = (
    "SELECT hold, term, process, policy_version, authoritative, "
    "(SELECT coalesce(max(version), 0) FROM policies) FROM ownership"
)
Definitions = dict[tuple[str, int], Definition]
"""Definitions as parsed, by job and revision. Guarded by the connection's lock, and cleared when
anything is undone: the number of an undone revision may be given again."""
FOLD_PATIENCE_MS = 1000
"""The wait for readers of a removed log."""
_tainted: set[tuple[int, int]] = set()
"""Files that were open inside a transaction when this process was forked off."""


# -- instants in columns: microseconds since 1970, UTC ---------------------------------------------
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(instant: datetime) -> int:
    """Microseconds since 1970; TypeError for an instant without a zone."""
    span = instant - _EPOCH
    return (span.days * 86400 + span.seconds) * 1_000_000 + span.microseconds


def micros_or_none(instant: datetime | None) -> int | None:
    return None if instant is None else micros(instant)


def instant(number: int) -> datetime:
    """The UTC instant of :func:`micros`."""
    # Positional: by keyword it takes half as long again, and each row that is read has several.
    return _EPOCH + timedelta(0, 0, number)


def instant_or_none(number: int | None) -> datetime | None:
    return None if number is None else instant(number)


# -- the files of an open database -----------------------------------------------------------------
_Key = tuple[int, int]
_GONE = frozenset((errno.ENOENT, errno.ENOTDIR))
_TRIES = 5
"""Reads of the index while other processes write it."""
_WAL_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
# https://www.sqlite.org/walformat.html, 2.1. Of the two copies of the header, and of what follows:
# whether it is valid, page size, valid frames, pages of the database, salts; frames copied back.
_INDEX = struct.Struct("=12x B x H I I 8x 8s 8x 48x I")
_HEADER_BYTES = 48
_SALTS = slice(16, 24)
"""In the header of the log, and with the same bytes in the index."""


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
        status = os.stat(self._path)
        self.key: _Key = (status.st_dev, status.st_ino)
        self.opened_bytes = self._seen_bytes = status.st_size
        self._log_key: _Key | None = None
        self._index_key: _Key | None = None
        self.bound = False
        self._index_bytes = 0
        self._descriptor = self._log_descriptor = -1

    def bind(self) -> None:
        """Note the log and its index, which SQLite has opened already. Without them (the database
        is not in WAL mode) nothing is noted."""
        try:
            log, index = os.stat(self._log), os.stat(self._index)
        except OSError:
            return
        self._log_key = (log.st_dev, log.st_ino)
        self._index_key = (index.st_dev, index.st_ino)
        self.bound = True
        self._index_bytes = index.st_size
        self._descriptor = share(self._index, self._index_key)
        self._log_descriptor = share(self._log, self._log_key)

    def release(self) -> None:
        """After SQLite has closed the database: it opens the log again next time."""
        if self._index_key is not None and self._descriptor >= 0:
            unshare(self._index_key)
        if self._log_key is not None and self._log_descriptor >= 0:
            unshare(self._log_key)
        self._log_key = self._index_key = None
        self.bound = False
        self._descriptor = self._log_descriptor = -1

    def loss(self) -> Loss | None:
        """What happened to the files, None while they are whole. Costs three ``stat`` and two
        reads. Raises StoreUnwritable where that cannot be found out."""
        database = _stat(self._path)
        if database is None or (database.st_dev, database.st_ino) != self.key:
            return Loss(
                text=f"the database at {self._path} is not the one that this process opened",
                remedy="`tenure status` says what became of it; start this process again",
            )
        if database.st_size == 0:
            return cut_short("the database", self._path, 0, max(1, self._seen_bytes))
        if not self.bound:
            return None
        loss = self._loss_of_log(database.st_size)
        if loss is None:
            self._seen_bytes = database.st_size
        return loss

    def _loss_of_log(self, database_bytes: int) -> Loss | None:
        index = _stat(self._index)
        if index is None or (index.st_dev, index.st_ino) != self._index_key:
            what = "the index of the write-ahead log,"
            return moved(what, self._index, gone=index is None)
        if index.st_size < self._index_bytes:
            what = "the index of the write-ahead log,"
            return cut_short(what, self._index, index.st_size, self._index_bytes)
        log = _stat(self._log)
        if log is None or (log.st_dev, log.st_ino) != self._log_key:
            foldable = log is None or log.st_size == 0
            return moved("the write-ahead log", self._log, gone=log is None, foldable=foldable)
        return self._shortage(database_bytes, log.st_size)

    def _shortage(self, database_bytes: int, log_bytes: int) -> Loss | None:
        """A file that is shorter than the index says, or a log of another index."""
        # A file is cut, and a log begun again, only after the index was changed: a verdict counts
        # if the index is the same before and after.
        for _ in range(_TRIES):
            index = self._read_index()
            if index is None:
                return None
            needed = index.database_bytes
            # The rest of it may be in the log alone.
            if not index.copied:
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
                return cut_short("the write-ahead log", self._log, log_bytes, index.log_bytes)
            if database_bytes < needed:
                return cut_short("the database", self._path, database_bytes, needed)
            if not headed:
                text = f"the write-ahead log {self._log} was cut short or overwritten"
                return Loss(text=f"{text}: its header is gone", remedy=BRING_BACK)
        return None

    def _is_log_of(self, index: _Index) -> bool:
        """Whether the log's header has the index's salts. A log that was emptied is as long as
        before once the next frames are written, but it lacks its header."""
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
        frames_bytes = frames * (_FRAME_HEADER_BYTES + page_bytes)
        return _Index(
            raw=raw,
            log_bytes=_WAL_HEADER_BYTES + frames_bytes if frames else 0,
            database_bytes=pages * page_bytes,
            copied=copied == frames,
            salts=salts,
        )


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


# -- the commit mark: how many commits a database has reached, kept beside it ----------------------
# A term lasts weeks, so a backup is mostly one of the current term, and ``cp`` over the database
# leaves its inode as it was: neither ``profile.id`` nor the term tells that an older database was
# put in its place, and each fire that ran since would run again (C4). So the database counts its
# commits, and the count is kept in ``profile.mark`` as well, where a backup of the database does
# not hold it:
#
#     commit (count 41 -> 42, on the disk) -> the mark says 42
#
# The mark is written after the commit and is not synced. So a crash, a power loss or a full disk
# can only leave a mark that is too low, which hides an old database and never accuses a good one.
#
# The file is 32 slots of 16 bytes: a count, and a check sum over the profile's id and the count.
# Count ``n`` has slot ``n % 32`` and the mark is the highest of all, so that processes need no
# lock: one that was stopped between its commit and its mark overwrites at most one slot, with an
# old count. A slot that is torn, or belongs to another profile, does not count.
MARK = "profile.mark"
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
        self._path = os.fspath(database.with_name(MARK))

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
                lambda count: _write_slot(descriptor, profile_id, count),
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
        if numbers[2 * counts.index(count) + 1] == _check_sum(profile_id, count):
            return count
    return 0


def _write_slot(descriptor: int, profile_id: str, count: int) -> None:
    os.lseek(descriptor, count % _SLOTS * _SLOT.size, os.SEEK_SET)
    os.write(descriptor, _SLOT.pack(count, _check_sum(profile_id, count)))


def _check_sum(profile_id: str, count: int) -> int:
    return zlib.crc32(b"%s %d" % (profile_id.encode(), count)) | _NOT_EMPTY


# -- the connection --------------------------------------------------------------------------------
class Connection:
    """See the module. Thread-safe."""

    def __init__(
        self, path: Path, *, mode: str, patience: float, probe: HolderProbe | None
    ) -> None:
        self.path = path
        self.patience = patience
        self.definitions: Definitions = {}
        self._mark = CommitMark(path)
        self._reached = 0
        """The last count of commits that this connection saw; it never falls."""
        self._probe = probe
        self._lock = threading.RLock()
        self._commits: Counter[int] = Counter()
        """By thread, those that changed something."""
        self._batching = False
        self._broken = False
        self._damaged = False
        self._pid = os.getpid()
        self._mode = mode
        self._parked = False
        self._db: sqlite3.Connection | None = None
        self._folded = False
        self._overwritten: Loss | None = None
        try:
            self._files = OpenFiles(path)
            if self._files.key in _tainted:
                raise TenureError(
                    f"the store at {path} was in use when this process was forked off",
                    remedy="fork outside a transaction, or start a new process instead",
                )
            if self._files.opened_bytes == 0:
                raise CorruptStore(f"{path} is empty; it is left alone", remedy=RESTORE)
            self._db = open_database(path, mode=mode, patience=patience)
        except FileNotFoundError:
            raise missing(path) from None
        except sqlite3.Error as error:
            translated = self.translate_error(error)
            self._files.release()
            raise translated from error
        self.file = self._files.key
        with _guard:
            _connections.add(self)

    def translate_error(self, error: sqlite3.Error) -> TenureError:
        # By a file that was cut short or replaced, perhaps.
        if is_failed_read(error):
            if not self._files.bound:
                self._files.bind()
            loss = self._files.loss()
            if loss is not None:
                return loss.error()
        translated = translate_error(error, self.path, self.patience, self._probe)
        self._damaged = self._damaged or isinstance(translated, CorruptStore)
        return translated

    def leave_alone(self) -> None:
        """The file is damaged, or not a Tenure store: closing must not change it either."""
        self._damaged = True

    def reading(self) -> _Use:
        """For one statement, or several inside one snapshot that the caller begins."""
        return _Use(self)

    def fetch(self, sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """The rows of one statement that only reads."""
        with self.reading() as db:
            return db.execute(sql, values).fetchall()

    def fetch_one(self, sql: str, values: Any = ()) -> tuple[Any, ...] | None:
        """The first row of one statement that only reads."""
        with self.reading() as db:
            row: tuple[Any, ...] | None = db.execute(sql, values).fetchone()
            return row

    def data_version(self) -> int:
        """SQLite's counter of commits by other connections."""
        with self.reading() as db:
            return int(db.execute("PRAGMA data_version").fetchone()[0])

    def commits(self, *, besides: Container[int | None] = ()) -> int:
        """Commits through this object that changed something, but those of some threads."""
        return sum(n for ident, n in list(self._commits.items()) if ident not in besides)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Several reads of one state of the store."""
        with self.reading() as db:
            if self._batching:
                yield db
                return
            try:
                db.execute("BEGIN")
                yield db
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One verb: a transaction, or a savepoint of the batch."""
        with self.reading() as db:
            if self._batching:
                db.execute("SAVEPOINT verb")
                try:
                    yield db
                except BaseException:
                    self._undo_verb(db)
                    raise
                db.execute("RELEASE verb")
                return
            with self._transaction(db):
                yield db

    @contextlib.contextmanager
    def executing(self, authority: Authority) -> Iterator[tuple[sqlite3.Connection, bool]]:
        """:meth:`writing` under ``authority`` (C3), and whether it is authoritative. Raises
        StaleTerm unless it is current."""
        with self.writing() as db:
            yield db, fence(db, authority)

    def check_authority(self, authority: Authority) -> None:
        """StaleTerm unless current."""
        with self.reading() as db:
            fence(db, authority)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """One transaction for the verbs inside."""
        with self.reading() as db:
            if self._batching:
                raise TenureError("a batch does not nest")
            with self._transaction(db):
                self._batching, self._broken = True, False
                try:
                    yield
                finally:
                    self._batching = False
                if self._broken:
                    raise TenureError(
                        "the store rolled back the batch; none of its changes were kept"
                    )

    @property
    def is_batching(self) -> bool:
        return self._batching

    def loss(self) -> Loss | None:
        """What happened to the opened files; None while they are at their paths and whole.
        Raises StoreUnwritable where that is unknown."""
        with self._lock:
            return self._overwritten or self._files.loss()

    def is_same_file(self) -> bool:
        """Whether :meth:`loss` finds none."""
        return self.loss() is None

    @contextlib.contextmanager
    def _transaction(self, db: sqlite3.Connection) -> Iterator[None]:
        # Begun inside, so that an interrupt at any point undoes it.
        try:
            db.execute("BEGIN IMMEDIATE")
            profile_id = self._check_count(db)
            rows = db.total_changes
            yield
            self._check_files(db)
            changed = db.total_changes != rows
            if not changed or not self._commit_counted(db, profile_id):
                db.execute("COMMIT")
            self._commits[threading.get_ident()] += changed
        except BaseException:
            self._undo(db)
            raise

    def _check_files(self, db: sqlite3.Connection) -> None:
        loss = self._files.loss()
        if loss is None:
            return
        if loss.foldable and not self._folded:
            self._undo(db)
            self._fold_log(db)
        raise loss.error()

    def _fold_log(self, db: sqlite3.Connection) -> None:
        """The log was removed, but this connection still has it open: copy its content into the
        database and restart it, for processes that open the database from now on."""
        self._folded = True
        with contextlib.suppress(sqlite3.Error):
            db.execute(f"PRAGMA busy_timeout = {FOLD_PATIENCE_MS}")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    # -- the count of commits ----------------------------------------------------------------
    def commits_missing(self) -> int:
        """The number of commits that the mark has and this database lacks; 0 if it lacks none.

        Raises StoreUnwritable where the mark cannot be read.
        """
        with self.reading() as db:
            # The mark first: another process may commit at any moment, and the mark never leads.
            mark = self._read_mark(_counted(db)[1])
            return max(0, mark - _counted(db)[0])

    def rise_above_mark(self, db: sqlite3.Connection) -> None:
        """An adoption: this database goes on from here. Inside its transaction."""
        count, profile_id = _counted(db)
        mark = self._read_mark(profile_id)
        self._reached = max(count, mark)

    def _check_count(self, db: sqlite3.Connection) -> str:
        """The profile's id, at the start of a transaction.

        Raises CorruptStore if the count fell.
        """
        count, profile_id = _counted(db)
        if count < self._reached:
            self._overwritten = Loss(
                text=f"the database at {self.path} was replaced by an older copy while this "
                f"process used it: {self._reached - count} commits are missing",
                remedy="stop the processes that use it, then `tenure profile adopt --restored`",
            )
            raise self._overwritten.error()
        self._reached = count
        return profile_id

    def _commit_counted(self, db: sqlite3.Connection, profile_id: str) -> bool:
        """Commit, and count it; False, and nothing done, where it cannot be counted.

        Whether the database lies below its mark is unknown where that cannot be read.
        """
        # SQLite gave it up: COMMIT is about to say so.
        if not db.in_transaction:
            return False
        with contextlib.ExitStack() as stack:
            try:
                mark, write = stack.enter_context(self._mark.opened(profile_id))
            except OSError:
                return False
            count = self._reached
            if count < mark:
                return False
            count += 1
            db.execute(_SET_COMMITS, (count,))
            db.execute("COMMIT")
            self._reached = count
            # A mark that is too low accuses no good database.
            with contextlib.suppress(OSError):
                write(count)
        return True

    def _read_mark(self, profile_id: str) -> int:
        try:
            return self._mark.read(profile_id)
        except OSError as error:
            raise StoreUnwritable(
                f"{self.path.with_name(MARK)} cannot be read: {error.strerror}; whether "
                f"{self.path.name} is an older copy is unknown",
                remedy="check the file and its permissions, then try again",
            ) from error

    def _undo(self, db: sqlite3.Connection) -> None:
        """SQLite itself may have rolled back, as it does when the disk is full."""
        self.definitions.clear()
        if db.in_transaction:
            db.execute("ROLLBACK")

    def _undo_verb(self, db: sqlite3.Connection) -> None:
        self.definitions.clear()
        if db.in_transaction:
            db.execute("ROLLBACK TO verb")
            db.execute("RELEASE verb")
        else:
            self._broken = True

    def _check_process(self) -> None:
        """Before the lock is taken: a thread that did not survive the fork may hold it."""
        if (self._db is not None or self._parked) and self._pid != os.getpid():
            raise TenureError(
                f"the store at {self.path} was opened before a fork",
                remedy="open it again in the child",
            )

    def _usable(self) -> sqlite3.Connection:
        if self._parked:
            loss = self._files.loss()
            if loss is not None:
                raise loss.error()
            try:
                self._db = open_database(self.path, mode=self._mode, patience=self.patience)
            except sqlite3.Error as error:  # still parked: the next use tries again
                raise self.translate_error(error) from error
            self._parked = False
        if self._db is None:
            raise TenureError(f"the store at {self.path} was closed")
        if self._broken:
            if self._batching:
                raise TenureError("the store rolled back the batch; none of its changes were kept")
            self._broken = False
        if not self._batching:
            self._check_files(self._db)
        return self._db

    def close(self) -> None:
        """A second call does nothing."""
        if self._pid != os.getpid():
            return
        with self._lock:
            self._parked = False
            if self._db is not None and (self._damaged or not self._is_whole()):
                self.forget()
            if self._db is not None:
                self._db.close()
                self._db = None
                self._files.release()

    def _is_whole(self) -> bool:
        """False where that is unknown: closing would be a write."""
        try:
            return self.loss() is None
        except TenureError:
            return False

    def forget(self) -> None:
        """Never use or close it again, not even at exit: in a forked child, which inherited it."""
        # Another thread may have held it when the fork came.
        self._lock = threading.RLock()
        db, self._db = self._db, None
        self._parked = False
        if db is not None:
            abandon(db)

    # -- forks -------------------------------------------------------------------------------
    def park(self) -> None:
        """A fork begins: wait for other threads' transactions, and close. See :meth:`unpark`."""
        self._lock.acquire()
        db = self._db
        if db is not None and not db.in_transaction and self._is_whole():
            db.close()
            self._files.release()
            self._db, self._parked = None, True

    def unpark(self) -> None:
        """The fork is done; in the parent."""
        self._lock.release()

    def disinherit(self) -> None:
        """The fork is done; in the child."""
        if self._db is not None:
            _tainted.add(self.file)
        self._lock = threading.RLock()


class _Use:
    """One use of a connection, under its lock. A class and not a generator, since every verb
    passes here."""

    __slots__ = ("_connection", "_lock")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Kept: a child of a fork gives its connection another lock.
        self._lock = connection._lock

    def __enter__(self) -> sqlite3.Connection:
        self._connection._check_process()
        self._lock.acquire()
        try:
            return self._connection._usable()
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        connection = self._connection
        try:
            if error is None:
                if not connection._files.bound:
                    connection._files.bind()
            elif isinstance(error, sqlite3.Error):
                raise connection.translate_error(error) from error
            elif isinstance(error, UnicodeEncodeError):  # half a character, as of bytes in argv
                raise InvalidInput(
                    "bytes that are not UTF-8 cannot be stored", remedy="write it in UTF-8"
                ) from error
        finally:
            self._lock.release()


def fence(db: sqlite3.Connection, authority: Authority) -> bool:
    """Raise StaleTerm unless ``authority`` is current (C3); whether it is authoritative."""
    hold, term, process, version, authoritative, accepted = db.execute(_FENCE).fetchone()
    if hold == OwnershipState.HELD and term == authority.term and process == authority.process:
        if version == accepted == authority.policy_version:
            return bool(authoritative)
        raise StaleTerm(
            f"term {authority.term} was admitted by policy version {authority.policy_version}; "
            f"version {accepted} is accepted now",
            term=term,
            policy_version=accepted,
        )
    now = f"term {term} is held by {process}" if hold == OwnershipState.HELD else "no process owns"
    raise StaleTerm(
        f"term {authority.term} of {authority.process} is over: {now}", term=term, process=process
    )


def _counted(db: sqlite3.Connection) -> tuple[int, str]:
    """The count of commits, 0 where no code has counted yet, and the id of the profile."""
    count, profile_id = db.execute(_COUNTED).fetchone()
    return count if isinstance(count, int) else 0, str(profile_id)


def _park_all() -> None:
    _guard.acquire()
    for connection in list(_connections):
        connection.park()


def _unpark_all() -> None:
    for connection in list(_connections):
        connection.unpark()
    _guard.release()


def _disinherit_all() -> None:
    global _guard
    for connection in list(_connections):
        connection.disinherit()
    _connections.clear()
    _guard = threading.Lock()
    close_shared_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_park_all, after_in_parent=_unpark_all, after_in_child=_disinherit_all
    )
