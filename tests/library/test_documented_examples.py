"""Each example of README.md and docs/ is run as it stands there: its exit status, and what the
profile says afterwards. Those of examples/ are run by tests/integrations/test_examples.py.

An example is found by its page and the first of its lines. One that is new is run without more
ado; where it needs something around it, that stands in ``AROUND``; where it cannot be run,
the reason stands in ``NOT_RUN``.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ports import held_port
from tenure.domain.errors import NotFound, TenureError
from tenure.runtime.profile import Profile
from tenure.surfaces.cli.main import main
from waiting import DEADLINE, eventually

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    page: str
    language: str
    text: str

    @property
    def key(self) -> str:
        """Without its comment: that may be reworded."""
        first = next(line for line in self.text.splitlines() if line.strip())
        return f"{self.page}: {re.split(r' +#', first)[0].strip()}"


def examples(*languages: str) -> list[Example]:
    found = [
        Example(page.stem, language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE))
        for page in PAGES
        for indent, language, text in FENCE.findall(page.read_text())
    ]
    return [one for one in found if one.language in languages]


# -- Python ------------------------------------------------------------------------------------
SHOP = """
import sys, types
from tenure import Context, Tenure, cron, every
tenure = Tenure(profile="shop")
@tenure.job(every("1s"))
def tick(): ...
"""
STUBS = """
import sys, types
for name in ("shop", "shop.reports", "shop.tasks"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["shop"].reports = sys.modules["shop.reports"]
sys.modules["shop.reports"].nightly = lambda to: None
sys.modules["shop.reports"].refresh = lambda count: None
sys.modules["shop.tasks"].nightly = sys.modules["shop.tasks"].refresh = None
"""
FLASK = "from flask import Flask\napp = Flask('shop')\n"
DJANGO = """
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["tenure.integrations.django"], TENURE={"profile": "shop"})
django.setup()
"""
LIFESPAN = """
import asyncio
async def serve():
    async with app.router.lifespan_context(app):
        while not tenure.owns:
            await asyncio.sleep(0.01)
asyncio.run(serve())
"""
OWN = """
import time
tenure.start()
while not (tenure.owns and len(tenure.profile.store.jobs()[0]) >= len(tenure._declared)):
    time.sleep(0.01)
print("jobs", len(tenure.profile.store.jobs()[0]))
"""
"""After an example that declares: its jobs are in the profile once it owns."""
AROUND: dict[str, tuple[str, str]] = {
    "embedding: app = FastAPI(lifespan=tenure.lifespan)": (
        f"{SHOP}from fastapi import FastAPI\n",
        LIFESPAN,
    ),
    "embedding: tenure.init_app(app)": (
        f"{SHOP}{FLASK}",
        "",
    ),
    "embedding: from tenure import cron": (DJANGO, OWN),
    "embedding: from celery.signals import worker_init, worker_process_init": (
        SHOP,
        f"start(){OWN}",
    ),
    "embedding: tenure.start()": (SHOP, OWN),
    "README: from tenure import Tenure, cron, every": ("", ""),
    "embedding: tenure.run_forever()": (SHOP, ""),
    "embedding: with tenure:": (
        f"{SHOP}import time\ndef serve_customers(): time.sleep(600)\n",
        "",
    ),
    'embedding: tenure = Tenure(profile="shop", version="2024.11")': (
        "from tenure import Tenure\n",
        OWN,
    ),
    "from-celery-beat: from celery import Celery": ("", "assert len(app.conf.beat_schedule) == 2"),
    "from-celery-beat: from celery.signals import worker_init, worker_process_init": (
        SHOP,
        f"start(){OWN}",
    ),
    "from-celery-beat: from tenure import Tenure, cron, every": (STUBS, OWN),
    "from-apscheduler: from functools import partial": (STUBS, OWN),
    "from-apscheduler: from apscheduler.schedulers.background import BackgroundScheduler": (
        "",
        "assert len(scheduler.get_jobs()) == 2",
    ),
}
"""What stands before and after an example that does not stand alone."""
OWNER = """
import atexit
from tenure import Tenure
owner = Tenure(profile="shop").start()
atexit.register(owner.stop)
for name in ("report", "cleanup"):
    owner.add(name, "@yearly", ["true"])
while not owner.owns:
    pass
"""
AROUND_PAGE = {"python-api": (OWNER, "")}
"""The same for every example of a page."""
SIGNALLED = {
    "README: from tenure import Tenure, cron, every": 0,
    "embedding: tenure.run_forever()": 0,
    "embedding: with tenure:": 143,
}
"""Those that run until SIGTERM, and their exit status then."""
SERVED_ONLY = {"embedding: tenure.init_app(app)"}
"""Those that start nothing where nothing serves."""
RECIPE = "a part of the recipe that test_fencing_recipe.py runs"
NOT_RUN = {
    "fencing: from tenure import Context, Tenure, cron, fence": RECIPE,
    "fencing: def pass_fence(db, token):": RECIPE,
}


def environ(home: Path, **more: str) -> dict[str, str]:
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("TENURE", "COVERAGE", "PYTEST", "DJANGO"))
    }
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "TENURE_HOME": str(home), "HOME": str(home.parent), **more}


def distinct(found: list[Example]) -> list[Example]:
    return list({one.text: one for one in found if one.key not in NOT_RUN}.values())


@pytest.mark.parametrize("example", distinct(examples("python")), ids=lambda one: one.key)
def test_a_python_example(example: Example, tmp_path: Path) -> None:
    before, after = AROUND.get(example.key, AROUND_PAGE.get(example.page, ("", OWN)))
    program, home, log = tmp_path / "program.py", tmp_path / "home", tmp_path / "log"
    program.write_text(f"{before}{example.text}\n{after}")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, program], env=environ(home), cwd=tmp_path, stdout=out, stderr=out
        )
    try:
        if example.key in SIGNALLED:
            eventually(lambda: owns(home) or process.poll() is not None, "the ownership")
            process.send_signal(signal.SIGTERM)
        code = process.wait(DEADLINE)
    finally:
        process.kill()
        process.wait()
    assert code == SIGNALLED.get(example.key, 0), log.read_text()
    assert "Traceback" not in log.read_text()
    if example.key in SERVED_ONLY or "tenure" not in example.text:
        assert not (home / "profiles").exists(), "nothing served it"
        return
    assert_left(home)


def test_the_examples_of_the_python_api_are_typed(tmp_path: Path) -> None:
    """As they stand, by mypy --strict."""
    typed = [one for one in examples("python") if one.page == "python-api"]
    assert len(typed) > 4
    files = []
    for number, example in enumerate(typed):
        files.append(tmp_path / f"example_{number}.py")
        files[-1].write_text(example.text)
    done = subprocess.run(
        [BIN / "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}", *files],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def owns(home: Path) -> bool:
    try:
        profile = Profile.open("shop", home=home)
    except TenureError:
        return False
    try:
        return profile.store.ownership().authority is not None
    finally:
        profile.close()


def assert_left(home: Path, name: str = "shop") -> None:
    """It owned, handed over, and left by its own word."""
    profile = Profile.open(name, home=home)
    try:
        assert profile.store.processes() == ()
        assert profile.store.terms(), "it has owned"
        assert profile.store.ownership().authority is None
        assert "process_died" not in {event.kind for event in profile.store.events(limit=1000)}
    finally:
        profile.close()


# -- a terminal --------------------------------------------------------------------------------
HERMES = "tests/hermes runs it with real Hermes Agents"
CRONTAB = (
    "it changes the user's own crontab; tests/cli/test_import_crontab_real.py imports real ones"
)
NOT_TYPED = {
    "git clone": "it fetches the project itself",
    "make run": "tests/scenario runs it",
    "make test": "it runs these tests",
    "make quick": "it runs some of these tests",
    "pip install": "it installs what these tests are run with",
    "tenure hermes": HERMES,
    "hermes -p": HERMES,
    "python3 ~/.hermes": HERMES,
    "tenure import crontab": CRONTAB,
    "crontab -l": CRONTAB,
    "tenure status --profile hermes-la": HERMES,
    "tenure runs --profile hermes-la": HERMES,
    "tenure requests --profile hermes-la": HERMES,
    "tenure explain --profile hermes-la": HERMES,
    "tenure audit --profile hermes-la": HERMES,
    "tenure import apscheduler": "tests/cli/test_import_apscheduler.py runs it, with jobs to read",
}
"""How a line begins that is not typed here, and why."""
STAYS = ("tenure serve", "tenure dashboard")
"""What runs until it is ended; with --link it does not."""
PAGES_TYPED = sorted({one.page for one in examples("console")})


class Terminal:
    """One page's lines, typed one after the other, in a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.folder = folder
        self.port = held_port()
        self.environ = environ(self.home)
        self.shell: dict[str, str] = {}
        self.staying: list[subprocess.Popen[bytes]] = []
        self.typed: list[str] = []

    def type(self, line: str, codes: tuple[int, ...] = (0,)) -> None:
        line = line.replace("127.0.0.1:8787", f"127.0.0.1:{self.port}")
        words = line.split("#")[0].strip() if "'" not in line else line
        self.typed.append(words)
        if words.startswith(STAYS) and "--link" not in words:
            self._stay(words)
            return
        kept = "; ".join(f"{name}={value}" for name, value in self.shell.items())
        if assigned := re.match(r"(\w+)=\$\(", words):
            words += f' && printf %s "${assigned[1]}" > variable'
        if "curl -sN" in words:
            self._read_stream(kept, words)
            return
        done = subprocess.run(
            ["sh", "-c", f"{kept}\n{words}"],
            cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=DEADLINE,
            check=False,
        )  # fmt: skip
        assert done.returncode in codes, f"{words}: {done.stdout}{done.stderr}"
        if words.startswith("curl"):
            assert '"error"' not in done.stdout, done.stdout
        if assigned:
            self.shell[assigned[1]] = (self.folder / "variable").read_text().strip()
            assert self.shell[assigned[1]], words

    def _read_stream(self, kept: str, words: str) -> None:
        """Until its first event; the stream itself does not end."""
        limited = words.replace("curl -sN", f"exec curl -sN --max-time {DEADLINE:.0f}")
        with subprocess.Popen(
            ["sh", "-c", f"{kept}\n{limited}"],
            cwd=self.folder, env=self.environ, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            found = any(line.startswith(b"event:") for line in process.stdout)
            process.kill()
        assert found, "a stream of events sent no event"

    def _stay(self, words: str) -> None:
        serves_page = "dashboard" in words or "--web" in words
        if serves_page:
            self.end("dashboard")
            words += f" 127.0.0.1:{self.port}" if "--web" in words else f" --port {self.port}"
        log = self.folder / f"log-{len(self.staying)}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                words.split(), cwd=self.folder, env=self.environ, stdout=out, stderr=out
            )
        self.staying.append(process)
        ready = f"127.0.0.1:{self.port}" if serves_page else "joined"
        eventually(lambda: ready in log.read_text() or process.poll() is not None, words)
        assert process.poll() is None, log.read_text()
        if "serve" in words and not serves_page:
            eventually(self.owned, "it to own")

    def owned(self) -> bool:
        profile = Profile.open("default", home=self.home)
        try:
            return profile.store.ownership().authority is not None
        finally:
            profile.close()

    def end(self, which: str = "") -> None:
        for process in self.staying:
            if process.poll() is None and any(which in str(word) for word in process.args):  # type: ignore[union-attr]
                process.send_signal(signal.SIGTERM)
                assert process.wait(DEADLINE) == 0, process.args

    def close(self) -> None:
        for process in self.staying:
            process.kill()
            process.wait()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    yield made
    made.close()


def lines_of(page: str) -> Iterator[str]:
    """What is typed; a line that goes on in the next is one."""
    for example in examples("console"):
        if example.page == page:
            text = example.text.replace("\\\n", " ")
            yield from (line[2:] for line in text.splitlines() if line.startswith("$ "))


BEFORE: dict[str, list[str]] = {
    "from-cron": ["tenure add @daily --name backup --paused -- true"],
    "web": [
        "tenure add '0 7 * * *' --name read-mail -- true",
        "tenure edit read-mail --timeout 1m",
        "tenure edit read-mail --timeout 2m",
    ],
}
"""What a page takes for granted: that there is a job, of the revision that it names."""


@pytest.mark.parametrize("page", PAGES_TYPED)
def test_what_a_page_says_to_type(page: str, terminal: Terminal) -> None:
    if shutil.which("curl") is None and page == "web":
        pytest.skip("there is no curl")
    wanted = [line for line in lines_of(page) if not line.startswith(tuple(NOT_TYPED))]
    for line in [*BEFORE.get(page, []), *wanted] if wanted else []:
        terminal.type(line)
    terminal.end()
    try:
        profile = Profile.open("default", home=terminal.home)
    except NotFound:
        assert not [line for line in terminal.typed if line.startswith("tenure add")]
        return
    try:
        assert profile.store.processes() == (), "each has left by its own word"
    finally:
        profile.close()


# -- files -------------------------------------------------------------------------------------
@pytest.mark.parametrize("example", examples("toml"), ids=lambda one: one.key)
def test_a_file(example: Example, terminal: Terminal) -> None:
    """A profile.toml is taken without a warning about the file; a file of jobs is applied."""
    found = tomllib.loads(example.text)
    if "job" in found:
        (terminal.folder / "jobs.toml").write_text(example.text)
        terminal.type("tenure apply jobs.toml")
        profile = Profile.open("default", home=terminal.home)
        names = {job.name for job in profile.store.jobs()[0]}
        profile.close()
        assert names == {job["name"] for job in found["job"]}
        return
    with closing(
        Profile.open("default", home=terminal.home, create=True, now=datetime.now(UTC))
    ) as profile:
        profile.folder.toml.write_text(example.text)
        # 1 is a warning, as that any process of the user could bring a rule about.
        assert main(["owner", "policy", "--accept", "--home", str(terminal.home)]) in (0, 1)
        assert len(profile.policy().rules) == len(found.get("owner", []))


def test_what_is_left_out_is_still_there() -> None:
    """A reason for an example that has gone is no reason any more."""
    keys = {one.key for one in examples("python")}
    assert {*NOT_RUN, *SIGNALLED, *SERVED_ONLY} <= keys
    lines = [line for page in PAGES_TYPED for line in lines_of(page)]
    unused = [start for start in NOT_TYPED if not any(line.startswith(start) for line in lines)]
    assert unused == []


def test_each_language_is_run_or_is_none_of_ours() -> None:
    others = {found[1] for page in PAGES for found in FENCE.findall(page.read_text())}
    assert others - {"python", "console", "toml"} <= {"", "sql", "nginx", "caddyfile", "yaml"}
