"""What the one-second job wrote down, and how often each of its fires ran."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Line:
    """``S``: a scheduler was started; ``B``: a run began, for the fire at ``fire``; ``T``: the task
    that was sent for it was done."""

    kind: str
    pid: int
    at: float
    fire: float


def read(path: Path) -> list[Line]:
    """Whole lines only: others may be writing."""
    if not path.exists():
        return []
    whole, _, _ = path.read_text().rpartition("\n")
    found = []
    for text in whole.splitlines():
        kind, pid, at, fire = text.split()
        found.append(Line(kind, int(pid), float(at), float(fire)))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How often the fires of a window ran: one at each whole second."""

    fires: int
    runs: int
    once: int
    missed: tuple[int, ...]
    """Seconds since 1970 of the fires that did not run at all."""
    repeated: int
    """Fires that ran more than once."""
    late: float
    """The most that a run began after its fire, in seconds."""
    pids: tuple[int, ...]

    @property
    def exact(self) -> bool:
        """Every fire ran, and ran once."""
        return self.once == self.fires


def count(lines: Sequence[Line], first: int, after: int, kind: str = "B") -> Count:
    """The fires in [first, after), seconds since 1970, by their runs or (``T``) their tasks. Each
    counts for the last whole second before the instant that it says it is for."""
    runs = [
        (math.floor(line.fire + 1e-6), line)
        for line in lines
        if line.kind == kind and first <= math.floor(line.fire + 1e-6) < after
    ]
    times = Counter(fire for fire, _ in runs)
    fires = range(first, after)
    return Count(
        fires=len(fires),
        runs=len(runs),
        once=sum(times[fire] == 1 for fire in fires),
        missed=tuple(fire for fire in fires if not times[fire]),
        repeated=sum(times[fire] > 1 for fire in fires),
        late=max((line.at - fire for fire, line in runs), default=0.0),
        pids=tuple(sorted({line.pid for _, line in runs})),
    )
