"""What the owner's probes answered, kept for a while: a probe may touch a slow file system.

Probing happens outside every transaction; a claim reads only what is kept here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from tenure.host.capabilities import Answer, probe

KEPT = 60.0
"""Seconds of awake time for which an answer is taken for current."""


class Probes:
    """Thread-safe."""

    def __init__(self, ask: Callable[[str], Answer] = probe) -> None:
        self._ask = ask
        self._answers: dict[str, tuple[Answer, float]] = {}
        self._lock = threading.Lock()

    def missing(self, names: Iterable[str], awake: float) -> set[str]:
        """Those without a current answer."""
        with self._lock:
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
                if name in self._answers and self._answers[name][0] is Answer.DENIED
            )

    def refresh(self, names: Iterable[str], awake: float) -> bool:
        """Ask the OS; whether an answer that was 'denied' no longer is."""
        freed = False
        for name in names:
            answer = self._ask(name)
            with self._lock:
                before = self._answers.get(name)
                self._answers[name] = (answer, awake)
            was_denied = before is not None and before[0] is Answer.DENIED
            freed |= was_denied and answer is not Answer.DENIED
        return freed

    def all_denied(self) -> frozenset[str]:
        """Every capability whose last answer was 'denied'."""
        with self._lock:
            return frozenset(n for n, (a, _) in self._answers.items() if a is Answer.DENIED)
