"""Calls of macOS, each answering None where it is missing or refused. Untested on a real Mac.

Numbers and layouts: xnu ``bsd/sys/proc_info.h``, ``bsd/sys/codesign.h``, ``libproc.h``; the
responsible process: ``responsibility_get_pid_responsible_for_pid``, present but not documented.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import os
import stat
import struct
import subprocess

from tenure.host.file_locks import LOOK_FLAGS

UNIQUE_IDENTIFIER, COALITIONS = 17, 20
CODE_STATUS, CODE_HASH, CODE_TEAM = 0, 5, 14
_LAUNCHCTL = "/bin/launchctl"
_LAUNCHCTL_TIMEOUT_S = 2.0
_LONGEST_PATH = 1024
_LOCK = struct.Struct("=qqihh")
"""``struct flock``: start, length, pid, type, whence."""


@functools.cache
def _system() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None, use_errno=True)
    except OSError:
        return None


def pid_info(pid: int, flavor: int, size: int) -> bytes | None:
    """``proc_pidinfo``: exactly ``size`` bytes of one flavor."""
    function = getattr(_system(), "proc_pidinfo", None)
    if function is None:
        return None
    buffer = ctypes.create_string_buffer(size)
    written = function(pid, flavor, ctypes.c_uint64(0), buffer, size)
    return buffer.raw if written == size else None


def responsible_pid(pid: int) -> int | None:
    """The process that TCC charges for ``pid``."""
    function = getattr(_system(), "responsibility_get_pid_responsible_for_pid", None)
    if function is None:
        return None
    answer = int(function(pid))
    return answer if answer > 0 else None


def code_signing(pid: int, operation: int, size: int) -> bytes | None:
    """``csops``: one fact about the code that a process runs."""
    function = getattr(_system(), "csops", None)
    if function is None:
        return None
    buffer = ctypes.create_string_buffer(size)
    failed = function(pid, ctypes.c_uint(operation), buffer, ctypes.c_size_t(size))
    return None if failed else buffer.raw


def sysctl_text(name: str) -> str | None:
    """A string of ``sysctlbyname``."""
    function = getattr(_system(), "sysctlbyname", None)
    if function is None:
        return None
    buffer = ctypes.create_string_buffer(256)
    size = ctypes.c_size_t(len(buffer))
    failed = function(name.encode(), buffer, ctypes.byref(size), None, ctypes.c_size_t(0))
    return None if failed else buffer.value.decode("ascii", "replace")


def host_uuid() -> bytes | None:
    """``gethostuuid``: the machine's hardware id, 16 bytes."""
    function = getattr(_system(), "gethostuuid", None)
    if function is None:
        return None
    buffer = ctypes.create_string_buffer(16)
    patience = (ctypes.c_long * 2)(1, 0)
    return None if function(buffer, patience) else buffer.raw


def open_files() -> dict[int, str] | None:
    """This process's descriptors of files that have a path, and the path (``F_GETPATH``)."""
    get_path: int | None = getattr(fcntl, "F_GETPATH", None)
    if get_path is None:
        return None
    try:
        numbers = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        return None
    found: dict[int, str] = {}
    for number in numbers:
        try:
            if stat.S_ISREG(os.fstat(number).st_mode):
                path = fcntl.fcntl(number, get_path, bytes(_LONGEST_PATH))
                found[number] = path.split(b"\0", 1)[0].decode()
        except (OSError, UnicodeDecodeError):
            continue  # closed meanwhile, unlinked, or a name that no rule can spell
    return found


def is_locked(path: str) -> bool | None:
    """Whether any process, this one too, has a lock of either kind on a file; takes none.

    ``F_GETLK`` there reports locks by flock(2) as well, without their holder. Closes a descriptor
    of the file, and so drops this process's own fcntl(2) locks on it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | LOOK_FLAGS)
    except OSError:
        return None
    try:
        asked = _LOCK.pack(0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
        return bool(_LOCK.unpack(answer)[3] != fcntl.F_UNLCK)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def launchctl_print(target: str) -> str | None:
    """``launchctl print pid/<pid>`` or ``DOMAIN/LABEL``: text that Apple declares no interface.

    Takes up to two seconds, and None does not mean that the target does not exist.
    """
    try:
        done = subprocess.run(
            [_LAUNCHCTL, "print", target],
            capture_output=True,
            check=False,
            timeout=_LAUNCHCTL_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
