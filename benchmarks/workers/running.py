"""One host, started in a folder of its own, and looked at from outside."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.workers import beats
from benchmarks.workers.beats import Count, Line
from benchmarks.workers.hosts import APPS, Host, hold_port

T = TypeVar("T")
PYCACHE = os.path.join(tempfile.gettempdir(), f"tenure-pycache-{os.getuid()}")
"""Compiled modules, kept as an installed package's are: of eight workers each would compile all."""
DEADLINE = 60.0
"""Seconds. What is awaited comes at once on an idle machine; a busy one is no reason to fail."""
SCHEDULERS = ("tenure", "aps-memory", "aps-sqlite")


class TooLate(AssertionError):
    """Something did not come about in time; the text says what."""


def wait_for(what: str, reached: Callable[[], T], within: float = DEADLINE) -> T:
    until = time.monotonic() + within
    while not (value := reached()):
        if time.monotonic() > until:
            raise TooLate(f"waited {within:.0f} s in vain for {what}; last seen: {value!r}")
        time.sleep(0.02)
    return value


class Running:
    """A host with one scheduler. Close it, or use it in a ``with``: it leaves no process behind."""

    def __init__(self, host: Host, scheduler: str, folder: Path, **environ: str) -> None:
        self.host = host
        self.scheduler = scheduler
        self.apps = folder / "apps"
        shutil.copytree(APPS, self.apps, ignore=shutil.ignore_patterns("__pycache__"))
        self.home = folder / "home"
        self.beats_file = folder / "beats"
        self.log = folder / "log"
        self._held = hold_port()
        self.port: int = self._held.getsockname()[1]
        kept = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("TENURE_", "COVERAGE_", "FLASK_", "PYTHONDONTWRITE", "PYTEST_"))
        }
        self.environ = {
            **kept,
            "PYTHONPYCACHEPREFIX": PYCACHE,
            "BEAT_WITH": scheduler,
            "BEAT_FILE": str(self.beats_file),
            "BEAT_HOME": str(self.home),
            "BEAT_STORE": str(folder / "jobs.sqlite"),
            **environ,
        }
        self._profile: Any = None
        if scheduler == "aps-sqlite":
            self._make_table()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                host.argv(self.port),
                cwd=self.apps / host.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _make_table(self) -> None:
        """As by an earlier start: several processes that make it at once fail."""
        code = "import beat; beat.scheduler.start(); beat.scheduler.shutdown()"
        subprocess.run(
            [sys.executable, "-c", code], cwd=self.apps, env=self.environ, check=True, timeout=60
        )

    # -- what it does --------------------------------------------------------------------------
    def beats(self) -> list[Line]:
        return beats.read(self.beats_file)

    def fires(self, first: int, after: int, kind: str = "B") -> Count:
        """The fires of [first, after). Where each is to run, however late it is (``BEAT_EACH``),
        they are awaited; what has not come at the deadline is missed."""
        if "BEAT_EACH" in self.environ:
            with contextlib.suppress(TooLate):
                wait_for("each fire", lambda: not self._fires(first, after, kind).missed)
        return self._fires(first, after, kind)

    def _fires(self, first: int, after: int, kind: str) -> Count:
        return beats.count(self.beats(), first, after, kind)

    def started(self) -> list[int]:
        """Pids that started an APScheduler."""
        return [line.pid for line in self.beats() if line.kind == "S"]

    def get(self) -> int | None:
        """``GET /``: the pid that answered; None without an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            connection.request("GET", "/", headers={"Connection": "close"})
            return int(connection.getresponse().read())
        return None

    def touch(self) -> None:
        """Change its code: a comment more."""
        assert self.host.touch is not None
        with open(self.apps / self.host.folder / self.host.touch, "a") as file:
            file.write(f"# changed at {time.time()}\n")

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    # -- Tenure: what the store says -----------------------------------------------------------
    @property
    def profile(self) -> Any:
        """Opened read-only; a started process creates it."""
        if self._profile is None:
            from tenure.runtime.profile import Profile

            self._profile = Profile.open("beat", home=self.home)
        return self._profile

    def standings(self, *, gone: bool = False) -> dict[int, str]:
        """How each process of the profile stands, by pid."""
        from tenure.domain.errors import TenureError

        with contextlib.suppress(TenureError):
            found = self.profile.store.processes(gone=gone)
            return {p.evidence.identity.pid: str(p.standing) for p in found}
        return {}

    def owner(self) -> int | None:
        """Its pid, by the record of the ownership: a frozen one cannot say that it was deposed."""
        from tenure.domain.errors import TenureError

        with contextlib.suppress(TenureError):
            current = self.profile.store.ownership()
            if current.authority is not None:
                found = self.profile.store.process(current.process)
                pid: int = found.evidence.identity.pid
                return pid
        return None

    def is_settled(self) -> bool:
        """One owner, the other serving processes candidates, and no others."""
        standings = self.standings()
        if self.host.supervised and self.process.pid in standings:
            return False  # it is about to find out what it is, and to leave
        if self.host.says not in self.said():
            return False
        return sorted(standings.values()) == ["candidate"] * (self.host.joins - 1) + ["owner"]

    def settle(self, within: float = DEADLINE) -> None:
        """Until all of it has started, whatever its scheduler."""
        if self.scheduler == "tenure":
            wait_for(
                f"{self.host.name} to settle", lambda: self._alive() and self.is_settled(), within
            )
            return
        wait_for(
            f"a scheduler in {self.host.name}", lambda: self._alive() and self.started(), within
        )
        seen, since = len(self.started()), time.monotonic()
        while time.monotonic() - since < 3:
            time.sleep(0.1)
            if len(self.started()) != seen:
                seen, since = len(self.started()), time.monotonic()

    def _alive(self) -> bool:
        if self.process.poll() is not None:
            raise TooLate(f"{self.host.name} ended: {self.said()[-2000:]}")
        return True

    def findings(self) -> list[str]:
        """What the audit of the whole history finds; nothing, if all is accounted for."""
        from datetime import UTC, datetime

        from tenure.audit.reader import audit_store, render_report

        report = audit_store(self.profile.store, datetime.now(UTC))
        return [] if report.clean else list(render_report(report))

    # -- the end -------------------------------------------------------------------------------
    def members(self) -> list[int]:
        """Living processes of its session: all that it started, but those that left it."""
        return [pid for pid, session in _sessions() if session == self.process.pid]

    def stop(self, within: float = DEADLINE) -> int:
        """As a service manager does: SIGTERM to the first process; its exit code.

        uWSGI has been seen, once in about a hundred times, not to heed one that came just as its
        processes had started: it gets a second request. Raises TooLate.
        """
        self.process.terminate()
        if self.host.deaf:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(within / 10)
            self.process.terminate()
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            doing = {pid: _doing(pid) for pid in self.members()}
            text = f"{self.host.name} did not end in {within:.0f} s: {doing}; {self.said()[-2000:]}"
            raise TooLate(text) from None

    def close(self) -> None:
        for pid in self.members():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)
        for pid in self.members():  # started meanwhile
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self._held.close()
        if self._profile is not None:
            self._profile.close()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _doing(pid: int) -> list[str]:
    """What each thread of a process waits for, in the kernel."""
    found = []
    with contextlib.suppress(OSError):
        for thread in sorted(os.listdir(f"/proc/{pid}/task")):
            task = Path(f"/proc/{pid}/task/{thread}")
            found.append(f"{(task / 'comm').read_text().strip()}: {(task / 'wchan').read_text()}")
    return found


def _sessions() -> Iterator[tuple[int, int]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                yield int(name), os.getsid(int(name))
