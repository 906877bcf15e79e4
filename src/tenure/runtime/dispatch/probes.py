"""What the owner's probes answered, kept for a while: a probe may touch a slow file system.

Probing happens outside every transaction, and in a thread of its own: a file system that hangs
holds up what needs that probe, and nothing else: the rest is asked about on another thread then,
so that there is at most one that hangs for each probe. A claim reads only what is kept here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from tenure.host.capabilities import ProbeAnswer, probe

log = logging.getLogger("tenure.probes")

KEPT = 60.0
"""Seconds of awake time for which an answer is taken for current."""

HANGS = 2.0
"""Seconds after which a probe is not waited for any more by the others."""


class Probes:
    """Thread-safe."""

    def __init__(self, ask: Callable[[str], ProbeAnswer] = probe) -> None:
        self._ask = ask
        self._answers: dict[str, tuple[ProbeAnswer, float]] = {}
        self._lock = threading.Lock()
        self._answered = threading.Condition(self._lock)
        self._freed = False
        self._wanted: set[str] = set()
        self._asked: set[str] = set()
        """Those about which the OS is being asked at this moment."""
        self._thread: object | None = None
        """Stands for the thread that asks about what is wanted; None while there is none."""
        self._began = 0.0
        """When that thread began with the one it is at."""

    def missing(self, names: Iterable[str], awake: float) -> set[str]:
        """Those without a current answer."""
        with self._lock:
            return self._missing(names, awake)

    def _missing(self, names: Iterable[str], awake: float) -> set[str]:
        return {
            name
            for name in names
            if name not in self._answers or awake - self._answers[name][1] > KEPT
        }

    def denied(self, names: Iterable[str]) -> frozenset[str]:
        """Those whose last answer was 'denied'. Unknown is not denied (C8)."""
        with self._lock:
            return frozenset(
                name
                for name in names
                if name in self._answers and self._answers[name][0] is ProbeAnswer.DENIED
            )

    def refresh(self, names: Iterable[str], awake: float) -> bool:
        """Ask the OS; whether an answer that was 'denied' no longer is."""
        freed = False
        for name in names:
            try:
                answer = self._ask(name)
            except Exception:  # what cannot be told is unknown, and asked again later
                log.exception("the probe of %s failed", name)
                answer = ProbeAnswer.UNKNOWN
            with self._lock:
                before = self._answers.get(name)
                self._answers[name] = (answer, awake)
                was_denied = before is not None and before[0] is ProbeAnswer.DENIED
                freed |= was_denied and answer is not ProbeAnswer.DENIED
                self._freed |= freed
                self._answered.notify_all()
        return freed

    def take_freed(self) -> bool:
        """Whether a denial has ended since this was last asked, whoever asked about it."""
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
        """Have those without a current answer asked in the background, and wait for it, but not
        longer than ``patience`` seconds."""
        names = frozenset(names)
        self.ask_soon(self.missing(names, awake()), awake, then)
        with self._answered:
            self._answered.wait_for(lambda: not self._missing(names, awake()), patience)

    def ask_soon(
        self, names: Iterable[str], awake: Callable[[], float], then: Callable[[bool], None]
    ) -> None:
        """Refresh in the background; ``then`` is told there whether a denial ended."""
        with self._lock:
            self._wanted |= set(names) - self._asked
            busy = self._thread is not None and time.monotonic() - self._began < HANGS
            if busy or not self._wanted:
                return
            self._thread = me = object()
            self._began = time.monotonic()
        thread = threading.Thread(
            target=self._answer, args=(me, awake, then), name="tenure-probes", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # no thread to be had: they are asked for again
            with self._lock:
                self._thread = None
                self._wanted.clear()

    def _answer(self, me: object, awake: Callable[[], float], then: Callable[[bool], None]) -> None:
        while True:
            with self._lock:
                if self._thread is not me:
                    return  # it hung, and another one has taken its place
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

    def all_denied(self) -> frozenset[str]:
        """Every capability whose last answer was 'denied'."""
        with self._lock:
            return frozenset(n for n, (a, _) in self._answers.items() if a is ProbeAnswer.DENIED)
