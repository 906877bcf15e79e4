"""Landlock: a program gives up file access for itself and all its descendants, for ever.

It replaces macOS TCC in the founding scenario and in tests: like TCC it follows the process
chain through fork, exec and new sessions, binds the file's owner and root alike, and is not seen
by ``access(2)``. Unlike TCC it answers EACCES, not EPERM.

Landlock is an allow-list. To deny one place, everything beside the path that leads to it is
allowed, entry by entry, at that moment; so **entries that are created later beside
the denied place, or beside a folder above it, are denied too**. Give the denied place a short
root of its own, and create what must stay usable before. Listing folders stays allowed.

A confined process also cannot look into processes outside (``/proc/<pid>/exe`` of its parents):
their programs become unknown in its evidence.

Linux 5.13 or later, no privilege needed. Source: landlock(7), ``linux/landlock.h``; the system
calls have the same numbers on all architectures but alpha.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat
import struct
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tenure.domain.errors import InvalidInput, TenureError

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE = 1 << 0, 1 << 1, 1 << 2
_REFER = 1 << 13  # ABI 2: rename and link between folders, denied wherever it is not granted
_TRUNCATE = 1 << 14  # ABI 3


class LandlockMissing(TenureError):
    """The kernel has no Landlock, or a filter hides it. Nothing was restricted."""

    code = "landlock_missing"


@functools.cache
def available() -> int:
    """The version of the kernel's Landlock interface, 0 where there is none."""
    if sys.platform != "linux":
        return 0
    try:
        return max(0, _call(_CREATE_RULESET, None, 0, _VERSION_FLAG))
    except OSError:
        return 0


def deny_beneath(denied: Path) -> None:
    """Give up reading, writing and executing files beneath ``denied``, for good.

    Holds for the calling thread and whatever it starts from now on: call it before any thread
    is started. Raises LandlockMissing, InvalidInput if ``denied`` is not an existing file
    or folder, OSError if the kernel refuses; then nothing is restricted.
    """
    try:
        place = denied.resolve(strict=True)
    except OSError as error:
        raise InvalidInput(f"cannot deny {denied}: {error.strerror}", field="denied") from None
    if place == Path("/"):
        raise InvalidInput("cannot deny the whole file system", field="denied")
    restrict(tuple(_beside(place)))


def restrict(allow: Sequence[Path], *, missing_ok: bool = True) -> None:
    """Give up reading, writing and executing files except in and beneath ``allow``, for good.

    ``missing_ok`` skips paths that do not exist or may not be reached (they stay denied).
    Threads and errors as in :func:`deny_beneath`.
    """
    version = available()
    if not version:
        raise LandlockMissing(
            "this kernel offers no Landlock",
            remedy="use Linux 5.13 or later with landlock among its security modules",
        )
    handled = _EXECUTE | _WRITE_FILE | _READ_FILE
    handled |= _REFER if version >= 2 else 0
    handled |= _TRUNCATE if version >= 3 else 0
    ruleset = _call(_CREATE_RULESET, struct.pack("=Q", handled), 8, 0)
    try:
        for path in allow:
            try:
                _allow(ruleset, path, handled)
            except OSError as error:
                gone = error.errno in (errno.ENOENT, errno.EACCES, errno.ELOOP, errno.ENOTDIR)
                if not (gone and missing_ok):
                    raise
        _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _beside(place: Path) -> Iterable[Path]:
    """Every entry beside ``place`` and beside each folder above it."""
    for child in (place, *place.parents):
        parent = child.parent
        if parent == child:
            return
        with os.scandir(parent) as entries:
            # A link is followed when a rule is added: it must not lead to the denied place.
            names = [e.name for e in entries if e.name != child.name and not e.is_symlink()]
        yield from (parent / name for name in names)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= ~_REFER  # a right of folders only
        rule = struct.pack("=Qi", rights, descriptor)
        _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: int | bytes | None) -> int:
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    syscall = _libc().syscall
    syscall.restype = ctypes.c_long
    answer = int(syscall(ctypes.c_long(number), *words))
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer
