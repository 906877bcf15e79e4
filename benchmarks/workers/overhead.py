"""What a started instance costs the program that hosts it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.workers.hosts import HOSTS
from benchmarks.workers.running import Running

START = """
import json, os, sys, threading, time
before = time.perf_counter()
from tenure import Tenure, every
imported = time.perf_counter()
tenure = Tenure("beat", home=sys.argv[1])
tenure.job(every("1h"), print, name="hourly")
made = time.perf_counter()
tenure.start()
started = time.perf_counter()
while not tenure.owns and sys.argv[2] == "alone":
    time.sleep(0.001)
owned = time.perf_counter()
threads = sorted(t.name for t in threading.enumerate() if t is not threading.main_thread())
tenure.stop()
stopped = time.perf_counter()
figures = dict(imports=imported - before, makes=made - imported, starts=started - made,
            owns=owned - started, stops=stopped - owned)
print(json.dumps({**{k: v * 1000 for k, v in figures.items()}, "threads": threads}))
"""


@dataclass(frozen=True, kw_only=True)
class Started:
    """Milliseconds: medians of fresh processes, and the worst ``start()``."""

    imports: float
    makes: float
    starts: float
    starts_worst: float
    starts_first: float
    """Of the process that made the profile."""
    owns: float
    stops: float
    threads: tuple[str, ...]


def starting(processes: int, folder: Path) -> Started:
    """One process after the other, each with the compiled modules of the one before."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environ["PYTHONPYCACHEPREFIX"] = f"{work}/pycache"
        _start(f"{work}/warm", environ)
        first = _start(f"{work}/home", environ)
        figures = [_start(f"{work}/home", environ) for _ in range(processes)]

    def middle(what: str) -> float:
        return statistics.median(one[what] for one in figures)

    return Started(
        imports=middle("imports"),
        makes=middle("makes"),
        starts=middle("starts"),
        starts_worst=max(one["starts"] for one in figures),
        starts_first=first["starts"],
        owns=middle("owns"),
        stops=middle("stops"),
        threads=tuple(figures[-1]["threads"]),
    )


def _start(home: str, environ: dict[str, str]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", START, home, "alone"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


@dataclass(frozen=True, kw_only=True)
class Idle:
    """Percent of a core, over what the same host takes without a scheduler."""

    owner: float
    candidates: tuple[float, ...]
    without: float
    """What a worker takes without one."""


def idling(seconds: float, folder: Path) -> Idle:
    """gunicorn -w 8 whose one job is an hour away."""
    without = _idle("none", seconds, folder)
    with_it = _idle("tenure", seconds, folder)
    alone = statistics.median(without.values())
    owner = with_it.pop("owner")
    return Idle(
        owner=owner - alone,
        candidates=tuple(sorted(one - alone for one in with_it.values())),
        without=alone,
    )


def _idle(scheduler: str, seconds: float, folder: Path) -> dict[str, float]:
    host = replace(HOSTS["gunicorn -w 8 (sync)"])
    with (
        tempfile.TemporaryDirectory(dir=folder) as work,
        Running(host, scheduler, Path(work), BEAT_EVERY="1h") as running,
    ):
        if scheduler == "tenure":
            running.settle(90)
        time.sleep(8)
        workers = [pid for pid in running.members() if pid != running.process.pid]
        before = {pid: _cpu(pid) for pid in workers}
        began = time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        used = {str(pid): (_cpu(pid) - before[pid]) / took * 100 for pid in workers}
        if scheduler == "tenure":
            used["owner"] = used.pop(str(running.owner()))
        return used


def _cpu(pid: int) -> float:
    """Seconds on a processor, of all its threads, to the nanosecond (Linux)."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((t / "schedstat").read_text().split()[0]) for t in threads) / 1e9
