"""Celery's worker as a host, and Tenure in the place of its beat.

That each fire runs once, and each task is sent once, with every pool, is in test_hosts.py; its
end in test_leaving.py.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.workers import faults
from benchmarks.workers.beats import Count
from benchmarks.workers.faults import until, whole_second
from benchmarks.workers.hosts import HOSTS, Host
from benchmarks.workers.running import DEADLINE, Running, wait_for

pytestmark = pytest.mark.real
Start = Callable[..., Running]

PREFORK = HOSTS["celery worker -c 4 --pool prefork"]
LATE = 0.5


def prefork(*more: str) -> Host:
    return replace(PREFORK, argv=lambda port: [*PREFORK.argv(port), *more])


def test_recycled_all_the_time(start: Start) -> None:
    """``--max-tasks-per-child``: each hands over as it leaves, nobody has to be found dead."""
    running = start(prefork("--max-tasks-per-child", "1"))
    running.settle()

    def turn() -> Count:
        first = whole_second()
        until(first + 5.7)
        fires = running.fires(first, first + 5)
        assert len(fires.pids) > 1, "no owner was recycled: nothing was tried"
        return fires

    turns = faults.in_time(turn, LATE)
    assert turns[-1].exact, turns
    assert turns[-1].late < LATE
    kinds = [event.kind for event in running.profile.store.events(limit=100_000)]
    assert kinds.count("process_died") == 0
    assert running.findings() == []


def test_a_pool_that_is_not_forked(start: Start) -> None:
    """As on macOS: each of its processes is a new Python, that loads the app."""
    running = start(PREFORK, BEAT_POOL_START="spawn")
    running.settle()
    first = whole_second(1.0)
    until(first + 3.7)
    fires = running.fires(first, first + 3)
    assert fires.exact, fires
    assert b"spawn_main" in Path(f"/proc/{fires.pids[0]}/cmdline").read_bytes(), "it was forked"
    assert running.process.pid not in running.standings(gone=True)


def test_a_cold_shutdown(start: Start) -> None:
    """SIGQUIT: nothing is left of it, and the next worker owns."""
    running = start(PREFORK)
    running.settle()
    os.kill(running.process.pid, signal.SIGQUIT)
    running.process.wait(DEADLINE)
    wait_for("its processes to end", lambda: not running.members())
    assert "Exception ignored" not in running.said()
    following = start(HOSTS["celery worker --pool solo"], BEAT_HOME=str(running.home))
    wait_for("the next one to own", lambda: running.owner() == following.process.pid)
