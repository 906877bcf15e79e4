"""Live locks: they prove to every process, without a timer, that their holder lives.

Authority: the kernel. Every joined process holds an exclusive lock on ``live/<process id>`` for
life; when it ends, however it ends, the kernel frees the lock. Only the store decides which process
owns; a live lock only shows which live.

======================  =======================  ==============================================
the lock                the identity             the answer
======================  =======================  ==============================================
free                    (any)                    dead
held                    lives, or not ours       alive: a lock is valid across pid namespaces
held                    dead, same boot          dead: the lock leaked to a child by a fork
held                    of another boot          cannot verify: no lock outlives a boot, so a
                                                 container here calls its boot by another name
file gone or replaced   dead, or another boot    dead
file gone or replaced   lives, or not ours       cannot verify
cannot be asked now     dead, same boot          dead: the kernel knows it of the process itself
cannot be asked now     anything else            cannot verify: ask again
======================  =======================  ==============================================

A file is unlinked only by its holder, or by :func:`sweep` under its lock. It carries its own
inode number, so that a copy in its place (a restored or copied folder) is not taken for it.
Probing takes a shared lock for an instant: probers do not disturb each other, and ``hold`` waits
them out. What cannot be asked now (no descriptor free, no permission, a failing disk) is neither
free nor gone. All functions are safe from any thread.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
import weakref
from collections.abc import Collection
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Self

from tenure.domain.errors import Conflict, InvalidInput
from tenure.domain.ownership import HolderLife
from tenure.domain.policy.evidence import Identity
from tenure.host import processes
from tenure.host.file_locks import LOOK_FLAGS, is_still_at, try_exclusive, try_shared, unlock

_FORMAT = 1
_PROBERS_WAIT_S = 2.0
"""Seconds that ``hold`` waits for probers, each of which holds the lock for microseconds."""
_JOINING_S = 60.0
"""How long an empty file is left to the process that made it."""
_PROCESS_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NOT_THERE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO))
"""No file, or something else in its place."""


class _Lock(StrEnum):
    """What a look at a live lock found."""

    HELD = "held"
    FREE = "free"
    GONE = "gone"
    """No lock file of that process is there."""
    UNKNOWN = "unknown"
    """It cannot be asked now."""


class LiveLock:
    """The lock that one joined process holds on its own file for life.

    No other process inherits it: exec closes the descriptor, and after ``os.fork`` the child
    closes its copy by itself (:meth:`forget_in_child`), which leaves the parent's lock alone.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        """Use :meth:`hold`."""
        self.path = path
        self._descriptor: int | None = descriptor
        self._pid = os.getpid()
        _held.add(self)

    @classmethod
    def hold(cls, folder: Path, process_id: str, identity: Identity) -> Self:
        """Take the live lock of this process, creating ``folder`` (0700) and the file (0600).

        To be called before the process is made known to others: until then there is no file,
        or an unlocked one. Raises Conflict if another process holds that name's lock,
        InvalidInput for a name that is no file name, OSError if the folder cannot be written.
        """
        path = _path_of(folder, process_id)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        deadline = time.monotonic() + _PROBERS_WAIT_S
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | LOOK_FLAGS, 0o600)
            try:
                if try_exclusive(descriptor):
                    if is_still_at(descriptor, path):
                        _write(descriptor, process_id, identity)
                        return cls(path, descriptor)
                elif time.monotonic() > deadline:
                    raise Conflict(
                        f"process {process_id} has already joined: its live lock {path} is held",
                        remedy="let each process join under a new process id",
                    )
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            time.sleep(0.001)

    @property
    def held(self) -> bool:
        """Whether this object, in this process, still holds the lock."""
        return self._descriptor is not None and self._pid == os.getpid()

    def release(self) -> None:
        """Leave: unlink the file, then free the lock. In a forked child: only forget."""
        if self._pid != os.getpid():
            self.forget_in_child()
            return
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            # While the lock is held, no other process may replace the file.
            if is_still_at(descriptor, self.path):
                with contextlib.suppress(OSError):
                    self.path.unlink()
            unlock(descriptor)
        finally:
            os.close(descriptor)

    def forget_in_child(self) -> None:
        """After a fork, in the child: close the copy without unlocking, which would free the
        parent's lock."""
        if self._pid != os.getpid():
            self.drop()

    def drop(self) -> None:
        """Close the descriptor, as the kernel does when a process dies: the file stays."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)


_held: weakref.WeakSet[LiveLock] = weakref.WeakSet()


def _forget_all_in_child() -> None:
    for lock in list(_held):
        lock.forget_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all_in_child)


def life_of(folder: Path, process_id: str, identity: Identity | None) -> HolderLife:
    """Whether a process lives, by its live lock and, where that does not decide, its identity.

    Never blocks and never creates a file. Raises InvalidInput for a name that is no file name.
    """
    lock = _probe(_path_of(folder, process_id), process_id, identity)
    if lock is _Lock.FREE:
        return HolderLife.DEAD
    alive = None if identity is None else processes.is_alive(identity)
    if lock is _Lock.GONE:
        return HolderLife.DEAD if alive is False else HolderLife.UNVERIFIABLE
    if alive is not False or identity is None:
        return HolderLife.ALIVE if lock is _Lock.HELD else HolderLife.UNVERIFIABLE
    return HolderLife.DEAD if identity.boot_id == processes.boot_id() else HolderLife.UNVERIFIABLE


def sweep(folder: Path, keep: Collection[str]) -> tuple[str, ...]:
    """Remove the files of dead processes except those named in ``keep``; returns the names.

    A file goes only while its lock is ours and it is still the file of that name, so that a
    process that is just joining keeps its file. Files that cannot be opened are left alone.
    """
    removed = []
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return ()
    for name in names:
        if name not in keep and _PROCESS_ID.fullmatch(name) and _remove(folder / name):
            removed.append(name)
    return tuple(removed)


def _remove(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | LOOK_FLAGS)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        # Made a moment ago, and nothing written yet: its process is about to lock it, and would
        # find it locked for as long as this process is stopped.
        if status.st_size == 0 and abs(time.time() - status.st_mtime) < _JOINING_S:
            return False
        if not try_exclusive(descriptor):
            return False
        try:
            if not is_still_at(descriptor, path):
                return False
            path.unlink()
            return True
        finally:
            unlock(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _path_of(folder: Path, process_id: str) -> Path:
    if not _PROCESS_ID.fullmatch(process_id):
        raise InvalidInput(
            f"{process_id!r} is not a process id: letters, digits, '.', '_' and '-' only",
            field="process_id",
        )
    return folder / process_id


def _write(descriptor: int, process_id: str, identity: Identity) -> None:
    record = {
        "v": _FORMAT,
        "process": process_id,
        "inode": os.fstat(descriptor).st_ino,
        "identity": asdict(identity),
    }
    os.ftruncate(descriptor, 0)
    data = json.dumps(record, sort_keys=True).encode() + b"\n"
    if os.write(descriptor, data) != len(data):
        raise OSError(f"the live lock file of {process_id} could not be written whole")


def _probe(path: Path, process_id: str, identity: Identity | None) -> _Lock:
    try:
        descriptor = os.open(path, os.O_RDONLY | LOOK_FLAGS)
    except OSError as error:
        return _Lock.GONE if error.errno in _NOT_THERE else _Lock.UNKNOWN
    try:
        if not try_shared(descriptor):
            return _Lock.HELD
        try:
            # The file must still be there: one that was just unlinked was left, not died from.
            genuine = _is_genuine(descriptor, process_id, identity) and is_still_at(
                descriptor, path
            )
        finally:
            unlock(descriptor)
        return _Lock.FREE if genuine else _Lock.GONE
    except OSError:
        return _Lock.UNKNOWN
    finally:
        os.close(descriptor)


def _is_genuine(descriptor: int, process_id: str, identity: Identity | None) -> bool:
    """Whether the file is the one that the process locked, and not a copy or another process's."""
    try:
        record = json.loads(os.read(descriptor, 65536))
        expected = {} if identity is None else asdict(identity)
        return (
            record["process"] == process_id
            and record["inode"] == os.fstat(descriptor).st_ino
            and all(record["identity"][name] == value for name, value in expected.items())
        )
    except (ValueError, KeyError, TypeError):
        return False
