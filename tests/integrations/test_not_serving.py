"""Programs that load a web application and do not serve it: nothing is started there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask

from benchmarks.workers.hosts import APPS, BIN
from tenure import Tenure
from tenure.domain.errors import NotFound
from tenure.runtime.hosting import servers
from tenure.runtime.profile import Profile

pytestmark = pytest.mark.real

WAIT = "import time; time.sleep(1.2)"
"""Longer than it takes to find out what a process is."""


def run(argv: list[str], folder: Path, home: Path, **more: str) -> str:
    """What it said; AssertionError if it failed."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "FLASK"))}
    environ |= {"TENURE_HOME": str(home)}
    environ |= {"BEAT_WITH": "tenure", "BEAT_HOME": str(home), "BEAT_FILE": str(home) + "-beats"}
    done = subprocess.run(
        argv,
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout + done.stderr)


def joined(home: Path) -> int:
    """How many processes ever joined."""
    try:
        profile = Profile.open("beat", home=home)
    except NotFound:
        return 0
    try:
        return len(profile.store.processes(gone=True))
    finally:
        profile.close()


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    return Path(shutil.copytree(APPS, tmp_path / "apps"))


# -- Flask -------------------------------------------------------------------------------------
FLASK = [str(BIN / "flask"), "--app", "flaskapp"]


def test_flask_shell_and_other_commands(apps: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    run([*FLASK, "shell"], apps, home, input=WAIT)
    run([*FLASK, "routes"], apps, home)
    with open(apps / "flaskapp.py", "a") as file:
        file.write(f"\n@app.cli.command('wait')\ndef wait():\n    {WAIT}\n")
    run([*FLASK, "wait"], apps, home)
    assert joined(home) == 0


MODULE = """
from flask import Flask
from tenure import Tenure, every
tenure = Tenure("beat")
@tenure.job(every("1s"))
def mail(): print("A JOB RAN", flush=True)
app = Flask(__name__)
tenure.init_app(app)
@app.get("/")
def index(): return "hello"
"""
"""As the docs show it: the application and init_app at the top of a module."""
LATER = "import time; time.sleep(1.6)"
"""Longer than it takes to join, and to run a job of each second."""
TEST = f"""
from shop import app
def test_page():
    assert app.test_client().get("/").data == b"hello"
    {LATER}
"""
UNITTEST = f"""
import unittest
from shop import app
class Page(unittest.TestCase):
    def test_page(self):
        assert app.test_client().get("/").data == b"hello"
        {LATER}
"""
LIVE = f"""
import threading, urllib.request
from werkzeug.serving import make_server
from shop import app
def test_page():
    server = make_server("127.0.0.1", 0, app)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with urllib.request.urlopen(f"http://127.0.0.1:{{server.port}}/") as page:
        assert page.read() == b"hello"
    {LATER}
    server.shutdown()
"""
QUEUE = f"""
import os
from shop import app
for _ in range(2):  # a process for each task
    child = os.fork()
    if child == 0:
        with app.app_context():
            {LATER}
        os._exit(0)
    os.waitpid(child, 0)
"""
SPAWNED = """
import multiprocessing, time
from shop import app
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(1.6,))
    child.start()
    child.join()
"""
CLIENT = f"from shop import app; app.test_client().get('/'); {LATER}"
DJANGO = """
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x", ROOT_URLCONF="shop", ALLOWED_HOSTS=["*"], TENURE={"profile": "beat"},
    INSTALLED_APPS=["tenure.integrations.django"],
)
urlpatterns = []
from django.core.wsgi import get_wsgi_application
app = get_wsgi_application()
"""
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests.py"]
IMPORTERS: dict[str, tuple[list[str], str]] = {
    "a plain import": ([sys.executable, "-c", f"import shop; {LATER}"], ""),
    "a test client in a script": ([sys.executable, "-c", CLIENT], ""),
    "pytest": (PYTEST, TEST),
    "pytest, collecting only": (
        [*PYTEST, "--collect-only"],
        f"import shop; {LATER}\ndef test_page(): ...",
    ),
    "pytest and a live server": (PYTEST, LIVE),
    "unittest": ([sys.executable, "-m", "unittest", "tests.py"], UNITTEST),
    "a worker of a task queue": ([sys.executable, "tests.py"], QUEUE),
    "a spawned process": ([sys.executable, "tests.py"], SPAWNED),
    "flask shell": ([str(BIN / "flask"), "--app", "shop", "shell"], ""),
}


IMPORTERS_OF_DJANGO = ("a plain import", "a spawned process", "pytest, collecting only")


CASES = [
    *(("Flask", MODULE, how) for how in IMPORTERS),
    *(("Django", DJANGO, how) for how in IMPORTERS_OF_DJANGO),
]
BATCHES = [CASES[i : i + 3] for i in range(0, len(CASES), 3)]


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: f"{batch[0][0]}, {batch[0][2]}")
def test_who_imports_the_application_runs_none_of_its_jobs(
    batch: list[tuple[str, str, str]], tmp_path: Path
) -> None:
    """Those of a batch at the same time; what is wrong is said one by one."""
    with ThreadPoolExecutor() as together:
        found = together.map(lambda case: imported(tmp_path / f"{case[0]} {case[2]}", *case), batch)
        wrong = [text for text in found if text]
    assert not wrong


def imported(folder: Path, kind: str, module: str, how: str) -> str:
    """What is wrong; empty if nothing is."""
    argv, script = IMPORTERS[how]
    folder.mkdir()
    (folder / "shop.py").write_text(module)
    (folder / "tests.py").write_text(script)
    said = run(argv, folder, folder / "home", **({"input": LATER} if "shell" in how else {}))
    count = joined(folder / "home")
    return f"{kind}, {how}: {count} joined: {said}" if count or "A JOB RAN" in said else ""


def test_a_flask_app_that_a_test_makes(tmp_path: Path) -> None:
    app = Flask("shop")
    tenure = Tenure("beat", home=tmp_path)
    tenure.init_app(app)
    assert app.extensions["tenure"] is tenure
    assert "test" in (servers.why_not() or "")
    assert app.test_client().get("/").status_code == 404
    assert not tenure._wanted


# -- Django ------------------------------------------------------------------------------------
def manage(*argv: str) -> list[str]:
    return [sys.executable, "manage.py", *argv]


def test_django_commands_start_nothing(apps: Path, tmp_path: Path) -> None:
    home, site = tmp_path / "home", apps / "site"
    run(manage("check"), site, home)
    run(manage("migrate"), site, home)
    said = run(manage("shell", "-c", f"{WAIT}; print('done')"), site, home)
    assert "done" in said
    assert joined(home) == 0


def test_djangos_tests_start_nothing(apps: Path, tmp_path: Path) -> None:
    """Neither with the test client nor with a live server."""
    home, site = tmp_path / "home", apps / "site"
    (site / "shop" / "tests.py").write_text(
        "import os, urllib.request\n"
        "from django.test import LiveServerTestCase, SimpleTestCase\n"
        "class Page(SimpleTestCase):\n"
        "    def test_page(self):\n"
        "        assert int(self.client.get('/').content) == os.getpid()\n"
        "class Live(LiveServerTestCase):\n"
        "    def test_page(self):\n"
        "        with urllib.request.urlopen(self.live_server_url) as page:\n"
        "            assert int(page.read()) == os.getpid()\n"
        f"        {WAIT}\n"
    )
    said = run(manage("test"), site, home)
    assert "Ran 2 tests" in said
    assert joined(home) == 0
