"""C13 Honest clocks. Time zone, DST gap and fold are explicit per job; suspend and wall-clock steps
are noticed and reported; catch-up is bounded and spread.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from contractkit import World, processes  # noqa: F401

from tenure.domain.event import EventKind
from tenure.domain.job import Call, Definition, Runner
from tenure.domain.run import ACTIVE
from tenure.domain.schedule.parser import parse_schedule
from tenure.store.contract import Page, RunFilter
from testkit.cluster import Cluster, Node
from waiting import eventually

JOBS, ALL = 60, Page(limit=10_000)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, toml="catch_up_rate = 10\n[slots]\ncallables = 100\n") as one:
        yield one


def carrier(cluster: Cluster) -> Node:
    return cluster.node("a", functions={"app:work": lambda: None}, app="app")


def add(cluster: Cluster, name: str, schedule: str) -> None:
    now = cluster.clock.now()
    wants = Definition(
        name=name,
        schedule=parse_schedule(schedule, now=now, timezone="UTC"),
        action=Call(target="app:work", runner=Runner.THREAD),
    )
    cluster.profile.store.add_job(wants, by="test", now=now)


@pytest.mark.real
def test_zone_gap_and_fold_are_explicit_per_job(processes: World) -> None:  # noqa: F811
    """C13: Time zone, DST gap and fold are explicit per job."""
    world = processes
    world.ok(
        "add", "30 2 * * *", "--name", "night", "--tz", "Europe/Berlin",
        "--dst", "gap=skip,fold=both", "--", "true",
    )  # fmt: skip
    shown = world.ok("show", "night", "--json").json["job"]["schedule"]
    assert (shown["timezone"], shown["dst"]) == ("Europe/Berlin", "gap=skip,fold=both")
    world.add(name="plain")
    shown = world.ok("show", "plain", "--json").json["job"]["schedule"]
    assert shown["timezone"]
    assert shown["dst"]
    for bad in (("--tz", "Mars/Olympus"), ("--dst", "gap=perhaps")):
        answer = world.tenure("--json", "edit", "night", *bad)
        assert answer.code == 2
        assert answer.error["field"]


@pytest.mark.parametrize("change", ["suspended", "step_forward", "step_backward"])
def test_what_the_clock_does_is_noticed_and_reported(cluster: Cluster, change: str) -> None:
    """C13: suspend and wall-clock steps are noticed and reported."""
    node = carrier(cluster)
    cluster.settle()
    match change:
        case "suspended":
            cluster.clock.suspend(3600)
        case "step_forward":
            cluster.clock.step(3600)
        case _:
            cluster.clock.step(-3600)
    node.turn()
    events = cluster.profile.store.events(limit=1000)
    (event,) = [e for e in events if e.kind is EventKind.CLOCK]
    assert event.facts["kind"] == change
    assert abs(event.facts["seconds"]) == pytest.approx(3600)


def test_catch_up_is_bounded_and_spread(cluster: Cluster) -> None:
    """C13: catch-up is bounded and spread: a machine that wakes does not start everything at
    once, and no job runs more than once for all that it missed."""
    node = carrier(cluster)
    cluster.settle()
    for n in range(JOBS):
        add(cluster, f"daily{n}", f"{n} 3 * * *")
    cluster.clock.suspend(timedelta(days=30))
    began = []
    for _ in range(8):
        work_off(cluster, node)
        began.append(len(cluster.profile.store.runs(RunFilter(), ALL)[0]))
        cluster.clock.advance(1)
    # Twenty at once, then ten a second.
    assert began[0] <= 20
    assert all(b - a <= 10 for a, b in pairwise(began))
    assert began[-1] == JOBS
    fires = [r.fire_time for r in cluster.profile.store.runs(RunFilter(), ALL)[0]]
    assert {f.date() for f in fires} == {datetime(2026, 1, 30, tzinfo=UTC).date()}


def work_off(cluster: Cluster, node: Node) -> None:
    def over() -> bool:
        node.turn()
        return not cluster.profile.store.runs(RunFilter(states=ACTIVE))[0]

    for _ in range(3):
        eventually(over, "the end of every run")
