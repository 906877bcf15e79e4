"""From the instant a callable is due to its first instruction."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import kit
from benchmarks.model import Figures, Goal, Measurement, Row

LEAD = 5.0
"""Seconds for adding the jobs before the first is due."""
_seen: list[float] = []


def tick(fire: float) -> None:
    _seen.append(time.time() - fire)


def fires(sizes: Mapping[str, Any]) -> list[float]:
    """Evenly spread from a little ahead of now; seconds since 1970."""
    first = time.time() + LEAD * sizes["lead"]
    step = sizes["seconds"] / sizes["count"]
    return [first + i * step for i in range(sizes["count"])]


def instant(fire: float) -> datetime:
    return datetime.fromtimestamp(fire, UTC)


def floor(work: Path, sizes: Mapping[str, Any]) -> Figures:
    db = kit.floor_database(work)
    for i, fire in enumerate(fires(sizes)):
        kit.sleep_until(fire)
        db.execute("INSERT INTO runs VALUES (?, ?, ?, NULL)", (i, fire, time.time()))
        tick(fire)
    return kit.lags(_seen, sizes["count"])


def tenure(work: Path, sizes: Mapping[str, Any]) -> Figures:
    from tenure import at

    tenure = kit.tenure_at(work)
    due = fires(sizes)
    for i, fire in enumerate(due):
        tenure.job(at(instant(fire)), tick, name=f"tick-{i}", args={"fire": fire})
    kit.own(tenure)
    _collect(due)
    return kit.lags(_seen, sizes["count"])


def apscheduler(kind: str, work: Path, sizes: Mapping[str, Any]) -> Figures:
    scheduler = kit.apscheduler_at(work, kind)
    due = fires(sizes)
    kit.add_once(scheduler, tick, [(fire, (fire,)) for fire in due])
    scheduler.resume()
    _collect(due)
    return kit.lags(_seen, sizes["count"])


def _collect(due: list[float], enough: Callable[[], int] = _seen.__len__) -> None:
    if time.time() > due[0]:
        raise RuntimeError("adding the jobs took longer than the lead")
    kit.sleep_until(due[-1])
    kit.wait_until(lambda: enough() >= len(due), "the last callable", 30)


MEASUREMENT = Measurement(
    name="lag_callables",
    about="1,000 one-shot callables, evenly spread over 20 s, added beforehand; each writes down "
    "`time.time()` as its first statement, minus the instant it was due. The floor sleeps until "
    "due, commits one row (WAL, synchronous=FULL), calls. Pools of "
    f"{kit.POOL} threads (`[slots] callables = {kit.POOL}`).",
    sides={
        "floor": floor,
        "tenure": tenure,
        "aps_memory": partial(apscheduler, "memory"),
        "aps_sqlite": partial(apscheduler, "sqlite"),
    },
    rows=(
        Row(
            title="Start lag of callables, p50",
            figure="p50",
            unit="ms",
            beside=("floor", "aps_memory", "aps_sqlite"),
        ),
        Row(
            title="Start lag of callables, p99",
            figure="p99",
            unit="ms",
            beside=("aps_sqlite",),
            goals=(Goal(side="floor", factor=3), Goal(side="aps_memory")),
        ),
    ),
    sizes={
        "full": {"count": 1000, "seconds": 20.0, "lead": 1.0},
        "tiny": {"count": 5, "seconds": 0.25, "lead": 0.15},
    },
)
