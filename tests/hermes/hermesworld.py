"""A Hermes home in a temporary folder, the processes started on it, and what its jobs wrote.

::

    folder/  home/.hermes/profiles/la/     the profile, made by ``hermes profile create``
             tenure/                       Tenure's home
             runs.jsonl                    one line for each run, by the run itself
             gateway-0.log, desktop-9.log  what each process printed
    elsewhere/mail                         the file that the kernel denies the desktops

Every process leads a session of its own and is ended by its pid, with what descends from it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hermesparts import Run, Started, ask, holder_of
from hermesvenv import HermesVenv

from commands import Answer
from ports import held_port
from scenario import landlock
from waiting import DEADLINE, eventually

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
TENURE = Path(sys.executable).parent / "tenure"
CONFINE = REPO / "scenario" / "confine.py"
PROFILE = "la"
TICK = 1.5
"""Seconds between two ticks of the first process started; each further one takes a little longer,
so that each comes first now and then. With Hermes' own 60 s for all and jobs due on the minute,
whoever was first after the minute stays it until something restarts."""


class HermesWorld:
    """See the module. Close it."""

    def __init__(self, folder: Path, venv: HermesVenv, *, tick: float = TICK) -> None:
        self.folder, self.venv, self.tick = folder, venv, tick
        self.home = folder / "home"
        self.root = self.home / ".hermes"
        self.profile = self.root / "profiles" / PROFILE
        self.log = folder / "runs.jsonl"
        self.token = "token-of-the-tests"
        self.processes: list[Started] = []
        bin = self.home / ".local" / "bin"
        for made in (bin, folder / "run", folder / "tmp"):
            made.mkdir(mode=0o700, parents=True)
        (bin / "hermes").symlink_to(venv.command)
        # What is made later beside a denied place is denied too: it gets a root of its own.
        self.elsewhere = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="tenure-hermes-"))
        self.secret = self.elsewhere / "mail"
        self.secret.write_text("From: somebody\n")
        self.hermes("profile", "create", PROFILE, "--no-alias", p=None)
        (self.profile / "scripts").mkdir(exist_ok=True)

    # -- processes ---------------------------------------------------------------------------
    def environ(self, **more: str) -> dict[str, str]:
        """Of a user who has only this home."""
        strange = ("HERMES", "TENURE", "COVERAGE", "PYTHON", "XDG", "SCENARIO", "VIRTUAL_ENV")
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith(strange)},
            "HOME": str(self.home),
            "PATH": f"{self.home}/.local/bin:{os.environ['PATH']}",
            "HERMES_HOME": str(self.root),
            "TENURE_HOME": str(self.folder / "tenure"),
            "TMPDIR": str(self.folder / "tmp"),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(HERE / "shorten"),
            "HERMES_DASHBOARD_SESSION_TOKEN": self.token,
            **more,
        }

    def start(
        self, name: str, argv: Sequence[str | Path], *, port: int = 0, **more: str
    ) -> Started:
        """A process that stays."""
        log = self.folder / f"{name}-{len(self.processes)}.log"
        more.setdefault("HERMES_TEST_TICK", f"{self.tick + 0.07 * len(self.processes):.2f}")
        with open(log, "wb") as out:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.home,
                env=self.environ(**more), start_new_session=True,
            )  # fmt: skip
        started = Started(f"{name}-{len(self.processes)}", process, log, port)
        self.processes.append(started)
        return started

    def gateway(self, *, wait: bool = True) -> Started:
        """``hermes gateway run``, as launchd or systemd would start it."""
        started = self.start(
            "gateway", [self.venv.command, "-p", PROFILE, "gateway", "run", "--replace"]
        )
        if wait:
            self.wait_gateway(started)
        return started

    def wait_gateway(self, started: Started) -> None:
        """Until the kernel says that it holds gateway.lock."""
        lock = self.profile / "gateway.lock"
        eventually(
            lambda: self._going(started) and holder_of(lock) == started.pid,
            f"{started.name} to hold {lock}; {started.log}",
        )

    def desktop(self, *, wait: bool = True) -> Started:
        """A backend as the desktop app starts it, denied the file by the kernel if it can be."""
        port = held_port()
        argv: list[str | Path] = [
            self.venv.command, "-p", PROFILE, "dashboard", "--port", str(port),
            "--host", "127.0.0.1", "--no-open", "--skip-build",
        ]  # fmt: skip
        if landlock.available():
            deny = [sys.executable, CONFINE, "--deny", self.elsewhere, "--"]
            argv = [*deny, argv[0], *argv]
        started = self.start("desktop", argv, port=port, HERMES_DESKTOP="1")
        if wait:
            self.wait_desktop(started)
        return started

    def wait_desktop(self, started: Started) -> None:
        """Until it answers."""

        def answers() -> bool:
            self._going(started)
            with contextlib.suppress(OSError):
                return self.api(started, "GET", "/api/status")[0] == 200
            return False

        eventually(answers, f"{started.name} to answer on port {started.port}; {started.log}")

    def crowd(self, desktops: int = 4) -> tuple[Started, list[Started]]:
        """One gateway and some desktops, started together."""
        gateway = self.gateway(wait=False)
        backends = [self.desktop(wait=False) for _ in range(desktops)]
        self.wait_gateway(gateway)
        for backend in backends:
            self.wait_desktop(backend)
        return gateway, backends

    def stop_all(self) -> None:
        """All at once, as at a logout."""
        going = [started for started in self.processes if started.alive]
        for started in going:
            started.process.send_signal(signal.SIGTERM)
        for started in going:
            started.wait_end()

    def _going(self, started: Started) -> bool:
        if not started.alive:
            raise AssertionError(f"{started.name} ended: {started.said()[-2000:]}")
        return True

    # -- commands ----------------------------------------------------------------------------
    def hermes(self, *argv: str, p: str | None = PROFILE, code: int | None = 0) -> Answer:
        """One ``hermes`` command to its end; AssertionError if it ends with another code."""
        profile = ["-p", p] if p else []
        return self._run([self.venv.command, *profile, *argv], code)

    def tenure(self, *argv: str, code: int | None = 0) -> Answer:
        """One ``tenure`` command to its end."""
        return self._run([TENURE, *argv], code)

    def python(self, program: str, *argv: str | Path, code: int | None = 0) -> Answer:
        """A program in Hermes' own Python, on the profile."""
        return self._run([self.venv.python, "-c", program, *argv], code, self.profile)

    def _run(
        self, argv: Iterable[str | Path], code: int | None, hermes_home: Path | None = None
    ) -> Answer:
        words = [str(word) for word in argv]
        environ = self.environ(HERMES_HOME=str(hermes_home or self.root))
        done = subprocess.run(
            words, env=environ, cwd=self.home, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        said = Answer(done.returncode, done.stdout, done.stderr)
        assert code is None or said.code == code, f"{' '.join(words)}: {said}"
        return said

    def api(self, backend: Started, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One request to a backend as its window would send it: status, answer."""
        return ask(backend.port, self.token, method, path, body)

    # -- jobs and runs -----------------------------------------------------------------------
    def add(self, name: str, schedule: str = "* * * * * */4", *, seconds: float = 0.0) -> str:
        """A job that writes down who ran it; Hermes' id of it."""
        script = self.profile / "scripts" / f"{name}.py"
        wants = (name, str(self.log), str(self.secret), seconds)
        script.write_text(
            f"import sys\nsys.path.insert(0, {str(HERE)!r})\nimport canary\ncanary.main(*{wants})\n"
        )
        self.hermes(
            "cron", "create", schedule, "--name", name,
            "--script", script.name, "--no-agent", "--deliver", "local",
        )  # fmt: skip
        return next(str(job["id"]) for job in self.jobs() if job["name"] == name)

    def jobs(self) -> list[dict[str, Any]]:
        """What stands in jobs.json."""
        found: list[dict[str, Any]] = json.loads((self.profile / "cron" / "jobs.json").read_text())[
            "jobs"
        ]
        return found

    def runs(self, *, since: float = 0.0, job: str | None = None) -> list[Run]:
        """What ran, in the order it began."""
        if not self.log.exists():
            return []
        names = {started.key: started.name for started in self.processes}
        found = []
        for line in map(json.loads, self.log.read_text().splitlines()):
            by = next((names[k] for k in map(tuple, line["chain"]) if k in names), "?")
            found.append(Run(line["job"], line["at"], by, line["read"], line["desktop"] == "1"))
        return [r for r in found if r.at >= since and job in (None, r.job)]

    def wait_runs(
        self, count: int, *, since: float = 0.0, job: str | None = None, within: float = DEADLINE
    ) -> list[Run]:
        """Until so many ran since then."""

        def enough() -> list[Run]:
            found = self.runs(since=since, job=job)
            return found if len(found) >= count else []

        return eventually(enough, f"{count} runs of {job or 'any job'}", within)

    def told(self) -> str:
        """The processes, the last runs, and the last lines of every log."""
        lines = [f"{s.name} pid {s.pid} {'lives' if s.alive else 'ended'}" for s in self.processes]
        lines += [str(run) for run in self.runs()[-10:]]
        logs = self.profile / "logs"
        for log in (*self.folder.glob("*.log"), logs / "agent.log", logs / "errors.log"):
            if not log.exists():
                continue
            tail = log.read_text(errors="replace").splitlines()[-15:]
            lines += [f"--- {log.name}", *tail]
        return "\n".join(lines)

    def close(self) -> None:
        """End what was started; nothing is left outside the test's folder."""
        for started in self.processes:
            with contextlib.suppress(AssertionError):
                started.stop(signal.SIGKILL)
        shutil.rmtree(self.elsewhere, ignore_errors=True)
