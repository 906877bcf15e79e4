"""A run's output: capped while it is written, read back as one stream.

The job writes straight into ``<attempt>.log``, append only. When the file exceeds the cap, its end
is copied to ``<attempt>.log.1``, which replaces the previous one, and the file is truncated; the
job does not notice, and its next line lands at the front. So at most twice the cap is kept, plus
what a fast writer adds between two checks: the *latest* output is kept, and dropped bytes are
counted.

``.1`` begins with one line that says so; readers and a later owner rely on it::

    [tenure: the first 10485760 bytes of this output were dropped]\\n

So every byte has a fixed *offset* in the whole output, whatever was rotated or dropped, and a
follower that remembers its offset continues across rotations.

Failure: bytes written between the last count and the truncation are lost uncounted: microseconds,
more if this process loses the CPU at that moment. Offsets and counts are then lower bounds. While
``.log.1.new`` exists a rotation is in progress, and readers try again; a process that died in it
leaves the file, and the next rotation replaces it. On a full disk the copy is abandoned and the log
is truncated all the same: the cap holds, and all of it counts as dropped. A writer faster than the
copy loses what it is ahead by more than two caps; that is counted too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from tenure.domain.errors import OutcomeUnknown
from tenure.store.folder.files import NotRegular, open_regular

CHUNK = 1 << 18
_NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError, NotRegular)
_HEADER = re.compile(rb"\[tenure: the first +(\d+) bytes of this output were dropped\]\n")


class OutputUnreadable(OutcomeUnknown, OSError):
    """Output may exist, but cannot be read now."""

    code = "output_unreadable"

    @classmethod
    def of(cls, log_path: Path, error: OSError) -> OutputUnreadable:
        return cls(
            f"the output {log_path} cannot be read: {error.strerror or error}",
            remedy="fix the cause, then try again",
        )


def marker(dropped: int) -> bytes:
    """The line that readers get in place of dropped output."""
    return b"[tenure: the first %d bytes of this output were dropped]\n" % dropped


def _header(dropped: int) -> bytes:
    """The same with a fixed length, at the start of a rotated file: it is written last."""
    return b"[tenure: the first %20d bytes of this output were dropped]\n" % dropped


def _rotated(log_path: Path) -> Path:
    return log_path.with_name(log_path.name + ".1")


def _rotating(log_path: Path) -> Path:
    return log_path.with_name(log_path.name + ".1.new")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the bytes of an output are. Offsets count from the first byte ever written."""

    dropped: int
    """Bytes that are gone; the first kept byte has this offset."""
    rotated: int
    """Bytes kept in the rotated file, its marker not counted."""
    header: int
    """Length of the marker."""
    current: int
    """Bytes in the log itself."""
    identity: tuple[int, int]
    """Of the rotated file, (0, 0) for none: it changes with each rotation."""

    @property
    def end(self) -> int:
        return self.dropped + self.rotated + self.current


def layout_of(log_path: Path) -> Layout:
    """Where the output is now; all zero without any. Raises OutputUnreadable."""
    current = 0
    try:
        with contextlib.suppress(*_NOT_THERE):
            current = os.stat(log_path).st_size
        with open_regular(_rotated(log_path)) as file:
            status = os.fstat(file.fileno())
            match = _HEADER.match(file.read(len(_header(0))))
    except OSError as error:
        if not isinstance(error, _NOT_THERE):
            raise OutputUnreadable.of(log_path, error) from error
        return Layout(dropped=0, rotated=0, header=0, current=current, identity=(0, 0))
    header = match.end() if match else 0
    return Layout(
        dropped=int(match[1]) if match else 0,
        rotated=status.st_size - header,
        header=header,
        current=current,
        identity=(status.st_ino, status.st_mtime_ns),
    )


class OutputCap:
    """Keeps one attempt's output within bounds. Holds no file open; one caller at a time."""

    def __init__(self, log_path: Path, cap: int) -> None:
        """``cap``: bytes after which the log is rotated, at least 1."""
        if cap < 1:
            raise ValueError("cap must be at least 1 byte")
        self.log_path = log_path
        self.cap = cap

    def check(self) -> bool:
        """Rotate if the log exceeds the cap; returns whether it did. A missing log is not an error.

        Costs one stat(2) while nothing is to do. Raises OSError, OutputUnreadable among them, if
        the log cannot even be truncated.
        """
        try:
            if os.stat(self.log_path).st_size <= self.cap:
                return False
            log = os.open(self.log_path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            self._rotate(log)
        finally:
            os.close(log)
        return True

    def _rotate(self, log: int) -> None:
        before = layout_of(self.log_path)
        start = before.dropped + before.rotated
        new = _rotating(self.log_path)
        first = max(0, os.fstat(log).st_size - self.cap)
        target = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            end = self._copy(log, target, first)
            lost = os.fstat(log).st_size - end
            os.ftruncate(log, 0)
            os.pwrite(target, _header(start + first + lost), 0)
            os.replace(new, _rotated(self.log_path))
        finally:
            os.close(target)

    def _copy(self, log: int, target: int, first: int) -> int:
        """Copy the log from ``first`` on, until it has caught up with the writer or is far behind.

        Returns where it stopped; also short of the end on a full disk, which has room for the
        copy only after the truncation.
        """
        position, limit = first, first + 2 * self.cap
        try:
            _write_all(target, _header(0))
            while position < limit and (part := os.pread(log, CHUNK, position)):
                _write_all(target, part)
                position += len(part)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            os.ftruncate(target, 0)
            return first
        return position


def _write_all(descriptor: int, part: bytes) -> None:
    view = memoryview(part)
    while view:
        view = view[os.write(descriptor, view) :]


def read_from(log_path: Path, offset: int, limit: int = CHUNK) -> tuple[int, bytes]:
    """Up to ``limit`` bytes from ``offset`` on, and the offset at which they begin.

    That is later than requested where output was dropped. Empty at the end, without output, or
    during a rotation (try again). Any process and thread. Raises OutputUnreadable, as all readers
    here do: output that cannot be read is not empty.
    """
    for _ in range(3):
        before = layout_of(log_path)
        offset = max(offset, before.dropped)
        data = _read_at(log_path, before, offset, limit)
        after = layout_of(log_path)
        settled = not _rotating(log_path).exists() and after.current >= before.current
        if after.identity == before.identity and settled:
            return offset, data
    return offset, b""


def _read_at(log_path: Path, layout: Layout, offset: int, limit: int) -> bytes:
    base = layout.dropped + layout.rotated
    if offset < base:
        path, position = _rotated(log_path), layout.header + offset - layout.dropped
    else:
        path, position = log_path, offset - base
    try:
        with open_regular(path) as file:
            return os.pread(file.fileno(), limit, position)
    except _NOT_THERE:
        return b""
    except OSError as error:
        raise OutputUnreadable.of(log_path, error) from error


def read_output(log_path: Path, offset: int = 0) -> Generator[bytes, None, int]:
    """All that is kept from ``offset`` on, oldest first, in pieces; the marker in place of what was
    dropped. Returns the offset where it ends."""
    while True:
        at, part = read_from(log_path, offset)
        if at > offset:
            yield marker(at)
        if not part:
            return at
        yield part
        offset = at + len(part)


def tail(log_path: Path, lines: int) -> bytes:
    """The last ``lines`` lines that are kept (an unfinished one counts); b'' for none.

    Reads no more than it needs, and never more than is kept.
    """
    if lines < 1:
        return b""
    layout = layout_of(log_path)
    size = CHUNK
    while True:
        begin = max(layout.dropped, layout.end - size)
        text = _between(log_path, begin, layout.end)
        # One line more than requested proves that the first requested line is complete.
        if begin <= layout.dropped or text.rstrip(b"\n").count(b"\n") >= lines:
            return b"".join(text.splitlines(keepends=True)[-lines:])
        size *= 4


def _between(log_path: Path, begin: int, end: int) -> bytes:
    parts = []
    while begin < end:
        at, part = read_from(log_path, begin, min(CHUNK * 4, end - begin))
        if not part:
            break
        parts.append(part)
        begin = at + len(part)
    return b"".join(parts)


def follow(
    log_path: Path,
    *,
    ended: Callable[[], bool],
    wait: Callable[[], None],
    offset: int = 0,
) -> Iterator[bytes]:
    """The output from ``offset`` on, and what is still being written, until the run has ended.

    ``wait`` is called whenever no more is available for now (sleep a little, or wait for a
    hint); ``ended`` before each read, so that the last bytes are not missed.
    """
    while True:
        last = ended()
        offset = yield from read_output(log_path, offset)
        if last:
            return
        wait()
