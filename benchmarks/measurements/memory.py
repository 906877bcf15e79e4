"""Resident memory of ``tenure serve``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.model import Figures, Goal, Measurement, Row


def tenure(work: Path, sizes: Mapping[str, Any]) -> Figures:
    from benchmarks.serving import serving

    with serving(work, sizes["jobs"]) as process:
        time.sleep(sizes["settle"])
        return {"resident": resident(process.pid)}


def resident(pid: int) -> float:
    """VmRSS in MB; Linux only."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1_000_000
    raise RuntimeError("the kernel does not say how much is resident")


MEASUREMENT = Measurement(
    name="memory",
    about="VmRSS of `tenure serve` that owns 100 jobs, 5 s after it took ownership.",
    sides={"tenure": tenure},
    rows=(
        Row(
            title="`tenure serve`, resident",
            figure="resident",
            unit="MB",
            goals=(Goal(limit=50.0),),
        ),
    ),
    sizes={"full": {"jobs": 100, "settle": 5.0}, "tiny": {"jobs": 3, "settle": 0.1}},
)
