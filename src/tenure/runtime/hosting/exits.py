"""How this process is asked to exit, and what is called when it does.

By default SIGTERM ends a Python process at once: it does not hand over, and is recorded as dead. A
program whose only purpose is to run jobs waits for the signals (:func:`until_asked`). A program
that does other work is unwound like by Ctrl-C (:class:`SigtermExit`).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

# Of a service manager, and of a terminal.
ENDING: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def until_asked() -> Iterator[threading.Event]:
    """An event that the first of these signals sets; a second one exits at once, with 128 plus its
    number. Works also where the parent process had blocked them. Main thread only: raises
    ValueError elsewhere."""
    asked, pid = threading.Event(), os.getpid()
    before: dict[int, Any] = {}

    def on_signal(number: int, frame: FrameType | None) -> None:
        if os.getpid() != pid:  # a forked child does not wait here
            signal.signal(number, before[number])
            os.kill(os.getpid(), number)
        elif asked.is_set():
            os._exit(128 + number)
        asked.set()

    for number in ENDING:
        # None: a handler that Python did not set and cannot restore.
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
    """Turns SIGTERM into SystemExit(143), the status that the signal itself would give, so that
    ``with`` blocks are left and exit functions run. Only in the main thread, and only where the
    program has not set a handler of its own."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._installed = _is_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        if self._installed:
            signal.signal(signal.SIGTERM, self._unwind)

    def close(self) -> None:
        """Restore the handler, unless the program has set one meanwhile. Any thread, any number of
        times."""
        ours: Any = self._unwind
        if self._installed and _is_main_thread() and signal.getsignal(signal.SIGTERM) == ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _unwind(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a forked child: the blocks are its parent's
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        raise SystemExit(128 + number)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def call_at_exit(leave: Callable[[], object]) -> list[Callable[[], object]]:
    """Call ``leave``, once or more, when this process exits; returns how to unregister it."""
    # Covers most processes, uWSGI's workers too.
    atexit.register(leave)
    hooks: list[Callable[[], object]] = [lambda: atexit.unregister(leave)]
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        # Its children have finalizers of their own instead.
        from multiprocessing.util import Finalize

        hooks.append(Finalize(None, leave, exitpriority=100).cancel)
    signals: Any = sys.modules.get("celery.signals")
    if signals is not None:
        # A process of Celery's pool ends by os._exit: recycled, not needed, or with its worker.
        shutdown = signals.worker_process_shutdown

        def shut_down(**_: Any) -> None:
            leave()

        shutdown.connect(shut_down, weak=False)
        hooks.append(lambda: shutdown.disconnect(shut_down))
    return hooks
