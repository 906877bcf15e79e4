"""A file of the code is touched: the new process runs the jobs, the parent never does."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from benchmarks.workers.beats import count
from benchmarks.workers.faults import until, whole_second
from benchmarks.workers.hosts import HOSTS, Host
from benchmarks.workers.running import Running, wait_for

pytestmark = pytest.mark.real

RELOADING = [host for host in HOSTS.values() if host.touch is not None]


@pytest.mark.parametrize("host", RELOADING, ids=lambda host: host.name)
def test_a_touched_file(host: Host, start: Callable[..., Running]) -> None:
    running = start(host)
    running.settle(60)
    old = running.owner()
    first = whole_second()
    until(first + 2.2)
    running.touch()
    new = wait_for("the process to be replaced", lambda: _other(running, old))
    assert new != running.process.pid
    again = whole_second(1.0)
    until(again + 3.9)
    lines = running.beats()
    assert count(lines, first, first + 2).exact
    assert count(lines, again, again + 3).exact
    assert {line.pid for line in lines if line.at >= again} == {new}
    assert count(lines, first, again + 3).repeated == 0
    assert running.standings() == {new: "owner"}
    assert running.findings() == [], "what was missed in between is on record"


def _other(running: Running, old: int | None) -> int | None:
    owner = running.owner()
    return owner if owner not in (None, old) else None


@pytest.mark.parametrize("name", ["uvicorn.run(reload=True)", "app.run(debug=True)"])
def test_a_parent_that_started_itself_leaves(name: str, start: Callable[..., Running]) -> None:
    """It shows what it is only once its main thread supervises; `start()` came before that."""
    running = start(HOSTS[name])
    parent = running.process.pid
    wait_for("the parent to join", lambda: parent in running.standings(), 20)
    wait_for("the parent to leave", lambda: parent not in running.standings(), 10)
    left = time.time()
    runs_it = wait_for("the child to own", running.owner)
    until(left + 2.5)
    assert {line.pid for line in running.beats() if line.at > left + 1} == {runs_it}
    (gone,) = [
        p for p in running.profile.store.processes(gone=True) if p.evidence.identity.pid == parent
    ]
    assert gone.left_at is not None
    assert running.findings() == []
