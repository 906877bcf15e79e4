"""Opening a file without blocking, and making a new name durable.

To open a FIFO waits until another process opens its other end, perhaps for ever. A thread that
looks after a whole profile must not wait for that.
"""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from pathlib import Path


class NotRegular(OSError):
    """A device, a pipe or a socket is where a file should be."""


def open_regular(path: str | os.PathLike[str]) -> FileIO:
    """Open a regular file, or a link to one, for reading, unbuffered; never blocks.

    Raises OSError: IsADirectoryError and :class:`NotRegular` for anything else than a file.
    Thread-safe.
    """
    nonblocking = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, os.O_RDONLY | nonblocking | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        # A socket, or links in a circle.
        if error.errno in (errno.ENXIO, errno.ELOOP):
            raise NotRegular(*error.args[:2], os.fspath(path)) from error
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            raise NotRegular(errno.EINVAL, "it is not a regular file", os.fspath(path))
    except BaseException:
        os.close(descriptor)
        raise
    return FileIO(descriptor, "rb")


def sync_folder(folder: Path) -> None:
    """Make a new name in ``folder`` durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
