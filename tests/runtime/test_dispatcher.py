"""One turn of the dispatcher: what its commit allows happens after it, and only then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure.domain.errors import CorruptStore, OutcomeUnknown
from tenure.domain.job import Call, Command, Definition, Job, Overlap, Runner
from tenure.domain.request import Request, Requester, RequestKind, RequestState
from tenure.domain.run import ACTIVE, Run, RunState
from tenure.domain.schedule.model import every_schedule
from tenure.store.contract import RunFilter
from testkit.cluster import Cluster, Node
from waiting import DEADLINE, eventually

ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """One owner whose only function says that it was entered, and waits to be let go."""

    def __init__(self, tmp_path: Path, toml: str = "") -> None:
        self.entered = threading.Semaphore(0)
        self.release = threading.Event()
        self.cluster = Cluster(tmp_path, toml=toml)
        self.node: Node = self.cluster.node("owner", functions={"app:f": self._work}, app="app")
        self.store = self.node.scheduler.profile.store
        self.cluster.settle()

    def _work(self) -> None:
        self.entered.release()
        self.release.wait(DEADLINE)

    def add(self, name: str = "f", **fields: Any) -> Job:
        action = fields.pop("action", Call(target="app:f", runner=Runner.THREAD))
        wants = Definition(
            name=name,
            schedule=every_schedule(timedelta(minutes=1), ANCHOR),
            action=action,
            **fields,
        )
        return self.store.add_job(wants, by="test", now=self.cluster.clock.now())

    def runs(self, *states: RunState) -> tuple[Run, ...]:
        return self.store.runs(RunFilter(states=frozenset(states) or None))[0]

    def due(self) -> None:
        self.cluster.clock.advance(60)

    def turn_until(
        self, *states: RunState, count: int = 1, passing_s: float = 0.0
    ) -> tuple[Run, ...]:
        """``passing_s``: how far the clock goes on with each turn."""

        def enough() -> tuple[Run, ...] | None:
            if len(found := self.runs(*states)) >= count:
                return found
            self.cluster.clock.advance(passing_s)
            self.node.turn()
            return None

        found = eventually(enough, f"{count} runs that are {' or '.join(states)}")
        assert found is not None
        return found

    def close(self) -> None:
        self.release.set()
        self.cluster.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@contextmanager
def commit_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each commit fails at its end, as on a full disk."""
    real = world.store.batch

    @contextmanager
    def failing() -> Iterator[None]:
        with real():
            yield
            raise OutcomeUnknown("the disk is full", remedy="make room")

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "batch", failing)
        yield


def test_a_claim_that_could_not_be_committed_enters_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C4: the claim is durable before the first instruction of the job."""
    world.add()
    world.due()
    with commit_fails(world, monkeypatch), pytest.raises(OutcomeUnknown):
        world.node.turn()
    assert not world.entered.acquire(timeout=0.2)
    assert world.runs() == ()
    world.node.turn()
    assert world.entered.acquire(timeout=DEADLINE)
    assert len(world.runs()) == 1


def test_an_end_that_could_not_be_committed_waits_for_the_next_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C6: finished work is kept."""
    world.add()
    world.due()
    world.node.turn()
    assert world.entered.acquire(timeout=DEADLINE)
    world.release.set()
    dispatcher = world.node.scheduler.dispatcher
    eventually(dispatcher.pending, "something that waits for a commit")
    with commit_fails(world, monkeypatch), pytest.raises(OutcomeUnknown):
        world.node.turn()
    assert [r.state for r in world.runs()] != [RunState.SUCCEEDED]
    world.node.turn()
    assert [r.state for r in world.runs()] == [RunState.SUCCEEDED]


def test_a_gate_stays_closed_until_started_is_committed(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    world.add(action=Command(argv=("touch", str(canary))))
    world.due()
    world.node.turn()
    dispatcher = world.node.scheduler.dispatcher
    eventually(dispatcher.pending, "something that waits for a commit")
    with commit_fails(world, monkeypatch), pytest.raises(OutcomeUnknown):
        world.node.turn()
    assert not canary.exists()
    (run,) = world.runs()
    assert run.state is RunState.CLAIMED
    world.turn_until(RunState.SUCCEEDED)
    assert canary.exists()


def test_no_more_is_claimed_than_has_a_free_slot(tmp_path: Path) -> None:
    """C4: no more is claimed than has a free slot to run in."""
    world = World(tmp_path, toml="[slots]\ncallables = 2\n")
    try:
        for n in range(5):
            world.add(f"f{n}")
        world.due()
        world.node.turn()
        world.node.turn()
        assert len(world.runs()) == 2
        world.release.set()
        assert len(world.turn_until(RunState.SUCCEEDED, count=5)) == 5
    finally:
        world.close()


def test_overlap_skip_leaves_a_record_and_allow_runs_beside(world: World) -> None:
    skip = world.add("skip")
    world.add("allow", overlap=Overlap.ALLOW)
    for _ in range(3):
        world.due()
        world.node.turn()
    by_name = [r.job_name for r in world.runs(*ACTIVE)]
    assert sorted(by_name) == ["allow", "allow", "allow", "skip"]
    (record,), _ = world.store.omissions(job=skip.id)
    assert (record.kind, record.count) == ("skipped", 2)
    assert "still active" in record.reason


def test_overlap_queue_runs_when_the_previous_run_ends(world: World) -> None:
    world.add("queue", overlap=Overlap.QUEUE)
    for _ in range(2):
        world.due()
        world.node.turn()
    assert len(world.runs()) == 1
    world.release.set()
    runs = world.turn_until(RunState.SUCCEEDED, count=2)
    assert [r.fire_time for r in runs] == [
        ANCHOR + timedelta(minutes=2),
        ANCHOR + timedelta(minutes=1),
    ]


def test_overlap_cancel_ends_the_previous_run_first(world: World) -> None:
    world.add("cancel", overlap=Overlap.CANCEL, action=Command(argv=("sleep", "600")))
    world.due()
    world.node.turn()
    world.turn_until(RunState.RUNNING)
    world.due()
    # A command that has not begun is asked to end again a moment later.
    world.turn_until(RunState.CANCELLED, passing_s=0.01)
    (running,) = world.turn_until(RunState.RUNNING)
    assert running.fire_time == ANCHOR + timedelta(minutes=2)
    world.store.request_cancel(running.id, world.cluster.clock.now())
    world.node.scheduler.dispatcher._turns.cancel(running.id)
    world.turn_until(RunState.CANCELLED, count=2, passing_s=0.01)


def test_a_cancel_that_is_withdrawn_as_a_turn_reads_it_cancels_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add()
    world.due()
    (run,) = world.turn_until(RunState.CLAIMED)
    request = world.store.create_request(
        kind=RequestKind.CANCEL,
        key="k",
        requester=Requester(pid=1),
        now=world.cluster.clock.now(),
        deadline=timedelta(seconds=30),
        run=run.id,
    )
    read = world.store.requests

    def then_withdraw(**options: Any) -> tuple[Request, ...]:
        found = read(**options)
        world.cluster.profile.store.resolve_request(
            request.id,
            RequestState.WITHDRAWN,
            authority=None,
            now=world.cluster.clock.now(),
            answer="withdrawn",
        )
        return found

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "requests", then_withdraw)
        world.node.turn()
    assert world.store.request(request.id).state is RequestState.WITHDRAWN
    assert world.store.run(run.id).cancel_requested_at is None


def test_a_command_out_of_time_is_ended(world: World) -> None:
    world.add("slow", action=Command(argv=("sleep", "600")), timeout=timedelta(seconds=5))
    world.due()
    world.node.turn()
    world.turn_until(RunState.RUNNING)
    world.cluster.clock.advance(6)
    (run,) = world.turn_until(RunState.TIMED_OUT)
    assert "timed out after" in run.reason
    assert run.exit_code == 143


def test_a_command_that_cannot_start_fails_with_the_reason(world: World, tmp_path: Path) -> None:
    world.add("nowhere", action=Command(argv=("true",), cwd=str(tmp_path / "gone")))
    world.due()
    (run,) = world.turn_until(RunState.FAILED)
    assert "not started" in run.reason
    assert "gone" in run.reason


def test_what_the_service_manager_told_the_owner_is_not_told_the_job(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    monkeypatch.setenv("KEPT", "yes")
    out = tmp_path / "env"
    line = f"env > {out}"
    world.add("env", action=Command(argv=(line,), shell=True, env={"MINE": "1"}))
    world.due()
    (run,) = world.turn_until(RunState.SUCCEEDED)
    seen = dict(line.partition("=")[::2] for line in out.read_text().splitlines())
    assert "NOTIFY_SOCKET" not in seen
    assert (seen["KEPT"], seen["MINE"]) == ("yes", "1")
    assert (seen["TENURE_RUN"], seen["TENURE_JOB"], seen["TENURE_TERM"]) == (run.id, "env", "1")


def test_an_error_that_repeats_is_logged_once(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that is lost fails each turn of a drain, hundreds of them."""
    dispatcher = world.node.scheduler.dispatcher
    turn = dispatcher.turn

    def fail(fresh: bool) -> float:
        raise CorruptStore("the database is not the one that this process opened")

    for _ in range(2):
        monkeypatch.setattr(dispatcher, "turn", fail)
        for _ in range(5):
            dispatcher._try_turn()
        monkeypatch.setattr(dispatcher, "turn", turn)
        dispatcher._try_turn()
    logged = [r for r in caplog.records if r.name == "tenure.dispatcher"]
    assert len(logged) == 2, "again after a turn that succeeded"
