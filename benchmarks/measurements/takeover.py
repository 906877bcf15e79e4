"""The owner is killed with -9: how long until the next owner's first run.

Three processes of one app; twenty callables, each once a second, fifty milliseconds apart, so
that whenever the owner dies something is due at most 50 ms later. Each run writes its pid and
``time.time()`` as its first statement. Measured is from just before kill(2) to the first
statement of the first run under a later term, by another pid. The killed process is replaced,
and once the new one has joined as a candidate and a seeded random pause is over, the next owner
is killed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import kit
from benchmarks.model import Figures, Goal, Measurement, Row

PROCESSES = 3
JOBS = 20


def member(home: str, runs: str) -> None:
    """One process of the app; runs until it is killed."""
    from tenure import Tenure
    from tenure.domain.schedule.model import every_schedule

    written = os.open(runs, os.O_WRONLY | os.O_APPEND)

    def beat() -> None:
        os.write(written, b"%d %.6f\n" % (os.getpid(), time.time()))

    def phase(i: int) -> Any:
        anchor = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=i / JOBS)
        return lambda now, zone: every_schedule(timedelta(seconds=1), anchor)

    tenure = Tenure(kit.PROFILE, home=home)
    for i in range(JOBS):
        tenure.job(phase(i), beat, name=f"beat-{i}")
    tenure.start()
    while True:
        signal.pause()


def tenure(work: Path, sizes: Mapping[str, Any]) -> Figures:
    profile = kit.tenure_at(work).profile
    runs = work / "runs"
    runs.touch()
    members = {}
    rng = random.Random(sizes["seed"])
    took = []
    try:
        for _ in range(PROCESSES):
            process = _spawn(work, runs)
            members[process.pid] = process
        for _ in range(sizes["kills"]):
            _settled(profile.store, members)
            time.sleep(rng.uniform(0.2, 0.6))
            owner = _owner_pid(profile.store)
            seen = runs.stat().st_size
            began = time.time()
            os.kill(owner, signal.SIGKILL)
            took.append(_first_by_another(runs, seen, owner) - began)
            members.pop(owner).wait()
            process = _spawn(work, runs)
            members[process.pid] = process
    finally:
        for process in members.values():
            process.kill()
            process.wait()
        profile.close()
    return kit.lags(took, sizes["kills"])


def _spawn(work: Path, runs: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.measurements.takeover", str(work / "home"), str(runs)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def _settled(store: Any, members: Mapping[int, Any]) -> None:
    """One owns, the others are candidates that the store knows."""

    def done() -> bool:
        standing = {p.evidence.identity.pid: str(p.standing) for p in store.processes()}
        ours = sorted(standing.get(pid, "") for pid in members)
        return ours == ["candidate"] * (PROCESSES - 1) + ["owner"]

    kit.wait_until(done, "one owner and two candidates", 30, 0.02)


def _owner_pid(store: Any) -> int:
    pid: int = store.process(store.ownership().process).evidence.identity.pid
    return pid


def _first_by_another(runs: Path, seen: int, owner: int) -> float:
    until = time.monotonic() + 30
    with open(runs, "rb") as file:
        file.seek(seen)
        while time.monotonic() < until:
            for line in file.readlines():
                pid, at = line.split()
                if int(pid) != owner:
                    return float(at)
            time.sleep(0.01)
    raise RuntimeError("waited 30 s in vain for a run of the next owner")


MEASUREMENT = Measurement(
    name="takeover",
    about=f"{PROCESSES} processes; {JOBS} callables once a second each, 50 ms apart, so that "
    "something is due at most 50 ms after any instant (that wait is in the figure). From just "
    "before kill(2) with SIGKILL of the owner, at a random moment, to the first statement of the "
    "first run under the next one; 30 kills a repeat, p99 by nearest rank (the worst of 30).",
    sides={"tenure": tenure},
    rows=(
        Row(title="Owner killed to next owner's run, p50", figure="p50", unit="ms"),
        Row(
            title="Owner killed to next owner's run, p99",
            figure="p99",
            unit="ms",
            goals=(Goal(limit=250.0),),
        ),
    ),
    sizes={"full": {"kills": 30, "seed": 1}, "tiny": {"kills": 1, "seed": 1}},
)

if __name__ == "__main__":
    member(sys.argv[1], sys.argv[2])
