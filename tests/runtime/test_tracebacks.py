"""What becomes of an exception of a job's function: a line to read, and the whole of it."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest
from commandkit import claimed_run

from tenure.domain.errors import RunFailed
from tenure.domain.job import Call, Runner
from tenure.domain.ownership import Authority
from tenure.domain.run import Result, RunState
from tenure.runtime.callables import child
from tenure.runtime.callables.call import in_a_thread
from tenure.runtime.callables.runner import CallableRunner
from tenure.runtime.output import read_output
from tenure.runtime.run_context import REASON_VARIABLE
from tenure.runtime.tracebacks import LONGEST_REASON, reason_of, traceback_of
from testkit.clock import ManualClock
from waiting import DEADLINE

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def missing() -> Any:
    return {}["missing"]


def caused() -> NoReturn:
    try:
        missing()
    except KeyError as error:
        raise RuntimeError("the order cannot be read") from error


def fails() -> NoReturn:
    raise AssertionError


def several() -> NoReturn:
    parts: list[Exception] = [ValueError("one"), KeyError("two")]
    raise ExceptionGroup("several", parts)


def leaves() -> NoReturn:
    raise SystemExit("no disk left")


def interrupts() -> NoReturn:
    raise KeyboardInterrupt


class Silent(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


def silent() -> NoReturn:
    raise Silent


def huge() -> NoReturn:
    raise ValueError("x" * 5_000_000 + " the end")


def half() -> NoReturn:
    raise ValueError("half a character: \ud800\n and a line")


def deep() -> NoReturn:
    deep()


def gives_up() -> NoReturn:
    raise RunFailed("the bank is closed")


SAID = {
    missing: "KeyError: 'missing'",
    caused: "RuntimeError: the order cannot be read",
    fails: "AssertionError in fails, line",
    several: "ExceptionGroup: several (2 sub-exceptions): ValueError: one; KeyError: 'two'",
    leaves: "SystemExit: no disk left",
    interrupts: "KeyboardInterrupt in interrupts, line",
    silent: f"{__name__}.Silent: <its text cannot be shown: SystemExit>",
    huge: "ValueError: xxx",
    half: "ValueError: half a character: \\ud800 and a line",
    deep: "RecursionError: maximum recursion depth exceeded",
    gives_up: "the bank is closed",
}
WITHOUT_TRACEBACK = {leaves, gives_up}


@dataclass
class Runs:
    folder: Path
    ended: queue.Queue[Result]
    number: int = 0

    def end_of(self, function: Callable[..., Any], runner: Runner) -> tuple[Result, str]:
        """How its run ended, and what is in its output."""
        self.number += 1
        run = claimed_run(f"r{self.number}", "app:f")
        clock = ManualClock(NOW)
        callables = CallableRunner(
            {"app:f": function},
            process="p1",
            slots=1,
            clock=clock,
            report=self.ended.put,
            still_owner=lambda authority: True,
            logs=self.folder,
        )
        self.folder.mkdir(exist_ok=True)
        authority = Authority(term=1, process="p1", policy_version=0)
        call = Call(target="app:f", runner=runner)
        try:
            callables.submit(run, call, None, authority, clock.continuous())
            end = self.ended.get(timeout=DEADLINE)
        finally:
            callables.close()
        return end, b"".join(read_output(self.folder / run.id / "1.log")).decode()


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "logs", queue.Queue())


def checked(function: Callable[..., Any], reason: str, output: str) -> None:
    assert reason.startswith(SAID[function])
    assert "\n" not in reason
    assert len(reason) <= LONGEST_REASON + 10
    reason.encode()  # it can be stored
    if function in WITHOUT_TRACEBACK:
        assert output in ("", f"{reason}\n")
        return
    assert "Traceback (most recent call last)" in output
    where = [line for line in output.splitlines() if line.lstrip(" |").startswith("File ")]
    assert where
    # The job's own frames alone: nothing of what called it.
    assert all(__file__ in line for line in where), where
    if function is not silent:
        last = SAID[function].split(" in ")[0].split(" (2")[0].split(": xxx")[0]
        assert last.split(": ")[0] in output


@pytest.mark.parametrize("function", SAID, ids=lambda f: f.__name__)
def test_in_a_thread(runs: Runs, function: Callable[..., Any]) -> None:
    end, output = runs.end_of(in_a_thread(function), Runner.THREAD)
    assert end.state is RunState.FAILED
    checked(function, end.reason, output)


@pytest.mark.parametrize("function", SAID, ids=lambda f: f.__name__)
def test_as_a_coroutine(runs: Runs, function: Callable[..., Any]) -> None:
    async def call() -> None:
        await asyncio.sleep(0)
        function()

    end, output = runs.end_of(call, Runner.ASYNC)
    assert end.state is RunState.FAILED
    checked(function, end.reason.replace("in call", f"in {function.__name__}"), output)


@pytest.mark.parametrize("function", SAID, ids=lambda f: f.__name__)
def test_in_a_process_of_its_own(
    tmp_path: Path,
    function: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The child's part: what it leaves for its owner, and on standard error."""
    file = tmp_path / "1.reason"
    monkeypatch.setenv(REASON_VARIABLE, str(file))
    monkeypatch.setattr(child, "_call", function)
    assert child.main() == 1
    said = capsys.readouterr().err
    checked(function, file.read_text(), said)


@pytest.mark.parametrize("code", [None, 0])
def test_to_leave_with_success_is_a_success(runs: Runs, code: int | None) -> None:
    def leave() -> NoReturn:
        raise SystemExit(code)

    async def leave_async() -> NoReturn:
        raise SystemExit(code)

    assert runs.end_of(leave, Runner.THREAD)[0].state is RunState.SUCCEEDED
    assert runs.end_of(leave_async, Runner.ASYNC)[0].state is RunState.SUCCEEDED


def test_an_exit_status_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave() -> NoReturn:
        raise SystemExit(7)

    monkeypatch.setattr(child, "_call", leave)
    assert child.main() == 7


def test_what_the_function_printed_comes_first(runs: Runs) -> None:
    def speaks() -> None:
        print("about to fail")
        missing()

    _, output = runs.end_of(speaks, Runner.THREAD)
    assert output.startswith("about to fail\nTraceback (most recent call last):\n")
    assert output.endswith("KeyError: 'missing'\n")


def test_a_cause_is_shown_with_its_own_frames(runs: Runs) -> None:
    _, output = runs.end_of(in_a_thread(caused), Runner.THREAD)
    assert "KeyError: 'missing'" in output
    assert "direct cause" in output


def test_frames_of_this_package_below_the_jobs_own_stay() -> None:
    """A job that calls Tenure itself: where it failed there is part of the story."""
    from tenure.domain.schedule.parser import parse_schedule

    with pytest.raises(ValueError, match="schedule") as raised:
        parse_schedule("no schedule", now=NOW, timezone="UTC")
    text = traceback_of(raised.value)
    assert "test_tracebacks.py" in text.splitlines()[1]
    assert "parser.py" in text
    assert "\n" not in reason_of(raised.value)


def test_one_that_was_never_raised_has_no_frames() -> None:
    bare = ValueError("bare")
    assert traceback_of(bare) == "ValueError: bare\n"
    assert reason_of(bare) == "ValueError: bare"
