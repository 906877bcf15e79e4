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

SQLite finds the log by name. If another file replaced the database, a write through this
connection, or the checkpoint when it closes, would go into the log of that other database and
damage it. So each use first checks that the files are those that were opened, and whole
(:mod:`~tenure.store.sqlite.files`); each transaction checks again before it commits; and a
connection that lost its files is abandoned, not closed. So is a connection to a damaged database,
which is left as it was. An empty file is not even opened, since SQLite would delete its log. If
only the name of the log is gone, its content is copied into the database first.

Each transaction that changes something is counted, in the database and in the mark beside it (see
:mod:`tenure.store.folder.commit_mark`). If the count falls below one that this
connection saw, an older copy replaced the database while it was open: nothing is written to it. A
database below the mark keeps its count, so that no number of writes hides it; only an adoption
raises the count.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

from tenure.domain.errors import CorruptStore, InvalidInput, StoreUnwritable, TenureError
from tenure.store.folder.commit_mark import NAME as MARK
from tenure.store.folder.commit_mark import CommitMark
from tenure.store.sqlite import files
from tenure.store.sqlite.definitions import DefinitionCache
from tenure.store.sqlite.failures import (
    RESTORE,
    HolderProbe,
    can_only_be_read,
    is_damage,
    is_failed_read,
    missing,
    translate_error,
)
from tenure.store.sqlite.files import Loss, OpenFiles

_FORGOTTEN: list[sqlite3.Connection] = []
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
FOLD_PATIENCE_MS = 1000
"""The wait for readers of a removed log."""
_tainted: set[tuple[int, int]] = set()
"""Files that were open inside a transaction when this process was forked off."""


def open_database(path: Path, *, mode: str, patience: float) -> sqlite3.Connection:
    """Open an existing file. ``mode`` is SQLite's: ``ro`` or ``rw``; patience is in seconds."""
    quoted = "".join(f"%{ord(c):02X}" if c in "%?#" else c for c in os.path.abspath(path))
    alone = "&immutable=1" if mode == "ro" and can_only_be_read(path) else ""
    db = sqlite3.connect(
        f"file:{quoted}?mode={mode}{alone}",
        uri=True,
        timeout=patience,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        for pragma in (
            "trusted_schema = OFF",
            "cell_size_check = ON",
            "foreign_keys = ON",
            "synchronous = FULL",
            "cache_size = -4000",
            # Pages of the log (16 MB): the checkpoint's own syncs delay the commit that it falls
            # on, so it is to be rare; a run's claim and end write about twenty.
            "wal_autocheckpoint = 4000",
            "journal_size_limit = 16777216",
        ):
            db.execute(f"PRAGMA {pragma}")
        if sys.platform == "darwin":  # pragma: no cover - macOS only
            db.execute("PRAGMA fullfsync = ON")
            db.execute("PRAGMA checkpoint_fullfsync = ON")
    except BaseException as error:
        if is_damage(error):
            _abandon(db)
        else:
            db.close()
        raise
    return db


def _files_lost(loss: Loss) -> CorruptStore:
    return CorruptStore(f"{loss.text}; nothing was changed", remedy=loss.remedy)


def _abandon(db: sqlite3.Connection) -> None:
    """Keep a reference for ever, so that it is never closed, not even at exit."""
    import ctypes

    _FORGOTTEN.append(db)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(db))


class Connection:
    """See the module. Thread-safe."""

    def __init__(
        self, path: Path, *, mode: str, patience: float, probe: HolderProbe | None
    ) -> None:
        self.path = path
        self.patience = patience
        self.definitions = DefinitionCache()
        self._mark = CommitMark(path)
        self._reached = 0
        """The last count of commits that this connection saw; it never falls."""
        self._probe = probe
        self._lock = threading.RLock()
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
            found = self.translate_error(error)
            self._files.release()
            raise found from error
        self.file = self._files.key
        with _guard:
            _connections.add(self)

    def translate_error(self, error: sqlite3.Error) -> TenureError:
        if is_failed_read(error):  # by a file that was cut short or replaced, perhaps
            if not self._files.bound:
                self._files.bind()
            loss = self._files.loss()
            if loss is not None:
                return _files_lost(loss)
        found = translate_error(error, self.path, self.patience, self._probe)
        self._damaged = self._damaged or isinstance(found, CorruptStore)
        return found

    def leave_alone(self) -> None:
        """The file is damaged, or not a Tenure store: closing must not change it either."""
        self._damaged = True

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For one statement, or several inside one snapshot that the caller begins."""
        self._check_process()
        with self._lock:
            db = self._usable()
            try:
                yield db
            except sqlite3.Error as error:
                raise self.translate_error(error) from error
            except UnicodeEncodeError as error:  # half a character, as bytes in argv become
                raise InvalidInput(
                    "bytes that are not UTF-8 cannot be stored",
                    remedy="write it in UTF-8",
                ) from error
            if not self._files.bound:
                self._files.bind()

    def data_version(self) -> int:
        """SQLite's counter of commits by other connections. Does not use :meth:`reading`: each
        process of a profile calls it every second."""
        self._check_process()
        with self._lock:
            try:
                found = self._usable().execute("PRAGMA data_version").fetchone()
            except sqlite3.Error as error:
                raise self.translate_error(error) from error
        return int(found[0])

    def own_changes(self) -> int:
        """Rows changed through this connection; starts again from 0 after a fork."""
        db = self._db
        return db.total_changes if db is not None else 0

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
        try:  # Begun inside, so that an interrupt at any point undoes it.
            db.execute("BEGIN IMMEDIATE")
            profile_id = self._check_count(db)
            rows = db.total_changes
            yield
            self._check_files(db)
            if db.total_changes == rows or not self._commit_counted(db, profile_id):
                db.execute("COMMIT")
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
        raise _files_lost(loss)

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
            raise _files_lost(self._overwritten)
        self._reached = count
        return profile_id

    def _commit_counted(self, db: sqlite3.Connection, profile_id: str) -> bool:
        """Commit, and count it; False, and nothing done, where it cannot be counted.

        Whether the database lies below its mark is unknown where that cannot be read.
        """
        if not db.in_transaction:  # SQLite gave it up: COMMIT is about to say so
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
            with contextlib.suppress(OSError):  # a mark that is too low accuses no good database
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
                raise _files_lost(loss)
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
        self._lock = threading.RLock()  # Another thread may have held it when the fork came.
        db, self._db = self._db, None
        self._parked = False
        if db is not None:
            _abandon(db)

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
    files.forget_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_park_all, after_in_parent=_unpark_all, after_in_child=_disinherit_all
    )
