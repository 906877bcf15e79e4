"""The mandate that a dispatcher claims under ends with the term, whichever way the term ends."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure.domain.errors import CorruptStore
from tenure.domain.event import EventKind
from tenure.domain.job import Call, Command, Definition, Runner
from tenure.domain.ownership import Authority, OwnershipAction, OwnershipState
from tenure.domain.planning.external import Announced
from tenure.domain.run import RunState
from tenure.domain.schedule.model import every_schedule, foreign_schedule
from tenure.runtime.commands.gate import GatedCommand
from tenure.runtime.ownership.term import HandOver
from tenure.store.contract import RunFilter
from tenure.store.sqlite.database_file import Loss
from testkit.cluster import Cluster, Node
from testkit.factories import take
from waiting import DEADLINE, eventually, promptly

EVERY = every_schedule(timedelta(minutes=1), datetime(2026, 1, 1, tzinfo=UTC))
POLICY = '[[owner]]\nexecutable = "/opt/gateway"\n'
A_MOMENT_S = 0.3
"""In which a call that does not wait comes back."""


class World(Cluster):
    """An owner with a command that is due, and a candidate of the same rank."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, toml=POLICY)
        self.first, self.second = self._node("first"), self._node("second")
        self.store = self.profile.store
        self.settle()
        assert self.first.owns
        held = self.store.ownership().authority
        assert held is not None
        self.held: Authority = held

    def _node(self, name: str) -> Node:
        functions: dict[str, Callable[..., Any]] = {"app:f": lambda: None}
        return self.node(name, executable="/opt/gateway", functions=functions, app="app")

    def add(self, action: Command | Call) -> None:
        wants = Definition(name="work", schedule=EVERY, action=action)
        self.store.add_job(wants, by="test", now=self.clock.now())

    def states(self) -> list[RunState]:
        with contextlib.suppress(
            CorruptStore
        ):  # a store that is lost answers nothing, and keeps nothing
            return [run.state for run in self.store.runs(RunFilter())[0]]
        return []

    def refusals(self) -> int:
        with contextlib.suppress(CorruptStore):
            kinds = [event.kind for event in self.store.events(limit=1000)]
            return kinds.count(EventKind.CLAIM_REFUSED)
        return 0


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # How often a wait looks up: it goes on waiting all the same.
    monkeypatch.setattr("tenure.runtime.dispatch.dispatcher.POLL_S", 0.05)
    with World(tmp_path) as made:
        yield made


class Pause:
    """A call that stops before it is carried out, until it is let go."""

    def __init__(self, real: Callable[..., Any]) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        self._real = real

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.reached.set()
        assert self.go.wait(DEADLINE), "it was never let go"
        return self._real(*arguments, **named)


def hand_over(node: Node) -> None:
    node.scheduler.keeper._term.end(OwnershipAction.HAND_OVER, "for a test")


def hand_over_to_another(node: Node) -> None:
    assert node.scheduler.keeper._term.hand_over(HandOver("another", "for a test"))


def stop(node: Node) -> None:
    node.scheduler.dispatcher.drain()


def lose_the_store(node: Node) -> None:
    node.scheduler.keeper._term.lose_the_store(Loss(text="gone", remedy=""))


LETS_GO = [hand_over, hand_over_to_another, stop, lose_the_store]


@pytest.mark.parametrize("lets_go", LETS_GO)
def test_a_gate_of_the_turn_under_way_opens_before_the_term_ends(
    world: World, monkeypatch: pytest.MonkeyPatch, lets_go: Callable[[Node], None]
) -> None:
    """C4, C11: the next owner finds nothing that the last one is still about to begin."""
    world.add(Command(argv=("true",)))
    world.clock.advance(60)
    world.first.turn()
    dispatcher = world.first.scheduler.dispatcher
    eventually(dispatcher.pending, "a command at its gate")
    order: list[str] = []
    opening = Pause(GatedCommand.open_gate)

    def open_gate(gated: GatedCommand) -> bool:
        opened: bool = opening(gated)
        order.append(f"opened while {world.store.ownership().hold}")
        return opened

    monkeypatch.setattr(GatedCommand, "open_gate", open_gate)
    turn = threading.Thread(target=world.first.turn)
    letting_go = threading.Thread(target=lambda: (lets_go(world.first), order.append("let go")))
    turn.start()
    assert opening.reached.wait(DEADLINE), "the commit stands, and the gate is about to open"
    letting_go.start()
    letting_go.join(A_MOMENT_S)
    waits = letting_go.is_alive()
    opening.go.set()
    for thread in (turn, letting_go):
        thread.join(DEADLINE)
    assert waits, "for the turn that is under way"
    assert order == [f"opened while {OwnershipState.HELD}", "let go"]
    assert not dispatcher.owns(world.held)


@pytest.mark.parametrize("lets_go", LETS_GO)
def test_a_claim_by_another_thread_is_waited_for_too(
    world: World, lets_go: Callable[[Node], None]
) -> None:
    dispatcher = world.first.scheduler.dispatcher
    claim = Pause(lambda mandate: mandate.authority)
    claimed: list[Authority | None] = []
    claiming = threading.Thread(target=lambda: claimed.append(dispatcher.under_mandate(claim)))
    letting_go = threading.Thread(target=lets_go, args=(world.first,))
    claiming.start()
    assert claim.reached.wait(DEADLINE)
    letting_go.start()
    letting_go.join(A_MOMENT_S)
    waits = letting_go.is_alive()
    claim.go.set()
    for thread in (claiming, letting_go):
        thread.join(DEADLINE)
    assert waits, "for the claim that is under way"
    assert claimed == [world.held]
    assert dispatcher.under_mandate(claim) is None


def test_the_dispatchers_own_thread_does_not_wait_for_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lets go in the middle of its turn, where a thread was lost, say."""
    dispatcher = world.first.scheduler.dispatcher
    monkeypatch.setattr(dispatcher.thread, "is_current", lambda: True)
    with dispatcher._turn_lock:
        promptly(lambda: [dispatcher.disown()], "letting go")
    assert not dispatcher.owns(world.held)


# -- deposed -----------------------------------------------------------------------------------
def take_by_force(world: World) -> None:
    now = world.clock.now()
    take(
        world.store,
        world.second.id,
        expected_term=world.held.term,
        new_term=world.held.term + 1,
        policy_version=world.held.policy_version,
        now=now,
    )


def release(world: World) -> None:
    world.store.end_term(
        world.held, act=OwnershipAction.STEP_DOWN, why="released", now=world.clock.now()
    )


def change_the_policy(world: World) -> None:
    world.write_toml(POLICY + '[[owner]]\nexecutable = "/opt/desktop"\n')
    world.profile.refresh_policy("ada", world.clock.now())


def refuse_by_policy(world: World) -> None:
    world.write_toml('[[owner]]\nexecutable = "/opt/other"\n')
    world.profile.refresh_policy("ada", world.clock.now())


def replace_the_database(world: World) -> None:
    database = world.profile.folder.database
    copy = database.with_name("copy.db")
    world.store.backup(copy)
    os.replace(copy, database)


DEPOSED = [take_by_force, release, change_the_policy, refuse_by_policy, replace_the_database]


@pytest.mark.parametrize("depose", DEPOSED)
def test_a_refused_claim_ends_the_mandate(world: World, depose: Callable[[World], None]) -> None:
    """C3, C11: it stops claiming at once, before its keeper has looked; it is not refused again
    and again."""
    world.add(Call(target="app:f", runner=Runner.THREAD))
    world.clock.advance(60)
    depose(world)
    world.first.turn()
    assert not world.first.scheduler.dispatcher.owns(world.held)
    assert world.first.scheduler.context.signals.doubt, "the keeper is asked to look"
    refusals = world.refusals()
    assert refusals == (0 if depose is replace_the_database else 1)
    for _ in range(5):
        world.first.turn()
    assert world.refusals() == refusals
    assert world.states() == []


@pytest.mark.parametrize("depose", DEPOSED)
def test_a_refused_announcement_ends_the_mandate(
    world: World, depose: Callable[[World], None]
) -> None:
    announcing = world.first.scheduler.external_fires
    dispatcher = world.first.scheduler.dispatcher
    now = world.clock.now()
    job = world.store.add_job(
        Definition(
            name="theirs",
            schedule=foreign_schedule("every 5m"),
            action=Call(target="app:f", runner=Runner.THREAD),
        ),
        by="test",
        now=now,
    )
    world.clock.advance(60)
    depose(world)
    fire = Announced(fire=now + timedelta(seconds=30))
    assert announcing.claim({job.id: fire}) is None
    if depose is not replace_the_database:  # nothing was asked of it: the keeper looks
        assert not dispatcher.owns(world.held)
    refusals = world.refusals()
    for _ in range(5):
        assert announcing.claim({job.id: fire}) is None
    assert world.refusals() == refusals
    assert world.states() == []


@pytest.mark.parametrize("depose", DEPOSED)
def test_an_idle_owner_that_was_deposed_loses_its_mandate_at_its_next_look(
    world: World, depose: Callable[[World], None]
) -> None:
    """Nothing is due, so no claim is refused: the keeper takes the mandate away."""
    depose(world)
    world.first.look()
    dispatcher = world.first.scheduler.dispatcher
    assert not dispatcher.owns(world.held)
    kept = world.first.scheduler.keeper.authority
    assert kept is None or (depose is change_the_policy and kept != world.held)
    assert dispatcher.owns(kept) is (kept is not None)


def test_a_term_that_was_handed_over_leaves_no_mandate(world: World) -> None:
    hand_over(world.first)
    dispatcher = world.first.scheduler.dispatcher
    assert not dispatcher.owns(world.held)
    world.add(Call(target="app:f", runner=Runner.THREAD))
    world.clock.advance(60)
    world.first.turn()
    assert world.refusals() == 0, "it did not even try"
    assert world.states() == []


@pytest.mark.parametrize("depose", [take_by_force, release, change_the_policy, refuse_by_policy])
def test_a_gate_whose_start_is_refused_stays_shut(
    world: World, monkeypatch: pytest.MonkeyPatch, depose: Callable[[World], None]
) -> None:
    """C3, C4: the store refused 'started', so nothing begins."""
    world.add(Command(argv=("true",)))
    world.clock.advance(60)
    world.first.turn()
    eventually(world.first.scheduler.dispatcher.pending, "a command at its gate")
    opened: list[str] = []
    monkeypatch.setattr(GatedCommand, "open_gate", lambda gated: opened.append(gated.run_id))
    depose(world)
    world.first.turn()
    assert opened == []
    assert world.states() == [RunState.CLAIMED]
    assert world.refusals() == 1


def test_an_owner_that_drains_claims_nothing_though_its_keeper_looks_on(world: World) -> None:
    world.add(Call(target="app:f", runner=Runner.THREAD))
    world.first.scheduler.dispatcher.drain()
    world.first.look()
    world.clock.advance(60)
    world.first.turn()
    assert world.states() == []
