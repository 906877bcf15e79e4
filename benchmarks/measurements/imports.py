"""What importing costs over a bare interpreter."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.model import Figures, Goal, Measurement, Row
from benchmarks.spawned import wall

CODE = {
    "bare": "pass",
    "package": "import tenure",
    "library": "from tenure import Tenure, at, cron, every",
    "apscheduler": "from apscheduler.schedulers.background import BackgroundScheduler",
}


def interpreter(work: Path, sizes: Mapping[str, Any]) -> Figures:
    commands = {name: (sys.executable, "-c", code) for name, code in CODE.items()}
    took = wall(commands, sizes["turns"])
    bare = took.pop("bare")
    return {"bare": bare, **{name: value - bare for name, value in took.items()}}


MEASUREMENT = Measurement(
    name="imports",
    about="Wall time of `python -c '...'` minus that of `python -c pass`, 20 of each in turns. "
    "`import tenure` is lazy; the second line also loads `Tenure`, `cron`, `every` and `at`.",
    sides={"tenure": interpreter},
    rows=(
        Row(title="`import tenure`", figure="package", unit="ms", goals=(Goal(limit=60.0),)),
        Row(
            title="`from tenure import Tenure, cron, every, at`",
            figure="library",
            unit="ms",
            goals=(Goal(limit=60.0),),
        ),
        Row(
            title="(the same of APScheduler's BackgroundScheduler)", figure="apscheduler", unit="ms"
        ),
    ),
    sizes={"full": {"turns": 20}, "tiny": {"turns": 1}},
)
