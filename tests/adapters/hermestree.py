"""A Hermes home and a recorded ``/proc`` in a temporary folder, as much of them as is read.

Pids lie above what Linux gives out, so that none is this process's own.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tenure.adapters.hermes.facts.home import HermesHome, home_of
from tenure.adapters.hermes.look.scan import LinuxScan
from tenure.adapters.hermes.look.survey import Survey, survey
from tenure.domain.errors import NotFound
from tenure.domain.policy.evidence import Evidence, Identity

BOOT = datetime(2030, 1, 1, tzinfo=UTC)
NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
TICKS = os.sysconf("SC_CLK_TCK")
FIRST_PID = 5_000_001
LEDGER = """CREATE TABLE executions (
    id TEXT PRIMARY KEY, job_id TEXT NOT NULL, source TEXT NOT NULL, process_id TEXT NOT NULL,
    pid INTEGER NOT NULL, process_started_at INTEGER, status TEXT NOT NULL,
    claimed_at TEXT NOT NULL, started_at TEXT, finished_at TEXT, error TEXT)"""
ROW = "INSERT INTO executions VALUES (?, 'j0', ?, 'x', ?, ?, 'completed', ?, ?, ?, '')"


class Tree:
    """``root/profiles/la`` and a ``proc``; processes are added to it."""

    def __init__(self, folder: Path, profile: str = "la") -> None:
        self.folder = folder
        self.proc = folder / "proc"
        self.proc.mkdir()
        (self.proc / "locks").write_text("")
        self.root = folder / "home" / ".hermes"
        self.home = self.make_home(self.root / "profiles" / profile)
        self.venv = self.make_venv("0.19.0")
        self._pids = iter(range(FIRST_PID, FIRST_PID + 1000))

    def make_home(self, path: Path) -> HermesHome:
        for name in ("cron", "logs"):
            (path / name).mkdir(parents=True)
        return home_of(path)

    def make_venv(self, version: str, *, ticker: bool = True, ledger: bool = True) -> Path:
        """An environment with as much of Hermes in it as is looked at; its Python's path."""
        venv = self.folder / f"venv-{version}"
        site = venv / "lib" / "python3.11" / "site-packages"
        for name in ("hermes_cli", "cron", "tools"):
            (site / name).mkdir(parents=True)
        (venv / "bin").mkdir()
        (venv / "pyvenv.cfg").write_text("home = /usr/bin\n")
        (site / "hermes_cli" / "__init__.py").write_text(f'__version__ = "{version}"\n')
        thread = 'name="desktop-cron-ticker"' if ticker else "pass"
        (site / "hermes_cli" / "web_server.py").write_text(thread)
        inline = "def _execute_job_now(): ..." if ledger else ""
        (site / "tools" / "cronjob_tools.py").write_text(inline)
        if ledger:
            (site / "cron" / "executions.py").write_text("")
        return venv / "bin" / "python3"

    def make_bin(self) -> None:
        """A ``hermes`` on the PATH, so that an installation is found without a process."""
        script = self.folder / "bin" / "hermes"
        script.parent.mkdir()
        script.write_text(f"#!{self.venv}\n")
        script.chmod(0o755)

    # -- processes -----------------------------------------------------------------------------
    def process(
        self,
        *argv: str,
        env: Mapping[str, str] | None = None,
        files: Sequence[Path | str] = (),
        started: float = 3600.0,
        lock: Path | None = None,
        threads: Sequence[str] = (),
        pid: int | None = None,
    ) -> int:
        """A process with these arguments, started so many seconds after the boot."""
        pid = next(self._pids) if pid is None else pid
        folder = self.proc / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "fdinfo").mkdir()
        (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in argv))
        environ = {"HOME": str(self.folder / "home"), **(env or {})}
        (folder / "environ").write_bytes(
            b"".join(f"{name}={value}\0".encode() for name, value in environ.items())
        )
        (folder / "cwd").symlink_to(self.folder)
        fields = ["0"] * 20
        fields[0], fields[17], fields[19] = "S", "1", str(int(started * TICKS))
        (folder / "stat").write_text(f"{pid} (hermes) {' '.join(fields)} 0 0\n")
        for number, name in enumerate(threads or ("hermes",)):
            (folder / "task" / str(pid + number)).mkdir(parents=True)
            (folder / "task" / str(pid + number) / "comm").write_text(f"{name}\n")
        for number, path in enumerate([*files, *([lock] if lock else [])], start=3):
            (folder / "fd" / str(number)).symlink_to(path)
            (folder / "fdinfo" / str(number)).write_text("pos:\t0\nflags:\t02102002\n")
            if path == lock:
                self._lock(pid, number, lock)
        return pid

    def _lock(self, pid: int, number: int, lock: Path) -> None:
        lock.touch()
        found = lock.stat()
        device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        line = f"1: FLOCK  ADVISORY  WRITE {pid} {device} 0 EOF\n"
        with open(self.proc / "locks", "a") as file:
            file.write(line)
        with open(self.proc / str(pid) / "fdinfo" / str(number), "a") as file:
            file.write(f"lock:\t{line}")

    def hermes(self, *words: str, **more: Any) -> int:
        """``hermes --profile la ...`` with the environment's Python; nothing open unless given."""
        env = {"HERMES_HOME": str(self.root), **more.pop("env", {})}
        script = str(self.venv.with_name("hermes"))
        named = ("--profile", self.home.profile)
        return self.process(str(self.venv), script, *named, *words, env=env, **more)

    def gateway(self, **more: Any) -> int:
        """As an idle gateway of 0.19 was seen: its lock, its logs and its database open."""
        home = self.home.path
        return self.hermes(
            "gateway", "run", files=[*self.log("agent.log", "gateway.log"), home / "state.db"],
            lock=home / "gateway.lock", **more,
        )  # fmt: skip

    def desktop(self, **more: Any) -> int:
        """As an idle desktop backend of 0.19 was seen: nothing but its logs open."""
        more.setdefault("files", self.log("agent.log", "gui.log"))
        return self.hermes("dashboard", "--port", "9119", env={"HERMES_DESKTOP": "1"}, **more)

    def log(self, *names: str) -> list[Path]:
        paths = [self.home.path / "logs" / name for name in names]
        for path in paths:
            path.touch()
        return paths

    # -- the store -----------------------------------------------------------------------------
    def jobs(self, *jobs: Mapping[str, Any]) -> None:
        """``jobs.json``; what a job does not say is that of one that is due in 30 s."""
        usual = {"enabled": True, "next_run_at": (NOW + timedelta(seconds=30)).isoformat()}
        usual["schedule"] = {"kind": "cron", "expr": "* * * * *"}  # type: ignore[assignment]
        entries = [{"id": f"j{n}", "name": f"job {n}", **usual, **j} for n, j in enumerate(jobs)]
        self.home.jobs_file.write_text(json.dumps({"jobs": entries}))

    def ran(self, *rows: tuple[int, float], source: str = "builtin") -> None:
        """Rows of the ledger: the pid, and how many seconds ago it claimed; the newest last."""
        with closing(sqlite3.connect(self.home.executions)) as connection, connection:
            connection.execute("PRAGMA journal_mode=WAL")
            if not connection.execute("SELECT name FROM sqlite_master").fetchall():
                connection.execute(LEDGER)
            for number, (pid, ago) in enumerate(rows):
                at = (NOW - timedelta(seconds=ago)).isoformat()
                scan = LinuxScan(str(self.proc), BOOT.timestamp())
                start = scan.start(pid)
                stamp = start.stamp if start else 1
                connection.execute(
                    ROW,
                    (f"{source}{pid}-{number}-{ago}", source, pid, stamp, at, at, at),
                )

    # -- looking -------------------------------------------------------------------------------
    @property
    def scan(self) -> LinuxScan:
        return LinuxScan(str(self.proc), BOOT.timestamp())

    def observe(self, pid: int) -> Evidence:
        start = self.scan.start(pid)
        if start is None:
            raise NotFound(f"there is no process {pid}")
        identity = Identity(boot_id="boot", pid=pid, start=start.stamp)
        return Evidence(identity=identity, observed_at=NOW, started_at=start.at)

    def survey(self, home: HermesHome | None = None, **more: Any) -> Survey:
        return survey(
            home or self.home, now=NOW, scan=self.scan, observe=self.observe,
            proc=str(self.proc), path=str(self.folder / "bin"), **more,
        )  # fmt: skip
