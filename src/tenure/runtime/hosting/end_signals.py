"""Signals that ask a program to end: SIGTERM of a service manager, SIGINT of a terminal.

Python does nothing at SIGTERM: the process ends at once, hands nothing over, and is on record as
dead. A program whose only purpose is to run jobs waits for both signals (:func:`until_asked`); one
that does something else meanwhile is unwound as Ctrl-C unwinds it (:class:`SigtermExit`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

ENDING: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def until_asked() -> Iterator[threading.Event]:
    """An event that the first of these signals sets; a second one ends the process at once, with
    128 and its number. Heard also where what started this program had blocked them. Main thread
    only: raises ValueError elsewhere."""
    asked, pid = threading.Event(), os.getpid()
    before: dict[int, Any] = {}

    def on_signal(number: int, frame: FrameType | None) -> None:
        if os.getpid() != pid:  # a forked child: it is none of the waiting
            signal.signal(number, before[number])
            os.kill(os.getpid(), number)
        elif asked.is_set():
            os._exit(128 + number)
        asked.set()

    for number in ENDING:
        # None is a handler that Python did not set, and cannot put back.
        before[number] = signal.getsignal(number) or signal.SIG_DFL
        signal.signal(number, on_signal)
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    try:
        yield asked
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)


class SigtermExit:
    """SIGTERM as SystemExit with 143, the status that the signal itself would give; so that blocks
    are left and exit functions are called. Only in the main thread, and only where the program has
    not decided what SIGTERM does."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._installed = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        )
        if self._installed:
            signal.signal(signal.SIGTERM, self._unwind)

    def close(self) -> None:
        """As it was before, unless the program has decided meanwhile. Any thread, any number of
        times."""
        mine: Any = self._unwind
        if (
            self._installed
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) == mine
        ):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _unwind(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a forked child: its parent's blocks are not its own
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        raise SystemExit(128 + number)
