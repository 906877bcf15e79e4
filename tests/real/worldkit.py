"""A home of its own, real `tenure` processes in it, and waiting with a deadline."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
DEADLINE = 20.0
TENURE = (sys.executable, "-m", "tenure.surfaces.cli.main")
ROOT = os.geteuid() == 0
SOURCE = Path(__file__).resolve().parents[2] / "src"


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        document = json.loads(self.out)
        assert document["v"] == 1
        return document

    @property
    def error(self) -> Any:
        """The error document; the remedy must be in it."""
        document = json.loads(self.err)
        assert document["error"]["remedy"], document
        return document["error"]

    @property
    def codes(self) -> set[str]:
        """The warnings of a status."""
        return {warning["code"] for warning in self.json["warnings"]}

    def warning(self, code: str) -> Any:
        found = [w for w in self.json["warnings"] if w["code"] == code]
        assert found, f"no warning {code}: {self.json['warnings']}"
        assert found[0]["remedy"]
        return found[0]


def eventually(reached: Callable[[], T], what: str, within: float = DEADLINE) -> T:
    until = time.monotonic() + within
    while not (value := reached()):
        if time.monotonic() > until:
            raise AssertionError(f"waited {within} s in vain for {what}")
        time.sleep(0.02)
    return value


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


class World:
    """A home and what was started in it; :meth:`close` ends all of it."""

    def __init__(self, folder: Path, home: str = "home") -> None:
        self.folder = folder
        self.home = folder / home
        self.started: list[Serve] = []
        self.commands: list[subprocess.Popen[str]] = []

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
        **options: Any,
    ) -> subprocess.Popen[str]:
        """A command that goes on meanwhile."""
        options.setdefault("stdout", subprocess.PIPE)
        one = subprocess.Popen(
            [*prefix, *tenure, *arguments],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.env(home), **options.pop("env", {})},
            **options,
        )
        self.commands.append(one)
        return one

    def end(self, command: subprocess.Popen[str], within: float = 40.0) -> Answer:
        out, err = command.communicate(timeout=within)
        self.commands.remove(command)
        return Answer(command.returncode, out or "", err)

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
            command.communicate()
        for one in self.started:
            one.kill()
