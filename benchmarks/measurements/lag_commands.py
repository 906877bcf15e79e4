"""From the instant a command is due to its program running, beside the same for callables.

The program is ``date +%s.%N``: one exec, no shell of its own, and the first thing it does after
being loaded is to ask for the time; loading it (about half a millisecond) is in the figure, on
every side. ``/proc/<pid>/stat`` would be free of that, but counts in ticks of 10 ms.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import kit
from benchmarks.measurements.lag_callables import fires, instant
from benchmarks.model import Figures, Goal, Measurement, Row

PROGRAM = ("date", "+%s.%N")


def tell_time(path: str) -> None:
    """What a user of a scheduler of callables writes to run a command and keep its output."""
    with open(path, "wb") as output:
        subprocess.run(PROGRAM, stdout=output, stdin=subprocess.DEVNULL, check=True)


def floor(work: Path, sizes: Mapping[str, Any]) -> Figures:
    db = kit.floor_database(work)
    due = fires(sizes)
    children = []
    for i, fire in enumerate(due):
        kit.sleep_until(fire)
        db.execute("INSERT INTO runs VALUES (?, ?, ?, NULL)", (i, fire, time.time()))
        with open(work / f"{i}.out", "wb") as output:
            children.append(subprocess.Popen(PROGRAM, stdout=output))
    for child in children:
        child.wait()
    return _from_files(work, due)


def tenure(work: Path, sizes: Mapping[str, Any]) -> Figures:
    from tenure.domain.job import Command, Definition
    from tenure.domain.schedule.model import at_schedule

    tenure = kit.tenure_at(work)
    kit.own(tenure)
    store = tenure.profile.store
    due = fires(sizes)
    names: dict[str, float] = {}
    with store.batch():
        for fire in due:
            definition = Definition(
                name=f"date-{len(names)}",
                schedule=at_schedule(instant(fire)),
                action=Command(argv=PROGRAM),
            )
            names[store.add_job(definition, by="bench", now=instant(time.time())).id] = fire
    if time.time() > due[0]:
        raise RuntimeError("adding the jobs took longer than the lead")
    kit.sleep_until(due[-1])
    kit.wait_until(lambda: kit.nothing_left(store), "the last end in the store", 30, 0.1)
    logs = tenure.profile.folder.logs
    values = [
        float((logs / run.id / "1.log").read_text()) - names[run.job] for run in kit.runs(store)
    ]
    return kit.lags(values, sizes["count"])


def apscheduler(kind: str, work: Path, sizes: Mapping[str, Any]) -> Figures:
    scheduler = kit.apscheduler_at(work, kind)
    due = fires(sizes)
    paths = [str(work / f"{i}.out") for i in range(len(due))]
    kit.add_once(
        scheduler, tell_time, [(fire, (path,)) for fire, path in zip(due, paths, strict=True)]
    )
    scheduler.resume()
    if time.time() > due[0]:
        raise RuntimeError("adding the jobs took longer than the lead")
    kit.sleep_until(due[-1])
    return _from_files(work, due)


def _from_files(work: Path, due: list[float]) -> Figures:
    paths = [work / f"{i}.out" for i in range(len(due))]
    kit.wait_until(
        lambda: all(p.exists() and p.stat().st_size for p in paths), "the last command", 30, 0.1
    )
    values = [float(p.read_text()) - fire for p, fire in zip(paths, due, strict=True)]
    return kit.lags(values, len(due))


MEASUREMENT = Measurement(
    name="lag_commands",
    about="200 one-shot commands `date +%s.%N`, evenly spread over 10 s: the time that the "
    "program itself prints minus the instant it was due. The floor commits one row and spawns; "
    "APScheduler's callable runs the program with `subprocess.run`, its output to a file. "
    "Tenure's go through the gate: claim committed, shell spawned, start committed, gate opened.",
    sides={
        "floor": floor,
        "tenure": tenure,
        "aps_memory": partial(apscheduler, "memory"),
        "aps_sqlite": partial(apscheduler, "sqlite"),
    },
    rows=(
        Row(
            title="Start lag of commands, p50",
            figure="p50",
            unit="ms",
            beside=("floor", "aps_memory", "aps_sqlite"),
        ),
        Row(
            title="Start lag of commands, p99",
            figure="p99",
            unit="ms",
            beside=("floor", "aps_memory", "aps_sqlite"),
            goals=(Goal(side="tenure", measurement="lag_callables", plus=15),),
        ),
    ),
    sizes={
        "full": {"count": 200, "seconds": 10.0, "lead": 1.0},
        "tiny": {"count": 4, "seconds": 0.2, "lead": 0.15},
    },
)
