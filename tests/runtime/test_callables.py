"""Runs of callables that are ended, or cannot be begun, before their function is entered."""

from __future__ import annotations

import asyncio
import errno
import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from commandkit import claimed_run

from tenure.domain.errors import RunFailed
from tenure.domain.job import Call, Runner
from tenure.domain.ownership import Authority
from tenure.domain.run import Result, RunState
from tenure.runtime.callables.runner import (
    BLOCKED_AFTER_S,
    CANCEL_GRACE_S,
    MAX_COROUTINES,
    CallableRunner,
)
from tenure.runtime.tracebacks import LONGEST_REASON
from testkit.clock import ManualClock
from waiting import DEADLINE, eventually

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ME = Authority(term=1, process="p1", policy_version=0)
PATIENCE = DEADLINE


class Mute(RunFailed):
    def __init__(self) -> None:
        super().__init__("never said")

    def __str__(self) -> str:
        raise ValueError("not that either")


class World:
    def __init__(self) -> None:
        self.ended: queue.Queue[Result] = queue.Queue()
        self.numbers = itertools.count()
        self.gate = threading.Event()
        self.entered: queue.Queue[str] = queue.Queue()
        self.owns = True
        self.clock = ManualClock()
        functions: dict[str, Callable[..., Any]] = {
            "app:quick": lambda: None,
            "app:waits": self._waits,
            "app:block": self._block,
            "app:tidy": self._tidy,
            "app:stubborn": self._stubborn,
            "app:deep": self._deep,
            "app:mute": self._mute,
            "app:mute_async": self._mute_async,
        }
        self.callables = CallableRunner(
            functions,
            process="p1",
            slots=2,
            clock=self.clock,
            report=self.ended.put,
            still_owner=lambda authority: self.owns,
        )

    def _waits(self) -> None:
        self.entered.put("waits")
        assert self.gate.wait(PATIENCE)

    async def _block(self) -> None:
        self.entered.put("block")
        assert self.gate.wait(PATIENCE)  # holds the loop itself, as bad code does

    async def _tidy(self) -> None:
        self.entered.put("tidy")

    async def _stubborn(self) -> None:
        self.entered.put("stubborn")
        while not self.gate.is_set():
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                self.entered.put("swallowed")

    def _deep(self) -> None:
        raise ValueError("x" * 20_000 + "the cause of it all")

    def _mute(self) -> None:
        raise Mute

    async def _mute_async(self) -> None:
        raise Mute

    def submit(
        self, name: str, runner: Runner = Runner.THREAD, claimed: float | None = None
    ) -> str:
        run = claimed_run(f"r-{name}-{next(self.numbers)}", name)
        at = self.clock.continuous() if claimed is None else claimed
        self.callables.submit(run, Call(target=f"app:{name}", runner=runner), None, ME, at)
        return run.id

    def next_end(self) -> Result:
        return self.ended.get(timeout=PATIENCE)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.gate.set()
    made.callables.close()


def test_a_coroutine_cancelled_before_it_was_entered_is_reported(world: World) -> None:
    world.submit("block", Runner.ASYNC)
    assert world.entered.get(timeout=PATIENCE) == "block"
    second = world.submit("tidy", Runner.ASYNC)  # the loop is held: it cannot be entered yet
    assert world.callables.cancel(second)
    world.gate.set()
    ends = {(end := world.next_end()).run: end.state for _ in range(2)}
    assert ends[second] is RunState.CANCELLED
    assert world.entered.empty()


def test_a_fire_waits_for_no_busy_thread_while_a_slot_is_free(world: World) -> None:
    """An entry that a thread has taken out, without yet saying that it is no longer idle."""
    world.submit("waits")
    assert world.entered.get(timeout=PATIENCE) == "waits"
    threads = world.callables._threads
    with threads._lock:
        threads._idle += 1
        threads._waiting += 1
    quick = world.submit("quick")
    assert world.next_end().run == quick


def test_threads_that_run_on_are_replaced_up_to_a_limit(world: World) -> None:
    """Two slots: two that hang are replaced, the third and the fourth keep theirs."""
    for hanging in range(1, 5):
        assert world.callables.room(Runner.THREAD) == min(2, 5 - hanging)
        assert not world.callables.exhausted()
        run = world.submit("waits")
        assert world.entered.get(timeout=PATIENCE) == "waits"
        assert world.callables.cancel(run)
        end = world.next_end()
        assert (end.run, end.state) == (run, RunState.CANCELLED)
        assert end.reason == "cancelled on request; its thread cannot be ended and runs on"
    assert world.callables.room(Runner.THREAD) == 0
    assert world.callables.exhausted()
    assert world.callables.active() == 0  # none holds an exit back


def test_a_thread_that_returns_at_last_gives_its_place_back(world: World) -> None:
    run = world.submit("waits")
    assert world.entered.get(timeout=PATIENCE) == "waits"
    beside = [world.submit("waits"), world.submit("quick")]
    assert world.entered.get(timeout=PATIENCE) == "waits"
    assert world.ended.empty()  # two slots, both taken
    world.callables.cancel(run)
    assert world.next_end().run == run
    beside.append(world.submit("quick"))  # grows into the place that was given up
    assert {world.next_end().run, world.next_end().run} == set(beside[1:])
    world.gate.set()
    assert world.next_end().run == beside[0]
    eventually(lambda: world.callables._threads._threads <= 2, "the pool to have its old size")
    assert world.callables.room(Runner.THREAD) == 2
    assert world.ended.empty()  # what it returned at last is not reported a second time


def test_a_coroutine_that_will_not_be_cancelled_is_reported(world: World) -> None:
    run = world.submit("stubborn", Runner.ASYNC)
    assert world.entered.get(timeout=PATIENCE) == "stubborn"
    assert world.callables.cancel(run)
    assert world.entered.get(timeout=PATIENCE) == "swallowed"
    deadline = world.callables.expire(world.clock.awake())
    assert deadline is not None
    assert deadline <= world.clock.awake() + CANCEL_GRACE_S
    assert world.ended.empty()  # it may be tidying up
    assert world.callables.expire(deadline) is None
    end = world.next_end()
    assert (end.run, end.state) == (run, RunState.CANCELLED)
    assert end.reason.endswith("it ignores the cancel and runs on")
    assert world.callables.room(Runner.ASYNC) == MAX_COROUTINES - 1


def test_a_blocked_loop_is_told_of_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.submit("block", Runner.ASYNC)
    assert world.entered.get(timeout=PATIENCE) == "block"
    second = world.submit("tidy", Runner.ASYNC)
    for _ in range(3):
        world.callables.expire(world.clock.awake())
        world.clock.advance(BLOCKED_AFTER_S - 1)
    (told,) = [r.getMessage() for r in caplog.records if r.name == "tenure.callables"]
    assert told.startswith(f"tidy (run {second}) cannot begin: its event loop is blocked")
    assert "perhaps by block (run r-block-0)" in told
    world.gate.set()
    assert {world.next_end().state for _ in range(2)} == {RunState.SUCCEEDED}


@pytest.mark.parametrize("runner", [Runner.THREAD, Runner.ASYNC])
def test_a_failure_that_cannot_say_itself_is_a_failure(world: World, runner: Runner) -> None:
    world.submit("mute" if runner is Runner.THREAD else "mute_async", runner)
    end = world.next_end()
    assert end.state is RunState.FAILED
    assert end.reason.endswith("<its text cannot be shown: ValueError>")


def test_a_long_reason_keeps_its_beginning_and_its_end(world: World) -> None:
    world.submit("deep")
    reason = world.next_end().reason
    assert reason.startswith("ValueError: ")
    assert " [...] " in reason
    assert reason.endswith("the cause of it all")
    assert len(reason) < LONGEST_REASON + 10


def test_a_run_for_which_no_thread_can_be_started_never_ran(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuses)
        run = world.submit("quick")
    end = world.next_end()
    assert (end.run, end.state) == (run, RunState.NEVER_RAN)
    assert world.callables.active() == 0
    later = world.submit("quick")  # nor is the one that failed entered after all
    assert world.next_end().run == later
    assert world.ended.empty()


def test_a_coroutine_for_which_no_loop_can_be_made_never_ran(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop needs descriptors and a thread: without them the slot comes back, and the next
    coroutine has a loop that runs."""

    def refuses() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "new_event_loop", refuses)
        run = world.submit("tidy", Runner.ASYNC)
    end = world.next_end()
    assert (end.run, end.state) == (run, RunState.NEVER_RAN)
    assert world.callables.runs() == frozenset()
    assert world.callables.room(Runner.ASYNC) == MAX_COROUTINES
    later = world.submit("tidy", Runner.ASYNC)
    assert world.next_end().run == later


def test_a_loop_whose_thread_cannot_be_started_is_not_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuses)
        run = world.submit("tidy", Runner.ASYNC)
    assert world.next_end().run == run
    later = world.submit("tidy", Runner.ASYNC)
    end = world.next_end()
    assert (end.run, end.state) == (later, RunState.SUCCEEDED)


def test_a_deposed_owners_old_claim_is_not_entered(world: World) -> None:
    world.owns = False
    run = world.submit("waits", claimed=world.clock.continuous() - 5)
    end = world.next_end()
    assert (end.run, end.state) == (run, RunState.NEVER_RAN)
    assert world.entered.empty()


@pytest.mark.parametrize("runner", [Runner.THREAD, Runner.ASYNC])
def test_a_store_that_cannot_be_asked_leaves_no_run_without_an_end(
    world: World, runner: Runner
) -> None:
    def fails(authority: Authority) -> bool:
        raise OSError("the store cannot be asked")

    world.callables._still_owner = fails
    name = "waits" if runner is Runner.THREAD else "tidy"
    run = world.submit(name, runner, claimed=world.clock.continuous() - 5)
    end = world.next_end()
    assert (end.run, end.state) == (run, RunState.NEVER_RAN)
    assert world.entered.empty()
    eventually(lambda: not world.callables.runs(), "its slot")
    quick = world.submit("quick")  # and its thread goes on
    assert world.next_end().run == quick
