"""What becomes of the fires when the process that runs them is killed, recycled or frozen."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.workers.beats import Count
from benchmarks.workers.hosts import HOSTS, Host
from benchmarks.workers.running import DEADLINE, Running, wait_for

TENURE = Path(sys.executable).parent / "tenure"
PATIENT = replace(
    HOSTS["gunicorn -w 8 (sync)"],
    argv=lambda port: [*HOSTS["gunicorn -w 8 (sync)"].argv(port), "--timeout", "300"],
)
"""gunicorn would kill a frozen worker after half a minute, and rightly."""


def recycling(requests: int, server: str = "gunicorn") -> Host:
    """gunicorn, or uWSGI, that ends a worker after so many requests and starts another."""
    if server == "uwsgi":  # which takes a worker's first minute for too early
        host = HOSTS["uwsgi -p 4 --enable-threads"]
        more = ["--max-requests-delta", str(requests // 4), "--min-worker-lifetime", "1"]
    else:
        host = HOSTS["gunicorn -w 8 (sync)"]
        more = ["--max-requests-jitter", str(requests // 2)]
    return replace(
        host, argv=lambda port: [*host.argv(port), "--max-requests", str(requests), *more]
    )


def whole_second(after: float = 0.3) -> int:
    """The first that is at least so far away."""
    return math.ceil(time.time() + after)


def until(instant: float) -> None:
    while (left := instant - time.time()) > 0:
        time.sleep(left)


def runs_it(running: Running) -> int:
    """The pid of the process that runs the jobs: the owner, or one that had the latest run."""
    if running.scheduler == "tenure":
        return wait_for("an owner", running.owner)
    return [line for line in running.beats() if line.kind == "B"][-1].pid


def in_time(measure: Callable[[], Count], late: float, turns: int = 3) -> list[Count]:
    """Until in one turn every fire ran and began no later than that; all turns, the last the best:
    a machine that is busy makes one late, and what is always late is slow by itself."""
    found = [measure()]
    while found[-1].exact and found[-1].late >= late and len(found) < turns:
        found.append(measure())
    return found


# -- killed ------------------------------------------------------------------------------------
def kill(running: Running, *, seconds: int = 3, at: float = 0.4) -> Count:
    """Kill -9 it, ``at`` seconds after a fire, and after its run; the fires from that one on, for
    so many seconds."""
    first = whole_second()
    until(first + at)
    running.fires(first, first + 1)
    owner = runs_it(running)
    if running.scheduler == "tenure":
        _stop_between_transactions(running, owner)
    os.kill(owner, signal.SIGKILL)
    until(first + seconds + 0.7)
    return running.fires(first, first + seconds)


# -- recycled ----------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Recycled:
    """Fires while workers came and went; ``owners`` is how many processes ran them in turn."""

    fires: Count
    owners: int
    died: int
    """Processes that left without a word, and had to be found dead."""


def recycle(running: Running, *, seconds: int, pause: float = 0.01) -> Recycled:
    """Requests one after the other, so that its workers are replaced all the time."""
    with _asked_all_the_time(running, pause):
        first = whole_second()
        until(first + seconds + 0.7)
    fires = running.fires(first, first + seconds)
    died = 0
    if running.scheduler == "tenure":
        events = running.profile.store.events(limit=100_000)
        died = sum(event.kind == "process_died" for event in events)
    return Recycled(fires=fires, owners=len(fires.pids), died=died)


@contextmanager
def _asked_all_the_time(running: Running, pause: float) -> Iterator[None]:
    enough = threading.Event()

    def ask() -> None:
        while not enough.wait(pause):
            running.get()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join(DEADLINE)


# -- frozen ------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Frozen:
    """``while_frozen`` and ``after`` count the fires from the take-over to the waking, and from
    there on; ``gap`` is from the freeze to the take-over, in seconds."""

    gap: float
    while_frozen: Count
    after: Count
    standing: str
    """Of the woken process."""
    refused: int
    """Claims of a stale term that the store refused, as its events tell."""
    stale: int
    """Runs that a stale term claimed after the next one had begun: must be none."""
    findings: tuple[str, ...]


def freeze(running: Running, *, seconds: float, by_request: bool = True) -> Frozen:
    """SIGSTOP the owner, for ``seconds`` after the take-over; then SIGCONT. By request: `tenure
    owner take --force`; else a candidate is to find out by itself that it is hung."""
    owner = runs_it(running)
    term = running.profile.store.ownership().term
    _stop_between_transactions(running, owner)
    began = time.time()
    try:
        if by_request:
            take(running)
        wait_for("another owner", lambda: running.owner() not in (None, owner), 90)
        gap = time.time() - began
        first = whole_second()
        until(first + seconds)
        between = whole_second()
    finally:
        os.kill(owner, signal.SIGCONT)
    after = max(between + 1, whole_second())
    until(after + 3.7)
    while_frozen = running.fires(first, between)
    after_it = running.fires(between, after + 3)
    noticed = ("candidate", "gone")
    wait_for("it to notice", lambda: running.standings().get(owner, "gone") in noticed)
    return Frozen(
        gap=gap,
        while_frozen=while_frozen,
        after=after_it,
        standing=running.standings().get(owner, "gone"),
        refused=_refused(running, term),
        stale=_stale(running, term),
        findings=tuple(running.findings()),
    )


def take(running: Running) -> None:
    """As a person does it."""
    environ = {**running.environ, "TENURE_HOME": str(running.home), "TENURE_PROFILE": "beat"}
    subprocess.run(
        [TENURE, "owner", "take", "--force"],
        env=environ,
        check=True,
        capture_output=True,
        timeout=60,
    )


def _stop_between_transactions(running: Running, pid: int) -> None:
    """Inside one it would block the store for everybody, and in the middle of a run the job would
    wait for that run's end; both are another story."""
    from tenure.domain.run import ACTIVE
    from tenure.host.write_lock import write_lock_holder
    from tenure.store.contract import RunFilter

    store = running.profile.store
    while True:
        os.kill(pid, signal.SIGSTOP)
        wait_for(f"pid {pid} to stand still", lambda: _states(pid) == {"T"})
        blocks = write_lock_holder(running.profile.folder.database) == pid
        if not blocks and not store.runs(RunFilter(states=ACTIVE))[0]:
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.1)


def _states(pid: int) -> set[str]:
    """Of its threads: a stop reaches one after the other. None, if one has just ended."""
    try:
        return {
            (thread / "stat").read_text().rpartition(")")[2].split()[0]
            for thread in Path(f"/proc/{pid}/task").iterdir()
        }
    except FileNotFoundError:
        return set()


def _refused(running: Running, term: int) -> int:
    events = running.profile.store.events(limit=100_000)
    return sum(event.kind == "claim_refused" and event.term == term for event in events)


def _stale(running: Running, term: int) -> int:
    from tenure.store.contract import Page, RunFilter

    store = running.profile.store
    (ended,) = [t.ended_at for t in store.terms(limit=1000) if t.term == term]
    runs, _ = store.runs(RunFilter(), Page(limit=10_000))
    return sum(run.term == term and run.claimed_at > ended for run in runs)
