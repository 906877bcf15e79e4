"""What a callable prints and logs goes to its run's output, and also where it went before.

The process belongs to its host, so the host's logging and streams keep their configuration.
``sys.stdout`` and ``sys.stderr`` are wrapped when the first run begins; text written outside a run
passes through unchanged. Log records are captured when they are made, independent of handlers,
levels and a later ``basicConfig``; a record that a handler prints is captured once. The context of
the thread or task identifies the run: a thread that the function starts is not followed, unless it
runs in a copy of that context.

The file is created with the first byte: a job without output costs nothing.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from tenure.runtime.output import OutputCap

log = logging.getLogger("tenure.output")

_current: contextvars.ContextVar[Capture | None] = contextvars.ContextVar(
    "tenure_output", default=None
)
_EMITS = logging.StreamHandler.emit.__code__
_CHECK_EVERY_BYTES = 1 << 16
"""Bytes between two checks of the file's size."""


class Capture:
    """The output of one attempt. Thread-safe."""

    def __init__(self, path: Path, cap: int) -> None:
        self._path = path
        self._cap = OutputCap(path, cap)
        self._file = -1
        self._since = 0
        self._missing = 0
        """Bytes that could not be written since the last that were."""
        self._closed = False
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        """Never raises: a full disk loses output, it does not fail the job. The output shows how
        many bytes are missing where it continues."""
        data = text.encode("utf-8", "backslashreplace")
        if (trouble := self._append(data)) is not None:
            # Outside the lock: this record is captured too.
            log.warning("the output %s cannot be written: %s", self._path, trouble)

    def _append(self, data: bytes) -> OSError | None:
        """The first error in a row, else None."""
        with self._lock:
            if self._closed or not data:
                return None
            try:
                if self._file < 0:
                    self._path.parent.mkdir(mode=0o700, exist_ok=True)
                    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                    flags |= getattr(os, "O_NONBLOCK", 0)  # a pipe in its place
                    self._file = os.open(self._path, flags, 0o600)
                if self._missing:
                    os.write(self._file, _gap(self._missing))
                    self._missing = 0
                os.write(self._file, data)
                self._since += len(data)
                if self._since >= min(_CHECK_EVERY_BYTES, self._cap.cap):
                    self._since = 0
                    self._cap.check()
            except OSError as error:
                first, self._missing = not self._missing, self._missing + len(data)
                return error if first else None
            return None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


def _gap(count: int) -> bytes:
    return b"\n[tenure: %d bytes of this output could not be written]\n" % count


@contextlib.contextmanager
def captured(path: Path | None, cap: int) -> Iterator[Capture | None]:
    """Copy what this thread or task writes in the block to the file. None captures nothing."""
    if path is None:
        yield None
        return
    _install()
    capture = Capture(path, cap)
    token = _current.set(capture)
    try:
        yield capture
    finally:
        _current.reset(token)
        capture.close()


def in_a_run() -> bool:
    """Whether this thread or task executes a run of a callable; also true in a forked child."""
    return _current.get() is not None


class _Stream:
    """A stream that copies what it passes on to the current run."""

    def __init__(self, stream: TextIO) -> None:
        self.tenure_original = stream

    def write(self, text: str) -> int:
        capture = _current.get()
        if capture is None:
            return self.tenure_original.write(text)
        if sys._getframe(1).f_code is not _EMITS:  # a record that was captured already
            capture.write(text)
        token = _current.set(None)  # Celery's streams log what they are given
        try:
            return self.tenure_original.write(text)
        finally:
            _current.reset(token)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tenure_original, name)

    def __iter__(self) -> Any:
        return iter(self.tenure_original)


_lock = threading.Lock()


def _install() -> None:
    """Wrap the current streams: the host may have replaced them since."""
    if isinstance(sys.stdout, _Stream) and isinstance(sys.stderr, _Stream) and _sees_records():
        return
    with _lock:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, _Stream):
                setattr(sys, name, _Stream(stream))
        if not _sees_records():
            logging.setLogRecordFactory(_Records(logging.getLogRecordFactory()))


def _sees_records() -> bool:
    return isinstance(logging.getLogRecordFactory(), _Records)


class _Records:
    """A log record factory that copies records to the current run."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._factory(*args, **kwargs)
        capture = _current.get()
        if capture is not None:
            capture.write(_line(record))
        return record


def _line(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001  arguments that do not fit are the host's to report
        text = str(record.msg)
    if record.exc_info and record.exc_info[0] is not None:
        text += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
    return f"{record.levelname} {record.name}: {text}\n"
