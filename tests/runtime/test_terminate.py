"""Termination a command: asked, killed, its record kept; nobody of it left."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commandkit import SHELLS, ended, line, shell_path, spec

from descriptors import no_descriptors
from tenure.domain.errors import OutcomeUnknown
from tenure.domain.policy.evidence import Identity
from tenure.host.processes import identity_of, is_alive
from tenure.runtime.commands import terminate
from tenure.runtime.commands.child import Outcome, read_exit
from tenure.runtime.commands.gate import GatedCommand, spawn_gated
from tenure.runtime.commands.terminate import (
    SETTLE_S,
    Phase,
    SessionMember,
    Termination,
    kill_shell,
    members_of,
    signal_member,
    stop,
)
from waiting import DEADLINE, eventually

NOW = 100.0
LEADER = Identity(boot_id="b", pid=4_000_000, start=1)
MEMBER = SessionMember(pid=4_000_001, start=2, parent=4_000_000, session=4_000_000)


class Fake:
    """A command that obeys or not, without processes."""

    def __init__(self, *, members: int, shell: bool = True) -> None:
        self.rounds = members
        self.shell = shell
        self.begun: list[bool] = []
        """Whether the job's program has begun, at each look; then True."""
        self.sent: list[str] = []

    def send(
        self, leader: Identity, *, number: signal.Signals, seen: tuple[SessionMember, ...] = ()
    ) -> tuple[SessionMember, ...]:
        self.sent.append(number.name)
        if number is signal.SIGKILL:
            self.rounds -= 1
        return (MEMBER,) if self.rounds > 0 else ()

    def kill_shell(self, leader: Identity) -> None:
        self.sent.append("shell")
        self.shell = False

    def ending(self, grace: float, **changes: signal.Signals) -> Termination:
        return Termination(
            LEADER,
            grace=timedelta(seconds=grace),
            send=self.send,
            kill_leader=self.kill_shell,
            alive=lambda _: self.shell,
            begun=lambda _: self.begun.pop(0) if self.begun else True,
            **changes,
        )


def test_first_the_signal_then_nothing_until_the_grace_is_over() -> None:
    fake = Fake(members=5)
    ending = fake.ending(10, number=signal.SIGINT)
    assert ending.step(NOW) == NOW + 10
    assert ending.step(NOW + 9.9) == NOW + 10
    assert fake.sent == ["SIGINT"]
    assert ending.phase is Phase.ASKED


def test_a_program_that_had_not_begun_is_asked_again() -> None:
    fake = Fake(members=5)
    fake.begun = [False, False]
    ending = fake.ending(10)
    again = ending.step(NOW)
    assert again is not None
    assert NOW < again < NOW + 0.1
    assert ending.step(again) == again + (again - NOW)
    assert ending.step(again + 0.1) == NOW + 10
    assert ending.step(again + 0.2) == NOW + 10
    assert fake.sent == ["SIGTERM"] * 3


def test_after_the_grace_all_but_the_shell_are_killed_again_and_again() -> None:
    fake = Fake(members=3)
    ending = fake.ending(10)
    ending.step(NOW)
    again = ending.step(NOW + 10)
    assert again is not None
    assert NOW + 10 < again < NOW + 10.1
    ending.step(again)
    assert fake.sent == ["SIGTERM", "SIGKILL", "SIGKILL"]
    assert ending.phase is Phase.KILLING
    fake.shell = False
    assert ending.step(again + 0.1) is None
    assert (ending.phase, ending.survivors) == (Phase.DONE, ())
    assert "shell" not in fake.sent


def test_no_grace_kills_at_once() -> None:
    fake = Fake(members=2)
    fake.ending(0).step(NOW)
    assert fake.sent == ["SIGKILL"]


def test_the_shell_is_killed_last_and_survivors_are_named() -> None:
    fake = Fake(members=10_000)
    ending = fake.ending(0)
    ending.step(NOW)
    ending.step(NOW + SETTLE_S)
    assert ending.phase is Phase.LAST
    assert fake.sent[-2:] == ["shell", "SIGKILL"]
    assert ending.step(NOW + 2 * SETTLE_S) is None
    assert ending.survivors == (MEMBER,)
    assert ending.step(NOW + 3 * SETTLE_S) is None, "done stays done"


def test_a_look_that_fails_changes_no_phase() -> None:
    """The signal is still to be sent, and nothing passes for ended that was only not seen."""
    fake = Fake(members=2)
    real, faults = fake.send, [OSError(24, "no descriptor")]

    def send(*args: Any, **options: Any) -> tuple[SessionMember, ...]:
        if faults:
            raise faults.pop()
        return real(*args, **options)

    ending = fake.ending(10)
    ending._send = send
    with pytest.raises(OSError, match="no descriptor"):
        ending.step(NOW)
    assert ending.step(NOW + 1) == NOW + 11
    assert fake.sent == ["SIGTERM"]
    faults.append(OSError(24, "no descriptor"))
    with pytest.raises(OSError, match="no descriptor"):
        ending.step(NOW + 11)
    ending.step(NOW + 11)
    assert fake.sent == ["SIGTERM", "SIGKILL"]
    assert ending.phase is Phase.KILLING


def test_a_shell_that_cannot_be_looked_at_is_not_taken_for_ended() -> None:
    fake = Fake(members=0)
    ending = fake.ending(0)
    ending._alive = lambda _: None
    assert ending.step(NOW) is not None
    assert ending.phase is Phase.KILLING


def test_without_descriptors_nothing_is_signalled_and_that_is_said(tmp_path: Path) -> None:
    command = spawn_gated(line("sleep 600"), folder=tmp_path / "r", attempt=1)
    command.open_gate()
    eventually(lambda: members_of(command.identity), "the job")
    with no_descriptors():
        with pytest.raises((OSError, OutcomeUnknown)):
            stop(command.identity)
        with pytest.raises((OSError, OutcomeUnknown)):
            members_of(command.identity)
    assert is_alive(command.identity)
    eventually(lambda: not stop(command.identity), "its processes' end")
    ended(command)


def test_another_boots_command_is_never_signalled() -> None:
    """The pid means somebody else now: here, the test itself."""
    own = identity_of(os.getpid())
    assert own is not None
    assert stop(dataclasses.replace(own, boot_id="another"), number=signal.SIGTERM) == ()
    assert stop(dataclasses.replace(own, pid_namespace="another")) == ()
    assert members_of(dataclasses.replace(own, start=own.start + 1)) == ()


# -- real processes ----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def patient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that gets no processor for two seconds is not killed before it has recorded."""
    if request.node.get_closest_marker("real"):
        monkeypatch.setattr(terminate, "SETTLE_S", DEADLINE)


def drive(ending: Termination) -> None:
    """As a poller does, by the real clock."""
    until = time.monotonic() + 3 * DEADLINE
    while (again := ending.step(time.monotonic())) is not None:
        assert time.monotonic() < until, f"the ending did not come to an end: {ending.phase}"
        time.sleep(max(0.0, min(0.02, again - time.monotonic())))


def started(text: str, folder: Path, shell: str = "/bin/sh") -> GatedCommand:
    """A job that has said 'up'."""
    command = spawn_gated(line(text), folder=folder, attempt=1, shell=shell)
    command.open_gate()
    eventually(lambda: b"up" in command.log_path.read_bytes(), "the job to be up")
    return command


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = shell_path(request.param, tmp_path)
    if path is None:
        pytest.skip(f"{request.param} is not installed")
    return path


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_job_that_obeys_is_recorded_with_its_signal(
    number: signal.Signals, shell: str, tmp_path: Path
) -> None:
    command = spawn_gated(
        spec(
            sys.executable,
            "-c",
            "import signal; signal.signal(2, signal.SIG_DFL);"
            "print('up', flush=True); signal.pause()",
        ),
        folder=tmp_path / "r",
        attempt=1,
        shell=shell,
    )
    command.open_gate()
    eventually(lambda: b"up" in command.log_path.read_bytes(), "the job to be up")
    stop(command.identity, number=number)
    exit_ = ended(command)
    assert (exit_.exit_code, exit_.signal) == (128 + number, number)
    assert command.log_path.read_bytes() == b"up\n"


def _step_until_gone(ending: Termination) -> bool:
    ending.step(time.monotonic())
    return is_alive(ending.leader) is False


@pytest.mark.real
def test_a_stop_at_any_moment_of_the_start_ends_the_command(shell: str, tmp_path: Path) -> None:
    """Also between the gate and the job, where the shell is alone and survives the signal."""
    for number in range(100):
        command = spawn_gated(
            line("sleep 600"), folder=tmp_path / f"r{number}", attempt=1, shell=shell
        )
        command.open_gate()
        until = time.monotonic() + number * 1e-5
        while time.monotonic() < until:
            pass
        ending = Termination(command.identity, grace=timedelta(seconds=2 * DEADLINE))
        eventually(partial(_step_until_gone, ending), "the shell to end")
        assert ended(command).exit_code in (143, None)


@pytest.mark.real
def test_a_job_that_cleans_up_keeps_its_own_exit_code(shell: str, tmp_path: Path) -> None:
    command = started(
        "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done", tmp_path / "r", shell
    )
    stop(command.identity)
    assert ended(command).exit_code == 5
    assert command.log_path.read_bytes().endswith(b"bye\n")


@pytest.mark.real
def test_a_job_that_ignores_term_is_killed_and_recorded(shell: str, tmp_path: Path) -> None:
    command = started("trap '' TERM; echo up; while :; do sleep 0.05; done", tmp_path / "r", shell)
    drive(Termination(command.identity, grace=timedelta(milliseconds=100)))
    exit_ = ended(command)
    assert (exit_.outcome, exit_.exit_code, exit_.signal) == (Outcome.EXITED, 137, signal.SIGKILL)


@pytest.mark.real
def test_a_stopped_job_can_be_ended(tmp_path: Path) -> None:
    command = started("echo up; kill -STOP $$; sleep 60", tmp_path / "r")
    stop(command.identity)
    assert ended(command).signal == signal.SIGTERM


FAMILY = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pids = [os.getpid()]
def child(leave):
    reader, writer = os.pipe()
    if os.fork() == 0:
        if leave:
            os.setsid()
        os.write(writer, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(reader, 1)
child(False)
child(True)
print("up", flush=True)
time.sleep(60)
"""


@pytest.mark.real
@pytest.mark.parametrize("proc", [True, False])
def test_members_are_found_alike_on_each_platform(
    proc: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psutil's way, run where it can be: it must list and end the same processes."""
    command = started("sleep 60 & echo up; wait", tmp_path / "r")
    eventually(lambda: len(members_of(command.identity)) == 2, "the job's child")
    monkeypatch.setattr(terminate, "_HAS_PROC", proc)
    members = members_of(command.identity)
    assert len(members) == 2
    assert {member.session for member in members} == {command.identity.pid}
    assert all(signal_member(member, signal.SIGKILL) for member in members)
    stale = dataclasses.replace(members[0], start=members[0].start + 1)
    monkeypatch.undo()
    assert ended(command).signal == signal.SIGKILL
    assert not signal_member(stale, signal.SIGKILL)


@pytest.mark.real
def test_grandchildren_end_too_also_one_that_left_the_session(tmp_path: Path) -> None:
    command = spawn_gated(spec(sys.executable, "-c", FAMILY), folder=tmp_path / "r", attempt=1)
    command.open_gate()
    eventually(lambda: b"up" in command.log_path.read_bytes(), "the family to be up")
    members = members_of(command.identity)
    assert len(members) == 3
    assert len({member.session for member in members}) == 2
    drive(Termination(command.identity, grace=timedelta(milliseconds=50)))
    assert read_exit(command.exit_path).signal == signal.SIGKILL
    for member in members:
        eventually(lambda pid=member.pid: identity_of(pid) is None, "a grandchild's end")


@pytest.mark.real
def test_a_command_stopped_whole_is_ended_and_recorded(tmp_path: Path) -> None:
    command = started("echo up; sleep 60", tmp_path / "r")
    os.killpg(command.identity.pid, signal.SIGSTOP)
    drive(Termination(command.identity, grace=timedelta(seconds=0)))
    assert ended(command).signal == signal.SIGKILL


@pytest.mark.real
def test_the_shell_itself_killed_leaves_its_record_as_it_is(tmp_path: Path) -> None:
    command = started("echo up; sleep 60", tmp_path / "r")
    kill_shell(command.identity)
    assert ended(command).outcome is Outcome.NO_RECORD
    kill_shell(command.identity)
    stop(command.identity)
    eventually(lambda: members_of(command.identity) == (), "the job's end without its shell")


@pytest.mark.real
def test_a_job_that_forks_without_end_is_ended(tmp_path: Path) -> None:
    command = started("echo up; while :; do sleep 60 & sleep 0.002; done", tmp_path / "r")
    drive(Termination(command.identity, grace=timedelta(seconds=0)))
    assert members_of(command.identity) == ()
    assert ended(command).signal == signal.SIGKILL


DAEMON = """
import os, time
if os.fork() == 0:
    {leave}
    if os.fork() == 0:
        print("daemon", os.getpid(), flush=True)
        time.sleep(60)
    os._exit(0)
os.wait()
print("up", flush=True)
time.sleep(60)
"""


@pytest.mark.real
def test_a_double_fork_within_the_session_does_not_get_away(tmp_path: Path) -> None:
    command = spawn_gated(
        spec(sys.executable, "-c", DAEMON.format(leave="pass")), folder=tmp_path / "r", attempt=1
    )
    command.open_gate()
    eventually(lambda: command.log_path.read_bytes().count(b"\n") == 2, "the daemon to be up")
    daemon = int(command.log_path.read_bytes().split(b"daemon ")[1].split()[0])
    drive(Termination(command.identity, grace=timedelta(seconds=0)))
    eventually(lambda: identity_of(daemon) is None, "the daemon's end")


@pytest.mark.real
def test_a_daemon_that_left_unseen_gets_away_as_documented(tmp_path: Path) -> None:
    """The edge of what can be seen without a cgroup; the record is right all the same."""
    code = DAEMON.format(leave="os.setsid()")
    command = spawn_gated(spec(sys.executable, "-c", code), folder=tmp_path / "r", attempt=1)
    command.open_gate()
    eventually(lambda: command.log_path.read_bytes().count(b"\n") == 2, "the daemon to be up")
    daemon = int(command.log_path.read_bytes().split(b"daemon ")[1].split()[0])
    try:
        drive(Termination(command.identity, grace=timedelta(seconds=0)))
        assert identity_of(daemon) is not None
        assert ended(command).signal == signal.SIGKILL
    finally:
        os.kill(daemon, signal.SIGKILL)


@pytest.mark.real
def test_at_the_gate_an_ending_means_never(tmp_path: Path) -> None:
    command = spawn_gated(spec("true"), folder=tmp_path / "r", attempt=1)
    drive(Termination(command.identity, grace=timedelta(milliseconds=100)))
    assert is_alive(command.identity) is False
    assert not command.open_gate()
    assert ended(command).outcome is Outcome.NEVER_RAN
