"""Wall time of ``tenure status`` while a daemon serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.model import Figures, Goal, Measurement, Row


def tenure(work: Path, sizes: Mapping[str, Any]) -> Figures:
    from benchmarks.serving import CLI, serving, where
    from benchmarks.spawned import wall

    with serving(work, sizes["jobs"]):
        return wall({"status": (*CLI, "status", *where(work))}, sizes["turns"])


MEASUREMENT = Measurement(
    name="status",
    about="`tenure status`, from spawn to exit, beside a `tenure serve` with 100 jobs; 20 times.",
    sides={"tenure": tenure},
    rows=(Row(title="`tenure status`", figure="status", unit="ms", goals=(Goal(limit=250.0),)),),
    sizes={"full": {"jobs": 100, "turns": 20}, "tiny": {"jobs": 3, "turns": 1}},
)
