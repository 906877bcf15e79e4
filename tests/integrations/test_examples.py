"""The examples as they are, each in the server that its page names: jobs run, once a fire."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ports import held_port
from tenure.domain.errors import TenureError
from tenure.domain.process import ProcessStatus
from tenure.domain.run import Run, RunState
from tenure.runtime.profile import Profile
from tenure.store.contract import RunFilter
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BIN = Path(sys.executable).parent
CELLS = EXAMPLES.parent / "benchmarks" / "workers" / "apps" / "notebook.py"
PATIENCE = DEADLINE


def free_port() -> str:
    return str(held_port())


COMMANDS: dict[str, tuple[Callable[[], list[str]], int]] = {
    "script": (lambda: [sys.executable, "main.py"], 1),
    "fastapi": (
        lambda: [str(BIN / "uvicorn"), "app:app", "--workers", "3", "--port", free_port()],
        3,
    ),
    "flask": (lambda: [str(BIN / "flask"), "run", "--port", free_port()], 1),
    "django": (
        lambda: [sys.executable, "manage.py", "runserver", "--noreload", free_port()],
        1,
    ),
    "gunicorn": (
        lambda: [
            str(BIN / "gunicorn"), "-w", "4", "--preload", "-b", f"127.0.0.1:{free_port()}",
            "wsgi:app",
        ],
        4,
    ),
    "celery": (lambda: [str(BIN / "celery"), "-A", "app", "worker", "-c", "4"], 4),
    "jupyter": (lambda: [sys.executable, str(CELLS), "notebook.ipynb"], 1),
}  # fmt: skip
"""How each is started, and how many processes then stand there."""


class Host:
    """One example, running."""

    def __init__(self, name: str, folder: Path) -> None:
        self.profile_name = f"example-{name}"
        self.home = folder / "home"
        self.log = folder / "log"
        argv, self.count = COMMANDS[name][0](), COMMANDS[name][1]
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("COVERAGE", "TENURE"))}
        environ |= {"TENURE_HOME": str(self.home)}
        environ["HOME"] = str(folder)
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                argv, cwd=EXAMPLES / name, env=environ, stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, start_new_session=True,
            )  # fmt: skip

    def wait_runs(self, count: int) -> tuple[Run, ...]:
        """The runs that succeeded, once there are ``count`` and each process has its place."""
        others = {ProcessStatus.CANDIDATE: self.count - 1} if self.count > 1 else {}
        wanted = Counter({ProcessStatus.OWNER: 1, **others})

        def look() -> tuple[Run, ...] | None:
            assert self.process.poll() is None, f"it ended: {self.log.read_text()}"
            try:
                profile = Profile.open(self.profile_name, home=self.home)
            except TenureError:
                return None
            with closing(profile):
                runs, _ = profile.store.runs(RunFilter(states=frozenset({RunState.SUCCEEDED})))
                standings = Counter(p.standing for p in profile.store.processes())
            return runs if len(runs) >= count and standings == wanted else None

        runs = eventually(look, f"{count} runs of {self.profile_name}; {self.log}")
        assert runs is not None
        return runs

    def stop(self) -> str:
        """End it as a service manager does; what it said."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        return self.log.read_text()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Host]]:
    hosts: list[Host] = []

    def begin(name: str) -> Host:
        hosts.append(Host(name, tmp_path))
        return hosts[-1]

    yield begin
    for host in hosts:
        if host.process.poll() is None:
            os.killpg(host.process.pid, signal.SIGKILL)
            host.process.wait()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_example_runs_its_job_once_a_fire(name: str, start: Callable[[str], Host]) -> None:
    host = start(name)
    runs = host.wait_runs(3)
    assert len({run.fire_time for run in runs}) == len(runs)
    assert len({run.process for run in runs}) == 1
    said = host.stop()
    assert "Exception ignored" not in said
    assert "Traceback" not in said


def test_every_example_is_in_the_table() -> None:
    page = (EXAMPLES / "README.md").read_text()
    assert {folder.name for folder in EXAMPLES.iterdir() if folder.is_dir()} == set(COMMANDS)
    assert all(f"`example-{name}`" in page for name in COMMANDS)
