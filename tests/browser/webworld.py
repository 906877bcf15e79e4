"""A home with a dashboard, and profiles in it with their gateways: all of them real processes.

::

    folder/  home/                     Tenure's home, which the dashboard shows
             bin/gateway-launcher      a copy of the shell: what the policies name
             <profile>/                what the processes of one profile printed
             dashboard-0.log           what the dashboard printed, its link among it

A gateway is ``tenure serve`` below the launcher, as a service manager would start it; the
dashboard is ``tenure dashboard``, below no launcher, on a free port of 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "real"))

from kit import TENURE, Started, World, now

from freezing import freeze
from tenure.domain.job import Call, Command, Definition, Job
from tenure.domain.schedule.model import foreign_schedule
from tenure.domain.schedule.parser import parse_schedule
from waiting import DEADLINE, eventually

_LINK = re.compile(r": tenure (dashboard --link --port (\d+) .+)")
DASHBOARD = [str(TENURE), "dashboard"]
COMING_UP = DEADLINE
"""Seconds for a process to come up on a busy machine."""


def link_of(said: str) -> tuple[str, int] | None:
    """The link and the port of a page, by the command that its process named in its log."""
    found = _LINK.search(said)
    if found is None:
        return None
    command = [str(TENURE), *shlex.split(found[1])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE)
    return done.stdout.strip(), int(found[2])


class Gateway:
    """``tenure serve`` below the launcher that the policy names."""

    def __init__(self, world: WebWorld, started: Started) -> None:
        self.world, self.started = world, started

    @property
    def pid(self) -> int:
        """Of the scheduler itself, the launcher's child."""

        def child() -> int | None:
            self._check_alive()
            listed = Path(f"/proc/{self.started.pid}/task/{self.started.pid}/children")
            words = listed.read_text().split()
            return int(words[0]) if words else None

        found = eventually(child, "the launcher to start the gateway")
        assert found is not None
        return found

    def wait_owner(self) -> Gateway:
        pid = self.pid

        def owns() -> bool:
            self._check_alive()
            owner = self.world.ownership().process
            known = {p.id: p for p in self.world.store.processes()}
            return owner in known and known[owner].evidence.identity.pid == pid

        eventually(owns, f"the gateway (pid {pid}) to own", COMING_UP)
        return self

    def kill(self) -> None:
        """kill -9; the launcher ends with it."""
        os.kill(self.pid, signal.SIGKILL)
        self.started.wait_end()

    def stop(self) -> None:
        """SIGTERM: it steps down and leaves."""
        os.kill(self.pid, signal.SIGTERM)
        self.started.wait_end(COMING_UP)

    def freeze(self) -> None:
        freeze(self.pid)

    def wake(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _check_alive(self) -> None:
        assert self.started.process.poll() is None, f"it ended: {self.started.said()}"


class WebWorld(World):
    """One profile of a :class:`Web`."""

    def __init__(self, folder: Path, web: Web, profile: str, *, toml: str | None = None) -> None:
        self.web = web
        named = f'[[owner]]\nexecutable = "{web.launcher}"\n' if toml is None else toml
        super().__init__(folder, toml=named, profile=profile, home=web.home)

    @property
    def path(self) -> str:
        """Where the dashboard shows it."""
        return f"/p/{self.name}"

    def gateway(self, *options: str, role: str = "gateway") -> Gateway:
        """Start one; several stand by for each other."""
        words = [str(TENURE), "serve", "--role", role, *options]
        # Not the last command, so that the launcher stays above it.
        return Gateway(self, self.start([self.web.launcher, "-c", '"$@"; exit $?', "sh", *words]))

    def wait_candidate(self, role: str) -> None:
        """Until the gateway of that role stands by."""

        def waits() -> bool:
            return any(p.role == role and p.rule == 0 for p in self.store.processes())

        eventually(waits, f"{role} to be a candidate", COMING_UP)

    def add(self, name: str, line: str, schedule: str = "in 10h", **fields: Any) -> Job:
        """A job that another process of the user adds."""
        at = now()
        wants = Definition(
            name=name,
            schedule=parse_schedule(schedule, now=at, timezone="UTC"),
            action=Command(argv=(line,), shell=True, cwd=str(self.folder)),
            **fields,
        )
        made = self.store.add_job(wants, by="test", now=at)
        self.nudge()
        return made

    def add_foreign(self, name: str, target: str = "hermes:1a2b3c") -> Job:
        """A job as the Hermes adapter mirrors it: Hermes decides when it fires."""
        wants = Definition(
            name=name, schedule=foreign_schedule("every 5m"), action=Call(target=target)
        )
        at = now()
        return self.store.add_job(wants, by="hermes", now=at, since=at - timedelta(minutes=1))


class Dashboard:
    """``tenure dashboard``, a process of its own, and the link that it printed."""

    def __init__(self, started: Started) -> None:
        self.started = started
        self.link, self.port = self._printed()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.started.kill()

    def _printed(self) -> tuple[str, int]:
        def printed() -> tuple[str, int] | None:
            assert self.started.process.poll() is None, f"it ended: {self.started.said()}"
            return link_of(self.started.said())

        found = eventually(printed, "the dashboard to print its link", COMING_UP)
        assert found is not None
        link, port = found
        eventually(lambda: _answers(port), f"the dashboard to listen on port {port}", COMING_UP)
        return link, port


class Web:
    """See the module. Close it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.launcher = _copy_of_shell(folder / "bin" / "gateway-launcher")
        self.worlds: list[WebWorld] = []
        self._dashboards: list[Started] = []

    def world(self, profile: str, *, toml: str | None = None) -> WebWorld:
        """A new profile."""
        folder = self.folder / profile
        folder.mkdir()
        self.worlds.append(WebWorld(folder, self, profile, toml=toml))
        return self.worlds[-1]

    def dashboard(self, *options: str, port: int = 0) -> Dashboard:
        """Start one and wait for its link."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TENURE_", "COVERAGE_"))}
        words = ["--home", str(self.home), "--port", str(port), *options]
        log = self.folder / f"dashboard-{len(self._dashboards)}.log"
        with open(log, "wb") as out:
            process = subprocess.Popen(
                [*DASHBOARD, *words],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env=kept,
            )  # fmt: skip
        self._dashboards.append(Started(process, log))
        return Dashboard(self._dashboards[-1])

    def close(self) -> None:
        while self.worlds:
            self.worlds.pop().close()
        for one in self._dashboards:
            one.kill()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _copy_of_shell(target: Path) -> Path:
    target.parent.mkdir(parents=True)
    shutil.copyfile(os.path.realpath("/bin/sh"), target)
    target.chmod(0o755)
    return target.resolve()


__all__ = ["Dashboard", "Gateway", "Web", "WebWorld", "now"]
