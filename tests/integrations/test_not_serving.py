"""Programs that load a web application and do not serve it: nothing is started there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.workers.hosts import APPS, BIN
from flask import Flask

from tenure import Tenure
from tenure.domain.errors import NotFound
from tenure.runtime import serving
from tenure.runtime.profile import Profile

pytestmark = pytest.mark.real

WAIT = "import time; time.sleep(1.2)"
"""Longer than it takes to find out what a process is."""


def run(argv: list[str], folder: Path, home: Path, **more: str) -> str:
    """What it said; AssertionError if it failed."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "FLASK"))}
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


def test_a_flask_app_that_a_test_makes(tmp_path: Path) -> None:
    app = Flask("shop")
    tenure = Tenure("beat", home=tmp_path)
    tenure.init_app(app)
    assert app.extensions["tenure"] is tenure
    assert "test" in (serving.why_not() or "")
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
