"""One run a fire in every host: one owner, the rest candidates, supervisors never.

The hosts of a batch run at the same time; docs/workers.md has the full numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.workers.beats import Count
from benchmarks.workers.faults import until, whole_second
from benchmarks.workers.hosts import HOSTS, smaller
from benchmarks.workers.running import Running

pytestmark = pytest.mark.real

SECONDS = 6
WORKERS = 4
"""Where the host has eight; one of them keeps eight."""
EIGHT = "gunicorn -w 8 --preload (sync)"
NAMES = list(HOSTS)
BATCHES = [NAMES[i : i + 6] for i in range(0, len(NAMES), 6)]


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: f"{batch[0]} and others")
def test_each_fire_runs_exactly_once(batch: list[str], start: Callable[..., Running]) -> None:
    chosen = [HOSTS[name] if name == EIGHT else smaller(HOSTS[name], WORKERS) for name in batch]
    hosts = [start(host) for host in chosen]
    for running in hosts:
        running.settle()
    first = whole_second(1.0)
    until(first + SECONDS + 0.9)
    wrong = {r.host.name: found for r in hosts if (found := list(complaints(r, first)))}
    assert not wrong


def complaints(running: Running, first: int) -> list[str]:
    """What is not as it should be."""
    found = []
    fires = running.fires(first, first + SECONDS)
    if not fires.exact:
        found.append(f"the fires did not run once each: {fires}")
    if running.host.sends and not (sent := _sent(running, first)).exact:
        found.append(f"the tasks were not sent and done once each: {sent}")
    if len(fires.pids) != 1:
        found.append(f"more than one process ran them: {fires.pids}")
    standings = running.standings()
    if not running.is_settled():
        found.append(f"not one owner and {running.host.joins - 1} candidates: {standings}")
    if running.host.supervised and running.process.pid in running.standings(gone=False):
        found.append("its supervisor has joined")
    found += running.findings()
    return found


def _sent(running: Running, first: int) -> Count:
    """The tasks sent for these fires, once they were done."""

    return running.fires(first, first + SECONDS, "T")


@pytest.mark.parametrize(
    "name", ["gunicorn -w 8 --preload (sync)", "gunicorn -w 8 --preload (asgi)"]
)
def test_an_arbiter_that_loads_the_app_never_joins(
    name: str, start: Callable[..., Running]
) -> None:
    """Not even for a moment."""
    running = start(smaller(HOSTS[name], 2))
    running.settle()
    assert running.process.pid not in running.standings(gone=True)
