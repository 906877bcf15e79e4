"""A thousand callables that do nothing, due at one instant: how many are done with in a second."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import kit
from benchmarks.measurements.lag_callables import instant
from benchmarks.model import Figures, Goal, Measurement, Row

_calls: list[None] = []


def nothing() -> None:
    _calls.append(None)


def floor(work: Path, sizes: Mapping[str, Any]) -> Figures:
    db = kit.floor_database(work)
    count = sizes["count"]
    began = time.time()
    db.execute("BEGIN IMMEDIATE")
    db.executemany(
        "INSERT INTO runs VALUES (?, ?, ?, NULL)", ((i, began, began) for i in range(count))
    )
    db.execute("COMMIT")
    for _ in range(count):
        nothing()
    ended = time.time()
    db.execute("BEGIN IMMEDIATE")
    db.executemany(
        "UPDATE runs SET finished = ? WHERE rowid = ?", ((ended, i + 1) for i in range(count))
    )
    db.execute("COMMIT")
    return {"rate": count / (time.time() - began)}


def tenure(work: Path, sizes: Mapping[str, Any]) -> Figures:
    from tenure import at

    tenure = kit.tenure_at(work)
    fire = time.time() + sizes["lead"]
    for i in range(sizes["count"]):
        tenure.job(at(instant(fire)), nothing, name=f"nothing-{i}")
    kit.own(tenure)
    store = tenure.profile.store
    if time.time() > fire:
        raise RuntimeError("adding the jobs took longer than the lead")
    kit.sleep_until(fire)
    kit.wait_until(lambda: len(_calls) >= sizes["count"], "the last callable", 60, 0.005)
    kit.wait_until(lambda: kit.nothing_left(store), "the last end in the store", 10, 0.001)
    took = time.time() - fire
    kit.all_succeeded(store, sizes["count"])
    return {"rate": sizes["count"] / took}


def apscheduler(kind: str, work: Path, sizes: Mapping[str, Any]) -> Figures:
    scheduler = kit.apscheduler_at(work, kind)
    fire = time.time() + sizes["lead"]
    kit.add_once(scheduler, nothing, [(fire, ())] * sizes["count"])
    scheduler.resume()
    if time.time() > fire:
        raise RuntimeError("adding the jobs took longer than the lead")
    kit.sleep_until(fire)
    kit.wait_until(lambda: len(_calls) >= sizes["count"], "the last callable", 60, 0.005)
    kit.wait_until(lambda: not scheduler.get_jobs(), "an empty job store", 10, 0.001)
    return {"rate": sizes["count"] / (time.time() - fire)}


MEASUREMENT = Measurement(
    name="drain_callables",
    about="1,000 one-shot no-op callables due at one instant: from that instant until the store "
    "has every end (APScheduler: until its job store is empty; it records no run). The floor "
    f"makes two commits for all. Pools of {kit.POOL} threads.",
    sides={
        "floor": floor,
        "tenure": tenure,
        "aps_memory": partial(apscheduler, "memory"),
        "aps_sqlite": partial(apscheduler, "sqlite"),
    },
    rows=(
        Row(
            title="Draining due callables",
            figure="rate",
            unit="/s",
            beside=("aps_memory", "floor"),
            goals=(
                Goal(side="aps_sqlite", factor=5, at_least=True),
                Goal(side="aps_sqlite", factor=10, at_least=True),
            ),
        ),
    ),
    sizes={"full": {"count": 1000, "lead": 5.0}, "tiny": {"count": 20, "lead": 1.2}},
)
