"""A bounded pool of daemon threads whose bound may change while it works.

A thread is added when something waits and none is idle, and ends when there are more than may be.
Idle ones stay. The standard library's executor will not do: its bound is fixed, and its threads
are joined as the interpreter ends, where a job that hangs must not hold a program back.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ThreadPool(Generic[T]):
    """Thread-safe. ``allowed`` says how many threads there may be now; it is asked with the pool's
    lock held, and must not call back into the pool. ``work`` must not raise."""

    def __init__(self, work: Callable[[T], None], *, allowed: Callable[[], int], name: str) -> None:
        self._carry = work
        self._allowed = allowed
        self._name = name
        self._queue: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._waiting = 0
        """Put and not yet taken by a thread. The queue's own size will not do: an entry has left
        it a moment before its thread stops counting as idle."""
        self._lock = threading.Lock()

    def put(self, item: T) -> None:
        """Have it carried, at once if a thread is free or may be added, else in turn. Raises
        RuntimeError where there is no thread and none can be started; it is not carried then."""
        with self._lock:
            self._waiting += 1
            grows = self._idle < self._waiting and self._threads < self._allowed()
            self._threads += grows
            number = self._threads
        if grows:
            thread = threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the limit of threads; one that gets free takes it up
                with self._lock:
                    self._threads -= 1
                    nobody = not self._threads
                    self._waiting -= nobody
                if nobody:
                    raise
        self._queue.put(item)

    def close(self) -> None:
        """Let idle threads end; busy ones end when they are done, or with the process."""
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
            self._carry(item)
            with self._lock:
                surplus = self._threads > self._allowed()
                self._threads -= surplus
