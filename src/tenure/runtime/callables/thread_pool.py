"""A bounded pool of daemon threads whose bound may change while it works.

A thread is added when an item waits and no thread is idle, and ends when there are more than
allowed. Idle threads stay. The standard library's executor does not fit: its bound is fixed, and
its threads are joined at interpreter exit, where a job that hangs must not block the program.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ThreadPool(Generic[T]):
    """Thread-safe. ``allowed`` returns how many threads there may be now; it is called with the
    pool's lock held and must not call back into the pool. ``work`` must not raise."""

    def __init__(self, work: Callable[[T], None], *, allowed: Callable[[], int], name: str) -> None:
        self._work_on = work
        self._allowed = allowed
        self._name = name
        self._queue: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._waiting = 0
        """Items that no thread has taken yet. The queue's own size does not fit: an item leaves it
        a moment before its thread stops counting as idle."""
        self._lock = threading.Lock()

    def put(self, item: T) -> None:
        """Work on ``item`` in a thread, at once if one is free or may be added, else in turn.

        Raises RuntimeError, and drops it, if the pool has no thread and cannot start one.
        """
        with self._lock:
            self._waiting += 1
            grows = self._idle < self._waiting and self._threads < self._allowed()
            self._threads += grows
            number = self._threads
        if grows:
            thread = threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the thread limit; a thread that becomes free takes the item
                with self._lock:
                    self._threads -= 1
                    is_empty = not self._threads
                    self._waiting -= is_empty
                if is_empty:
                    raise
        self._queue.put(item)

    def close(self) -> None:
        """Let idle threads end; busy threads end when they are done, or with the process."""
        with self._lock:
            threads = self._threads
        for _ in range(threads):
            self._queue.put(None)

    def _work(self) -> None:
        surplus = False
        while not surplus:
            with self._lock:
                self._idle += 1
            item = self._queue.get()
            with self._lock:
                self._idle -= 1
                self._waiting -= item is not None
            if item is None:
                return
            self._work_on(item)
            with self._lock:
                surplus = self._threads > self._allowed()
                self._threads -= surplus
