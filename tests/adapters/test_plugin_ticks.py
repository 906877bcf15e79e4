"""A tick runs what its owner has claimed, and nothing else; whatever fails, nothing runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from minihermes import OTHERS, MiniHermes, hermes, job
from pluginkit import ended, tick

from tenure.adapters.hermes.inside.patches import hosts
from tenure.domain.run import RunState
from waiting import DEADLINE, eventually


@pytest.fixture(params=[True, False], ids=["new", "old"])
def mini(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MiniHermes]:
    with hermes(tmp_path, monkeypatch, new=request.param) as made:
        yield made


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MiniHermes]:
    """A process that may not own."""
    with hermes(tmp_path, monkeypatch, policy=OTHERS) as made:
        yield made


def test_the_owner_runs_what_is_due_once(mini: MiniHermes) -> None:
    mini.write(job("a"), job("b", ago=-60))
    assert tick(mini) == 1
    assert mini.ran == ["a"]
    (run,) = ended(mini)
    assert (run.state, run.job_name) == (RunState.SUCCEEDED, "job a")
    assert tick(mini) == 0
    assert mini.ran == ["a"]


def test_a_failure_is_the_runs_own(mini: MiniHermes) -> None:
    """Of runs side by side each ends as Hermes wrote that one down."""
    both = threading.Barrier(2)

    def do(job: dict[str, Any]) -> Any:
        both.wait(DEADLINE)
        good = job["id"] == "a"
        return good, "", "text", None if good else "no such mailbox"

    mini.do(do)
    mini.write(job("a"), job("b"))
    tick(mini)
    found = {run.job_name: (run.state, run.reason) for run in ended(mini, 2)}
    assert found == {
        "job a": (RunState.SUCCEEDED, ""),
        "job b": (RunState.FAILED, "no such mailbox"),
    }


def test_a_run_that_raises_is_failed(mini: MiniHermes) -> None:
    def do(job: dict[str, Any]) -> Any:
        raise ValueError("of the job's own")

    mini.do(do)
    mini.write(job("a"))
    tick(mini)
    (run,) = ended(mini)
    assert run.state is RunState.FAILED
    assert "of the job's own" in run.reason


def test_it_ran_and_was_not_delivered(mini: MiniHermes) -> None:
    mini.scheduler.DELIVER = lambda job: "the platform is down"
    mini.write(job("a"))
    tick(mini)
    (run,) = ended(mini)
    assert run.state is RunState.SUCCEEDED
    assert "not delivered: the platform is down" in run.reason


def test_a_run_is_under_way_until_hermes_is_done_with_it(mini: MiniHermes) -> None:
    """Delivery belongs to it."""
    delivering, go = threading.Event(), threading.Event()

    def deliver(job: dict[str, Any]) -> None:
        delivering.set()
        assert go.wait(DEADLINE)

    mini.scheduler.DELIVER = deliver
    mini.write(job("a"))
    tick(mini, sync=False)
    assert delivering.wait(DEADLINE)
    (run,) = mini.runs()
    assert run.finished_at is None
    go.set()
    ended(mini)


def test_a_run_that_hermes_gives_up_ends_with_its_word(mini: MiniHermes) -> None:
    """A gateway that stops marks what it has interrupted, and does not wait for it."""
    began, go = threading.Event(), threading.Event()

    def do(job: dict[str, Any]) -> Any:
        began.set()
        assert go.wait(DEADLINE)
        return True, "", "all is well", None

    mini.do(do)
    mini.write(job("a"))
    tick(mini, sync=False)
    assert began.wait(DEADLINE)
    mini.scheduler.mark_job_run("a", False, "the gateway stopped")
    (run,) = ended(mini)
    assert (run.state, run.reason) == (RunState.FAILED, "the gateway stopped")
    go.set()
    eventually(lambda: not mini.scheduler._running_job_ids, "the thread to end")
    assert [r.state for r in mini.runs()] == [RunState.FAILED]


def test_a_second_tick_does_not_end_what_the_first_is_about_to_dispatch(mini: MiniHermes) -> None:
    """A tick settles what it has claimed itself."""
    host = hosts.of(mini.home)
    assert host is not None
    mini.write(job("a"))
    took = host.handoff.take

    def take_and_be_disturbed(id: str, lent: Any) -> bool:
        done = took(id, lent)
        thread = threading.Thread(target=tick, args=(mini,))
        thread.start()
        thread.join(DEADLINE)
        return done

    host.handoff.take = take_and_be_disturbed  # type: ignore[method-assign]
    assert tick(mini) == 1
    (run,) = ended(mini)
    assert run.state is RunState.SUCCEEDED


def test_what_hermes_passes_over_never_ran(
    mini: MiniHermes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run goes on that nobody claimed: Hermes does not run the job beside it."""
    monkeypatch.setattr("tenure.adapters.hermes.inside.run_handoff.CLEANUP_WAIT_S", 0.0)
    mini.write(job("a"))
    mini.scheduler._running_job_ids.add("a")
    assert tick(mini) == 0
    (run,) = ended(mini)
    assert run.state is RunState.NEVER_RAN
    mini.scheduler._running_job_ids.clear()
    mini.write(job("a", ago=1))
    assert tick(mini) == 1


def test_a_run_that_hermes_is_just_putting_away_does_not_cost_the_next_its_fire(
    mini: MiniHermes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread counts it as running for a moment after it has ended."""
    monkeypatch.setattr("tenure.adapters.hermes.inside.run_handoff.CLEANUP_WAIT_S", DEADLINE)
    mini.write(job("a"))
    mini.scheduler._running_job_ids.add("a")
    timer = threading.Timer(0.1, mini.scheduler._running_job_ids.discard, ["a"])
    timer.start()
    assert tick(mini) == 1
    timer.join()


def test_a_tick_that_fails_between_claim_and_dispatch_leaves_no_run_open(mini: MiniHermes) -> None:
    mini.write(job("a"))

    def full(id: str) -> None:
        raise OSError(28, "no space left on device")

    mini.scheduler.advance_next_run = full
    with pytest.raises(OSError, match="no space"):
        tick(mini)
    (run,) = ended(mini)
    assert run.state is RunState.NEVER_RAN
    assert mini.ran == []


def test_deposed_between_claim_and_dispatch_it_is_not_run(
    mini: MiniHermes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenure.runtime.callables.runner.FRESH_S", 0.0)
    host = hosts.of(mini.home)
    assert host is not None
    mini.write(job("a"))
    took = host.handoff.take

    def take_and_lose(id: str, lent: Any) -> bool:
        done = took(id, lent)
        assert host.membership.scheduler is not None
        host.membership.scheduler.keeper.stop("the test takes it away")
        return done

    host.handoff.take = take_and_lose  # type: ignore[method-assign]
    tick(mini)
    assert mini.ran == []
    (run,) = ended(mini)
    assert run.state is RunState.NEVER_RAN


def test_without_a_claim_no_way_in_runs_a_job(mini: MiniHermes) -> None:
    mini.write(job("a"))
    if mini.new:
        assert mini.scheduler.run_one_job(mini.stored()) is False
    assert mini.scheduler.run_job(mini.stored())[0] is False
    assert mini.ran == []
    assert mini.runs() == []


def test_a_tick_bound_before_the_plugin_came_finds_the_fence(mini: MiniHermes) -> None:
    """A ticker that has taken the function before cannot be given another."""
    mini.write(job("a"))
    assert mini.scheduler.tick.__tenure__(verbose=False) == 0
    mini.home.tick_lock.rmdir()
    assert mini.scheduler.tick.__tenure__(verbose=False) == 0
    assert mini.ran == []


def test_what_a_thread_is_doing_is_its_own(mini: MiniHermes) -> None:
    """While the owner ticks, no other thread of its process is let through the fence."""
    host = hosts.of(mini.home)
    assert host is not None
    mini.write(job("a"))
    seen: list[Any] = []
    find = host.handoff.claimed

    def look_around(original: Any) -> Any:
        thread = threading.Thread(
            target=lambda: seen.extend([mini.scheduler._get_lock_paths()[1], find(original)])
        )
        thread.start()
        thread.join(DEADLINE)
        return find(original)

    host.handoff.claimed = look_around  # type: ignore[method-assign]
    assert tick(mini) == 1
    assert seen == [mini.home.tick_lock, []]


# -- whoever does not own ----------------------------------------------------------------------
def test_whoever_may_not_own_runs_nothing_and_says_so_once(
    other: MiniHermes, caplog: pytest.LogCaptureFixture
) -> None:
    other.write(job("a"))
    before = other.stored()
    for _ in range(5):
        assert tick(other) == 0
    assert other.ran == []
    assert other.stored() == before
    told = [r.message for r in caplog.records if "does not run the jobs" in r.message]
    assert len(told) == 1
    (event,) = [e for e in other.profile.store.events() if e.kind == "claim_refused"]
    assert event.facts["jobs"] == ["job a"]


def test_the_first_refusal_that_mattered_is_written_down(other: MiniHermes) -> None:
    """Also if nothing was due when it was first refused."""
    other.write(job("a", ago=-60))
    tick(other)
    assert [e for e in other.profile.store.events() if e.kind == "claim_refused"] == []
    other.write(job("a"))
    for _ in range(3):
        tick(other)
    (event,) = [e for e in other.profile.store.events() if e.kind == "claim_refused"]
    assert event.facts["times"] == 2


def test_a_tick_that_a_person_typed_is_refused_in_words(
    other: MiniHermes, capsys: pytest.CaptureFixture[str]
) -> None:
    other.write(job("a"))
    with pytest.raises(SystemExit) as ended:
        other.scheduler.tick(verbose=True)
    assert ended.value.code == 3
    said = capsys.readouterr().out
    assert "refused" in said
    assert "1 job due" in said
    assert "hermes -p la gateway run" in said


def test_only_a_persons_own_tick_ends_the_process(other: MiniHermes) -> None:
    """SystemExit in a ticker's thread would be a ticker less."""
    other.write(job("a"))
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(other.scheduler.tick(verbose=True))
        except BaseException as error:  # noqa: BLE001
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(DEADLINE)
    assert results == [0]


def test_a_home_that_is_a_copy_refuses(
    mini: MiniHermes, capsys: pytest.CaptureFixture[str]
) -> None:
    mini.adopt(hermes_home=str(mini.home.root))
    mini.write(job("a"))
    assert tick(mini) == 0
    with pytest.raises(SystemExit):
        mini.scheduler.tick()
    said = capsys.readouterr().out
    assert f"is a copy of {mini.home.root}" in said
    assert "gateway" not in said
    assert mini.ran == []
