"""Ends the keeper's wait early: another thread, the control socket, the death of the owner.

The kernel reports the owner's death (a death notice on its process); no timer discovers it. That
is why a takeover takes milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
import time
from collections.abc import Iterable

from tenure.domain.policy.evidence import Identity
from tenure.domain.process import Process
from tenure.host.death import DeathWatch
from tenure.runtime.ownership.control import ControlSocket


class Waker:
    """:meth:`wake` may be called from any thread, also when closed; the rest from the keeper's."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._control: ControlSocket | None = None
        self._watch: DeathWatch | None = None
        self._watched: str | None = None
        self._launchers: list[DeathWatch] = []
        self._lock = threading.Lock()

    def wake(self) -> None:
        """End the wait that is under way, or the next."""
        # Once closed, its number may belong to another file.
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._wake_write >= 0:
                os.write(self._wake_write, b"!")

    def listen(self, control: ControlSocket) -> None:
        """Serve this socket while waiting; closed with the waker."""
        self._control = control
        self._selector.register(control, selectors.EVENT_READ)

    def wait(self, seconds: float) -> bool:
        """Wait until something happens, at most ``seconds``; returns whether it did. A message on
        the control socket ends the wait only where its receiver calls :meth:`wake`."""
        until = time.monotonic() + seconds
        happened = False
        while not happened:
            ready = self._selector.select(max(0.0, until - time.monotonic()))
            if not ready:
                return False
            for key, _ in ready:
                if self._control is not None and key.fileobj is self._control:
                    self._control.accept_all()
                    continue
                happened = True
                if key.fileobj == self._wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake_read, 4096)
                elif isinstance(key.fileobj, DeathWatch) and key.fileobj is not self._watch:
                    self._let_go(key.fileobj)
        return True

    def watch_launchers(self, identities: Iterable[Identity]) -> None:
        """Wake once when one of these dies. Processes without a death notice are left out: each
        look checks them."""
        for identity in identities:
            watch = DeathWatch.open(identity)
            if watch is None:
                self.wake()
            elif watch.fileno() < 0:
                watch.close()
            elif self._registers(watch):
                self._launchers.append(watch)

    def _let_go(self, watch: DeathWatch) -> None:
        self._launchers.remove(watch)
        self._selector.unregister(watch)
        watch.close()

    def watch(self, holder: Process | None) -> None:
        """Wake when this process dies, instead of the one watched before."""
        wanted = holder.id if holder is not None else None
        if wanted == self._watched:
            return
        self._unwatch()
        if holder is None:
            return
        watch = DeathWatch.open(holder.evidence.identity)
        # It has died already.
        if watch is None:
            self.wake()
        elif watch.fileno() < 0 or self._registers(watch):
            self._watch, self._watched = watch, wanted

    def _registers(self, watch: DeathWatch) -> bool:
        """Whether the selector took the notice; if not, it is closed and the next look retries."""
        try:
            self._selector.register(watch, selectors.EVENT_READ)
        except OSError:
            watch.close()
            return False
        return True

    @property
    def is_watching(self) -> bool:
        """Whether the kernel reports the death of the watched process at once."""
        watch = self._watch
        return watch is not None and watch.verifiable and watch.fileno() >= 0

    def close(self) -> None:
        self._unwatch()
        for watch in list(self._launchers):
            self._let_go(watch)
        self._selector.close()
        if self._control is not None:
            self._control.close()
        with self._lock:
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_write = -1

    def forget_in_child(self) -> None:
        """After a fork, in the child: a peer that connects must not wait for the child."""
        # Closed, nothing unregistered: the parent's selector is the same one in the kernel.
        self._selector.close()
        if self._control is not None:
            self._control.close()
        for watch in (self._watch, *self._launchers):
            if watch is not None:
                watch.close()
        if self._wake_write >= 0:
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_write = -1

    def _unwatch(self) -> None:
        watch, self._watch, self._watched = self._watch, None, None
        if watch is not None:
            if watch.fileno() >= 0:
                self._selector.unregister(watch)
            watch.close()
