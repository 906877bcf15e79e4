"""A commit that raises although it happened: the disk took it, and its answer was lost.

The dispatcher has to act as if nothing had been committed, and the store says otherwise. Nothing
may run twice, nothing may run that is not recorded, and no run may stay active for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure.domain.errors import StoreUnwritable
from tenure.domain.job import Call, Command, Definition, Runner
from tenure.domain.ownership import OwnershipState
from tenure.domain.run import ACTIVE, Run, RunState
from tenure.domain.schedule.model import every_schedule
from tenure.runtime.dispatch.recovery import LOST_TRACK_AFTER_S
from tenure.store.contract import RunFilter
from testkit.cluster import Cluster, Node
from waiting import DEADLINE, eventually

EVERY = every_schedule(timedelta(minutes=1), datetime(2026, 1, 1, tzinfo=UTC))


class World(Cluster):
    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.entered = threading.Semaphore(0)
        functions: dict[str, Callable[..., Any]] = {"app:f": self.entered.release}
        self.owner: Node = self.node("owner", functions=functions, app="app")
        self.store = self.owner.scheduler.profile.store

    def add(self, action: Command | Call) -> None:
        wants = Definition(name="work", schedule=EVERY, action=action)
        self.store.add_job(wants, by="test", now=self.clock.now())

    def runs(self, *states: RunState) -> tuple[Run, ...]:
        return self.store.runs(RunFilter(states=frozenset(states) or None))[0]

    def settle_all(self) -> None:
        def over() -> bool:
            self.clock.advance(LOST_TRACK_AFTER_S / 10)
            self.owner.look()
            self.owner.turn()
            return not self.runs(*ACTIVE)

        eventually(over, "the end of every run")

    def run_on(self) -> Run:
        """The next fire is claimed and runs, whatever became of the one before it."""
        before = {run.id for run in self.runs()}
        self.clock.advance(60)
        self.settle_all()
        new = [run for run in self.runs() if run.id not in before]
        assert new
        assert new[0].state is RunState.SUCCEEDED
        return new[0]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


@contextmanager
def answers_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each commit of the dispatcher happens, and raises."""
    real = world.store.batch

    @contextmanager
    def failing() -> Iterator[None]:
        with real():
            yield
        raise StoreUnwritable("the device fails", remedy="check the disk")

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "batch", failing)
        yield


FUNCTION = Call(target="app:f", runner=Runner.THREAD)


def test_a_function_whose_claim_raised_is_not_entered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C4: never silently run again, and recorded as what it is."""
    world.settle()
    world.add(FUNCTION)
    world.clock.advance(60)
    with answers_lost(world, monkeypatch), pytest.raises(StoreUnwritable):
        world.owner.turn()
    (claimed,) = world.runs(*ACTIVE)
    world.settle_all()
    assert not world.entered.acquire(blocking=False)
    ended = world.store.run(claimed.id)
    assert ended.state in (RunState.LOST, RunState.NEVER_RAN)
    world.run_on()
    assert world.entered.acquire(timeout=DEADLINE)
    assert not world.entered.acquire(blocking=False)


def test_a_command_whose_claim_raised_never_ran(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    world.settle()
    world.add(Command(argv=("sh", "-c", f"echo ran >> {canary}")))
    world.clock.advance(60)
    with answers_lost(world, monkeypatch), pytest.raises(StoreUnwritable):
        world.owner.turn()
    (claimed,) = world.runs(*ACTIVE)
    world.settle_all()
    assert world.store.run(claimed.id).state is RunState.NEVER_RAN
    assert not canary.exists()
    world.run_on()
    assert canary.read_text() == "ran\n"


def test_a_gate_whose_start_raised_stays_shut(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """C4: 'started' is committed, and its answer was lost: the gate is never opened."""
    canary = tmp_path / "canary"
    world.settle()
    world.add(Command(argv=("sh", "-c", f"echo ran >> {canary}")))
    world.clock.advance(60)
    world.owner.turn()
    (claimed,) = world.runs(*ACTIVE)
    eventually(world.owner.scheduler.dispatcher.pending, "a command at its gate")
    with answers_lost(world, monkeypatch), pytest.raises(StoreUnwritable):
        world.owner.turn()
    world.settle_all()
    ended = world.store.run(claimed.id)
    ran = canary.exists()
    assert ended.state is (RunState.SUCCEEDED if ran else RunState.NEVER_RAN)
    before = canary.read_text() if ran else ""
    world.run_on()
    assert canary.read_text() == before + "ran\n"


def test_an_end_whose_record_raised_is_recorded_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C6: finished work is kept."""
    world.settle()
    world.add(FUNCTION)
    world.clock.advance(60)
    world.owner.turn()
    assert world.entered.acquire(timeout=DEADLINE)
    eventually(world.owner.scheduler.dispatcher.pending, "the function's end")
    with answers_lost(world, monkeypatch), pytest.raises(StoreUnwritable):
        world.owner.turn()
    world.settle_all()
    assert [run.state for run in world.runs()] == [RunState.SUCCEEDED]
    assert not world.owner.scheduler.dispatcher.pending()


@pytest.mark.parametrize("verb", ["take_ownership", "restart_planning", "set_standing"])
def test_a_take_whose_commit_raised_is_taken_again(
    world: World, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """C1, C11: the record says that it owns and it does not act on it, until it has taken a new
    term."""
    real = getattr(world.store, verb)

    def raises(*arguments: Any, **named: Any) -> None:
        real(*arguments, **named)
        raise StoreUnwritable("the device fails", remedy="check the disk")

    world.add(FUNCTION)
    with monkeypatch.context() as patched:
        patched.setattr(world.store, verb, raises)
        with pytest.raises(StoreUnwritable):
            world.owner.look()
    assert world.store.ownership().hold is OwnershipState.HELD
    world.clock.advance(60)
    world.owner.turn()
    assert not world.entered.acquire(blocking=False), "before it was prepared"
    for _ in range(5):
        world.clock.advance(1)
        world.owner.look()
    held = world.store.ownership().authority
    assert held is not None
    assert world.owner.scheduler.dispatcher.owns(held)
    terms = [term.term for term in world.store.terms()]
    assert terms == sorted(set(terms), reverse=True)
    world.settle_all()
    world.run_on()


def test_a_term_whose_end_raised_is_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """C11: it claims nothing, whether the record says that it owns or not, and takes again."""
    from tenure.domain.ownership import OwnershipAction

    world.settle()
    world.add(FUNCTION)
    for lost in (True, False):
        held = world.store.ownership().authority
        assert held is not None
        with monkeypatch.context() as patched:
            if lost:
                real = world.store.end_term

                def raises(*arguments: Any, real: Any = real, **named: Any) -> None:
                    real(*arguments, **named)
                    raise StoreUnwritable("the device fails", remedy="check the disk")

            else:

                def raises(*arguments: Any, **named: Any) -> None:  # type: ignore[misc]
                    raise StoreUnwritable("the device fails", remedy="check the disk")

            patched.setattr(world.store, "end_term", raises)
            world.owner.scheduler.keeper._term.end(OwnershipAction.STEP_DOWN, "for a test")
        assert not world.owner.scheduler.dispatcher.owns(held)
        world.clock.advance(60)
        world.owner.turn()
        assert not world.entered.acquire(blocking=False)
        for _ in range(5):
            world.clock.advance(1)
            world.owner.look()
        assert world.owner.owns
        world.settle_all()
        while world.entered.acquire(blocking=False):
            pass
