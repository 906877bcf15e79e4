"""What the tests of commands share: shells, waiting with a deadline, an owner to be killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tenure.domain.policy.evidence import Identity
from tenure.domain.run import Cause, Run, RunState
from tenure.host.processes import is_alive
from tenure.runtime.commands.child import Children, ExitRecord, read_exit
from tenure.runtime.commands.gate import CommandSpec, GatedCommand, spawn_gated
from waiting import DEADLINE

THEN = datetime(2026, 1, 1, tzinfo=UTC)
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
PYTHONPATH = os.pathsep.join(str(folder) for folder in Path(__file__).parents[:2])
"""For a process of a test's own that imports this."""
SHELLS = ["/bin/sh", "dash", "bash", "busybox"]


def shell_path(name: str, folder: Path) -> str | None:
    """Where a shell is, as something to be called `sh`; None if it is not installed."""
    path = shutil.which(name)
    if path is None or name.startswith("/"):
        return path
    link = folder / f"shell-{name}" / "sh"
    link.parent.mkdir(exist_ok=True)
    if not link.exists():
        link.symlink_to(path)
    return str(link)


def claimed_run(id: str, job_name: str = "job") -> Run:
    """A first attempt, as the dispatcher hands it to a command runner."""
    return Run(
        id=id,
        job="j",
        job_name=job_name,
        revision=1,
        fire_time=THEN,
        cause=Cause.SCHEDULE,
        state=RunState.CLAIMED,
        term=1,
        process="p",
        holder="p",
        policy_version=0,
        protected=False,
        attempt=1,
        claimed_at=THEN,
    )


def spec(*argv: str, **changes: Any) -> CommandSpec:
    return CommandSpec(**{"argv": argv, "cwd": "/", "env": ENV, **changes})


def line(text: str, **changes: Any) -> CommandSpec:
    return spec(text, shell=True, **changes)


def wait_for(children: Children, runs: set[str], timeout: float) -> set[str]:
    """Poll until all ``runs`` ended or ``timeout`` seconds passed; returns those left."""
    until = time.monotonic() + timeout
    left = set(runs)
    while left and (rest := until - time.monotonic()) > 0:
        left -= set(children.poll(rest))
    return left


def ended(command: GatedCommand) -> ExitRecord:
    """The exit of a command once its shell has ended, by its record."""
    return ended_of(command.identity, command.exit_path)


def ended_of(identity: Identity, exit_path: Path) -> ExitRecord:
    with Children() as children:
        children.add("it", identity)
        assert not wait_for(children, {"it"}, DEADLINE), "the shell did not end in time"
    return read_exit(exit_path, shell_gone=True)


def run(job: CommandSpec, folder: Path, **changes: Any) -> tuple[ExitRecord, bytes]:
    """Run a job to its end: exit and output."""
    command = spawn_gated(job, **{"folder": folder, "attempt": 1, **changes})
    assert command.open_gate()
    return ended(command), command.log_path.read_bytes()


OWNER = """
import json, os, signal, sys, time
from pathlib import Path
from tenure.runtime.commands.gate import CommandSpec
from tenure.runtime.commands.gate import spawn_gated

job = json.loads(sys.argv[1])
command = spawn_gated(
    CommandSpec(argv=tuple(job["argv"]), shell=job["shell"], cwd="/", env=job["env"]),
    folder=Path(job["folder"]), attempt=1)
who = command.identity
fork = os.fork() if job["fork"] else None
if fork == 0:
    os.write(1, b"forked %d\\n" % os.getpid())
    time.sleep(60)
    os._exit(0)
told = json.dumps([who.boot_id, who.pid, who.start, who.pid_namespace])
os.write(1, told.encode() + b"\\n")  # at once: the child writes to this pipe too
for order in sys.stdin:
    if order == "open\\n":
        print(json.dumps(command.open_gate()), flush=True)
"""


class Owner:
    """A process of its own that holds a gate and does as it is told."""

    def __init__(
        self, job: CommandSpec, folder: Path, *, fork: bool = False, code: str = OWNER
    ) -> None:
        told = {
            "argv": job.argv,
            "shell": job.shell,
            "env": dict(job.env),
            "folder": str(folder),
            "fork": fork,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(told)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.forked: int | None = None
        try:
            self._hear(folder, fork)
        except BaseException:
            self.process.kill()
            self.process.communicate()
            raise

    def _hear(self, folder: Path, fork: bool) -> None:
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        if answer.startswith("forked"):
            self.forked = int(answer.split()[1])
            answer = self.process.stdout.readline()
        elif fork:
            self.forked = int(self.process.stdout.readline().split()[1])
        boot, pid, start, namespace = json.loads(answer)
        self.command = Identity(boot_id=boot, pid=pid, start=start, pid_namespace=namespace)
        self.exit_path = folder / "1.exit"

    def say(self, order: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        if self.forked is not None:
            os.kill(self.forked, signal.SIGKILL)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        if is_alive(self.command):
            os.killpg(self.command.pid, signal.SIGKILL)


@contextmanager
def owner(job: CommandSpec, folder: Path, **changes: Any) -> Iterator[Owner]:
    it = Owner(job, folder, **changes)
    try:
        yield it
    finally:
        it.close()


def read_env(output: bytes) -> Mapping[str, str]:
    """The output of `env -0`."""
    pairs = [entry.decode().split("=", 1) for entry in output.split(b"\0") if entry]
    return dict(pairs)
