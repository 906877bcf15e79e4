"""One host under each scheduler at the same time, for so many seconds."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workers.beats import Count
from benchmarks.workers.faults import until, whole_second
from benchmarks.workers.hosts import Host
from benchmarks.workers.running import SCHEDULERS, Running

ERRORS = ("Traceback", "database is locked", "Run time of job")


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One host under one scheduler. What only Tenure tells is None for others."""

    fires: Count
    errors: int
    """Lines of its log that tell of an error."""
    standings: dict[str, int] | None = None
    supervisor_joined: bool | None = None
    findings: tuple[str, ...] | None = None


def watch(
    host: Host, seconds: int, folder: Path, schedulers: Sequence[str] = SCHEDULERS
) -> dict[str, Watched]:
    """Side by side, so that whatever else the machine does falls on all alike."""
    with contextlib.ExitStack() as ends:
        running = {}
        for scheduler in schedulers:
            work = Path(ends.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            running[scheduler] = ends.enter_context(Running(host, scheduler, work))
        for one in running.values():
            one.settle(90)
        first = whole_second(1.0)
        until(first + seconds + 0.9)
        return {scheduler: _seen(one, first, seconds) for scheduler, one in running.items()}


def _seen(running: Running, first: int, seconds: int) -> Watched:
    fires = running.fires(first, first + seconds)
    said = running.said()
    errors = sum(said.count(word) for word in ERRORS)
    if running.scheduler != "tenure":
        return Watched(fires=fires, errors=errors)
    standings = list(running.standings().values())
    return Watched(
        fires=fires,
        errors=errors,
        standings={name: standings.count(name) for name in sorted(set(standings))},
        supervisor_joined=(
            running.process.pid in running.standings() if running.host.supervised else None
        ),
        findings=tuple(running.findings()),
    )


def reload(running: Running, within: float = 60.0) -> tuple[float, Count, int]:
    """Touch a file of its code, as a developer does: the seconds without an owner, the fires
    from the first of the new process on, and how many were missed meanwhile, by the store's own
    records."""
    from benchmarks.workers.running import wait_for

    before = wait_for("an owner", running.owner)
    began = time.time()
    running.touch()
    wait_for("the process to be replaced", lambda: running.owner() not in (None, before), within)
    gap = time.time() - began
    first = whole_second(1.0)
    until(first + 3.7)
    missed = sum(o.count for o in running.profile.store.omissions()[0])
    return gap, running.fires(first, first + 3), missed
