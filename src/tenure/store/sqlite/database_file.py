"""A database file: how it is opened, and what can go wrong with it.

Errors of SQLite are known by their codes; messages are not parsed.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenure.domain.errors import (
    PASSING,
    CorruptStore,
    NotFound,
    StoreBlocked,
    StoreUnwritable,
    TenureError,
)

HolderProbe = Callable[[Path], int | None]
"""Returns the pid that holds the write lock of the database at a path, as the kernel says."""

_BUSY, _LOCKED, _NOMEM, _READONLY, _IOERR, _CORRUPT = 5, 6, 7, 8, 10, 11
_FULL, _CANTOPEN, _NOTADB = 13, 14, 26
RESTORE = "keep the file; `tenure restore FILE` brings back a backup beside it"


_FORGOTTEN: list[sqlite3.Connection] = []


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
            abandon(db)
        else:
            db.close()
        raise
    return db


def abandon(db: sqlite3.Connection) -> None:
    """Keep a reference for ever, so that it is never closed, not even at exit."""
    import ctypes

    _FORGOTTEN.append(db)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(db))


def translate_error(
    error: sqlite3.Error, path: Path, patience: float, probe: HolderProbe | None
) -> TenureError:
    """The Tenure error for an error of SQLite about the store at ``path``."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in (_BUSY, _LOCKED):
        return _blocked(path, patience, probe)
    if code in (_CORRUPT, _NOTADB):
        what = "is damaged" if code == _CORRUPT else "is not a database"
        return CorruptStore(f"{path} {what}: {error}", remedy=RESTORE)
    if code == _FULL:
        return StoreUnwritable(
            f"the disk that holds {path} is full; nothing was changed", remedy="free some space"
        )
    if code in (_READONLY, _CANTOPEN) and (found := why_unwritable(path)) is not None:
        because, remedy = found
        what = "cannot be written" if code == _READONLY else "cannot be opened"
        return StoreUnwritable(f"{path} {what}: {because}; nothing was changed", remedy=remedy)
    if code == _READONLY:
        return StoreUnwritable(
            f"{path} cannot be written: {error}; nothing was changed",
            remedy="check the permissions of the profile folder, and that it is still there",
        )
    most = _largest_file()
    if code == _IOERR and most is not None:
        return StoreUnwritable(
            f"{path} cannot be written: {error}; this process may write files of at most {most} "
            "bytes",
            remedy="raise that limit where the process is started (ulimit -f, LimitFSIZE=), "
            "or check the disk",
        )
    if code == _IOERR:
        return StoreUnwritable(
            f"the device that holds {path} fails: {error}",
            remedy="check the disk; whether the last change was written is uncertain",
        )
    if code == _NOMEM:
        return StoreUnwritable(f"{path} cannot be used now: {error}; nothing was changed")
    if code == _CANTOPEN:
        if (why := _no_descriptor()) is not None:
            return StoreUnwritable(
                f"{path} cannot be opened: {why}",
                remedy="raise the limit of open files (`ulimit -n`), or have fewer open",
            )
        if not path.exists():
            return missing(path)
        return StoreUnwritable(
            f"{path} cannot be opened: {error}",
            remedy="check the permissions of the profile folder",
        )
    return TenureError(f"SQLite failed on {path}: {error}")


def why_unwritable(path: Path) -> tuple[str, str] | None:
    """The visible reason why this process cannot write the store at ``path``, and the remedy;
    None without a visible reason."""
    folder = path.parent
    if not path.exists() or _no_descriptor() is not None:
        return None
    try:
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return (
                "its file system is mounted read-only",
                "mount it writable; jobs can be viewed until then, and not changed",
            )
        for place in (folder, path):
            if not os.access(place, os.W_OK):
                return f"this user may not write {place}", f"chmod u+w {place}"
    except OSError:
        pass
    return None


def can_only_be_read(path: Path) -> bool:
    """Whether the folder is read-only and the log is empty: SQLite must then read the database
    without the log, since it cannot create its files."""
    log, shared = Path(f"{path}-wal"), Path(f"{path}-shm")
    try:
        return (
            not os.access(path.parent, os.W_OK)
            and not shared.exists()
            and (not log.exists() or log.stat().st_size == 0)
        )
    except OSError:
        return False


def _no_descriptor() -> str | None:
    """The reason why this process can open no file now; SQLite does not pass on the errno."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.strerror if error.errno in PASSING else None
    return None


def _largest_file() -> int | None:
    """The limit on the size of files, in bytes; None where there is none."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that the file is corrupt, or no database."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return isinstance(error, sqlite3.Error) and code in (_CORRUPT, _NOTADB)


def is_failed_read(error: sqlite3.Error) -> bool:
    """Whether SQLite could not read data that it expected."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return code in (_IOERR, _CORRUPT, _NOTADB)


def missing(path: Path) -> NotFound:
    return NotFound(f"no store at {path}", remedy="`tenure add` and `tenure serve` make one")


def _blocked(path: Path, patience: float, probe: HolderProbe | None) -> StoreBlocked:
    holder = probe(path) if probe is not None else None
    who = f"process {holder}" if holder is not None else "another process"
    return StoreBlocked(
        f"{who} has held the write lock of {path} for more than {patience:g} s",
        remedy=(
            f"if process {holder} is frozen, continue or end it; "
            "a hung owner is ended by `tenure owner take --kill`"
            if holder is not None
            else "`tenure status` names it where the kernel tells; then try again"
        ),
        pid=holder,
    )


# -- what can happen to the files of an open database -------------------------------------------
BRING_BACK = (
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

    def error(self) -> CorruptStore:
        return CorruptStore(f"{self.text}; nothing was changed", remedy=self.remedy)


def moved(what: str, path: str, *, gone: bool, foldable: bool = False) -> Loss:
    became = "was removed" if gone else "was replaced"
    return Loss(
        text=f"{what} {path} {became} while this process had it open",
        remedy="end every process of this profile, then start them again; "
        "`tenure audit` says whether something is missing",
        foldable=foldable,
    )


def cut_short(what: str, path: str, size: int, needed: int) -> Loss:
    text = f"{what} {path} was cut short: {size} bytes are left of at least {needed}"
    return Loss(text=text, remedy=BRING_BACK)


# -- descriptors beside those of SQLite ----------------------------------------------------------
# The index and the log are read through descriptors of our own. Closing one would drop the locks
# that SQLite has on that file in this process (POSIX), so each is shared by all connections to the
# file, and closed after the last of them.
_shared: dict[tuple[int, int], list[int]] = {}
"""The descriptor, and how many connections use it."""
_sharing = threading.Lock()


def share(path: str, key: tuple[int, int]) -> int:
    """A descriptor of the file; -1 where none can be had, and then lengths are not compared."""
    if not hasattr(os, "pread"):
        return -1
    with _sharing:
        entry = _shared.get(key)
        if entry is None:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                return -1
            status = os.fstat(descriptor)
            # One that was replaced this very moment stays open: closing it may drop locks.
            entry = _shared.setdefault((status.st_dev, status.st_ino), [descriptor, 0])
            if (status.st_dev, status.st_ino) != key:
                return -1
        entry[1] += 1
        return entry[0]


def unshare(key: tuple[int, int]) -> None:
    with _sharing:
        entry = _shared[key]
        entry[1] -= 1
        if not entry[1]:
            del _shared[key]
            os.close(entry[0])


def close_shared_in_child() -> None:
    """After a fork, in the child: it has no locks of SQLite's to lose."""
    global _sharing
    _sharing = threading.Lock()
    for descriptor, _ in _shared.values():
        os.close(descriptor)
    _shared.clear()
