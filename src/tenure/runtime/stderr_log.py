"""Log lines to standard error that never block the logging thread.

Standard error is often a pipe to another process (``| less``, a log collector), which stays full
when that process hangs. A scheduler must go on then, and exit on a signal. So a thread of its own
writes, to the descriptor and not through ``sys.stderr``, whose lock it would hold at the
interpreter's exit.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from queue import SimpleQueue

MAX_WAITING_LINES = 1000
"""Lines that wait to be written, at most; further lines are dropped, counted and reported."""
FLUSH_TIMEOUT_S = 1.0
"""For the lines that wait when the process exits."""


class StderrLog(logging.Handler):
    """Thread-safe. A forked child writes by itself."""

    def __init__(self, descriptor: int = 2) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._dropped = 0
        self._pid: int | None = os.getpid()
        try:
            threading.Thread(target=self._write_lines, name="tenure-log", daemon=True).start()
        except RuntimeError:  # no thread available
            self._pid = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001  arguments that do not fit, as in every handler
            self.handleError(record)
            return
        if self._pid != os.getpid():
            self._write(line)
        elif self._lines.qsize() >= MAX_WAITING_LINES:
            self._dropped += 1
        else:
            if self._dropped:
                self._lines.put(b"(%d lines were dropped: no process read them)\n" % self._dropped)
                self._dropped = 0
            self._lines.put(line)

    def flush(self) -> None:
        """Wait until all lines are written, or FLUSH_TIMEOUT_S if no process reads them."""
        if self._pid == os.getpid():
            written = threading.Event()
            self._lines.put(written)
            written.wait(FLUSH_TIMEOUT_S)

    def _write_lines(self) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
            else:
                self._write(line)

    def _write(self, line: bytes) -> None:
        while line:
            try:
                line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:  # another process made it non-blocking
                time.sleep(0.02)
            except OSError:  # no process reads it
                return
