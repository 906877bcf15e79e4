"""What adoption and release do to files, one primitive at a time.

Each primitive is atomic, or leaves behind what the next run recognises: a name that ends in
:data:`NEW`. A test stands in for :class:`Disk` and ends the process between any two of them.

Standard library only and good for Python 3.9: a copy lies beside ``release.py`` in each adopted
Hermes home, and works there when Tenure is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
import sys
import time

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows, where nothing is adopted yet
    fcntl = None  # type: ignore[assignment]

NEW = ".tenure-new"
"""Ends the name of a file that is about to take another's place."""
_NOT_HERE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV)


class Disk:
    """The primitives. All paths are full; nothing follows a link at the last name."""

    def mkdir(self, path: str, mode: int = 0o700) -> None:
        os.mkdir(path, mode)

    def create(self, path: str, content: bytes, mode: int, like: str | None = None) -> None:
        """Make a durable file. ``like``: the file whose attributes it gets."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(path, flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if like is not None:
                shutil.copystat(like, path)
                os.utime(path)
                _same_group(descriptor, like)
            os.chmod(path, mode)
            os.fsync(descriptor)

    def rename(self, old: str, new: str) -> None:
        os.replace(old, new)

    def exchange(self, one: str, other: str) -> bool:
        """Exchange two names in one step. False, and nothing done, where the system cannot."""
        return _exchange(os.fsencode(one), os.fsencode(other))

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def rmdir(self, path: str) -> None:
        os.rmdir(path)

    def times(self, path: str, mtime_ns: int) -> None:
        os.utime(path, ns=(os.stat(path).st_atime_ns, mtime_ns))

    def flush(self, folder: str) -> None:
        """Make the names in a folder durable."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some file systems cannot flush a folder, and say so.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)

    # -- of these ------------------------------------------------------------------------------
    def write(
        self, path: str, content: bytes, mode: int = 0o600, *, mtime_ns: int | None = None
    ) -> None:
        """Replace the file in one step; an existing one keeps its group and attributes."""
        new = beside(path)
        self.create(new, content, mode, like=path if os.path.lexists(path) else None)
        if mtime_ns is not None:
            self.times(new, mtime_ns)
        self.rename(new, path)
        self.flush(os.path.dirname(path))

    def move(self, old: str, new: str) -> None:
        """A file, also to another file system."""
        try:
            self.rename(old, new)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with open(old, "rb") as file:
                content = file.read()
            state = os.stat(old)
            self.write(new, content, stat.S_IMODE(state.st_mode), mtime_ns=state.st_mtime_ns)
            self.unlink(old)

    def put_away(self, folder: str, aside: str, last: tuple[str, ...] = ()) -> None:
        """Rename a folder, to be removed then; or remove it in place, ``last`` last."""
        try:
            self.rename(folder, aside)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # An overlay (a container's file system) cannot rename a folder of its image.
            self.remove(folder, last)

    def remove(self, path: str, last: tuple[str, ...] = ()) -> None:
        """Remove a file or a whole folder, if it exists.

        ``last``: names in the folder that go after all others, in this order.
        """
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(mode):
            self.unlink(path)
            return
        names = sorted(os.listdir(path))
        for name in sorted(names, key=lambda name: last.index(name) if name in last else -1):
            self.remove(os.path.join(path, name))
        self.rmdir(path)


def content_of(path: str | os.PathLike[str]) -> bytes | None:
    """What is in a file; None if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_folder(path: str) -> bool:
    """A folder itself, not a link to one."""
    return os.path.isdir(path) and not os.path.islink(path)


def is_file(path: str) -> bool:
    """A file, or a link to anything."""
    return os.path.lexists(path) and not is_folder(path)


def beside(path: str) -> str:
    """The temporary name of what will replace ``path``."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name.lstrip('.')}{NEW}")


def _same_group(descriptor: int, like: str) -> None:
    with contextlib.suppress(OSError):
        os.fchown(descriptor, -1, os.stat(like).st_gid)


def _exchange(one: bytes, other: bytes) -> bool:
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = library.renamex_np(one, other, 2)  # RENAME_SWAP
        else:
            failed = library.renameat2(-100, one, -100, other, 2)  # AT_FDCWD, RENAME_EXCHANGE
    except (OSError, AttributeError, TypeError):
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in _NOT_HERE:
        return False
    raise OSError(number, os.strerror(number), os.fsdecode(other))


# -- locks -------------------------------------------------------------------------------------
def lock(path: str, patience: float) -> int | None:
    """Lock the file or folder at ``path``; the descriptor, or None if another process holds it.

    Waits for ``patience`` seconds. :func:`unlock` it. Raises OSError, also where nothing is there.
    """
    until = time.monotonic() + patience
    while True:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        else:
            if _is_at(descriptor, path):
                return descriptor
            os.close(descriptor)
        if time.monotonic() >= until:
            return None
        time.sleep(0.02)


def unlock(descriptor: int) -> None:
    # Closing alone may not free it: a child that was forked meanwhile has the descriptor too.
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
