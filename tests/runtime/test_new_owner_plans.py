"""A new owner plans from now: watermarks that a wrong clock moved ahead hold no job up (C5, C13).

The clock was years ahead for a while. The owner that lived through it died, or handed over, before
the clock was set back, so the next owner has seen no step: only the database tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure.domain.event import EventKind
from tenure.domain.job import Call, CatchUp, Definition, Job, Runner
from tenure.domain.run import ACTIVE, RunState
from tenure.domain.schedule.model import every_schedule
from tenure.runtime.ownership.term import HandOver
from tenure.store.contract import RunFilter
from testkit.cluster import Cluster, Node
from waiting import eventually

ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)
YEARS = timedelta(days=3650)
MINUTE = timedelta(minutes=1)


def fail() -> None:
    raise RuntimeError("for a test")


class World(Cluster):
    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.store = self.profile.store
        self.first = self.join("first")

    def join(self, name: str) -> Node:
        functions: dict[str, Callable[..., Any]] = {"app:f": lambda: None, "app:fails": fail}
        return self.node(name, functions=functions, app="app")

    def add(self, name: str = "f", target: str = "app:f", **fields: Any) -> Job:
        wants = Definition(
            name=name,
            schedule=every_schedule(MINUTE, ANCHOR),
            action=Call(target=target, runner=Runner.THREAD),
            **fields,
        )
        return self.store.add_job(wants, by="test", now=self.clock.now())

    def run(self, node: Node, minutes: int = 1) -> None:
        for _ in range(minutes):
            self.clock.advance(MINUTE)
            node.turn()
            eventually(lambda: self._ended(node), "the end of every run")

    def _ended(self, node: Node) -> bool:
        node.turn()
        active = self.store.runs(RunFilter(states=ACTIVE - {RunState.RETRYING}))[0]
        return not active

    def fires(self) -> list[datetime]:
        return [run.fire_time for run in self.store.runs(RunFilter())[0]]

    def restarts(self) -> int:
        kinds = [event.kind for event in self.store.events(limit=10_000)]
        return kinds.count(EventKind.PLANNING_RESTARTED)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


def killed(world: World) -> Node:
    world.kill(world.first)
    world.clock.step(-YEARS)
    return world.join("second")


def killed_beside_a_candidate(world: World) -> Node:
    second = world.join("second")
    second.look()
    world.clock.step(-YEARS)
    second.look()  # as a candidate it sees the step, and may plan nothing
    second.turn()
    world.kill(world.first)
    return second


def handed_over(world: World) -> Node:
    second = world.join("second")
    second.look()
    assert world.first.scheduler.keeper._term.hand_over(HandOver(second.id, "for a test"))
    world.clock.step(-YEARS)
    return second


def restarted(world: World) -> Node:
    """The same service, started again."""
    world.first.scheduler.stop(0.0, "for a test")
    world.first.scheduler.profile.close()
    world.nodes.remove(world.first)
    world.clock.step(-YEARS)
    return world.join("again")


CHANGES = [killed, killed_beside_a_candidate, handed_over, restarted]


@pytest.mark.parametrize("change", CHANGES)
def test_a_new_owner_restarts_planning(world: World, change: Callable[[World], Node]) -> None:
    job = world.add()
    world.settle()
    world.run(world.first)
    world.clock.step(YEARS)
    world.run(world.first, 2)
    assert world.store.job(job.id).watermark > ANCHOR + YEARS
    before = set(world.fires())
    second = change(world)
    second.look()
    assert second.owns
    now = world.clock.now()
    assert world.restarts() == 1
    assert world.store.job(job.id).watermark <= now
    world.run(second, 3)
    new = sorted(set(world.fires()) - before)
    assert len(new) == 3, "one a minute, from now on"
    assert all(now <= fire <= now + 3 * MINUTE for fire in new)


@pytest.mark.parametrize("change", CHANGES)
def test_a_retry_that_a_wrong_clock_put_off_is_brought_near(
    world: World, change: Callable[[World], Node]
) -> None:
    world.add(target="app:fails", retries=1, backoff=timedelta(seconds=30))
    world.settle()
    world.clock.step(YEARS)
    world.run(world.first)
    (waiting,) = world.store.runs(RunFilter(states=frozenset({RunState.RETRYING})))[0]
    assert waiting.retry_at is not None
    second = change(world)
    second.look()
    assert second.owns
    world.clock.advance(timedelta(hours=1, seconds=1))
    eventually(lambda: world._ended(second), "the second attempt")
    again = world.store.run(waiting.id)
    assert (again.attempt, again.state) == (2, RunState.FAILED)


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_ahead_is_planned_as_before(
    world: World, change: Callable[[World], Node]
) -> None:
    """A new owner under a right clock catches up on what it missed, and starts nothing over."""
    world.clock.step(YEARS)
    job = world.add(catch_up=CatchUp.LATEST)
    world.settle()
    world.run(world.first)
    world.clock.step(YEARS)  # which ``change`` takes back
    watermark = world.store.job(job.id).watermark
    before = set(world.fires())
    second = change(world)
    second.look()
    assert second.owns
    assert world.restarts() == 0
    assert world.store.job(job.id).watermark == watermark
    world.run(second, 2)
    assert len(set(world.fires()) - before) == 2
