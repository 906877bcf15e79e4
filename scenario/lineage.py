"""The chain that a job ran in, by the canary's own line and the supervisors' notes.

No record of a scheduler is used. A job belongs to a chain if the chain's launcher is above it, or a
backend that this launcher's supervisor recorded when it started it (the supervisor may have been
killed since). If its backend was killed before the job read its chain, the chain is lost. Then the
access to the file decides, because every process below the desktop app inherits the denial.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenario.process_group import Kept

LOST = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a job ran."""

    chain: str
    """``gateway``, ``desktop``, or ``?`` if its parents ended before it read them."""
    backend: str
    """For example ``desktop-2``."""

    def words(self) -> str:
        """The chain, short."""
        if self.chain == LOST:
            return "(backend killed meanwhile) → job"
        launcher = "gateway-launcher" if self.chain == "gateway" else "Desktop.app"
        return f"{launcher} → {self.backend} → job"


class Lineage:
    """Reads the supervisors' notes again for each call."""

    def __init__(self, launchers: Mapping[str, Path], kept: Iterable[Kept]) -> None:
        self._launchers = {str(path): chain for chain, path in launchers.items()}
        self._kept = tuple(kept)

    def places(self, lines: Iterable[Mapping[str, Any]]) -> list[Place]:
        """The place of each of the canary's lines."""
        backends = {key: kept.name for kept in self._kept for key in kept.backends()}
        return [self._place(line, backends) for line in lines]

    def _place(self, line: Mapping[str, Any], backends: Mapping[tuple[int, int], str]) -> Place:
        links = line["chain"]
        launchers = [self._launchers[link[2]] for link in links if link[2] in self._launchers]
        names = [backends[link[0], link[1]] for link in links if (link[0], link[1]) in backends]
        if names:
            chain = "desktop" if names[0].startswith("desktop") else "gateway"
            # Should the two ever differ, the kernel's word on the program counts.
            return Place(chain=launchers[0] if launchers else chain, backend=names[0])
        if launchers:
            return Place(chain=launchers[0], backend=launchers[0])
        return Place(chain=LOST, backend=LOST)
