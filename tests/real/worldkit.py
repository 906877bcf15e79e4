"""A home of its own, real `tenure` processes in it, and waiting with a deadline."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commands import Answer
from tenure.surfaces.cli import main
from waiting import DEADLINE, eventually

TENURE = (sys.executable, "-m", "tenure.surfaces.cli.main")
ROOT = os.geteuid() == 0
SOURCE = Path(__file__).resolve().parents[2] / "src"


class Serve:
    """One `tenure serve`; its log is a file."""

    def __init__(self, argv: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.log_path = log
        with open(log, "wb") as file:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=dict(env),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def says(self, text: str, within: float = DEADLINE) -> None:
        def said() -> bool:
            return text in self.log or self.process.poll() is not None

        eventually(said, f"{text!r} in the log:\n{self.log}", within)
        assert text in self.log, f"it ended with {self.process.returncode}:\n{self.log}"

    def kill(self) -> None:
        """As kill -9, and its process group with it: a namespace's init among them."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE)

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait(DEADLINE)


class Command:
    """One `tenure ...`; what it prints goes to files."""

    def __init__(
        self, pid: int, paths: list[Path], popen: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.pid = pid
        self.paths = paths
        self._popen = popen

    def wait(self, within: float) -> int:
        if self._popen is not None:
            return self._popen.wait(within)
        ended: list[int] = []

        def over() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                ended.append(os.waitstatus_to_exitcode(status))
            return bool(pid)

        eventually(over, f"the end of pid {self.pid}", within)
        return ended[0]

    def kill(self) -> None:
        if self._popen is None:
            os.kill(self.pid, signal.SIGKILL)
        else:
            self._popen.kill()
        self.wait(DEADLINE)


def _fork(arguments: Sequence[str], env: Mapping[str, str], fds: tuple[int, int]) -> int:
    for module in {where.partition(":")[0] for where, _ in main.VERBS.values()}:
        importlib.import_module(module)
    pid = os.fork()
    if pid:
        return pid
    try:
        os.dup2(fds[0], 1)
        os.dup2(fds[1], 2)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        warnings.resetwarnings()
        os.environ.clear()
        os.environ.update(env)
        signal.alarm(0)
        code = main.main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    finally:
        os._exit(99)


class World:
    """A home and what was started in it; :meth:`close` ends all of it."""

    def __init__(self, folder: Path, home: str = "home") -> None:
        self.folder = folder
        self.home = folder / home
        self.started: list[Serve] = []
        self.commands: list[Command] = []
        self._numbers = itertools.count()

    @property
    def profile(self) -> Path:
        return self.home / "profiles" / "default"

    @property
    def database(self) -> Path:
        return self.profile / "tenure.db"

    @property
    def toml(self) -> Path:
        return self.profile / "profile.toml"

    def env(self, home: Path | None = None) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TENURE_")}
        return {**kept, "TENURE_HOME": str(home or self.home), "PYTHONUNBUFFERED": "1"}

    def serve(
        self,
        *options: str,
        home: Path | None = None,
        prefix: Sequence[str] = (),
        tenure: Sequence[str] = TENURE,
        env: Mapping[str, str] | None = None,
    ) -> Serve:
        argv = [*prefix, *tenure, "serve", *options]
        log = self.folder / f"serve-{len(self.started)}.log"
        one = Serve(argv, log, {**self.env(home), **(env or {})})
        self.started.append(one)
        return one

    def owner(self, **how: Any) -> Serve:
        """A `serve` that owns by now."""
        one = self.serve(**how)
        one.says("owner of default")
        return one

    def begin(
        self,
        *arguments: str,
        home: Path | None = None,
        prefix: Sequence[str] = (),
        tenure: Sequence[str] = TENURE,
        env: Mapping[str, str] | None = None,
        out: int | None = None,
    ) -> Command:
        """A command that goes on meanwhile: a process of its own, in either case.

        Unless it is to be somebody else (``prefix``, ``tenure``) it is a fork of this process,
        which saves an interpreter's start for each.
        """
        name = f"command-{os.getpid()}-{next(self._numbers)}"  # a fork may use this world too
        paths = [self.folder / f"{name}.{end}" for end in ("out", "err")]
        environment = {**self.env(home), **(env or {})}
        with open(paths[0], "wb") as stdout, open(paths[1], "wb") as stderr:
            fds = (stdout.fileno() if out is None else out, stderr.fileno())
            if prefix or tenure is not TENURE:
                pid = subprocess.Popen(
                    [*prefix, *tenure, *arguments],
                    stdin=subprocess.DEVNULL, stdout=fds[0], stderr=fds[1], env=environment,
                )  # fmt: skip
                one = Command(pid.pid, paths, pid)
            else:
                one = Command(_fork(arguments, environment, fds), paths)
        self.commands.append(one)
        return one

    def end(self, command: Command, within: float = 60.0) -> Answer:
        code = command.wait(within)
        self.commands.remove(command)
        out, err = (path.read_text(errors="replace") for path in command.paths)
        return Answer(code, out, err)

    def tenure(self, *arguments: str, **how: Any) -> Answer:
        """Run one command to its end."""
        return self.end(self.begin(*arguments, **how))

    def ok(self, *arguments: str, **how: Any) -> Answer:
        answer = self.tenure(*arguments, **how)
        assert answer.code == 0, answer
        return answer

    def status(self, **how: Any) -> Answer:
        answer = self.tenure("status", "--json", **how)
        assert answer.code in (0, 1), answer
        return answer

    def add(self, *more: str, name: str = "job", every: str = "every 1h", **how: Any) -> Answer:
        return self.ok("add", every, "--name", name, *more, "--", "true", **how)

    def trigger(self, job: str = "job", **how: Any) -> Answer:
        return self.tenure("trigger", job, "--wait", "--json", **how)

    def audit(self, **how: Any) -> None:
        answer = self.tenure("audit", **how)
        assert answer.code == 0, answer

    def rows(self, sql: str, *values: Any, database: Path | None = None) -> list[Any]:
        """Straight from the file, in a process that is no member."""
        db = sqlite3.connect(f"file:{database or self.database}?mode=ro", uri=True)
        try:
            return db.execute(sql, values).fetchall()
        finally:
            db.close()

    def term(self) -> int:
        return int(json.loads((self.profile / "profile.id").read_text())["term"])

    def close(self) -> None:
        for command in self.commands:
            command.kill()
        for one in self.started:
            one.kill()
