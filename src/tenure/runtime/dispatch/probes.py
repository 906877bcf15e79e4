"""The answers of the owner's probes, cached: a probe may touch a slow file system.

Probes run outside every transaction, in a thread of their own. A file system that hangs delays
only the jobs that need its probe: the other probes then run in another thread, so that at most one
thread hangs per probe. A claim reads only the cache.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from tenure.host.capabilities import ProbeAnswer, probe

log = logging.getLogger("tenure.probes")

KEPT_S = 60.0
"""Awake time for which an answer counts as current."""

HANG_S = 2.0
"""After which the other probes no longer wait for one."""


class Probes:
    """Thread-safe."""

    def __init__(self, ask: Callable[[str], ProbeAnswer] = probe) -> None:
        self._ask = ask
        self._answers: dict[str, tuple[ProbeAnswer, float]] = {}
        self._lock = threading.Condition()
        """Notified of each answer. May be taken twice by one thread."""
        self._freed = False
        self._wanted: set[str] = set()
        self._asked: set[str] = set()
        """Probes that are running now."""
        self._thread: object | None = None
        """Token of the thread that runs the wanted probes; None without such a thread."""
        self._began = 0.0
        """When that thread began its current probe."""

    def missing(self, names: Iterable[str], awake: float) -> set[str]:
        """The names without a current answer."""
        with self._lock:
            return {
                name
                for name in names
                if name not in self._answers or awake - self._answers[name][1] > KEPT_S
            }

    def denied(self, names: Iterable[str] | None = None) -> frozenset[str]:
        """The names, by default all, whose last answer was 'denied'. Unknown is not denied (C8)."""
        with self._lock:
            denied = {n for n, (answer, _) in self._answers.items() if answer is ProbeAnswer.DENIED}
        return frozenset(denied if names is None else denied.intersection(names))

    def refresh(self, names: Iterable[str], awake: float) -> bool:
        """Run the probes; returns whether one that answered 'denied' no longer does."""
        freed = False
        for name in names:
            try:
                answer = self._ask(name)
            except Exception:  # a failed probe is unknown, and runs again later
                log.exception("the probe of %s failed", name)
                answer = ProbeAnswer.UNKNOWN
            with self._lock:
                before = self._answers.get(name)
                self._answers[name] = (answer, awake)
                was_denied = before is not None and before[0] is ProbeAnswer.DENIED
                freed |= was_denied and answer is not ProbeAnswer.DENIED
                self._freed |= freed
                self._lock.notify_all()
        return freed

    def take_freed(self) -> bool:
        """Whether a denial has ended since the last call, in any thread's probe."""
        with self._lock:
            freed, self._freed = self._freed, False
        return freed

    def wait_for(
        self,
        names: Iterable[str],
        awake: Callable[[], float],
        then: Callable[[bool], None],
        patience: float,
    ) -> None:
        """Run the probes without a current answer in the background; wait up to ``patience``
        seconds for them."""
        names = frozenset(names)
        self.ask_soon(self.missing(names, awake()), awake, then)
        with self._lock:
            self._lock.wait_for(lambda: not self.missing(names, awake()), patience)

    def ask_soon(
        self, names: Iterable[str], awake: Callable[[], float], then: Callable[[bool], None]
    ) -> None:
        """Refresh in the background; ``then`` receives there whether a denial ended."""
        with self._lock:
            self._wanted |= set(names) - self._asked
            busy = self._thread is not None and time.monotonic() - self._began < HANG_S
            if busy or not self._wanted:
                return
            self._thread = me = object()
            self._began = time.monotonic()
        thread = threading.Thread(
            target=self._answer, args=(me, awake, then), name="tenure-probes", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # no thread available: a later call tries again
            with self._lock:
                self._thread = None
                self._wanted.clear()

    def _answer(self, me: object, awake: Callable[[], float], then: Callable[[bool], None]) -> None:
        while True:
            with self._lock:
                # It hung, and another thread has replaced it.
                if self._thread is not me:
                    return
                if not self._wanted:
                    self._thread = None
                    return
                name = min(self._wanted)
                self._wanted.remove(name)
                self._asked.add(name)
                self._began = time.monotonic()
            freed = self.refresh([name], awake())
            with self._lock:
                self._asked.remove(name)
            then(freed)
