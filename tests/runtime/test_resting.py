"""A process to which nothing is new rests: it spares itself looks, and misses nothing by that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure.domain.event import EventKind
from tenure.domain.job import Call, Definition, Runner
from tenure.domain.schedule.model import every_schedule
from tenure.runtime.dispatch.turn import IDLE_POLL_S, RESTING_POLL_S
from tenure.runtime.ownership.keeper import FULL_LOOK_EVERY_S
from testkit.cluster import Cluster, Node

POLICY = """
hung = "replace"

[[owner]]
executable = "/opt/gateway"

[[owner]]
executable = "/opt/desktop"
"""
CARRIES: dict[str, Any] = {"functions": {"app:work": lambda: None}, "app": "app"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, toml=POLICY) as one:
        yield one


def node(cluster: Cluster, name: str) -> Node:
    return cluster.node(name, executable=f"/opt/{name}", **CARRIES)


def rests(one: Node) -> bool:
    """What its thread would ask before it looks; asked twice, as the first takes note."""
    keeper = one.scheduler.keeper
    keeper._nothing_new()
    return keeper._nothing_new()


def test_owner_and_candidate_rest_where_nothing_is_written(cluster: Cluster) -> None:
    owner, candidate = node(cluster, "gateway"), node(cluster, "gateway")
    cluster.settle()
    assert owner.owns
    assert rests(owner)
    assert rests(candidate)
    cluster.profile.store.add_job(work(cluster), by="test", now=cluster.clock.now())
    assert not owner.scheduler.keeper._nothing_new()
    assert not candidate.scheduler.keeper._nothing_new()


def test_nobody_rests_for_long(cluster: Cluster) -> None:
    """What no write tells is seen all the same."""
    owner = node(cluster, "gateway")
    cluster.settle()
    assert rests(owner)
    cluster.clock.advance(FULL_LOOK_EVERY_S)
    assert not owner.scheduler.keeper._nothing_new()


def test_an_owner_with_a_better_candidate_does_not_rest(cluster: Cluster) -> None:
    """It is to hand over after ten seconds of the other's life, and nobody writes meanwhile."""
    desktop = node(cluster, "desktop")
    cluster.settle()
    assert desktop.owns
    gateway = node(cluster, "gateway")
    cluster.settle()
    assert not rests(desktop)
    cluster.clock.advance(11)
    cluster.settle()
    assert gateway.owns


def test_a_candidate_does_not_rest_while_a_due_fire_is_left(cluster: Cluster) -> None:
    owner, candidate = node(cluster, "gateway"), node(cluster, "gateway")
    cluster.profile.store.add_job(work(cluster), by="test", now=cluster.clock.now())
    cluster.settle()
    assert owner.owns
    cluster.clock.advance(15)  # frozen: it takes no turn
    candidate.look()
    assert not rests(candidate)
    cluster.clock.advance(26)
    candidate.look()
    assert candidate.owns


@pytest.mark.parametrize("rules", [True, False])
def test_an_owner_is_observed_again_only_where_that_may_decide(tmp_path: Path, rules: bool) -> None:
    """Without rules nothing but the user counts, and that is asked at each look."""
    with Cluster(tmp_path, toml=POLICY if rules else "") as cluster:
        owner = node(cluster, "gateway")
        cluster.settle()
        assert owner.owns
        member, observed = owner.scheduler.member, []
        observe = member._observe
        member._observe = lambda **told: observed.append(1) or observe(**told)
        cluster.clock.advance(60)
        owner.look()
        assert len(observed) == int(rules)
        member.evidence = replace(member.evidence, uid=(member.evidence.uid or 0) + 1)
        cluster.clock.advance(60)
        owner.look()
        assert len(observed) == 1 + int(rules)
        assert owner.owns, "what was observed now is what counts"


def test_a_dispatcher_that_rests_is_told_of_a_clock_that_was_set_and_of_sleep(
    cluster: Cluster,
) -> None:
    """It waits by a clock that stands while the machine sleeps, for what is due by another."""
    owner = node(cluster, "gateway")
    cluster.settle()
    keeper, dispatcher = owner.scheduler.keeper, owner.scheduler.dispatcher
    keeper._nothing_new()
    dispatcher.inbox.wakeup.clear()
    cluster.clock.advance(1)
    keeper._nothing_new()
    assert not dispatcher.inbox.wakeup.is_set()
    for happens in (cluster.clock.step, cluster.clock.suspend):
        happens(3600)
        keeper._nothing_new()
        assert dispatcher.inbox.wakeup.is_set()
        dispatcher.inbox.wakeup.clear()


def test_a_dispatcher_that_rests_is_told_of_what_its_own_process_wrote(cluster: Cluster) -> None:
    owner = node(cluster, "gateway")
    cluster.settle()
    keeper, dispatcher = owner.scheduler.keeper, owner.scheduler.dispatcher
    keeper._nothing_new()
    dispatcher.inbox.wakeup.clear()
    keeper._nothing_new()
    assert not dispatcher.inbox.wakeup.is_set()
    owner.scheduler.profile.store.add_job(work(cluster), by="host", now=cluster.clock.now())
    keeper._nothing_new()
    assert dispatcher.inbox.wakeup.is_set()


def test_who_does_not_own_takes_no_turns(cluster: Cluster) -> None:
    """And what the clock did meanwhile was before its time."""
    owner, candidate = node(cluster, "gateway"), node(cluster, "gateway")
    cluster.settle()
    assert owner.owns
    assert candidate.scheduler.dispatcher.turn() == RESTING_POLL_S
    assert owner.scheduler.dispatcher.turn() <= IDLE_POLL_S
    cluster.clock.step(-3600)
    cluster.kill(owner)
    candidate.look()
    assert candidate.owns
    assert candidate.scheduler.dispatcher.turn() <= IDLE_POLL_S
    events = cluster.profile.store.events(limit=1000)
    assert EventKind.CLOCK not in {event.kind for event in events}
    cluster.clock.step(-3600)
    candidate.turn()
    events = cluster.profile.store.events(limit=1000)
    assert [e.term for e in events if e.kind is EventKind.CLOCK] == [2]


def work(cluster: Cluster) -> Definition:
    return Definition(
        name="work",
        schedule=every_schedule(timedelta(seconds=10), cluster.clock.now()),
        action=Call(target="app:work", runner=Runner.THREAD),
    )
