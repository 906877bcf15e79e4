"""Runs that are lent to another scheduler in the owner's process: entered late, cancelled, lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from announcekit import PATIENCE, World

from tenure.domain.errors import RunFailed
from tenure.domain.job import Runner
from tenure.domain.request import Requester, RequestKind, RequestState
from tenure.domain.run import Cause, RunState
from tenure.runtime.dispatch.recovery import LOST_TRACK_AFTER_S
from testkit.cluster import Node


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, toml="[slots]\ncallables = 1\n")
    yield made
    made.close()


def ask(world: World, kind: RequestKind, **what: Any) -> str:
    return world.store.create_request(
        kind=kind,
        key=f"{kind} {what}",
        requester=Requester(pid=1, uid=0),
        now=world.clock.now(),
        deadline=timedelta(seconds=30),
        **what,
    ).id


def test_who_was_deposed_between_claim_and_entry_enters_nothing(world: World) -> None:
    """C3, C4: the run is proved never to have begun."""
    node, job = world.owner("a"), world.add()
    lent = world.issue(node, job)
    world.depose()
    world.clock.advance(1.5)
    assert not lent.enter()
    node.turn()
    never = world.run(lent)
    assert (never.state, never.started_at) == (RunState.NEVER_RAN, None)
    assert "lost ownership" in never.reason
    assert node.scheduler.dispatcher.runs() == frozenset()


def test_who_still_owns_enters_late(world: World) -> None:
    node, job = world.owner(), world.add()
    lent = world.issue(node, job)
    world.clock.advance(90)
    assert lent.enter()


def test_who_cannot_ask_whether_it_still_owns_enters_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C11: in doubt no; and no run is left without an end."""
    node, job = world.owner(), world.add()
    lent = world.issue(node, job)

    def fails(authority: object) -> bool:
        raise OSError("the store cannot be asked")

    monkeypatch.setattr(node.scheduler._callables, "_still_owner", fails)
    world.clock.advance(1.5)
    assert not lent.enter()
    node.turn()
    assert world.run(lent).state is RunState.NEVER_RAN
    assert node.scheduler.dispatcher.runs() == frozenset()


def test_what_is_never_entered_is_said_never_to_have_run(world: World) -> None:
    node, job = world.owner(), world.add()
    lent = world.issue(node, job)
    lent.end(RunState.NEVER_RAN, "it was not dispatched")
    node.turn()
    assert (world.run(lent).state, world.run(lent).started_at) == (RunState.NEVER_RAN, None)


def cancelled(world: World, node: Node, run: str) -> None:
    request = ask(world, RequestKind.CANCEL, run=run)
    node.turn()
    assert world.store.request(request).state is RequestState.DONE
    node.turn()


def test_a_lent_run_can_be_cancelled_before_it_is_entered(world: World) -> None:
    node, job = world.owner(), world.add()
    lent = world.issue(node, job)
    cancelled(world, node, lent.run.id)
    assert world.run(lent).state is RunState.CANCELLED
    assert (world.run(lent).reason, world.run(lent).started_at) == ("cancelled on request", None)
    assert lent.over is RunState.CANCELLED
    assert not lent.enter()
    node.turn()
    assert world.run(lent).state is RunState.CANCELLED
    assert node.scheduler.dispatcher.runs() == frozenset()


def test_a_lent_run_that_is_cancelled_while_it_runs_is_over_for_tenure(world: World) -> None:
    node, job = world.owner(), world.add()
    lent = world.issue(node, job)
    assert lent.enter()
    assert lent.over is None
    cancelled(world, node, lent.run.id)
    assert (world.run(lent).state, lent.over) == (RunState.CANCELLED, RunState.CANCELLED)
    assert "cannot be ended" in world.run(lent).reason
    assert world.run(lent).started_at is not None
    lent.end(RunState.SUCCEEDED)
    node.turn()
    assert world.run(lent).state is RunState.CANCELLED
    assert node.scheduler.dispatcher.runs() == frozenset()
    assert world.issue(node, job)


@pytest.mark.parametrize("entered", [False, True])
def test_what_a_dead_process_was_lent_is_lost(world: World, entered: bool) -> None:
    """C4: it is not silently run again; the next fire is claimed by the next owner."""
    first, job = world.owner("a"), world.add()
    second = world.node("b")
    world.cluster.settle()
    lent = world.issue(first, job)
    if entered:
        assert lent.enter()
    world.cluster.kill(first)
    second.look()
    assert second.owns
    second.turn()
    assert world.run(lent).state is RunState.LOST
    again = world.issue(second, job)
    assert again.run.term == 2
    assert [run.state for run in world.runs()] == [RunState.CLAIMED, RunState.LOST]


def test_a_lent_run_is_in_hand_however_long_it_takes(world: World) -> None:
    """No net takes it for one that was lost sight of, and no timeout of Tenure's ends it."""
    node, job = world.owner(), world.add()
    lent = world.issue(node, job)
    assert lent.enter()
    for _ in range(3):
        world.clock.advance(LOST_TRACK_AFTER_S + 60)
        node.look()
        node.turn()
    assert world.run(lent).state is RunState.RUNNING


def test_lent_runs_take_no_slot(world: World) -> None:
    """C4: no more is claimed than has a slot; who carries a lent run brings a thread of its own."""
    node = world.owner()
    lent = [world.issue(node, world.add(f"job {n}")) for n in range(3)]
    assert all(one.enter() for one in lent)
    assert node.scheduler._callables.room(Runner.THREAD) == 1
    ask(world, RequestKind.TRIGGER, job=world.add("asked").id)
    (run,) = world.turn_until(node, RunState.SUCCEEDED)
    assert (run.cause, run.job_name) == (Cause.REQUEST, "asked")
    assert world.called == ["other:1"]


def test_a_function_that_says_it_failed_fails_its_run_without_a_traceback(world: World) -> None:
    def fails() -> None:
        raise RunFailed("the script ended with 3")

    node, job = world.owner(), world.add()
    world.ends = fails
    ask(world, RequestKind.TRIGGER, job=job.id)
    (run,) = world.turn_until(node, RunState.FAILED)
    assert run.reason == "the script ended with 3"


def test_stopping_waits_for_lent_runs(world: World) -> None:
    """C6: their end is recorded, by a process that owns no more."""
    node, job = world.owner(), world.add()
    scheduler = node.scheduler
    lent = world.issue(node, job)
    assert lent.enter()
    scheduler.dispatcher.begin()
    carrier = threading.Thread(target=_end_once_it_stops, args=(scheduler, lent))
    carrier.start()
    assert stop(world, node, PATIENCE)
    carrier.join(PATIENCE)
    assert world.run(lent).state is RunState.SUCCEEDED
    assert world.store.ownership().process is None


def stop(world: World, node: Node, drain: float) -> bool:
    world.cluster.nodes.remove(node)
    ended = node.scheduler.stop(drain=drain)
    node.scheduler.profile.close()
    return ended


def _end_once_it_stops(scheduler: Any, lent: Any) -> None:
    assert scheduler._stopped.wait(PATIENCE), "waited for the scheduler to stop"
    while scheduler.keeper.authority is not None:  # it hands over first, and waits after that
        threading.Event().wait(0.005)
    lent.end(RunState.SUCCEEDED)


def test_stopping_does_not_wait_for_ever(world: World) -> None:
    node, job = world.owner(), world.add()
    lent = world.issue(node, job)
    assert lent.enter()
    assert not stop(world, node, 0.05)
