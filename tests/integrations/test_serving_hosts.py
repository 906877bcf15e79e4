"""A Flask application with ``init_app`` at the top of its module, in what serves it: it joins
without a request where the server is known, and with the first one where it is not."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.workers.hosts import BIN
from ports import held_port
from tenure.domain.errors import TenureError
from tenure.domain.process import ProcessStatus
from tenure.domain.run import RunState
from tenure.runtime.profile import Profile
from tenure.store.contract import RunFilter
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real

APP = """
from flask import Flask
from tenure import Tenure, every
tenure = Tenure("shop")
@tenure.job(every("1s"))
def tick(): ...
app = Flask(__name__)
tenure.init_app(app)
@app.get("/")
def index(): return "hello"
"""
STARTING = """
from fastapi import FastAPI
from app import tenure
app = FastAPI()
tenure.start()
"""
WSGIREF = "from wsgiref.simple_server import make_server; from app import app; "
IN_A_THREAD = (
    "import threading, time; threading.Thread(target=make_server('127.0.0.1', {p}, app)"
    ".serve_forever, daemon=True).start(); time.sleep(600)"
)
UWSGI = [str(BIN / "uwsgi"), "--enable-threads", "--http-socket", "127.0.0.1:{p}", "--die-on-term",
         "--wsgi-file", "app.py", "--callable", "app"]  # fmt: skip
GUNICORN = [str(BIN / "gunicorn"), "-b", "127.0.0.1:{p}", "-w", "2"]
HYPERCORN = [sys.executable, "-m", "hypercorn", "-b", "127.0.0.1:{p}", "-w", "2"]

HOSTS: dict[str, tuple[list[str], int, str]] = {
    "app.run()": ([sys.executable, "-c", "from app import app; app.run(port={p})"], 1, ""),
    "flask run": ([str(BIN / "flask"), "run", "-p", "{p}"], 1, ""),
    "flask --debug run": ([str(BIN / "flask"), "--debug", "run", "-p", "{p}"], 1, ""),
    "gunicorn": ([*GUNICORN, "app:app"], 2, ""),
    "gunicorn --preload": ([*GUNICORN, "--preload", "app:app"], 2, ""),
    "gunicorn --preload gevent": ([*GUNICORN, "--preload", "-k", "gevent", "app:app"], 2, "gevent"),
    "uwsgi": ([*UWSGI, "--master", "-p", "2"], 2, "uwsgi"),
    "uwsgi --lazy-apps": ([*UWSGI, "--master", "-p", "2", "--lazy-apps"], 2, "uwsgi"),
    "wsgiref": (
        [sys.executable, "-c", f"{WSGIREF} make_server('127.0.0.1', {{p}}, app).serve_forever()"],
        1,
        "",
    ),
    "waitress": ([sys.executable, "-m", "waitress", "--listen=127.0.0.1:{p}", "app:app"], 1,
                 "waitress"),
    "hypercorn": ([*HYPERCORN, "app:app"], 2, "hypercorn"),
    "hypercorn --reload, start()": ([*HYPERCORN, "--reload", "starting:app"], 2, "hypercorn"),
    "granian": ([sys.executable, "-m", "granian", "--interface", "wsgi", "--workers", "2",
                 "--host", "127.0.0.1", "--port", "{p}", "app:app"], 2, "granian"),
}  # fmt: skip
"""The command, how many processes join, and the package that it needs beside the usual ones."""


class Served:
    def __init__(self, argv: list[str], folder: Path) -> None:
        (folder / "app.py").write_text(APP)
        (folder / "starting.py").write_text(STARTING)
        self.home, self.log = folder / "home", folder / "log"
        self.port = held_port()
        kept = {k: v for k, v in os.environ.items()
                if not k.startswith(("TENURE", "COVERAGE", "PYTEST", "FLASK"))}  # fmt: skip
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [part.replace("{p}", str(self.port)) for part in argv],
                cwd=folder,
                env={**kept, "TENURE_HOME": str(self.home), "PYTHONPATH": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def look(self) -> tuple[list[ProcessStatus], int, set[int]]:
        """Standings, succeeded runs, and pids that ever joined."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            profile = Profile.open("shop", home=self.home)
        except TenureError:
            return [], 0, set()
        try:
            standings = sorted(p.standing for p in profile.store.processes())
            runs, _ = profile.store.runs(RunFilter(states=frozenset({RunState.SUCCEEDED})))
            ever = profile.store.processes(gone=True)
            return standings, len(runs), {p.evidence.identity.pid for p in ever}
        finally:
            profile.close()

    def joined(self, count: int) -> bool:
        standings, runs, _ = self.look()
        wanted = sorted([ProcessStatus.OWNER, *[ProcessStatus.CANDIDATE] * (count - 1)])
        return standings == wanted and runs > 0

    def get(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as page:
                return bool(page.read() == b"hello")
        except (urllib.error.URLError, OSError):
            return False

    def end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                self.process.send_signal(number)
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                continue
            break
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[list[str]], Served]]:
    made: list[Served] = []

    def begin(argv: list[str]) -> Served:
        made.append(Served(argv, tmp_path))
        return made[-1]

    yield begin
    for one in made:
        one.end()


@pytest.mark.parametrize("name", HOSTS)
def test_it_runs_the_jobs_where_it_is_served(
    name: str, serve: Callable[[list[str]], Served]
) -> None:
    argv, count, needs = HOSTS[name]
    if needs and needs != "uwsgi" and importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    served = serve(argv)
    eventually(lambda: served.joined(count), f"{count} processes, and a run")
    if count > 1 or "debug" in name:
        assert served.process.pid not in served.look()[2], "what supervises never joins"


def test_an_unknown_server_starts_them_with_its_first_request(
    serve: Callable[[list[str]], Served],
) -> None:
    served = serve([sys.executable, "-c", WSGIREF + IN_A_THREAD])
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert served.look()[2] == set(), "it has not served yet"
        time.sleep(0.05)
    eventually(served.get, "an answer")
    eventually(lambda: served.joined(1), "a run")
