"""CPU of an owner whose 10,000 jobs are hours away."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import kit
from benchmarks.model import Figures, Goal, Measurement, Row


def nothing() -> None:
    pass


def tenure(work: Path, sizes: Mapping[str, Any]) -> Figures:
    from benchmarks.populated import fill

    tenure = kit.tenure_at(work)
    fill(tenure.profile.store, sizes["jobs"], datetime.now(UTC))
    kit.own(tenure)
    return _idle(sizes)


def apscheduler(kind: str, work: Path, sizes: Mapping[str, Any]) -> Figures:
    scheduler = kit.apscheduler_at(work, kind)
    away = time.time() + 3 * 3600
    kit.add_once(scheduler, nothing, [(away + i, ()) for i in range(sizes["jobs"])])
    scheduler.resume()
    return _idle(sizes)


def _idle(sizes: Mapping[str, Any]) -> Figures:
    time.sleep(sizes["settle"])
    before, began = _cpu(), time.monotonic()
    time.sleep(sizes["seconds"])
    return {"cpu": (_cpu() - before) / (time.monotonic() - began) * 60 * 1000}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


MEASUREMENT = Measurement(
    name="idle",
    about="User and system time (`getrusage`) of a process that owns 10,000 jobs, all hours away, "
    "over 20 s after 3 s to settle, times three: CPU milliseconds a minute.",
    sides={
        "tenure": tenure,
        "aps_memory": partial(apscheduler, "memory"),
        "aps_sqlite": partial(apscheduler, "sqlite"),
    },
    rows=(
        Row(
            title="Idle CPU a minute, 10,000 jobs",
            figure="cpu",
            unit="ms",
            beside=("aps_memory", "aps_sqlite"),
            goals=(Goal(limit=100.0),),
        ),
    ),
    sizes={
        "full": {"jobs": 10_000, "settle": 3.0, "seconds": 20.0},
        "tiny": {"jobs": 20, "settle": 0.1, "seconds": 0.3},
    },
)
