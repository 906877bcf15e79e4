"""The file ``profile.id`` itself: its form, and how it is read and replaced.

JSON, version 1. It is replaced by rename while a lock on ``profile.id.lock`` is held, and is on
the disk before :func:`write` returns. What its numbers mean is told in
:mod:`tenure.store.profile_id`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tenure.domain.errors import Damaged
from tenure.store.folder import ProfileFolder

VERSION = 1
_LARGEST_FILE = 65_536
_SETTLED = 2_000_000_000
"""Nanoseconds after which a write changes the file's times for certain."""
_Mark = tuple[int, int, int, int, int]


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
    """What was adopted when, the latest last."""


def read(folder: ProfileFolder) -> ProfileId | None:
    """The folder's ``profile.id``; None where there is none.

    Raises :class:`Damaged` if it is there and cannot be understood.
    """
    found = _read(folder)
    return found[0] if found is not None else None


def look(folder: ProfileFolder) -> ProfileId | None:
    """As :func:`read`, by one ``stat`` where the file is the one that was looked at before.

    For those who only look, again and again. Whoever is to write reads.
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
    settled = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED
    _seen = (path, _mark(status), content) if settled else None
    return content


def _read(folder: ProfileFolder) -> tuple[ProfileId, os.stat_result] | None:
    try:
        with open(folder.id_file, "rb") as file:
            # By its size first: a read of the limit would allocate the limit, once a second.
            status = os.fstat(file.fileno())
            if status.st_size > _LARGEST_FILE:
                raise _damaged(folder, f"larger than {_LARGEST_FILE} bytes")
            content = file.read()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise _damaged(folder, e.strerror or str(e)) from e
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


@contextlib.contextmanager
def locked(folder: ProfileFolder) -> Iterator[None]:
    """Alone among all processes. Held for a few milliseconds, so waiting needs no limit."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(folder.path / "profile.id.lock", flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        # Unlocked by word: a child forked off meanwhile has the descriptor too, perhaps for ever.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def write(folder: ProfileFolder, content: ProfileId) -> None:
    """Replace the file, durably. Called under the lock, so that the temporary name is ours."""
    document = {"v": VERSION, **asdict(content)}
    temporary = folder.path / "profile.id.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(temporary, flags, 0o600), "w") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder.id_file)
    parent = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


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


def _damaged(folder: ProfileFolder, why: str) -> Damaged:
    return Damaged(
        f"{folder.id_file} cannot be understood: {why}",
        remedy="put it back from a backup; or move it away and `tenure profile adopt --restored`",
        path=str(folder.id_file),
    )
