"""A file of the code is touched: the new process runs the jobs, the parent never does.

All reloaders at the same time; what is wrong is said host by host.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.workers.beats import count
from benchmarks.workers.faults import until, whole_second
from benchmarks.workers.hosts import HOSTS
from benchmarks.workers.running import Running, wait_for

pytestmark = pytest.mark.real
Start = Callable[..., Running]

RELOADING = [host for host in HOSTS.values() if host.touch is not None]


def test_a_touched_file(start: Start) -> None:
    hosts = [start(host) for host in RELOADING]
    for running in hosts:
        running.settle()
    before = {running.host.name: running.owner() for running in hosts}
    first = whole_second()
    until(first + 2.2)
    for running in hosts:
        running.touch()
    after = {running.host.name: replaced(running, before) for running in hosts}
    again = whole_second(1.0)
    until(again + 3.9)
    wrong = {
        running.host.name: found
        for running in hosts
        if (found := complaints(running, first, again, after[running.host.name]))
    }
    assert not wrong


def replaced(running: Running, before: dict[str, int | None]) -> int:
    """The pid of the new owner."""

    def look() -> int | None:
        owner = running.owner()
        return owner if owner not in (None, before[running.host.name]) else None

    found = wait_for(f"{running.host.name} to be replaced", look)
    assert found is not None
    return found


def complaints(running: Running, first: int, again: int, new: int) -> list[str]:
    found = []
    if not running.fires(first, first + 2).exact:
        found.append("not once each before it was touched")
    if not (fires := running.fires(again, again + 3)).exact:
        found.append(f"not once each afterwards: {fires}")
    lines = running.beats()
    if count(lines, first, again + 3).repeated:
        found.append("a fire ran twice")
    if {line.pid for line in lines if line.at >= again} != {new} or new == running.process.pid:
        found.append("it was not the new child that ran them")
    if running.standings() != {new: "owner"}:
        found.append(f"others are there: {running.standings()}")
    return found + running.findings()


@pytest.mark.parametrize("name", ["uvicorn.run(reload=True)", "app.run(debug=True)"])
def test_a_parent_that_started_itself_leaves(name: str, start: Start) -> None:
    """It shows what it is only once its main thread supervises; `start()` came before that."""
    running = start(HOSTS[name])
    parent = running.process.pid
    wait_for("the parent to join", lambda: parent in running.standings(gone=True))
    wait_for("the parent to leave", lambda: parent not in running.standings())
    wait_for("the child to own", running.owner)
    first = whole_second(1.0)
    until(first + 2.5)
    fires = running.fires(first, first + 2)
    assert fires.exact
    assert fires.pids == (running.owner(),)
    assert running.findings() == []
