"""C4, C6: each place where a command's life can be cut, with an owner that really dies."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commandkit import (
    PYTHONPATH,
    SHELLS,
    ended,
    ended_of,
    line,
    owner,
    shell_path,
    spec,
    wait_for,
)

from freezing import freeze
from tenure.host.processes import identity_of, is_alive
from tenure.runtime.commands import terminate
from tenure.runtime.commands.child import (
    Children,
    Outcome,
    RecordUnreadable,
    Stage,
    read_exit,
)
from tenure.runtime.commands.gate import spawn_gated
from tenure.runtime.commands.terminate import members_of
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real
# A shell that gets no processor for a second has not been stopped: the next look would try again.
abort_at_gate = partial(terminate.abort_at_gate, patience=DEADLINE)


def test_killed_before_the_gate_opened_never_ran(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with owner(line(f"touch {canary}"), tmp_path / "r") as it:
        it.kill()
        exit_ = ended_of(it.command, it.exit_path)
    assert (exit_.outcome, exit_.stage) == (Outcome.NEVER_RAN, Stage.DONE)
    assert not canary.exists()


def test_killed_while_the_job_runs_its_exit_code_is_read_by_another_process(
    tmp_path: Path,
) -> None:
    go = tmp_path / "go"
    job = line(f"echo before; until test -e {go}; do sleep 0.01; done; echo after; exit 7")
    with owner(job, tmp_path / "r") as it:
        it.say("open")
        assert it.answer() is True
        log = tmp_path / "r" / "1.log"
        eventually(lambda: log.read_bytes() == b"before\n", "the job's first line")
        it.kill()
        assert is_alive(it.command)
        assert read_exit(it.exit_path).stage is Stage.OPEN
        with Children() as children:
            children.add("adopted", it.command)
            assert children.poll(0) == []
            go.touch()
            assert not wait_for(children, {"adopted"}, DEADLINE), "the adopted command did not end"
        exit_ = read_exit(it.exit_path)
        assert (exit_.outcome, exit_.exit_code) == (Outcome.EXITED, 7)
        assert log.read_bytes() == b"before\nafter\n"


def test_killed_between_exit_and_reading(tmp_path: Path) -> None:
    with owner(line("exit 7"), tmp_path / "r") as it:
        it.say("open")
        eventually(lambda: read_exit(it.exit_path).stage is Stage.DONE, "the exit record")
        it.kill()
        assert ended_of(it.command, it.exit_path).exit_code == 7


def test_frozen_at_the_gate_and_killed_while_frozen(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with owner(line(f"touch {canary}"), tmp_path / "r") as it:
        it.signal(signal.SIGSTOP)
        assert is_alive(it.command)
        it.kill()
        assert ended_of(it.command, it.exit_path).outcome is Outcome.NEVER_RAN
    assert not canary.exists()


@pytest.mark.parametrize("name", SHELLS)
def test_a_gate_held_by_a_frozen_owner_is_withdrawn_for_good(name: str, tmp_path: Path) -> None:
    """C3: however late the deposed owner wakes, it opens nothing."""
    shell = shell_path(name, tmp_path)
    if shell is None:
        pytest.skip(f"{name} is not installed")
    canary = tmp_path / "canary"
    command = spawn_gated(line(f"touch {canary}"), folder=tmp_path / "r", attempt=1, shell=shell)
    exit_ = abort_at_gate(command.identity, command.exit_path)
    assert exit_.outcome is Outcome.NEVER_RAN
    assert not command.open_gate()
    assert ended(command).outcome is Outcome.NEVER_RAN
    assert not canary.exists()


def test_withdrawing_from_a_real_frozen_owner(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with owner(line(f"touch {canary}"), tmp_path / "r") as it:
        it.signal(signal.SIGSTOP)
        assert abort_at_gate(it.command, it.exit_path).outcome is Outcome.NEVER_RAN
        it.signal(signal.SIGCONT)
        it.say("open")
        assert it.answer() is False
    assert not canary.exists()


def test_withdrawing_leaves_a_running_job_alone(tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = line(f"until test -e {go}; do sleep 0.01; done; exit 4")
    command = spawn_gated(job, folder=tmp_path / "r", attempt=1)
    command.open_gate()
    eventually(lambda: read_exit(command.exit_path).stage is Stage.OPEN, "the job's beginning")
    exit_ = abort_at_gate(command.identity, command.exit_path)
    assert (exit_.outcome, exit_.stage) == (Outcome.NO_RECORD, Stage.OPEN)
    go.touch()
    assert ended(command).exit_code == 4


def test_withdrawing_after_a_reboot_proves_nothing(tmp_path: Path) -> None:
    """The blank record may be one whose 'open' never reached the disk."""
    command = spawn_gated(spec("true"), folder=tmp_path / "r", attempt=1)
    before = dataclasses.replace(command.identity, boot_id="the boot before")
    exit_ = abort_at_gate(before, command.exit_path)
    assert (exit_.outcome, exit_.stage) == (Outcome.NO_RECORD, Stage.GATE)
    command.abandon()
    ended(command)
    assert abort_at_gate(before, command.exit_path).outcome is Outcome.NEVER_RAN, (
        "it says so itself"
    )


def test_withdrawing_gives_up_and_lets_go_when_it_cannot_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = spawn_gated(line("exit 3"), folder=tmp_path / "r", attempt=1)
    monkeypatch.setattr(terminate, "_is_stopped", lambda pid: False)
    exit_ = terminate.abort_at_gate(command.identity, command.exit_path, patience=0.01)
    assert (exit_.outcome, exit_.stage) == (Outcome.NO_RECORD, Stage.GATE)
    command.open_gate()
    assert ended(command).exit_code == 3


def test_withdrawing_that_cannot_read_the_record_lets_the_shell_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stopped for the look: a fault just then must not leave it stopped for ever."""
    command = spawn_gated(line("exit 3"), folder=tmp_path / "r", attempt=1)
    real, looks = terminate.read_exit, iter(range(9))

    def read(path: Path, **options: Any) -> Any:
        if next(looks) == 1:
            raise RecordUnreadable("no descriptor")
        return real(path, **options)

    monkeypatch.setattr(terminate, "read_exit", read)
    with pytest.raises(RecordUnreadable):
        terminate.abort_at_gate(command.identity, command.exit_path)
    command.open_gate()
    assert ended(command).exit_code == 3


def test_withdrawing_works_alike_with_psutil(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminate, "_HAS_PROC", False)
    command = spawn_gated(spec("true"), folder=tmp_path / "r", attempt=1)
    assert abort_at_gate(command.identity, command.exit_path).outcome is Outcome.NEVER_RAN
    assert ended(command).outcome is Outcome.NEVER_RAN


def test_withdrawing_races_with_opening_and_both_never_win(tmp_path: Path) -> None:
    outcomes = set()
    for number in range(40):
        canary = tmp_path / f"canary{number}"
        job = spec("touch", str(canary))
        command = spawn_gated(job, folder=tmp_path / str(number), attempt=1)
        if number % 4:
            command.open_gate()
        withdrawn = abort_at_gate(command.identity, command.exit_path)
        exit_ = ended(command)
        outcomes.add(exit_.outcome)
        assert exit_.outcome in (Outcome.EXITED, Outcome.NEVER_RAN)
        assert canary.exists() == (exit_.outcome is Outcome.EXITED)
        if withdrawn.outcome is Outcome.NEVER_RAN:
            assert exit_.outcome is Outcome.NEVER_RAN
    assert Outcome.NEVER_RAN in outcomes


def test_a_shell_killed_at_any_moment_never_proves_too_much(tmp_path: Path) -> None:
    """'Never ran' must be true whenever the kill strikes; lost is the honest answer otherwise."""
    luck = random.Random(5)
    outcomes = set()
    for number in range(80):
        canary = tmp_path / f"canary{number}"
        job = spec("touch", str(canary))
        command = spawn_gated(job, folder=tmp_path / str(number), attempt=1)
        if number == 0:  # once surely before its first instruction
            freeze(command.identity.pid)
        command.open_gate()
        if number == 1:  # and once surely after it
            eventually(canary.exists, "the job's first instruction")
        until = time.perf_counter() + luck.uniform(0, 0.004)
        while time.perf_counter() < until:
            pass
        os.kill(command.identity.pid, signal.SIGKILL)
        exit_ = ended(command)
        gone = partial(lambda identity: not members_of(identity), command.identity)
        eventually(gone, "the end of a job whose shell was killed")
        outcomes.add(exit_.outcome)
        if exit_.outcome is Outcome.NEVER_RAN:
            assert not canary.exists()
        if exit_.outcome is Outcome.EXITED:
            assert canary.exists()
    assert len(outcomes) > 1, "the kills all struck at the same place"


def test_a_fork_of_the_owner_does_not_hold_its_gates_open(tmp_path: Path) -> None:
    """A pre-forking server forks while commands stand at the gate; then it dies."""
    with owner(spec("true"), tmp_path / "r", fork=True) as it:
        assert it.forked is not None
        assert identity_of(it.forked) is not None
        it.kill()
        assert ended_of(it.command, it.exit_path).outcome is Outcome.NEVER_RAN


REAPING_HOST = textwrap.dedent(
    """
    import os, signal, sys, time
    from pathlib import Path
    from commandkit import line, read_exit, Children, wait_for, spawn_gated

    taken = []
    def reap(*_):
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                taken.append(pid)
        except ChildProcessError:
            pass
    signal.signal(signal.SIGCHLD, reap)
    with Children() as children:
        command = spawn_gated(line("exit 7"), folder=Path(sys.argv[1]), attempt=1)
        children.add("it", command.identity)
        command.open_gate()
        while command.identity.pid not in taken:  # the host is faster
            time.sleep(0.01)
        assert not wait_for(children, {"it"}, 60)
    exit_ = read_exit(command.exit_path)
    print(exit_.exit_code, command.identity.pid in taken)
    """
)


def test_a_host_that_reaps_everything_changes_no_exit_code(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", REAPING_HOST, str(tmp_path / "r")],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=environment,
        check=True,
    )
    assert done.stdout == "7 True\n"
    assert done.stderr == ""


def test_a_host_that_ignores_its_children_changes_no_exit_code(tmp_path: Path) -> None:
    """SIGCHLD ignored: the kernel itself reaps, and no wait status ever exists."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        command = spawn_gated(line("exit 7"), folder=tmp_path / "r", attempt=1)
        command.open_gate()
        assert ended(command).exit_code == 7
    finally:
        signal.signal(signal.SIGCHLD, before)
