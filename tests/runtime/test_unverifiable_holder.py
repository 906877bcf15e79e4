"""C6: 'owned', 'lost' and 'cannot verify' are three different answers.

A process whose life cannot be verified (its live file is gone, it is of another namespace) may be
at work: its runs are its own, whatever owns the profile now.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure.domain.job import Call, Command, Definition, Runner
from tenure.domain.ownership import HolderLife, OwnershipAction
from tenure.domain.policy.evidence import Identity
from tenure.domain.run import Run, RunState
from tenure.domain.schedule.model import every_schedule
from tenure.host.processes import identity_of
from tenure.runtime.commands import gate
from tenure.runtime.dispatch.recovery import LOST_TRACK_AFTER_S
from tenure.runtime.members import life_of_process
from tenure.store.contract import RunFilter
from testkit.cluster import Cluster, Node
from testkit.factories import take
from waiting import DEADLINE, eventually

ACTIONS = {
    "running": Command(argv=("sleep", "600")),
    "function": Call(target="app:waits", runner=Runner.THREAD),
    "at its gate": Command(argv=("true",)),
}


class World(Cluster):
    """The first owner has a command that runs, a function that runs and a command at its gate;
    then another process owns."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.entered, self.release = threading.Event(), threading.Event()
        self.store = self.profile.store
        self.first, self.second = self._node("first"), self._node("second")
        self.settle()

    def _node(self, name: str) -> Node:
        return self.node(name, functions={"app:waits": self._wait}, app="app")

    def _wait(self) -> None:
        self.entered.set()
        self.release.wait(DEADLINE)

    def begin(self, *names: str) -> None:
        for name in names:
            self._add(name, timeout=timedelta(minutes=5))
        self.clock.advance(60)
        running = [name for name in names if name != "at its gate"]
        dispatcher = self.first.scheduler.dispatcher

        def reached() -> bool:
            self.first.turn()
            commands = self.runs(RunState.RUNNING)
            return len(commands) >= ("running" in running) and (
                "function" not in running or self.entered.is_set()
            )

        if running:
            eventually(reached, "the runs to begin")
        if "at its gate" in names and not running:
            self.first.turn()
            eventually(dispatcher.pending, "a command at its gate")

    def _add(self, name: str, **fields: Any) -> None:
        wants = Definition(
            name=name.replace(" ", "-"),
            schedule=every_schedule(timedelta(days=1), self.clock.now() + timedelta(minutes=1)),
            action=ACTIONS[name],
            **fields,
        )
        self.store.add_job(wants, by="test", now=self.clock.now())

    def runs(self, *states: RunState) -> tuple[Run, ...]:
        return self.store.runs(RunFilter(states=frozenset(states) or None))[0]

    def hide_the_first(self) -> None:
        """Whether it lives cannot be verified any more: its live file is gone."""
        (self.profile.folder.live / self.first.id).unlink()
        assert self.life_of_the_first() is HolderLife.UNVERIFIABLE

    def life_of_the_first(self) -> HolderLife:
        return life_of_process(self.profile, self.store.process(self.first.id))

    def the_second_owns(self, how: str) -> None:
        now = self.clock.now()
        held = self.store.ownership()
        if how == "by force":
            take(
                self.store,
                self.second.id,
                rule=None,
                authoritative=False,
                awake=self.clock.awake(),
                now=now,
            )
            self.second.look()  # it finds that it owns, ends that term, and takes another
            self.clock.advance(2)
        else:
            assert held.authority is not None
            act = OwnershipAction.HAND_OVER if how == "handed over" else OwnershipAction.STEP_DOWN
            self.store.end_term(held.authority, act=act, why=how, now=now)
        self.second.look()
        assert self.second.owns

    def let_time_pass(self) -> None:
        """Past the runs' timeouts, and what a run that was lost sight of is given."""
        for seconds in (1.0, LOST_TRACK_AFTER_S + 1, 600.0, 3600.0):
            self.clock.advance(seconds)
            for _ in range(2):
                self.second.look()
                self.second.turn()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made
        made.release.set()
        for run in made.runs():
            if run.identity is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(run.identity.pid, signal.SIGKILL)


@pytest.mark.parametrize("how", ["by force", "handed over", "stepped down"])
@pytest.mark.parametrize("names", [("running", "function"), ("at its gate",)])
def test_the_runs_of_an_unverifiable_holder_stay_its_own(
    world: World, how: str, names: tuple[str, ...]
) -> None:
    """C6: an unverifiable owner never discards a finished result; none of its runs is adopted,
    lost, timed out or taken to have never run."""
    world.begin(*names)
    before = world.runs()
    assert len(before) == len(names)
    world.hide_the_first()
    world.the_second_owns(how)
    world.let_time_pass()
    assert world.life_of_the_first() is HolderLife.UNVERIFIABLE
    assert world.runs() == before
    world.first.scheduler.dispatcher.disown()


def test_what_it_finished_is_recorded(world: World) -> None:
    """C6: finished work is kept, by the process that holds it."""
    world.begin("function")
    world.hide_the_first()
    world.the_second_owns("stepped down")
    world.let_time_pass()
    world.first.look()
    world.release.set()
    dispatcher = world.first.scheduler.dispatcher
    eventually(dispatcher.pending, "the function's end")
    world.first.turn()
    (run,) = world.runs()
    assert run.state is RunState.SUCCEEDED
    assert run.holder == world.first.id


def test_a_command_that_was_started_in_another_namespace_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder is dead beyond doubt; whether the command is cannot be seen from here."""

    def elsewhere(pid: int) -> Identity | None:
        found = identity_of(pid)
        return None if found is None else replace(found, pid_namespace="pid:[1]")

    monkeypatch.setattr(gate, "identity_of", elsewhere)
    world.begin("running")
    before = world.runs()
    assert before[0].identity is not None
    assert before[0].identity.pid_namespace == "pid:[1]"
    world.kill(world.first)
    world.second.look()
    assert world.second.owns
    world.let_time_pass()
    assert world.runs() == before
