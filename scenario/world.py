"""The stage: a temporary folder with two launchers, a protected file, a home and a clean end.

::

    base/  bin/gateway-launcher            a copy of the shell: what the policy's first rule names
           Desktop.app/.../Desktop         another copy: the desktop chain
           protected/mail                  what the kernel denies the desktop chain
           home/                           Tenure's, or the plain scheduler's
           logs/                           the canary's lines, the backends' output
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from scenario import denial
from scenario.process_group import Kept, ProcessGroup, signal_exactly
from scenario.view import View

HERE = Path(__file__).resolve().parent
PROFILE = "la"
DESKTOPS = tuple(f"desktop-{n}" for n in range(1, 5))


class CannotShow(Exception):
    """This machine lacks something that the scenario needs."""


class Violated(Exception):
    """A claim of the scenario does not hold."""


class World:
    """One temporary folder and all the processes of a scenario. Use :func:`stage`."""

    def __init__(self, view: View, base: Path, runtime: Path, denied: denial.Denial) -> None:
        self.view, self.base, self.denied = view, base, denied
        self.group = ProcessGroup(runtime)
        self.home, self.logs = base / "home", base / "logs"
        self.canary_log = self.logs / "canary.jsonl"
        self.secret = base / "protected" / "mail"
        for folder in (self.home, self.logs, base / "tmp"):
            folder.mkdir(mode=0o700)
        self.launchers = {
            "gateway": self._copy_of_shell("bin/gateway-launcher"),
            "desktop": self._copy_of_shell("Desktop.app/Contents/MacOS/Desktop"),
        }
        self.kept: dict[str, Kept] = {}
        strange = ("TENURE_", "SCENARIO_", "XDG_RUNTIME")
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(strange)},
            "TMPDIR": str(base / "tmp"),
            "XDG_RUNTIME_DIR": str(runtime),
            "TENURE_HOME": str(self.home),
            "TENURE_PROFILE": PROFILE,
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    # -- who does what -------------------------------------------------------------------------
    def keep(self, name: str, command: Sequence[str | Path], *, pause: float = 2.0) -> Kept:
        """Keep a backend alive below its chain's launcher."""
        if name not in self.kept:
            argv, executable = self._below(_chain_of(name), ["sh"])
            self.kept[name] = Kept(
                self.group, name, argv,
                folder=self.logs, executable=executable, environment=self.environment,
            )  # fmt: skip
        self.kept[name].start(command, pause=pause)
        return self.kept[name]

    def serve(self, name: str, *, pause: float = 2.0) -> Kept:
        """Keep ``tenure serve`` alive."""
        words = ["serve", "--profile", PROFILE, "--home", str(self.home), "--role", name]
        return self.keep(name, [*_TENURE, *words], pause=pause)

    def tenure(self, *words: str, chain: str = "", timeout: float = 60) -> CompletedProcess[str]:
        """One ``tenure`` command: from a plain shell, or from inside a chain."""
        argv, executable = self.words_of(*words, chain=chain)
        return self.group.run(
            argv, timeout=timeout, executable=executable, env=self.environment, cwd=self.base
        )

    def words_of(self, *words: str, chain: str = "") -> tuple[list[str], str | None]:
        """The same as an argv and the program to run it with."""
        if not chain:
            prefix = (*self.denied.shell, sys.executable) if self.denied.shell else ()
            return [*prefix, *_TENURE, *words], None
        # Not the last command, so that the launcher's shell stays above it.
        return self._below(chain, ["sh", "-c", '"$@"; exit $?', "sh", *_TENURE, *words])

    def asked(self, *words: str, chain: str = "") -> Any:
        """The JSON answer of a command that is to succeed."""
        verb, *rest = words
        done = self.tenure(verb, "--json", *rest, chain=chain)
        if done.returncode:
            raise Violated(f"tenure {words[0]} ended with {done.returncode}: {done.stdout[-2000:]}"
                           f"{done.stderr[-2000:]}")  # fmt: skip
        return json.loads(done.stdout)

    def add(self, name: str, schedule: str, *options: str, extra: Sequence[str] = ()) -> None:
        """Add a job that is a canary."""
        # Its own folder: who runs this need not have a home folder.
        place = ("--cwd", str(self.base))
        command = self.canary(*extra)
        self.asked("add", schedule, "--name", name, *place, *options, "--", *command)

    def _below(self, chain: str, argv: list[str]) -> tuple[list[str], str | None]:
        launcher = str(self.launchers[chain])
        prefix = self.denied.desktop if chain == "desktop" else self.denied.gateway
        return ([*prefix, launcher, *argv], None) if prefix else (argv, launcher)

    @staticmethod
    def resume(backend: tuple[int, int]) -> None:
        """SIGCONT to a backend that may be frozen, or gone."""
        signal_exactly(*backend, signal.SIGCONT)

    def canary(self, *extra: str) -> list[str]:
        """The command of a job."""
        program = [sys.executable, "-I", "-S", str(HERE / "canary.py")]
        return [*program, str(self.canary_log), str(self.secret), *extra]

    # -- what was seen ---------------------------------------------------------------------------
    def canaries(self) -> list[dict[str, Any]]:
        """What the jobs wrote, in the order in which they ran."""
        with contextlib.suppress(FileNotFoundError):
            return [json.loads(line) for line in self.canary_log.read_text().splitlines()]
        return []

    def wait_for(self, what: str, happened: Callable[[], object], seconds: float) -> None:
        """Wait for an event. Violated, naming it, when it does not come in time."""
        until = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > until:
                raise Violated(f"waited {seconds:.0f} s for {what}")
            self.group.reap()
            time.sleep(0.1)

    def rest(self, seconds: float) -> None:
        """Let the world run."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.group.reap()
            time.sleep(min(0.2, max(0.0, until - time.monotonic())))

    def _copy_of_shell(self, where: str) -> Path:
        target = self.base / where
        target.parent.mkdir(parents=True)
        source = os.path.realpath("/bin/sh")
        shutil.copyfile(source, target)
        target.chmod(0o755)
        script = 'readlink "/proc/$$/exe" || echo "$0"; exit 7'
        try:
            done = self.group.run(["sh", "-c", script], executable=str(target), timeout=10)
        except OSError as error:
            raise CannotShow(
                f"a copy of {source} does not start from {self.base} ({error.strerror}); "
                "if that place forbids programs, set TMPDIR to one that does not"
            ) from error
        seen = done.stdout.strip()
        if done.returncode != 7 or (os.path.isdir("/proc/self") and seen != str(target)):
            raise CannotShow(f"a copy of {source} does not run as a program of its own")
        return target


_TENURE = (sys.executable, "-m", "tenure.surfaces.cli.main")


def _chain_of(name: str) -> str:
    return "desktop" if name.startswith("desktop") else "gateway"


@contextlib.contextmanager
def stage(view: View, *, keep: bool = False) -> Iterator[World]:
    """A world that is cleared away at the end; kept, and said where, if it ends badly."""
    denied = denial.choose()
    base = Path(tempfile.mkdtemp(prefix="tenure-scenario-")).resolve()
    # Socket paths are limited to about a hundred bytes, temporary folders are not.
    short = "/tmp" if len(str(base)) > 50 and os.path.isdir("/tmp") else None
    runtime = Path(tempfile.mkdtemp(prefix="tn-", dir=short))
    world: World | None = None
    failed = True
    try:
        denied = denied.prepare(base / "protected")
        world = World(view, base, runtime, denied)
        yield world
        failed = False
    except (KeyboardInterrupt, CannotShow):
        failed = False
        raise
    finally:
        # A second Ctrl-C must not leave anything behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        left = world.group.end_all() if world is not None else []
        denied.over()
        shutil.rmtree(runtime, ignore_errors=True)
        if left:
            view.say(f"could not end processes {left}", "red")
        if keep or failed:
            view.say(f"everything is kept in {base}", "yellow")
        else:
            shutil.rmtree(base, ignore_errors=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)
