"""The library from inside a program: real threads, a real store, no sleeping: jobs signal."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure import Tenure, at, cron, every
from tenure.domain.errors import InvalidInput, StoreUnwritable
from tenure.domain.process import ProcessStatus
from tenure.domain.run import Run, RunState
from tenure.runtime.members import ProfileMember
from tenure.store.contract import RunFilter
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Tenure]]:
    made: list[Tenure] = []

    def tenure(**options: Any) -> Tenure:
        one = Tenure(options.pop("profile", "shop"), home=tmp_path, **options)
        made.append(one)
        return one

    yield tenure
    for one in made:
        one.stop(drain=2)


def ended(tenure: Tenure, *states: RunState) -> tuple[Run, ...]:
    wanted = frozenset(states) or frozenset({RunState.SUCCEEDED})
    return tenure.profile.store.runs(RunFilter(states=wanted))[0]


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=1)


def test_a_function_and_a_coroutine_run_and_say_who_ran_them(make: Callable[..., Tenure]) -> None:
    tenure = make()
    called: list[str] = []

    @tenure.job(at(soon()))
    def plain() -> None:
        called.append(threading.current_thread().name)

    @tenure.job(at(soon()), args={"word": "async"})
    async def waits(word: str) -> None:
        await asyncio.sleep(0)
        called.append(word)

    tenure.start()
    runs = eventually(lambda: len(r := ended(tenure)) == 2 and r, "two runs")
    assert {r.job_name for r in runs} == {"shop:plain", "shop:waits"}
    assert sorted(called)[0] == "async"
    assert sorted(called)[1].startswith("tenure-job")
    evidence = tenure.profile.store.provenance(runs[0].id)
    assert evidence.identity.pid == os.getpid()
    assert all(r.started_at is not None and r.started_at >= r.fire_time for r in runs)


def test_an_exception_is_the_runs_reason_and_its_traceback_the_output(
    make: Callable[..., Tenure],
) -> None:
    tenure = make()

    @tenure.job(at(soon()))
    def breaks() -> None:
        raise LookupError("no such order")

    tenure.start()
    (run,) = eventually(lambda: ended(tenure, RunState.FAILED), "a failed run")
    assert run.reason == "LookupError: no such order"
    output = (tenure.profile.folder.logs / run.id / "1.log").read_text()
    assert "in breaks" in output.splitlines()[1]


def test_a_coroutine_out_of_time_is_cancelled_and_a_thread_reported(
    make: Callable[..., Tenure],
) -> None:
    tenure = make()
    cancelled, release = threading.Event(), threading.Event()

    @tenure.job(at(soon()), timeout="200ms")
    async def forever() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    @tenure.job(at(soon()), timeout="200ms")
    def stuck() -> None:
        release.wait(DEADLINE)

    tenure.start()
    runs = eventually(
        lambda: len(r := ended(tenure, RunState.TIMED_OUT)) == 2 and r, "two time-outs"
    )
    assert cancelled.wait(DEADLINE)
    (thread,) = [r for r in runs if r.job_name == "shop:stuck"]
    assert "runs on" in thread.reason
    release.set()


def test_a_failed_attempt_is_retried(make: Callable[..., Tenure]) -> None:
    tenure = make()
    tries: list[int] = []

    @tenure.job(at(soon()), retries=2, backoff="100ms")
    def third_time() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("not yet")

    tenure.start()
    (run,) = eventually(lambda: ended(tenure), "a success")
    assert run.attempt == 3
    assert [a.state for a in run.attempts] == ["retrying", "retrying", "succeeded"]


def test_an_observer_never_runs(make: Callable[..., Tenure]) -> None:
    tenure = make(execute=False)

    @tenure.job(every("1s"))
    def never() -> None:
        raise AssertionError("an observer ran a job")

    tenure.start()
    (process,) = eventually(lambda: tenure.profile.store.processes(), "the process")
    assert process.standing is ProcessStatus.OBSERVER
    assert not tenure.owns


def test_a_time_that_passes_before_the_start_is_not_forgotten(
    make: Callable[..., Tenure],
) -> None:
    """A slow start is no reason: from its declaration on, it counts."""
    tenure, ran = make(), threading.Event()
    tenure.job(at(datetime.now(UTC) - timedelta(seconds=1)), ran.set, name="once")
    found = tenure._declared["shop:once"]
    tenure._declared["shop:once"] = replace(found, at=found.at - timedelta(seconds=5))
    tenure.start()
    assert ran.wait(DEADLINE)


def test_in_five_minutes_means_after_the_declaration(make: Callable[..., Tenure]) -> None:
    tenure = make()
    tenure.job("in 5m", list, name="once")
    found = tenure._declared["shop:once"]
    first = found.declaration("UTC")
    assert first.since == found.at
    assert first.definition.schedule.at == (found.at + timedelta(minutes=5)).replace(microsecond=0)
    assert found.declaration("UTC") == first


def test_a_second_instance_takes_over_when_the_first_stops(make: Callable[..., Tenure]) -> None:
    first, second = make(app="one"), make(app="another")
    first.start()
    eventually(lambda: first.owns, "the first to own")
    second.start()
    candidates = lambda: [  # noqa: E731
        p for p in second.profile.store.processes() if p.standing is ProcessStatus.CANDIDATE
    ]
    eventually(candidates, "a candidate")
    first.stop()
    eventually(lambda: second.owns, "the second to own")


def test_stopping_lets_runs_end_and_leaves(make: Callable[..., Tenure]) -> None:
    tenure = make()
    entered = threading.Event()
    done: list[int] = []

    @tenure.job(at(soon()))
    def takes_a_while() -> None:
        entered.set()
        threading.Event().wait(0.3)
        done.append(1)

    tenure.start()
    assert entered.wait(DEADLINE)
    assert tenure.stop(drain=DEADLINE)
    assert done == [1]
    again = make()
    (run,) = ended(again)
    assert run.state is RunState.SUCCEEDED
    assert again.profile.store.processes() == ()


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_a_job_may_stop_its_own_scheduler(make: Callable[..., Tenure], kind: str) -> None:
    """It does not wait for itself, and its run has an end."""
    tenure = make()
    said: list[bool] = []

    def stops() -> None:
        said.append(tenure.stop(drain=10 * DEADLINE))

    async def stops_too() -> None:
        said.append(tenure.stop(drain=10 * DEADLINE))

    tenure.job(at(soon()), stops if kind == "thread" else stops_too, name="last")
    tenure.start()
    again = make()
    (run,) = eventually(lambda: ended(again), "the end of its run")
    assert run.finished_at is not None
    eventually(lambda: not again.profile.store.processes(), "it to leave")
    assert said == [False]


def test_a_second_app_is_told_to_use_another_profile(
    make: Callable[..., Tenure], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = make(app="one"), make(app="two")
    first.job(every("1h"), print)
    first.start()
    eventually(lambda: first.owns, "to own")
    second.job(every("1h"), print)
    second.start()
    eventually(lambda: "use another profile for the app 'two'" in caplog.text, "a word of it")
    assert [r.levelname for r in caplog.records if "another profile" in r.message] == ["WARNING"]


def test_what_is_declared_after_the_start_is_added_too(make: Callable[..., Tenure]) -> None:
    """A module that is imported late: nothing waits for the next owner."""
    tenure = make()
    tenure.job(every("1h"), print, name="early")
    tenure.start()
    eventually(lambda: tenure.owns, "to own")
    called = threading.Event()
    tenure.job(at(soon()), called.set, name="late")
    assert called.wait(DEADLINE)
    assert {job.name for job in tenure.profile.store.jobs()[0]} == {"shop:early", "shop:late"}


def test_nothing_of_ownership_crosses_a_fork(make: Callable[..., Tenure]) -> None:
    tenure = make().start()
    eventually(lambda: tenure.owns, "to own")
    pid = os.fork()
    if pid == 0:
        owns = tenure.owns
        os._exit(1 if owns else 0)
    assert os.waitpid(pid, 0)[1] == 0
    assert tenure.owns


@pytest.mark.parametrize(
    ("declare", "field"),
    [
        (lambda t: t.job(cron("61 * * * *"), print), "schedule"),
        (lambda t: t.job(cron("* * * * *", tz="Mars/Olympus"), print), "timezone"),
        (lambda t: t.job(cron("* * * * *", dst="maybe"), print), "dst"),
        (lambda t: t.job(every("0s"), print), "schedule"),
        (lambda t: t.job(at(datetime(2030, 1, 1)), print), "schedule"),
        (lambda t: t.job("every now and then", print), "schedule"),
        (lambda t: t.job(every("1s"), print, name=" "), "name"),
        (lambda t: t.job(every("1s"), print, args={"x": object()}), "args"),
        (lambda t: t.job(every("1s"), print, overlap="maybe"), "overlap"),
        (lambda t: t.job(every("1s"), print, timeout="-1s"), "timeout"),
        (lambda t: t.job(every("1s"), print, retries=-1), "retries"),
        (lambda t: t.job(every("1s"), print, colour="red"), "colour"),
    ],
)
def test_bad_input_names_the_field_and_declares_nothing(
    make: Callable[..., Tenure], declare: Callable[[Tenure], Any], field: str
) -> None:
    tenure = make()
    with pytest.raises(InvalidInput) as raised:
        declare(tenure)
    assert raised.value.field == field
    tenure.job(every("1s"), print)  # the name is still free


def test_a_name_twice_is_refused(make: Callable[..., Tenure]) -> None:
    tenure = make()
    tenure.job(every("1s"), print)
    with pytest.raises(InvalidInput, match="twice"):
        tenure.job(every("2s"), print)


def test_a_start_that_failed_can_be_made_again(
    make: Callable[..., Tenure], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: ProfileMember, socket: str | None) -> None:
        raise StoreUnwritable("the disk is full")

    tenure = make()
    with monkeypatch.context() as patch:
        patch.setattr(ProfileMember, "join", full)
        with pytest.raises(StoreUnwritable):
            tenure.start()
    tenure.start()
    eventually(lambda: tenure.owns, "the ownership")
