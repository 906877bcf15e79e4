"""A cluster in which another scheduler, in the owner's process, plans jobs and announces them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure.domain.errors import OutcomeUnknown
from tenure.domain.job import Call, Definition, Job
from tenure.domain.ownership import OwnershipAction
from tenure.domain.planning.external import Announced
from tenure.domain.run import Run, RunState
from tenure.domain.schedule.model import foreign_schedule
from tenure.runtime.callables.runner import RunHandle
from tenure.runtime.dispatch.external_fires import ExternalClaim
from tenure.store.contract import RunFilter
from testkit.cluster import Cluster, Node
from waiting import DEADLINE, eventually

PATIENCE = DEADLINE
POLICY = """
[[owner]]
executable = "/opt/gateway"

[[owner]]
executable = "/opt/desktop"
after = "5m"
"""


class World:
    """Nodes that carry ``other:...``; what is announced is due at the clock's present instant."""

    def __init__(self, tmp_path: Path, *, toml: str = "") -> None:
        self.cluster = Cluster(tmp_path, toml=toml)
        self.clock = self.cluster.clock
        self.store = self.cluster.profile.store
        self.called: list[str] = []
        self.ends: Callable[[], None] = lambda: None
        """What a function of the other scheduler does, where Tenure calls it."""

    def node(self, name: str = "gateway", **options: Any) -> Node:
        executable = options.pop("executable", f"/opt/{name}")
        functions = {"other:1": self._carry, "other:2": self._carry}
        return self.cluster.node(
            name, executable=executable, functions=functions, app="other", **options
        )

    def owner(self, name: str = "gateway") -> Node:
        node = self.node(name)
        self.cluster.settle()
        assert node.owns
        return node

    def _carry(self) -> None:
        self.called.append("other:1")
        self.ends()

    def add(self, name: str = "theirs", target: str = "other:1", **fields: Any) -> Job:
        wants = Definition(
            name=name, schedule=foreign_schedule("every 5m"), action=Call(target=target), **fields
        )
        return self.store.add_job(wants, by="test", now=self.clock.now())

    def due(self, minutes: float = 5, passed: int = 0) -> Announced:
        """Time passes, and a fire is due now."""
        fire = self.clock.advance(minutes * 60)
        before = [fire - timedelta(seconds=20 * n) for n in range(passed, 0, -1)]
        told = (before[0], before[-1], passed) if before else None
        return Announced(fire=fire, passed=told)

    def announce(self, node: Node, job: Job, fire: Announced | None = None) -> ExternalClaim:
        answers = node.scheduler.external_fires.claim({job.id: fire or self.due()})
        assert answers is not None, f"{node.name} does not own"
        return answers[job.id]

    def issue(self, node: Node, job: Job, fire: Announced | None = None) -> RunHandle:
        answer = self.announce(node, job, fire)
        assert answer.handle is not None, answer.why
        assert answer.settled
        return answer.handle

    def runs(self, *states: RunState) -> tuple[Run, ...]:
        return self.store.runs(RunFilter(states=frozenset(states) or None))[0]

    def run(self, lent: RunHandle) -> Run:
        return self.store.run(lent.run.id)

    def turn_until(self, node: Node, *states: RunState, count: int = 1) -> tuple[Run, ...]:
        def enough() -> tuple[Run, ...] | None:
            if len(found := self.runs(*states)) >= count:
                return found
            node.turn()
            return None

        found = eventually(enough, f"{count} runs that are {' or '.join(states)}")
        assert found is not None
        return found

    def depose(self) -> None:
        """Somebody ends the term by force; the owner has not noticed."""
        held = self.store.ownership().authority
        assert held is not None
        self.store.end_term(held, act=OwnershipAction.STEP_DOWN, why="forced", now=self.clock.now())

    def close(self) -> None:
        self.cluster.close()


@contextmanager
def commit_fails(node: Node, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each commit fails at its end, as on a full disk."""
    store = node.scheduler.profile.store
    real = store.batch

    @contextmanager
    def failing() -> Any:
        with real():
            yield
            raise OutcomeUnknown("the disk is full", remedy="make room")

    with monkeypatch.context() as patched:
        patched.setattr(store, "batch", failing)
        yield


def in_threads(count: int, do: Callable[[int], None]) -> None:
    """Let so many threads do something at the same moment, and wait for them."""
    ready = threading.Barrier(count)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            ready.wait(PATIENCE)
            do(number)
        except BaseException as error:  # noqa: BLE001  told by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a thread did not come back"
    if errors:
        raise errors[0]
