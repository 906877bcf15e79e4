"""The file ``profile.id``: its form, how it is read, and how it is replaced.

JSON, version 1. :mod:`tenure.store.folder.identity` says what its numbers mean.

One process at a time replaces it, and a process that lost the lock never does. A process may be
suspended anywhere (SIGSTOP, a disk that hangs), also while it holds the lock, and that must not
block ownership for the others. So a process that has waited for :data:`PATIENCE_S` steals the lock:
it puts a new lock file in the place of the old one, and makes sure that the loser writes nothing
when it continues::

    writer   lock | make a temporary file | is the lock file still mine? | read | write | rename
    thief    wait | put a new lock file there | remove all temporary files | the same as a writer

The thief removes a temporary file that was made before the theft, so that its writer's rename
fails. A writer that made one after the theft sees another lock file, and gives up. Either way the
loser starts again and reads what the thief wrote. Two thieves are to each other what a thief is to
a writer. Each file has its own name, so no process renames another's.

A loser doubles its patience: on a disk slower than any patience two processes would otherwise rob
each other without end.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tenure.domain.errors import CorruptStore, OutcomeUnknown
from tenure.store.folder.files import NotRegular, open_regular, sync_folder
from tenure.store.folder.layout import ProfileFolder

VERSION = 1
_LARGEST_FILE = 65_536
_SETTLED_NS = 2_000_000_000
"""A write after this changes the file's times for certain."""
_Mark = tuple[int, int, int, int, int]
_open = threading.Lock()
"""Held while the file is open, and by a fork: its child is not to inherit the open file."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_open.acquire, after_in_parent=_open.release, after_in_child=_open.release
    )
PATIENCE_S = 2.0
"""A change takes milliseconds, and a slow writer that loses the lock only tries again."""
_MAX_PATIENCE_S = 30.0
_TEMPORARY = "profile.id.tmp"
_LOCK = "profile.id.lock"
_POLL_S = 0.005
_TRIES = 50
"""More than any number of processes needs; reached where a file system reports changing inodes."""
_MAKE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
log = logging.getLogger("tenure")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileId:
    """The content of ``profile.id``."""

    id: str
    """A uuid; the database holds the same."""
    device: int
    inode: int
    machine: str
    """The machine id as the host reports it; '' where it cannot be read."""
    term: int = 0
    """The highest term that was owned."""
    reserved_term: int = 0
    """The highest term that was ever given out. At least ``term``."""
    database: int | None = None
    """The inode of the database that belongs here; None where that was not known."""
    adopted: tuple[dict[str, Any], ...] = ()
    """The adoptions, the latest last."""


def read(folder: ProfileFolder) -> ProfileId | None:
    """The folder's ``profile.id``; None where there is none.

    Raises :class:`CorruptStore` if it is there and cannot be understood, :class:`OutcomeUnknown` if
    it cannot be read now.
    """
    content = _read(folder)
    return content[0] if content is not None else None


def look(folder: ProfileFolder) -> ProfileId | None:
    """As :func:`read`, by one ``stat`` where the file is the one that was looked at before.

    For callers that poll. A caller that will write uses :func:`read`.
    """
    global _seen
    path, seen = str(folder.id_file), _seen
    if seen is not None and seen[0] == path:
        with contextlib.suppress(OSError):
            if _mark(os.stat(path)) == seen[1]:
                return seen[2]
    found = _read(folder)
    if found is None:
        return None
    content, status = found
    # One that was written just now could be written again without a trace in its times.
    settled = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS
    _seen = (path, _mark(status), content) if settled else None
    return content


def _read(folder: ProfileFolder) -> tuple[ProfileId, os.stat_result] | None:
    try:
        with _open, open_regular(folder.id_file) as file:
            # By its size first: a read of the limit would allocate the limit, once a second.
            status = os.fstat(file.fileno())
            if status.st_size > _LARGEST_FILE:
                raise _damaged(folder, f"larger than {_LARGEST_FILE} bytes")
            content = file.read()
    except FileNotFoundError:
        return None
    except (NotRegular, IsADirectoryError, NotADirectoryError) as e:
        raise _damaged(folder, e.strerror or str(e)) from e
    except OSError as e:  # it says nothing of what is in the file
        raise OutcomeUnknown(
            f"{folder.id_file} cannot be read: {e.strerror or e}",
            remedy="fix the cause, then try again",
            path=str(folder.id_file),
        ) from e
    try:
        return _parse(json.loads(content)), status
    except (ValueError, RecursionError, KeyError, TypeError) as e:
        raise _damaged(folder, str(e)) from e


def _mark(status: os.stat_result) -> _Mark:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


_seen: tuple[str, _Mark, ProfileId] | None = None


def as_text(content: ProfileId) -> str:
    """What is in the file."""
    return json.dumps({"v": VERSION, **asdict(content)}, indent=1)


def _parse(document: Any) -> ProfileId:
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    if document.get("v") != VERSION:
        raise ValueError(f"version {document.get('v')!r} is not known here")
    numbers = {}
    for key in ("device", "inode", "term", "reserved_term", "database"):
        value = document.get(key) if key == "database" else document[key]
        if key == "database" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"{key} is not a number from 0")
        numbers[key] = value
    adopted = document.get("adopted", [])
    if not isinstance(adopted, list) or not all(isinstance(a, dict) for a in adopted):
        raise ValueError("adopted is not a list of objects")
    for key in ("id", "machine"):
        if not isinstance(document[key], str):
            raise ValueError(f"{key} is not text")
    return ProfileId(
        id=str(uuid.UUID(document["id"])),
        machine=document["machine"],
        adopted=tuple(adopted),
        **numbers,
    )


def _damaged(folder: ProfileFolder, why: str) -> CorruptStore:
    return CorruptStore(
        f"{folder.id_file} cannot be understood: {why}",
        remedy="put it back from a backup; or move it away and `tenure profile adopt --restored`",
        path=str(folder.id_file),
    )


# -- replacing it ----------------------------------------------------------------------------
_Decide = Callable[[ProfileId | None], ProfileId | None]


class _Overtaken(Exception):
    """Another process has stolen the lock."""


def change(folder: ProfileFolder, decide: _Decide) -> None:
    """Replace the content by what ``decide`` makes of it; None leaves it as it is.

    On the disk when it returns. ``decide`` may be asked more than once, each time with what is
    there then, and what it raises is raised. Raises CorruptStore, OSError.
    """
    patience = PATIENCE_S
    for _ in range(_TRIES):
        try:
            with _locked(folder, patience) as lock:
                _change(folder, decide, lock)
            return
        except _Overtaken:
            patience = min(2 * patience, _MAX_PATIENCE_S)
    raise OSError(errno.EBUSY, "its lock was taken away again and again", str(folder.id_file))


def _change(folder: ProfileFolder, decide: _Decide, lock: int) -> None:
    temporary = folder.path / f"{_TEMPORARY}.{uuid.uuid4().hex}"
    descriptor = os.open(temporary, _MAKE | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w") as file:
            if not _is_at(lock, _lock_path(folder)):
                raise _Overtaken
            _remove_others(folder, temporary.name)
            new = decide(read(folder))
            if new is None:
                return
            file.write(as_text(new))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.replace(temporary, folder.id_file)
        except FileNotFoundError as error:
            raise _Overtaken from error
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(folder.path)


def _remove_others(folder: ProfileFolder, mine: str) -> None:
    """Temporary files of dead processes, of a writer that lost the lock, and of thieves, which
    then start again."""
    for name in os.listdir(folder.path):
        if name.startswith((_TEMPORARY, f"{_LOCK}.")) and name != mine:
            (folder.path / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: ProfileFolder, patience: float) -> Iterator[int]:
    descriptor = _take(folder, patience)
    try:
        yield descriptor
    finally:
        # Unlocked explicitly: a child forked meanwhile has the descriptor too, perhaps for ever.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _take(folder: ProfileFolder, patience: float) -> int:
    path = _lock_path(folder)
    seen, until = 0, 0.0
    while True:
        descriptor = os.open(path, _MAKE, 0o600)
        try:
            if _try(descriptor):
                return descriptor
            inode = os.fstat(descriptor).st_ino
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        # The first time, and after another process stole it.
        if inode != seen:
            seen, until = inode, time.monotonic() + patience
        elif time.monotonic() > until:
            log.warning("%s was held for more than %g s: it is taken over", path, patience)
            return _steal(path)
        time.sleep(_POLL_S)


def _steal(path: str) -> int:
    """A new lock file in the place of the old one, locked before any other process sees it."""
    new = f"{path}.{uuid.uuid4().hex}"
    descriptor = os.open(new, _MAKE | os.O_EXCL, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.replace(new, path)
    except BaseException as error:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(new)
        # Removed by another, as that of a dead thief.
        if isinstance(error, FileNotFoundError):
            raise _Overtaken from error
        raise
    return descriptor


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: str) -> bool:
    """Whether ``path`` still names the file that this descriptor is of."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _lock_path(folder: ProfileFolder) -> str:
    return str(folder.path / _LOCK)
