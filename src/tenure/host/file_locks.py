"""Locks on open files that the kernel drops when their last descriptor is closed.

POSIX: flock(2). It belongs to the open file, so a forked child that keeps the descriptor keeps
the lock, and an explicit unlock by either frees it for both. Windows: LockFileEx on the first
byte far behind the content; written after the documentation, untested on real machines.

All calls are non-blocking and safe from any thread.
"""

from __future__ import annotations

import os
import sys

LOOK_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
LOOK_FLAGS |= getattr(os, "O_NONBLOCK", 0)
"""To open a lock file that may be another file meanwhile: a link, a pipe."""

if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    _FAIL_IMMEDIATELY, _EXCLUSIVE = 1, 2
    _LOCK_VIOLATION, _IO_PENDING = 33, 997
    _FAR_OFFSET = 0x7FFF0000

    class _Overlapped(ctypes.Structure):
        _fields_ = (
            ("Internal", ctypes.c_void_p),
            ("InternalHigh", ctypes.c_void_p),
            ("Offset", wintypes.DWORD),
            ("OffsetHigh", wintypes.DWORD),
            ("hEvent", wintypes.HANDLE),
        )

    def _try(descriptor: int, flags: int) -> bool:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(descriptor))
        where = _Overlapped(Offset=_FAR_OFFSET)
        if kernel.LockFileEx(handle, flags | _FAIL_IMMEDIATELY, 0, 1, 0, ctypes.byref(where)):
            return True
        error = ctypes.get_last_error()
        if error in (_LOCK_VIOLATION, _IO_PENDING):
            return False
        raise ctypes.WinError(error)

    def try_exclusive(descriptor: int) -> bool:
        return _try(descriptor, _EXCLUSIVE)

    def try_shared(descriptor: int) -> bool:
        return _try(descriptor, 0)

    def unlock(descriptor: int) -> None:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(descriptor))
        kernel.UnlockFileEx(handle, 0, 1, 0, ctypes.byref(_Overlapped(Offset=_FAR_OFFSET)))

else:
    import fcntl

    def _try(descriptor: int, kind: int) -> bool:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def try_exclusive(descriptor: int) -> bool:
        """Take the lock alone; False if it is held. Raises OSError."""
        return _try(descriptor, fcntl.LOCK_EX)

    def try_shared(descriptor: int) -> bool:
        """Take the lock beside other shared holders; False if one holds it alone."""
        return _try(descriptor, fcntl.LOCK_SH)

    def unlock(descriptor: int) -> None:
        """Free the lock, also for descriptors that a fork has copied."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def is_still_at(descriptor: int, path: str | os.PathLike[str]) -> bool:
    """Whether the open file is the one that ``path`` names now, not one unlinked since."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False
