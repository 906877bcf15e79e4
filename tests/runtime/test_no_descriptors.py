"""A moment without free descriptors, or one call that fails, costs no run its result or its slot.

C6: no fault in reading a record is reported as success or as a different exit status. The commands
are real; the limit on open files is the process's own, lowered for a while.
"""

from __future__ import annotations

import builtins
import errno
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from commandkit import THEN, claimed_run

from descriptors import no_descriptors
from tenure.client.status import read_status
from tenure.domain.job import Command, Definition
from tenure.domain.policy.evidence import Identity
from tenure.domain.run import Result, Run, RunState
from tenure.domain.schedule.model import every_schedule
from tenure.host.clocks import SystemClock
from tenure.host.processes import is_alive
from tenure.runtime.commands import child, terminate
from tenure.runtime.commands import runner as command_runner
from tenure.runtime.commands.child import RecordUnreadable, read_exit
from tenure.runtime.commands.gate import GatedCommand
from tenure.runtime.commands.inbox import Inbox
from tenure.runtime.commands.runner import CommandRunner
from tenure.store.contract import RunFilter
from testkit.cluster import Cluster
from waiting import eventually

pytestmark = pytest.mark.real

SLOTS = 4
DRAW_BREATH = timedelta(seconds=0.05)


@dataclass
class Bench:
    """A runner, and what it reported."""

    runner: CommandRunner
    results: list[Result] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    gated: list[GatedCommand] = field(default_factory=list)
    count: int = 0

    def submit(self, line: str, timeout: timedelta | None = None) -> Run:
        self.count += 1
        run = claimed_run(f"r{self.count}")
        wants = Definition(
            name="job",
            schedule=every_schedule(timedelta(hours=1), THEN),
            action=Command(argv=(line,), shell=True, cwd="/"),
            timeout=timeout,
        )
        self.runner.submit(run, wants)
        return run

    def ended(self, count: int) -> list[Result]:
        return eventually(
            lambda: self.results if len(self.results) >= count else [], f"{count} results"
        )

    def is_idle(self) -> bool:
        return self.runner.active() == 0 and self.runner.room() == SLOTS


def make_bench(folder: Path) -> Bench:
    class BenchInbox(Inbox):
        def report(self, result: Result) -> None:
            made.results.append(result)

        def at_gate(self, run: Run, gated: GatedCommand) -> None:
            made.gated.append(gated)
            gated.open_gate()

        def note(self, run: Run, why: str) -> None:
            made.notes.append(why)

    made = Bench(
        CommandRunner(
            process="p",
            logs=folder,
            slots=SLOTS,
            log_size=100_000,
            environment=dict,
            clock=SystemClock(),
            inbox=BenchInbox(),
            grace=DRAW_BREATH,
        )
    )
    return made


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = make_bench(tmp_path)
    yield made
    made.runner.close()
    for gated in made.gated:
        if is_alive(gated.identity):
            os.killpg(gated.identity.pid, signal.SIGKILL)


def started(bench: Bench, count: int) -> None:
    eventually(lambda: len(bench.gated) == count, f"{count} commands at their gate")


def test_commands_that_end_without_descriptors_keep_their_true_result(
    bench: Bench, tmp_path: Path
) -> None:
    """Their slots are free at once, for their processes are gone; the runs wait for a read."""
    go = tmp_path / "go"
    for _ in range(SLOTS):
        bench.submit(f"while ! test -e {go}; do sleep 0.01; done; exit 7")
    started(bench, SLOTS)
    assert bench.runner.room() == 0
    sleeper = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.2; : > {go}"])
    with no_descriptors():
        eventually(lambda: bench.runner.room() == SLOTS, "the slots to be free")
        assert bench.runner.active() == SLOTS
        assert bench.results == []
        assert len(bench.notes) == SLOTS
        assert "Too many open files" in bench.notes[0]
    ended = bench.ended(SLOTS)
    assert [(r.state, r.exit_code) for r in ended] == [(RunState.FAILED, 7)] * SLOTS
    eventually(bench.is_idle, "an idle runner")
    sleeper.wait()


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_what_is_to_be_ended_without_descriptors_is_ended_after_all(
    bench: Bench, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = bench.submit("sleep 600", timedelta(seconds=0.5) if how == "timeout" else None)
    started(bench, 1)
    with no_descriptors():
        if how == "cancel":
            assert bench.runner.cancel(run.id)
        eventually(lambda: "cannot be ended now" in caplog.text, "a word in the log")
        assert bench.results == []
        assert bench.runner.active() == 1
    [result] = bench.ended(1)
    state = RunState.TIMED_OUT if how == "timeout" else RunState.CANCELLED
    assert result.state is state
    assert caplog.text.count("cannot be ended now") == 1
    eventually(lambda: is_alive(bench.gated[0].identity) is False, "the command's death")
    eventually(bench.is_idle, "an idle runner")


def test_a_cancel_of_a_run_that_has_ended_waits_for_its_true_result(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one that stays unreadable for long is given up, and its result is not guessed."""
    broken = threading.Event()
    real = child.read_exit

    def read(path: Path, **options: Any) -> Any:
        if broken.is_set():
            raise RecordUnreadable(f"{path}: Input/output error")
        return real(path, **options)

    monkeypatch.setattr(child, "read_exit", read)
    broken.set()
    first = bench.submit("exit 0")
    eventually(lambda: bench.notes, "a record that cannot be read")
    assert bench.runner.cancel(first.id)
    bench.submit("exit 5")
    eventually(lambda: len(bench.notes) == 2, "the second record")
    assert bench.results == [], "not given up at once"
    broken.clear()
    assert {(r.run, r.state, r.exit_code) for r in bench.ended(2)} == {
        ("r1", RunState.SUCCEEDED, 0),
        ("r2", RunState.FAILED, 5),
    }
    broken.set()
    monkeypatch.setattr(command_runner, "GIVE_UP_AFTER_S", 0.01)
    third = bench.submit("exit 0")
    eventually(lambda: len(bench.notes) == 3, "the third record")
    assert bench.runner.cancel(third.id)
    last = bench.ended(3)[-1]
    assert (last.state, last.exit_code) == (RunState.CANCELLED, None)
    assert "how its command ended is not known" in last.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root is refused nothing")
def test_a_folder_without_permission_is_no_missing_record(bench: Bench, tmp_path: Path) -> None:
    bench.submit("sleep 0.3; exit 0")
    started(bench, 1)
    os.chmod(tmp_path, 0)
    try:
        eventually(lambda: bench.notes, "a record that cannot be read")
        assert bench.results == []
    finally:
        os.chmod(tmp_path, 0o700)
    assert bench.ended(1)[0].state is RunState.SUCCEEDED


def test_the_next_owner_reads_the_record_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C6: meanwhile the run is active, `status` says why, and no slot is taken."""
    with Cluster(tmp_path) as cluster:
        first, second = cluster.node("a"), cluster.node("b")
        wants = Definition(
            name="pay",
            schedule=every_schedule(timedelta(hours=24), cluster.clock.now()),
            action=Command(argv=("true",), cwd="/"),
            retry_lost=True,
            retries=1,
        )
        store = cluster.profile.store
        store.add_job(wants, by="test", now=cluster.clock.now())
        cluster.settle()
        cluster.clock.advance(timedelta(hours=24))
        with monkeypatch.context() as patched:
            patched.setattr(first.scheduler._commands, "_report_end", lambda active: None)

            def is_running() -> bool:
                first.turn()
                return [r.state for r in store.runs(RunFilter())[0]] == [RunState.RUNNING]

            eventually(is_running, "a command that runs")
            [run] = store.runs(RunFilter())[0]
            assert run.identity is not None
            record = first.scheduler.profile.folder.logs / run.id / "1.exit"
            eventually(lambda: read_exit(record).exit_code == 0, "its end")
            first.scheduler._commands.close()
            cluster.kill(first)
        with monkeypatch.context() as patched:
            refuses = RecordUnreadable(f"{record}: Input/output error")
            patched.setattr(child, "read_exit", raising(refuses))
            patched.setattr(terminate, "read_exit", raising(refuses))
            second.look()
            assert second.owns

            def is_noted() -> bool:
                second.turn()
                return bool(store.run(run.id).reason)

            eventually(is_noted, "a note of why it is still active")
            found = store.run(run.id)
            assert (found.state, found.holder) == (RunState.RUNNING, second.id)
            assert "Input/output error" in found.reason
            commands = second.scheduler._commands
            eventually(lambda: commands.room() == commands._slots, "a free slot")
            status = read_status(cluster.profile, cluster.clock.now())
            [warning] = [w for w in status.warnings if w.code == "record_unreadable"]
            assert run.id in warning.text
            assert f"tenure cancel {run.id}" in warning.remedy

        def has_ended() -> bool:
            cluster.clock.advance(5)
            second.look()
            second.turn()
            return store.run(run.id).state is RunState.SUCCEEDED

        eventually(has_ended, "its true result")
        assert len(store.runs(RunFilter())[0]) == 1
        assert store.run(run.id).attempt == 1, "it is not run again"


def raising(error: Exception) -> Callable[..., Any]:
    def call(*args: object, **options: object) -> None:
        raise error

    return call


# -- one call that fails ---------------------------------------------------------------------
CALLS = ("open", "listdir", "readlink", "stat", "pidfd_open", "waitid", "kill", "killpg", "fstat")
"""Calls of the os module that the runner's thread makes from the gate to the report."""


class OneFails:
    """The n-th call of the runner's thread fails, as if no descriptor or memory were free."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.failed = ""

    def wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if threading.current_thread().name == "tenure-commands" and not self.failed:
                self.left -= 1
                if self.left == 0:
                    self.failed = name
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return real(*args, **options)

        return call


SCENARIOS = {
    "ends": ("exit 3", None, False, {(RunState.FAILED, 3)}),
    "times out": (
        "sleep 600",
        timedelta(seconds=0.02),
        False,
        {(RunState.TIMED_OUT, 143), (RunState.TIMED_OUT, 137)},
    ),
    "cancelled": (
        "trap '' TERM; sleep 600; sleep 600",
        None,
        True,
        {(RunState.CANCELLED, 137), (RunState.CANCELLED, 143)},
    ),
}
NEVER_BEGAN = {(RunState.FAILED, None), (RunState.NEVER_RAN, None)}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whatever_single_call_fails_the_run_ends_truly_and_its_slot_comes_back(
    scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, timeout, cancels, right = SCENARIOS[scenario]
    failed: list[str] = []
    # Most calls of a list of processes are alike: each of the first, then some of the rest.
    for number in [*range(1, 41), *range(45, 400, 29)]:
        fault = OneFails(number)
        bench = make_bench(tmp_path / str(number))
        (tmp_path / str(number)).mkdir()
        with monkeypatch.context() as patched:
            for name in CALLS:
                patched.setattr(os, name, fault.wrap(name, getattr(os, name)))
            patched.setattr(builtins, "open", fault.wrap("open()", builtins.open))
            run = bench.submit(f"echo began; {line}", timeout)
            if cancels:
                eventually(lambda: bench.gated or bench.results, "a start")  # noqa: B023
                bench.runner.cancel(run.id)
            eventually(lambda: bench.results, f"an end, after call {number} ({fault.failed})")  # noqa: B023
            [result] = bench.results
            eventually(bench.is_idle, f"the slot, after call {number} ({fault.failed})")
        bench.runner.close()
        began = (tmp_path / str(number) / run.id / "1.log").exists() and (
            (tmp_path / str(number) / run.id / "1.log").read_text() != ""
        )
        seen = (result.state, result.exit_code)
        if scenario == "cancelled" and not began:
            # Also one that was ended between 'open' and its first line.
            assert seen in {*NEVER_BEGAN, (RunState.CANCELLED, None), *right}, number
        else:
            assert seen in (right if began else NEVER_BEGAN | right), (number, fault.failed)
        if fault.failed:
            failed.append(fault.failed)
        else:
            break
    assert {"open", "pidfd_open"} <= set(failed), failed


def test_no_shell_is_left_unreaped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that could not be watched closes its gate, ends, and is reaped all the same."""
    real = bench.runner._children.add
    left = [OSError(errno.EMFILE, "no descriptor")]

    shells: list[Identity] = []

    def add(key: str, identity: Identity) -> None:
        shells.append(identity)
        if left:
            raise left.pop()
        real(key, identity)

    monkeypatch.setattr(bench.runner._children, "add", add)
    bench.submit("exit 0")
    [result] = bench.ended(1)
    assert result.state is RunState.NEVER_RAN
    eventually(lambda: not _has_child(shells[0].pid), "the shell to be reaped")


def _has_child(pid: int) -> bool:
    """Whether it is still this process's child, alive or a zombie; it stays one."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
