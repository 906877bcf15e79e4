"""A callable in a process that was deposed and stands still: only that process can tell how it
ends, but nobody waits longer than its timeout."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure.audit.reader import audit_store
from tenure.domain.job import Call, Definition, Job, Runner
from tenure.domain.run import ACTIVE, Run, RunState
from tenure.domain.schedule.model import every_schedule
from tenure.store.contract import RunFilter
from testkit.cluster import Cluster, Node
from waiting import DEADLINE, eventually

MINUTE = timedelta(minutes=1)


class Frozen(Cluster):
    """A job whose function waits; its owner is then deposed without a look or a turn of its own."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, toml='hung = "replace"\n')
        self.entered, self.release = threading.Event(), threading.Event()

    def process(self, name: str) -> Node:
        return self.node(name, functions={"app:waits": self._wait}, app="app")

    def _wait(self) -> None:
        self.entered.set()
        self.release.wait(DEADLINE)

    def job(self, **fields: Any) -> Job:
        wants = Definition(
            name="app:waits",
            schedule=every_schedule(MINUTE, self.clock.now()),
            action=Call(target="app:waits", runner=Runner.THREAD),
            **fields,
        )
        return self.profile.store.add_job(wants, by="test", now=self.clock.now())

    def depose(self) -> tuple[Node, Node]:
        first, second = self.process("first"), self.process("second")
        self.settle()
        self.clock.advance(MINUTE)
        first.turn()
        assert self.entered.wait(DEADLINE)
        self.clock.advance(MINUTE + timedelta(seconds=31))
        second.look()
        assert second.owns
        return first, second

    def runs(self) -> tuple[Run, ...]:
        return self.profile.store.runs(RunFilter())[0]


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Frozen]:
    with Frozen(tmp_path) as one:
        yield one
        one.release.set()


def test_it_is_timed_out_by_the_next_owner(frozen: Frozen) -> None:
    frozen.job(timeout=timedelta(minutes=3))
    first, second = frozen.depose()
    second.look()
    (run,) = frozen.runs()
    assert run.state in ACTIVE, "it has a minute more"
    frozen.clock.advance(2 * MINUTE)
    second.look()
    second.turn()
    old = frozen.profile.store.run(run.id)
    assert old.state is RunState.TIMED_OUT
    assert "may run on" in old.reason
    frozen.clock.advance(MINUTE)
    second.turn()
    assert len(frozen.runs()) > 1, "the job goes on"

    frozen.release.set()  # it wakes, and says how it ended

    def over() -> bool:
        for node in (first, second):
            node.look()
            node.turn()
        return not frozen.profile.store.runs(RunFilter(states=ACTIVE))[0]

    eventually(over, "the end of every run")
    assert frozen.profile.store.run(run.id).state is RunState.TIMED_OUT
    assert audit_store(frozen.profile.store, frozen.clock.now()).findings == ()


def test_without_a_timeout_it_is_left_to_its_process(frozen: Frozen) -> None:
    frozen.job()
    _, second = frozen.depose()
    frozen.clock.advance(60 * MINUTE)
    second.look()
    second.turn()
    (run,) = frozen.runs()
    assert run.state in ACTIVE
