"""Three hundred ``/bin/true``, due at one instant: how many are done with in a second."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import kit
from benchmarks.measurements.lag_callables import instant
from benchmarks.model import Figures, Goal, Measurement, Row

PROGRAM = ("/bin/true",)
_calls: list[None] = []


def run_true() -> None:
    subprocess.run(PROGRAM, check=True)
    _calls.append(None)


def bare(work: Path, sizes: Mapping[str, Any]) -> Figures:
    """One after the other: spawn, wait."""
    began = time.time()
    for _ in range(sizes["count"]):
        run_true()
    return {"rate": sizes["count"] / (time.time() - began)}


def tenure(work: Path, sizes: Mapping[str, Any]) -> Figures:
    from tenure.domain.job import Command, Definition
    from tenure.domain.schedule.model import at_schedule

    tenure = kit.tenure_at(work)
    kit.own(tenure)
    store = tenure.profile.store
    fire = time.time() + sizes["lead"]
    with store.batch():
        for i in range(sizes["count"]):
            definition = Definition(
                name=f"true-{i}",
                schedule=at_schedule(instant(fire)),
                action=Command(argv=PROGRAM),
            )
            store.add_job(definition, by="bench", now=instant(time.time()))
    if time.time() > fire:
        raise RuntimeError("adding the jobs took longer than the lead")
    kit.sleep_until(fire)

    kit.wait_until(lambda: kit.nothing_left(store), "the last end in the store", 60, 0.005)
    took = time.time() - fire
    kit.all_succeeded(store, sizes["count"])
    return {"rate": sizes["count"] / took}


def apscheduler(kind: str, work: Path, sizes: Mapping[str, Any]) -> Figures:
    scheduler = kit.apscheduler_at(work, kind)
    fire = time.time() + sizes["lead"]
    kit.add_once(scheduler, run_true, [(fire, ())] * sizes["count"])
    scheduler.resume()
    kit.sleep_until(fire)
    kit.wait_until(lambda: len(_calls) >= sizes["count"], "the last command", 60, 0.005)
    kit.wait_until(lambda: not scheduler.get_jobs(), "an empty job store", 10, 0.001)
    return {"rate": sizes["count"] / (time.time() - fire)}


MEASUREMENT = Measurement(
    name="drain_commands",
    about="300 one-shot `/bin/true` due at one instant: from that instant until the store has "
    "every end (APScheduler: until the last `subprocess.run` returned and its job store is "
    "empty). Tenure starts two processes for each, a shell at the gate and the program, and "
    f"keeps its output and exit record. The floor is `subprocess.run` in a loop. "
    f"Pools of {kit.POOL}.",
    sides={
        "floor": bare,
        "tenure": tenure,
        "aps_memory": partial(apscheduler, "memory"),
        "aps_sqlite": partial(apscheduler, "sqlite"),
    },
    rows=(
        Row(
            title="Draining due commands",
            figure="rate",
            unit="/s",
            beside=("aps_memory", "floor"),
            goals=(Goal(side="aps_sqlite", at_least=True),),
        ),
    ),
    sizes={"full": {"count": 300, "lead": 5.0}, "tiny": {"count": 8, "lead": 1.2}},
)
