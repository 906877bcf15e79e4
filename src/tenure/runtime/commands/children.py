"""One poller for all commands: it learns from the kernel that a shell ended, and reaps its own.

Every watched process has a death notice (:class:`tenure.host.death.DeathWatch`), which works for
anybody's child, so that adopted commands are watched like one's own. That a process ended is all
that is learnt here; *how* is in its exit record, because the wait status may already have been
taken by the host (gunicorn's arbiter reaps with ``waitpid(-1)``) and is not even asked for.

Reaping names the process by its notice where the kernel can (``waitid(P_PIDFD)``), so that no
other child of the host is ever reaped in its stead.

Failure: an end is taken off the watch only once it is on its way to the caller, and a process that
cannot be looked at or reaped now (no descriptor free) is looked at again four times a second.

Threads: :meth:`Children.poll` is called by one thread at a time; everything else from any.
Nothing here starts a thread.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
import time
from collections.abc import Callable, Hashable
from typing import Protocol

from tenure.domain.policy.evidence import Identity
from tenure.host.death import DeathWatch
from tenure.host.linux import procfs

GLANCE = 0.25
"""Seconds between looks at processes for which the kernel gives no descriptor."""


class Notice(Protocol):
    """What is needed of a death notice. ``fileno`` is -1 where it can only be asked."""

    def fileno(self) -> int: ...
    def wait(self, timeout: float | None = None) -> bool: ...
    def close(self) -> None: ...


_BELL = object()


class Children:
    """Watches processes by key. A key is reported once, and then forgotten."""

    def __init__(self, watch: Callable[[Identity], Notice | None] = DeathWatch.open) -> None:
        self._watch = watch
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._by_key: dict[Hashable, tuple[Identity, Notice]] = {}
        self._ended: list[Hashable] = []
        self._glanced: set[Hashable] = set()
        self._unreaped: list[Identity] = []
        self._woken = False
        self._closed = False
        self._bell_in, self._bell = os.pipe()
        os.set_blocking(self._bell_in, False)
        os.set_blocking(self._bell, False)
        self._selector.register(self._bell_in, selectors.EVENT_READ, _BELL)

    def add(self, key: Hashable, identity: Identity) -> None:
        """Watch a process. One that has already ended is reported by the next poll.

        Raises ValueError for a key that is already watched, RuntimeError once closed, and
        whatever the death notice raises if the process cannot be watched.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the poller is closed")
            if key in self._by_key:
                raise ValueError(f"already watched: {key!r}")
            notice = self._watch(identity)
            if notice is None:
                self._ended.append(key)
                self._reap(identity, None)
            else:
                self._by_key[key] = (identity, notice)
                if self._registers(notice, key):
                    return
                self._glanced.add(key)
        self.wake()

    def _registers(self, notice: Notice, key: Hashable) -> bool:
        """Whether the selector tells of it; if not, it is looked at now and then."""
        if notice.fileno() < 0:
            return False
        try:
            # epoll and kqueue take a descriptor while another thread waits in them.
            self._selector.register(notice.fileno(), selectors.EVENT_READ, key)
        except OSError:  # no memory, or too many watches of this user
            return False
        return True

    def reap(self, identity: Identity) -> None:
        """Reap a child that is not watched, once it has ended: one that is about to end."""
        with self._lock:
            self._unreaped.append(identity)
        self.wake()

    def __len__(self) -> int:
        """How many are watched or wait to be reported."""
        return len(self._by_key) + len(self._ended)

    def discard(self, key: Hashable) -> None:
        """Watch no longer; nothing is done to the process. Unknown keys are ignored."""
        with self._lock:
            self._forget(key)
            if key in self._ended:
                self._ended.remove(key)

    def poll(self, timeout: float | None) -> list[Hashable]:
        """Wait up to ``timeout`` seconds for ends; the keys that ended, own children reaped.

        Returns at once for 0, never by time for None; early and possibly empty after
        :meth:`wake` and :meth:`close`.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            ended, rung = self._look(self._slice(until))
            late = until is not None and time.monotonic() >= until
            if ended or rung or late or self._closed:
                return ended

    def _slice(self, until: float | None) -> float | None:
        """How long one look may wait."""
        if self._ended:
            return 0
        left = None if until is None else max(0.0, until - time.monotonic())
        if self._glanced or self._unreaped:
            return GLANCE if left is None else min(left, GLANCE)
        return left

    def _look(self, timeout: float | None) -> tuple[list[Hashable], bool]:
        ready = [] if self._closed else self._selector.select(timeout)
        rung = False
        with self._lock:
            for chosen, _ in ready:
                if chosen.data is _BELL:
                    rung = True
                    self._silence()
                else:
                    self._end_if_so(chosen.data)
            for key in list(self._glanced):
                self._end_if_so(key)
            waiting, self._unreaped = self._unreaped, []
            for identity in waiting:
                self._reap(identity, None)
            ended, self._ended = self._ended, []
        return ended, rung

    def wake(self) -> None:
        """Make the poll that is waiting, or else the next one, return now."""
        with self._lock:
            if not self._woken and not self._closed:
                self._woken = True
                with contextlib.suppress(BlockingIOError):
                    os.write(self._bell, b"!")

    def close(self) -> None:
        """Watch nothing any more. Processes go on; not while another thread polls."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for key in list(self._by_key):
                self._forget(key)
            self._selector.close()
            os.close(self._bell_in)
            os.close(self._bell)

    def forget_in_child(self) -> None:
        """After a fork, in the child. Nothing is unregistered: the parent's selector is the same
        one in the kernel."""
        if self._closed:
            return
        self._closed = True
        self._selector.close()
        for _, notice in self._by_key.values():
            notice.close()
        os.close(self._bell_in)
        os.close(self._bell)

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _silence(self) -> None:
        self._woken = False
        with contextlib.suppress(BlockingIOError):
            while os.read(self._bell_in, 64):
                pass

    def _end_if_so(self, key: Hashable) -> None:
        if key not in self._by_key:  # discarded since the selector saw it
            return
        identity, notice = self._by_key[key]
        try:
            if not notice.wait(0):
                return
        except OSError:  # it cannot be looked at now; the next look asks again
            return
        self._ended.append(key)
        self._reap(identity, notice)
        self._forget(key)

    def _forget(self, key: Hashable) -> None:
        entry = self._by_key.pop(key, None)
        if entry is None:
            return
        if key in self._glanced:
            self._glanced.discard(key)
        else:
            with contextlib.suppress(OSError, ValueError, KeyError):
                self._selector.unregister(entry[1].fileno())
        with contextlib.suppress(OSError):
            entry[1].close()

    def _reap(self, identity: Identity, notice: Notice | None) -> None:
        """Reap it if it is ours; what cannot be now is tried again."""
        try:
            done = _reaped(identity, notice)
        except (FileNotFoundError, ProcessLookupError, ChildProcessError, ValueError):
            done = True  # it is not ours, or is reaped already
        except OSError:
            done = False
        if not done:
            self._unreaped.append(identity)


def _reaped(identity: Identity, notice: Notice | None) -> bool:
    """Whether nothing is left to reap. Raises OSError, ChildProcessError for another's child."""
    if not hasattr(os, "P_PIDFD"):
        return os.waitpid(identity.pid, os.WNOHANG)[0] != 0
    if notice is not None and notice.fileno() >= 0:
        return os.waitid(os.P_PIDFD, notice.fileno(), os.WEXITED | os.WNOHANG) is not None
    return _reaped_by_number(identity)


def _reaped_by_number(identity: Identity) -> bool:
    """Linux: reap a zombie that has no notice, having made sure that the number is still its."""
    descriptor = os.pidfd_open(identity.pid)
    try:
        with open(f"/proc/{identity.pid}/stat", encoding="utf-8", errors="replace") as file:
            if procfs.parse_stat(file.read()).start != identity.start:
                return True
        return os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG) is not None
    finally:
        os.close(descriptor)


def wait_for(children: Children, keys: set[Hashable], timeout: float) -> set[Hashable]:
    """Poll until all ``keys`` ended or ``timeout`` seconds passed; those that did not end."""
    until = time.monotonic() + timeout
    left = set(keys)
    while left and (rest := until - time.monotonic()) > 0:
        left -= set(children.poll(rest))
    return left
