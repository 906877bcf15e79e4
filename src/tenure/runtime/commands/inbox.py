"""What the runners report to the dispatcher; its next turn commits it."""

from __future__ import annotations

import threading
from collections import deque

from tenure.domain.run import Result, Run
from tenure.runtime.commands.gate import GatedCommand


class Inbox:
    """Thread-safe. The dispatcher's thread alone takes entries out, after their commit."""

    def __init__(self) -> None:
        self.results: deque[Result] = deque()
        self.gates: deque[tuple[Run, GatedCommand]] = deque()
        self.notes: deque[tuple[str, int, str]] = deque()
        """Run id, attempt and why the run stays active although its command has ended."""
        self.wakeup = threading.Event()
        """Set to make the dispatcher take a turn now."""

    def report(self, result: Result) -> None:
        """A run ended."""
        self.results.append(result)
        self._wake()

    def at_gate(self, run: Run, gated: GatedCommand) -> None:
        """A command waits at its gate."""
        self.gates.append((run, gated))
        self._wake()

    def note(self, run: Run, why: str) -> None:
        """A run stays active although its command has ended; its slot is free."""
        self.notes.append((run.id, run.attempt, why))
        self._wake()

    def discard(self, results: int, gates: int, notes: int) -> None:
        """Drop the oldest entries, by their counts: they are committed."""
        for entries, count in ((self.results, results), (self.gates, gates), (self.notes, notes)):
            for _ in range(count):
                entries.popleft()

    def _wake(self) -> None:
        # A turn clears the event before it gathers, so an entry added while it is set is seen.
        if not self.wakeup.is_set():
            self.wakeup.set()
