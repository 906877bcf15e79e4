"""How ``profile.id`` is replaced: by one process at a time, and never by one that was overtaken.

A process may stand still anywhere (SIGSTOP, a disk that hangs), also while it holds the lock; that
must not keep the ownership from everybody else. So who has waited for :data:`PATIENCE` takes the
lock away, by putting a new lock file in the old one's place, and makes sure that the loser
writes nothing when it wakes::

    writer   lock | make a temporary file | is the lock file still mine? | read | write | rename
    thief    wait | put a new lock file there | remove all temporary files | the same as a writer

A temporary file that was made before the theft is removed by the thief, so that its writer's rename
fails; one that was made after it is given up by its writer, who sees another lock file. Either
way the loser begins anew and reads what the thief wrote. Two thieves are to each other what
a thief is to a writer. Each file has a name of its own, so nobody renames another's.

A loser waits twice as long the next time: on a disk that takes longer than any patience two would
else rob each other for ever.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator

from tenure.store.folder.durable import sync_folder
from tenure.store.folder.identity_file import ProfileId, as_text, read
from tenure.store.folder.layout import ProfileFolder

PATIENCE = 2.0
"""Seconds. A change takes milliseconds, and losing the lock costs a slow writer only a try."""
_LONGEST = 30.0
_TEMPORARY = "profile.id.tmp"
_LOCK = "profile.id.lock"
_AGAIN = 0.005
_TRIES = 50
"""Far more than any crowd needs: this file system never says that a file is the one it was."""
_MAKE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_Decide = Callable[[ProfileId | None], ProfileId | None]
log = logging.getLogger("tenure")


class _Overtaken(Exception):
    """Somebody has taken the lock away."""


def change(folder: ProfileFolder, decide: _Decide) -> None:
    """Replace the content by what ``decide`` makes of it; None leaves it as it is.

    On the disk when it returns. ``decide`` may be asked more than once, each time with what is
    there then, and what it raises is raised. Raises CorruptStore, OSError.
    """
    patience = PATIENCE
    for _ in range(_TRIES):
        try:
            with _locked(folder, patience) as lock:
                _change(folder, decide, lock)
            return
        except _Overtaken:
            patience = min(2 * patience, _LONGEST)
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
    """Those of the dead, and of whom the lock was taken from; of thieves too, who begin anew."""
    for name in os.listdir(folder.path):
        if name.startswith((_TEMPORARY, f"{_LOCK}.")) and name != mine:
            (folder.path / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: ProfileFolder, patience: float) -> Iterator[int]:
    descriptor = _take(folder, patience)
    try:
        yield descriptor
    finally:
        # Unlocked by word: a child forked off meanwhile has the descriptor too, perhaps for ever.
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
        if inode != seen:  # at first, and when another one who waited took it from its holder
            seen, until = inode, time.monotonic() + patience
        elif time.monotonic() > until:
            log.warning("%s was held for more than %g s: it is taken over", path, patience)
            return _steal(path)
        time.sleep(_AGAIN)


def _steal(path: str) -> int:
    """A new lock file in the place of the old one, locked before anybody sees it."""
    new = f"{path}.{uuid.uuid4().hex}"
    descriptor = os.open(new, _MAKE | os.O_EXCL, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.replace(new, path)
    except BaseException as error:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(new)
        if isinstance(error, FileNotFoundError):  # another one removed it, as that of a dead thief
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
