"""C11, C9: a thread that ownership depends on ends, or is held: the process gives up the term."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenure.domain.ownership import OwnershipState
from tenure.runtime.failure import STUCK_AFTER_S, Failure, Watch, WatchedThread
from tenure.runtime.profile import Profile
from tenure.runtime.scheduler import Scheduler
from testkit.clock import ManualClock
from testkit.factories import START
from waiting import DEADLINE, eventually


class Owner:
    """A scheduler with its real threads, on a profile of its own."""

    def __init__(self, home: Path) -> None:
        self.profile = Profile.open("test", home=home, environ={}, create=True, now=START)
        self.failures: list[Failure] = []
        self.scheduler = Scheduler(self.profile, on_failure=self.failures.append)

    def start(self) -> Owner:
        self.scheduler.start()
        eventually(lambda: self.scheduler.keeper.authority, "the ownership")
        return self

    def end_thread(
        self, name: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its next piece of work raises ``error``, which its loop does not catch."""

        def fail(*_: object) -> None:
            raise error

        part, work = {
            "tenure-dispatcher": (self.scheduler.dispatcher, "turn"),
            "tenure-keeper": (self.scheduler.keeper, "look"),
            "tenure-commands": (self.scheduler._commands, "_turn"),
        }[name]
        monkeypatch.setattr(part, work, fail)

    def vacant(self) -> bool:
        return self.profile.store.ownership().hold is OwnershipState.VACANT


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    one = Owner(tmp_path).start()
    yield one
    one.scheduler.stop(0.0)
    one.profile.close()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
@pytest.mark.parametrize("name", ["tenure-dispatcher", "tenure-keeper"])
def test_a_thread_that_is_ended_ends_the_term(
    name: str, error: type[BaseException], owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.end_thread(name, error, monkeypatch)
    owner.scheduler.nudge()
    (failure,) = eventually(lambda: owner.failures, f"the end of {name} to be noticed")
    assert name in failure.text
    assert error.__name__ in failure.text
    assert failure.exit_code == 70
    eventually(owner.vacant, "the end of the term")
    assert name in owner.profile.store.ownership().ended_why
    assert not owner.scheduler.dispatcher.owns(owner.scheduler.keeper.authority)


def test_the_command_runners_thread_ends_the_term_too(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.end_thread("tenure-commands", SystemExit, monkeypatch)
    runner = owner.scheduler._commands
    runner.thread.start()
    runner._is_started = True
    eventually(lambda: owner.failures, "the end of the thread to be noticed")
    eventually(owner.vacant, "the end of the term")


def test_memory_that_runs_out_while_an_error_is_handled(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop's own handler fails: nothing is left in that thread to catch it."""

    def fail(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(owner.scheduler.dispatcher, "turn", fail)
    monkeypatch.setattr("tenure.runtime.dispatch.dispatcher.log.exception", fail)
    owner.scheduler.nudge()
    eventually(lambda: owner.failures, "the end of the thread to be noticed")
    eventually(owner.vacant, "the end of the term")


@pytest.mark.parametrize("name", ["tenure-dispatcher", "tenure-keeper"])
def test_an_end_that_could_not_be_told_is_found_by_another_thread(
    name: str, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = {t.name: t for t in owner.scheduler.threads()}
    monkeypatch.setattr(threads[name], "_ended", lambda why: None)
    owner.end_thread(name, SystemExit, monkeypatch)

    def noticed() -> list[Failure]:
        owner.scheduler.nudge()
        return owner.failures

    (failure,) = eventually(noticed, f"the end of {name} to be found")
    assert f"the thread {name} ended" in failure.text
    eventually(owner.vacant, "the end of the term")


def test_a_turn_that_is_held_for_ever_ends_the_term(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler of the host's log that does not return, say: the keeper does not wait for it."""
    monkeypatch.setattr("tenure.runtime.failure.STUCK_AFTER_S", 0.5)
    held, release = threading.Event(), threading.Event()
    turn: Callable[[bool], float] = owner.scheduler.dispatcher.turn

    def hold(fresh: bool) -> float:
        with owner.scheduler.dispatcher._turn_lock:
            held.set()
            release.wait(DEADLINE)
        return turn(fresh)

    monkeypatch.setattr(owner.scheduler.dispatcher, "turn", hold)
    owner.scheduler.nudge()
    assert held.wait(DEADLINE)
    try:
        (failure,) = eventually(lambda: owner.failures, "the held turn to be noticed")
        assert "tenure-dispatcher has made no progress" in failure.text
        eventually(owner.vacant, "the end of the term")
    finally:
        release.set()


def test_a_process_that_was_stopped_for_long_finds_no_thread_held() -> None:
    """SIGSTOP amid a step, or a host that keeps the interpreter busy: one look counts little."""
    clock = ManualClock()
    entered, release = threading.Event(), threading.Event()

    def work() -> bool:
        entered.set()
        release.wait(DEADLINE)
        return False

    thread = WatchedThread(
        work,
        lambda: None,
        name="busy",
        is_stopping=release.is_set,
        ended=lambda why: pytest.fail(why),
    )
    thread.start()
    assert entered.wait(DEADLINE)
    watch = Watch(thread, clock)
    assert watch.problem() is None
    clock.advance(10 * STUCK_AFTER_S)
    assert watch.problem() is None
    for _ in range(int(STUCK_AFTER_S)):
        clock.advance(1)
        found = watch.problem()
    assert found is not None
    assert "no progress for 30s" in found
    release.set()
    thread.join(DEADLINE)
    assert watch.problem() is None, "it was asked to end"


def test_after_a_failure_it_stops_without_waiting(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.end_thread("tenure-dispatcher", SystemExit, monkeypatch)
    owner.scheduler.nudge()
    eventually(lambda: owner.failures, "the end of the thread to be noticed")
    assert owner.scheduler.stop(DEADLINE)
    assert not [thread.name for thread in owner.scheduler.threads() if thread.is_alive()]
