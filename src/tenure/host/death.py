"""Notice of a process's death from the kernel, at once and without a timer.

Linux: a pidfd, readable once the process has ended (pidfd_open(2); a zombie has ended, one whose
first thread alone has ended has not). macOS: kqueue with ``NOTE_EXIT``. Windows: a wait on the
process handle. Where the kernel offers none of these, the watch looks again four times a second.

A watch that is not :attr:`~DeathWatch.verifiable` never reports the death of a process in another
pid namespace: the live lock must be asked. Of one that could only not be looked at just then (no
descriptor free) it reports it as soon as a look succeeds.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from typing import Self

from tenure.domain.policy.evidence import Identity
from tenure.host import processes

_POLL_INTERVAL_S = 0.25
"""The time between looks where the kernel gives no notice."""


class DeathWatch:
    """Watches one process. ``wait`` and ``fileno`` from any thread; ``close`` once, at the end."""

    def __init__(self, identity: Identity) -> None:
        """Use :meth:`open`, which also handles a process that is already dead."""
        self.identity = identity
        self._closed = threading.Event()
        self._descriptor = -1
        with contextlib.suppress(OSError):  # gone, filtered, out of descriptors: look instead
            self._descriptor = _open(identity.pid)
        # Only now is it sure that the descriptor is this process's and no successor's.
        alive = processes.is_alive(identity)
        self._dead = alive is False
        self.verifiable = alive is not None
        """False if the process could not be seen from here as the watch began."""
        if alive is not True and self._descriptor >= 0:
            _close(self._descriptor)
            self._descriptor = -1

    @classmethod
    def open(cls, identity: Identity) -> Self | None:
        """A watch on exactly this process, or None if it is dead already. Raises nothing."""
        watch = cls(identity)
        return None if watch._dead else watch

    def fileno(self) -> int:
        """A descriptor that polls readable at the death (pidfd, kqueue), or -1: then use wait.

        Readable means 'look': only :meth:`wait` decides.
        """
        return -1 if sys.platform == "win32" else self._descriptor

    def wait(self, timeout: float | None = None) -> bool:
        """Whether the process has ended, after at most ``timeout`` seconds (None: no limit).

        Returns False early if the watch is closed. One whose process cannot be seen waits out
        the timeout and returns False.
        """
        if self._dead:
            return True
        if self._descriptor >= 0 and not self._closed.is_set():
            self._dead = _has_ended(self._descriptor, timeout)
        else:
            self._dead = self._glance(timeout)
        return self._dead

    def close(self) -> None:
        """Give the descriptor back. Must not race with a ``wait`` on another thread."""
        self._closed.set()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            _close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _glance(self, timeout: float | None) -> bool:
        until = None if timeout is None else time.monotonic() + timeout
        while not self._closed.is_set():
            if processes.is_alive(self.identity) is False:
                return True
            left = _POLL_INTERVAL_S if until is None else until - time.monotonic()
            if left <= 0:
                return False
            self._closed.wait(min(left, _POLL_INTERVAL_S))
        return False


if sys.platform == "linux":

    def _open(pid: int) -> int:
        return os.pidfd_open(pid)

    def _has_ended(descriptor: int, timeout: float | None) -> bool:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(None if timeout is None else max(0, timeout) * 1000))

    def _close(descriptor: int) -> None:
        os.close(descriptor)

elif sys.platform == "darwin":
    # Untested on a real Mac. The kqueue descriptor itself polls readable at the event.
    _queues: dict[int, select.kqueue] = {}

    def _open(pid: int) -> int:
        queue = select.kqueue()
        event = select.kevent(
            pid,
            filter=select.KQ_FILTER_PROC,
            flags=select.KQ_EV_ADD | select.KQ_EV_ONESHOT,
            fflags=select.KQ_NOTE_EXIT,
        )
        try:
            queue.control([event], 0, 0)
        except OSError:
            queue.close()
            raise
        _queues[queue.fileno()] = queue
        return queue.fileno()

    def _has_ended(descriptor: int, timeout: float | None) -> bool:
        return bool(_queues[descriptor].control(None, 1, timeout))

    def _close(descriptor: int) -> None:
        _queues.pop(descriptor).close()

elif sys.platform == "win32":
    # Untested on a real Windows. What is kept is a handle, which no poll understands.
    import ctypes

    _SYNCHRONIZE, _FOREVER, _SIGNALED, _NO_SUCH_PID = 0x00100000, 0xFFFFFFFF, 0, 87
    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel.OpenProcess.restype = ctypes.c_void_p

    def _open(pid: int) -> int:
        handle = _kernel.OpenProcess(_SYNCHRONIZE, False, pid)
        if handle:
            return int(handle)
        if ctypes.get_last_error() == _NO_SUCH_PID:
            raise ProcessLookupError(pid)
        raise OSError("the process may not be waited for")

    def _has_ended(descriptor: int, timeout: float | None) -> bool:
        limit = _FOREVER if timeout is None else int(max(0, timeout) * 1000)
        return bool(_kernel.WaitForSingleObject(ctypes.c_void_p(descriptor), limit) == _SIGNALED)

    def _close(descriptor: int) -> None:
        _kernel.CloseHandle(ctypes.c_void_p(descriptor))

else:

    def _open(pid: int) -> int:
        raise OSError("no descriptor reports a death here")

    def _has_ended(descriptor: int, timeout: float | None) -> bool:
        return False

    def _close(descriptor: int) -> None:
        pass
