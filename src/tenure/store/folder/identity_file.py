"""The file ``profile.id`` itself: its form, and how it is read.

JSON, version 1. It is replaced whole, as :mod:`tenure.store.folder.identity_change` tells. What its
numbers mean is told in :mod:`tenure.store.folder.identity`.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from typing import Any

from tenure.domain.errors import CorruptStore, OutcomeUnknown
from tenure.store.folder.layout import ProfileFolder
from tenure.store.folder.regular_files import NotRegular, open_regular

VERSION = 1
_LARGEST_FILE = 65_536
_SETTLED = 2_000_000_000
"""Nanoseconds after which a write changes the file's times for certain."""
_Mark = tuple[int, int, int, int, int]
_open = threading.Lock()
"""Held while the file is open, and by a fork: its child is not to inherit the open file."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_open.acquire, after_in_parent=_open.release, after_in_child=_open.release
    )


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

    Raises :class:`CorruptStore` if it is there and cannot be understood, :class:`OutcomeUnknown` if
    it cannot be read now.
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
            remedy="mend what stands in the way, then try again",
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
