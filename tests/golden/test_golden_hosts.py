"""The documents about other schedulers' jobs: Hermes Agent's and APScheduler's.

Nothing of Hermes is installed, and no process of it is seen.
"""

from __future__ import annotations

import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from goldenkit import HERE, Normaliser, check_none_is_left, compare

from tenure.adapters.hermes.look import scan
from tenure.surfaces.cli.main import main

sys.path.insert(0, str(Path(__file__).parents[1] / "adapters"))

from adoptkit import World

pytestmark = pytest.mark.usefixtures("plain")
FOLDER = HERE / "hosts"
FOUR = datetime(2026, 3, 29, 4, 0, tzinfo=UTC)
HERMES = {
    "status": ["hermes status"],
    "status-nowhere": ["hermes status --hermes-home {tmp}/nowhere"],
    "adopt-dry-run": ["hermes adopt --force --dry-run --protect mail --fallback-after 10m"],
    "adopt-asks": ["hermes adopt --force"],
    "adopt-unknown-job": ["hermes adopt --force --yes --protect nothing"],
    "way-there-and-back": [
        "hermes adopt --force --yes --protect mail",
        "hermes status",
        "hermes adopt --force --yes",
        "hermes protect bbbbbbbbbbbb --requires fda",
        "hermes protect twice",
        "hermes unprotect mail",
        "hermes release --dry-run",
        "hermes release --yes",
        "hermes release --yes",
    ],
    "import": [
        "import hermes --hermes-profile la --dry-run",
        "import hermes --hermes-profile la --yes --uncompared",
        "import hermes --hermes-profile la --yes --uncompared",
        "import hermes --hermes-profile nothing --yes",
    ],
}
APSCHEDULER = {
    "apscheduler": ["import apscheduler {tmp}/jobs.sqlite -n 3",
                    "import apscheduler {tmp}/jobs.sqlite --out {tmp}/declared.py --dry-run",
                    "import apscheduler {tmp}/missing.sqlite"],
}  # fmt: skip


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in [n for n in os.environ if n.startswith(("HERMES", "TENURE", "XDG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(scan.LinuxScan, "pids", lambda _: [])
    made = World(tmp_path).with_config().with_lock()
    monkeypatch.setenv("HERMES_HOME", str(made.home.root))
    return made


@pytest.mark.parametrize("name", HERMES)
def test_hermes(name: str, world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = [line.replace("hermes ", "hermes --profile la ", 1) if line.startswith("hermes")
             else line for line in HERMES[name]]  # fmt: skip
    compare(FOLDER / f"{name}.txt", said(lines, tmp_path, capfd))


@pytest.mark.parametrize("name", APSCHEDULER)
def test_apscheduler(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, monkeypatch)
    compare(FOLDER / f"{name}.txt", said(APSCHEDULER[name], tmp_path, capfd))


def fill(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job store with a nightly job, an interval, one that cannot be had and one paused."""
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
    from apscheduler.schedulers.background import BackgroundScheduler

    app = folder / "app"
    app.mkdir()
    (app / "golden_depot.py").write_text("def ship(to='', n=0): print('shipped', to, n)\n")
    monkeypatch.syspath_prepend(app)
    monkeypatch.delitem(sys.modules, "golden_depot", raising=False)
    monkeypatch.chdir(app)
    store = SQLAlchemyJobStore(f"sqlite:///{folder / 'jobs.sqlite'}")
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone="Europe/Berlin")
    store.start(scheduler, "default")  # the scheduler itself would fire what is past

    def add(id: str, trigger: str, planned: datetime | None = FOUR, **more: Any) -> None:
        job = scheduler.add_job(
            "golden_depot:ship", trigger, id=id, next_run_time=planned, misfire_grace_time=600,
            coalesce=True, max_instances=1, **more,
        )  # fmt: skip
        store.add_job(job)

    add("nightly", "cron", hour=2, minute=30, kwargs={"to": "x"})
    add("beat", "interval", minutes=7, start_date="2026-03-28 12:00:00")
    add("weekly", "cron", week=5)
    add("off", "cron", None, hour=4)
    store.engine.dispose()


def said(lines: list[str], tmp: Path, capfd: pytest.CaptureFixture[str]) -> str:
    normaliser, parts = Normaliser(tmp / "home"), []
    for line in lines:
        capfd.readouterr()
        words = shlex.split(line.format(tmp=tmp))
        code = main(["--json", "--home", str(tmp / "home"), *words])
        text = normaliser.json(capfd.readouterr().out, indent=2).replace(str(tmp), "<tmp>")
        parts.append(f"$ tenure --json {line}\nexit {code}\n{text}")
    return "\n".join(parts)


def test_each_file_belongs_to_a_case() -> None:
    check_none_is_left(FOLDER, {f"{name}.txt" for name in (*HERMES, *APSCHEDULER)})
