"""The worker that owns is killed, recycled, frozen: the next fire is on time, none runs twice."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.workers import faults
from benchmarks.workers.beats import Count
from benchmarks.workers.hosts import HOSTS, smaller
from benchmarks.workers.running import Running

pytestmark = pytest.mark.real
Start = Callable[..., Running]

LATE = 0.5
"""Seconds that the next fire may be late by."""
WORKERS = 4


@pytest.mark.parametrize(
    "names",
    [
        (
            "gunicorn -w 8 (sync)",
            "gunicorn -w 8 --preload (uvicorn worker)",
            "multiprocessing, fork before, 8",
        ),
        (
            "uvicorn --workers 4",
            "uwsgi -p 4 --enable-threads",
            "celery worker -c 4 --pool prefork",
        ),
    ],
    ids=lambda names: f"{names[0]} and others",
)
def test_killed(names: tuple[str, ...], start: Start) -> None:
    """Side by side."""
    hosts = [start(smaller(HOSTS[name], WORKERS)) for name in names]
    for running in hosts:
        running.settle()
    with ThreadPoolExecutor() as threads:
        wrong = list(threads.map(_killed, hosts))
    assert wrong == [[]] * len(hosts)


def _killed(running: Running) -> list[str]:
    """What is not as it should be."""
    before = running.owner()
    turns = faults.in_time(lambda: faults.kill(running, seconds=4), LATE)
    found = running.findings()
    if not turns[-1].exact or turns[-1].late >= LATE:
        found.append(f"{running.host.name}: not each once and in time: {turns}")
    if any(len(fires.pids) != 2 for fires in turns):
        found.append(f"{running.host.name}: {before} ran none, or more than one followed: {turns}")
    if running.host.supervised and running.process.pid in running.standings(gone=False):
        found.append(f"{running.host.name}: its supervisor has joined")
    return found


def test_recycled_all_the_time(start: Start) -> None:
    """--max-requests: each hands over as it leaves, nobody has to be found dead. Side by side."""
    servers = ("gunicorn", "uwsgi")
    hosts = [start(smaller(faults.recycling(30, server), WORKERS)) for server in servers]
    for running in hosts:
        running.settle()
    with ThreadPoolExecutor() as threads:
        done = list(threads.map(_recycled, hosts))
    for running, turns in zip(hosts, done, strict=True):
        assert turns[-1].exact, turns
        assert turns[-1].late < LATE
        assert running.findings() == []


def _recycled(running: Running) -> list[Count]:
    def turn() -> Count:
        found = faults.recycle(running, seconds=8, pause=0.02)
        assert found.owners > 1, "no owner was recycled: nothing was tried"
        assert found.died == 0
        return found.fires

    return faults.in_time(turn, LATE)


def test_frozen_and_deposed_by_request(start: Start) -> None:
    """C3: a stale one changes nothing, however late it wakes."""
    running = start(smaller(faults.PATIENT, WORKERS))
    running.settle()
    done = faults.freeze(running, seconds=4)
    assert done.while_frozen.exact, done
    assert done.after.exact, done
    assert done.stale == 0
    assert done.standing == "candidate"
    assert done.findings == ()


def test_a_frozen_worker_does_not_stop_the_jobs(start: Start) -> None:
    """``hung = "replace"`` is the default of an embedded scheduler; nobody asks for it here."""
    running = start(smaller(faults.PATIENT, WORKERS), BEAT_HUNG_AFTER="2")
    running.settle()
    done = faults.freeze(running, seconds=4, by_request=False)
    assert running.profile.store.terms(limit=1)[0].how == "take_by_force"
    assert done.while_frozen.exact, done
    assert done.after.exact, done
    assert done.stale == 0
    assert done.standing == "candidate"
    assert done.findings == ()
