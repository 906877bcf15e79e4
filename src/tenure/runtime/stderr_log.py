"""Log lines to standard error that never keep who logs waiting.

Standard error is often a pipe to another process (``| less``, a log collector), and one that
stands still leaves it full. A scheduler must go on then, and end when it is told to. So a thread of
its own writes, to the descriptor and not through ``sys.stderr``, whose lock it would hold at the
interpreter's end.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from queue import SimpleQueue

KEPT = 1000
"""Lines that wait to be written; what comes then is dropped, counted, and said so."""
AT_THE_END = 1.0
"""Seconds for what waits when the process ends."""


class StderrLog(logging.Handler):
    """Thread-safe. A forked child writes by itself."""

    def __init__(self, descriptor: int = 2) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._dropped = 0
        self._pid: int | None = os.getpid()
        try:
            threading.Thread(target=self._carry, name="tenure-log", daemon=True).start()
        except RuntimeError:  # no thread to be had
            self._pid = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001  arguments that do not fit: as each handler does
            self.handleError(record)
            return
        if self._pid != os.getpid():
            self._write(line)
        elif self._lines.qsize() >= KEPT:
            self._dropped += 1
        else:
            if self._dropped:
                self._lines.put(b"(%d lines were dropped: nobody read them)\n" % self._dropped)
                self._dropped = 0
            self._lines.put(line)

    def flush(self) -> None:
        """Wait until all is written, but not for somebody who reads nothing."""
        if self._pid == os.getpid():
            written = threading.Event()
            self._lines.put(written)
            written.wait(AT_THE_END)

    def _carry(self) -> None:
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
            except BlockingIOError:  # somebody made the descriptor so
                time.sleep(0.02)
            except OSError:  # nobody is there to read it
                return
