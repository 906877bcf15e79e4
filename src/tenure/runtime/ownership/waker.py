"""What ends the keeper's wait early: a bell, the control socket, the death of the owner.

The owner's death is told by the kernel (a death notice on its process), not found out by a timer:
that is what makes a takeover a matter of milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
from collections.abc import Iterable

from tenure.domain.policy.evidence import Identity
from tenure.domain.process import Process
from tenure.host.death import DeathWatch
from tenure.runtime.ownership.control import ControlSocket


class Waker:
    """:meth:`ring` may be called from any thread, also when closed; the rest from the keeper's."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._hears, self._bell = os.pipe()
        os.set_blocking(self._hears, False)
        os.set_blocking(self._bell, False)
        self._selector.register(self._hears, selectors.EVENT_READ)
        self._control: ControlSocket | None = None
        self._watch: DeathWatch | None = None
        self._watched: str | None = None
        self._launchers: list[DeathWatch] = []
        self._lock = threading.Lock()

    def ring(self) -> None:
        """End the wait that is under way, or the next."""
        # Once it is closed, the number may be another file's.
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._bell >= 0:
                os.write(self._bell, b"!")

    def listen(self, control: ControlSocket) -> None:
        """Serve this socket while waiting; closed with the alarm."""
        self._control = control
        self._selector.register(control, selectors.EVENT_READ)

    def wait(self, seconds: float) -> bool:
        """Until something happens, at most ``seconds``; whether it did."""
        happened = self._selector.select(seconds)
        for key, _ in happened:
            if key.fileobj == self._hears:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._hears, 4096)
            elif self._control is not None and key.fileobj is self._control:
                self._control.accept_all()
            elif isinstance(key.fileobj, DeathWatch) and key.fileobj is not self._watch:
                self._let_go(key.fileobj)
        return bool(happened)

    def watch_launchers(self, identities: Iterable[Identity]) -> None:
        """Ring once when one of these dies. Those that the kernel gives no notice of are left
        out: each look asks for them."""
        for identity in identities:
            watch = DeathWatch.open(identity)
            if watch is None:
                self.ring()
            elif watch.fileno() < 0:
                watch.close()
            elif self._registers(watch):
                self._launchers.append(watch)

    def _let_go(self, watch: DeathWatch) -> None:
        self._launchers.remove(watch)
        self._selector.unregister(watch)
        watch.close()

    def watch(self, holder: Process | None) -> None:
        """Ring when this process dies, and no longer for the one before."""
        wanted = holder.id if holder is not None else None
        if wanted == self._watched:
            return
        self._unwatch()
        if holder is None:
            return
        watch = DeathWatch.open(holder.evidence.identity)
        if watch is None:  # dead already
            self.ring()
        elif watch.fileno() < 0 or self._registers(watch):
            self._watch, self._watched = watch, wanted

    def _registers(self, watch: DeathWatch) -> bool:
        """Whether its notice is heard; if not it is closed, and the next look tries again."""
        try:
            self._selector.register(watch, selectors.EVENT_READ)
        except OSError:
            watch.close()
            return False
        return True

    @property
    def is_watching(self) -> bool:
        """Whether the kernel tells at once when the watched process dies."""
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
            os.close(self._hears)
            os.close(self._bell)
            self._bell = -1

    def forget_in_child(self) -> None:
        """After a fork, in the child: who connects is not to wait for an answer from here."""
        # Closed, nothing unregistered: the parent's selector is the same one in the kernel.
        self._selector.close()
        if self._control is not None:
            self._control.close()
        for watch in (self._watch, *self._launchers):
            if watch is not None:
                watch.close()
        if self._bell >= 0:
            os.close(self._hears)
            os.close(self._bell)
            self._bell = -1

    def _unwatch(self) -> None:
        watch, self._watch, self._watched = self._watch, None, None
        if watch is not None:
            if watch.fileno() >= 0:
                self._selector.unregister(watch)
            watch.close()
