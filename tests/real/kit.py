"""What the tests with real processes share: a home, its processes, and waiting with a deadline.

Every process is started in a session of its own and ended by pid; the commands of the profile
lead sessions of their own too and are ended by what the store knows of them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from commands import Answer
from freezing import freeze, freeze_between_transactions, is_frozen
from tenure.audit.reader import audit_store, render_report
from tenure.domain.errors import CorruptStore, NotFound, StoreBlocked
from tenure.domain.job import Command, Definition, Job
from tenure.domain.ownership import Ownership, OwnershipState
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.run import ACTIVE, FINAL, Run, RunState
from tenure.domain.schedule.model import at_schedule
from tenure.host.processes import is_alive
from tenure.runtime.commands.terminate import members_of
from tenure.runtime.ownership.control import nudge
from tenure.runtime.profile import Profile
from tenure.store.contract import RunFilter
from waiting import DEADLINE, eventually

HERE = Path(__file__).parent
PYTHON = sys.executable
TENURE = Path(PYTHON).parent / "tenure"


def now() -> datetime:
    return datetime.now(UTC)


def state_of(pid: int) -> str | None:
    """The letter of a process's state in /proc (R, S, T, Z ...); None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


class Started:
    """One process of ours. Frozen, woken and killed by its pid."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def freeze(self) -> None:
        freeze(self.pid)

    def wait_frozen(self) -> None:
        eventually(lambda: is_frozen(self.pid), f"pid {self.pid} to stand still")

    def wake(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)

    def wait_end(self, within: float = DEADLINE) -> int:
        return self.process.wait(within)

    def said(self) -> str:
        return self.log.read_text(errors="replace")


class World:
    """A profile in a temporary home, seen through its store, and the processes started on it."""

    def __init__(
        self, folder: Path, *, toml: str = "", profile: str = "la", home: Path | None = None
    ) -> None:
        """``home``: one that several profiles share; else one of its own."""
        self.folder = folder
        self.home = home or folder / "home"
        self.name = profile
        self.processes: list[Started] = []
        self.profile = Profile.open(profile, home=self.home, create=True, now=now())
        self.store = self.profile.store
        if toml:
            self.policy(toml)

    # -- processes ---------------------------------------------------------------------------
    def policy(self, toml: str) -> None:
        self.profile.folder.toml.write_text(toml)

    def environ(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TENURE_", "COVERAGE_"))}
        return {**kept, "TENURE_HOME": str(self.home), "TENURE_PROFILE": self.name, **more}

    def start(
        self, argv: Sequence[str | Path], *, env: dict[str, str] | None = None, **options: Any
    ) -> Started:
        log = self.folder / f"process-{len(self.processes)}.log"
        with open(log, "wb") as out:
            process = subprocess.Popen(
                argv,
                stdin=options.pop("stdin", subprocess.DEVNULL),
                stdout=options.pop("stdout", out),
                stderr=out,
                env=self.environ(**(env or {})),
                start_new_session=True,
                **options,
            )
        started = Started(process, log)
        self.processes.append(started)
        return started

    def serve(self, *options: str, **more: Any) -> Started:
        """``tenure serve`` as its user would start it."""
        return self.start([TENURE, "serve", *options], **more)

    def scripted(
        self, place: str = "-", number: signal.Signals = signal.SIGKILL, **more: str
    ) -> Started:
        """An owner that strikes itself at a place; see scripted.py."""
        argv = [PYTHON, HERE / "scripted.py", self.home, self.name, place, number.name]
        return self.start(argv, env=more)

    def script(self, code: str, *arguments: str | Path, **more: Any) -> Started:
        """A Python program of the test's own."""
        return self.start([PYTHON, "-c", code, *map(str, arguments)], **more)

    def tenure(self, *argv: str, within: float = DEADLINE) -> Answer:
        """One command of the command line, in a process of its own, to its end."""
        done = subprocess.run(
            [str(TENURE), *argv],
            env=self.environ(),
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    # -- jobs and runs -----------------------------------------------------------------------
    def job(self, line: str, *, name: str = "work", soon: float = 0.0, **fields: Any) -> Job:
        """A command that is due once, ``soon`` seconds from now: exactly one fire."""
        wants = Definition(
            name=name,
            schedule=at_schedule(now() + timedelta(seconds=soon)),
            action=Command(argv=(line,), shell=True, cwd=str(self.folder)),
            **fields,
        )
        made = self.store.add_job(wants, by="test", now=now() - timedelta(seconds=1))
        self.nudge()
        return made

    def nudge(self) -> None:
        """Tell who owns to look now, as the command line does."""
        owner = self.ownership().process
        if owner is not None:
            nudge(self.store.process(owner).socket, {"nudge": "jobs"}, 0.1)

    def runs(self, **where: Any) -> tuple[Run, ...]:
        return self.store.runs(RunFilter(**where))[0]

    def run(self) -> Run:
        """The only run there is."""
        (run,) = self.runs()
        return run

    def freeze_outside_a_transaction(self, process: Started) -> None:
        """So that the store is not blocked by it."""
        freeze_between_transactions(process.pid, self.profile.folder.database)

    def wait_run(self, *states: RunState, within: float = DEADLINE) -> Run:
        """The only run, once it is in one of these states."""

        def look() -> Run | None:
            runs = self.runs()
            assert len(runs) <= 1, f"more than one run: {runs}"
            return runs[0] if runs and runs[0].state in states else None

        found = eventually(look, f"a run that is {' or '.join(states)}", within)
        assert found is not None
        return found

    def wait_end(self, within: float = DEADLINE) -> Run:
        return self.wait_run(*FINAL, within=within)

    # -- who owns ----------------------------------------------------------------------------
    def ownership(self) -> Ownership:
        return self.store.ownership()

    def member(self, started: Started) -> Process | None:
        """The row of a process of ours."""
        for process in self.store.processes(gone=True):
            if process.evidence.identity.pid == started.pid:
                return process
        return None

    def owns(self, started: Started) -> bool:
        current, member = self.ownership(), self.member(started)
        return (
            current.hold is OwnershipState.HELD
            and member is not None
            and current.process == member.id
        )

    def wait_owner(self, started: Started, within: float = DEADLINE) -> None:
        def look() -> bool:
            assert started.process.poll() is None, f"it ended: {started.said()}"
            return self.owns(started)

        eventually(look, f"pid {started.pid} to own", within)

    def wait_standing(
        self, started: Started, *standings: ProcessStatus, within: float = DEADLINE
    ) -> Process:
        def look() -> Process | None:
            member = self.member(started)
            settled = member is not None and member.why != "just joined"
            return member if settled and member and member.standing in standings else None

        found = eventually(look, f"pid {started.pid} to be {' or '.join(standings)}", within)
        assert found is not None
        return found

    # -- the end -----------------------------------------------------------------------------
    def check_audit(self) -> None:
        report = audit_store(self.store, now())
        assert report.clean, "\n".join(render_report(report))

    def close(self) -> None:
        """End every process of ours with its session, and the commands that outlived them."""
        for started in self.processes:
            if started.process.poll() is None:  # not reaped: the number is still its group's
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(started.pid, signal.SIGKILL)
            started.kill()
        with contextlib.suppress(
            StoreBlocked, NotFound, CorruptStore
        ):  # or its files were replaced
            for run in self.runs():
                self._end_command(run)
        self.profile.close()

    def _end_command(self, run: Run) -> None:
        if run.identity is None:
            return
        for member in members_of(run.identity):
            with contextlib.suppress(OSError):
                os.kill(member.pid, signal.SIGKILL)
        if is_alive(run.identity):
            with contextlib.suppress(OSError):
                os.kill(run.identity.pid, signal.SIGKILL)


class Canary:
    """A file to which a job's first instruction adds a line."""

    def __init__(self, folder: Path, name: str = "canary") -> None:
        self.path = folder / name

    @property
    def sing(self) -> str:
        """The shell words that say so."""
        return f"echo sang >> {self.path}"

    @property
    def times(self) -> int:
        try:
            return len(self.path.read_text().splitlines())
        except FileNotFoundError:
            return 0

    def wait(self) -> None:
        eventually(lambda: self.times, "the job's first instruction")


__all__ = ["ACTIVE", "Answer", "Canary", "Started", "World", "eventually", "is_frozen", "now"]
