"""``tenure import apscheduler``: compared, asked, written; the store is read and never changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from clikit import Tenure


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a nightly job, an interval, one that cannot be had and one that is paused."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "depot.py").write_text("def ship(to='', n=0): print('shipped', to, n)\n")
    monkeypatch.syspath_prepend(app)
    monkeypatch.delitem(sys.modules, "depot", raising=False)
    monkeypatch.chdir(app)
    file = tmp_path / "jobs.sqlite"
    native = SQLAlchemyJobStore(f"sqlite:///{file}")
    scheduler = BackgroundScheduler(jobstores={"default": native}, timezone="Europe/Berlin")
    scheduler.start(paused=True)
    ship = {"func": "depot:ship", "misfire_grace_time": 600}
    scheduler.add_job(**ship, trigger="cron", hour=2, minute=30, id="nightly", kwargs={"to": "x"})
    scheduler.add_job(**ship, trigger="interval", minutes=7, id="beat")
    scheduler.add_job(**ship, trigger="cron", week=5, id="weekly")
    scheduler.add_job(**ship, trigger="cron", hour=4, id="off")
    scheduler.pause_job("off")
    scheduler.shutdown()
    native.engine.dispose()
    return file


def names(tenure: Tenure) -> list[str]:
    return [job["name"] for job in tenure("list", "--json").json["jobs"]]


def test_the_declarations_are_printed_and_the_plan_beside_them(
    tenure: Tenure, store: Path, home: Path
) -> None:
    before = store.read_bytes()
    answer = tenure("import", "apscheduler", f"sqlite:///{store}", "--profile", "shop")
    assert answer.code == 0, answer.err
    assert 'tenure = Tenure(profile="shop")' in answer.out
    assert '    cron("30 2 * * *", tz="Europe/Berlin"),\n    depot.ship,\n' in answer.out
    assert '    args={"to": "x"},\n    grace="10m",\n' in answer.out
    assert "becomes  nightly: at 02:30 every day (Europe/Berlin)" in answer.err
    assert "3 times differ" in answer.err
    assert "only Tenure runs it" in answer.err
    assert "only APScheduler 3." in answer.err
    assert "not imported: its week is '5'" in answer.err
    assert "another start" in answer.err
    assert "paused" in answer.err
    assert store.read_bytes() == before
    assert not home.exists()


def test_a_file_is_written_once_and_runs(tenure: Tenure, store: Path, tmp_path: Path) -> None:
    file = tmp_path / "app" / "declared.py"
    asked = tenure("import", "apscheduler", str(store), "--out", str(file))
    assert asked.code == 2
    assert "--yes" in asked.err
    shown = tenure("import", "apscheduler", str(store), "--out", str(file), "--dry-run")
    assert "3 would be declared" in shown.out
    assert not file.exists()
    written = tenure("import", "apscheduler", str(store), "--out", str(file), "--yes")
    assert written.code == 0, written.err
    assert "scheduler.remove_job('nightly')" in written.out
    assert "scheduler.remove_job('off')" not in written.out
    code = "import declared; print(*sorted(declared.tenure._declared))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=file.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout == "default:beat default:nightly\n"
    again = tenure("import", "apscheduler", str(store), "--out", str(file), "--yes")
    assert again.code == 5
    assert "already exists" in again.err


def test_as_commands_they_are_added_once(tenure: Tenure, store: Path, tmp_path: Path) -> None:
    argv = ("import", "apscheduler", str(store), "--as-commands")
    assert tenure(*argv, "--dry-run").code == 0
    assert tenure(*argv).code == 2
    answer = tenure(*argv, "--yes")
    assert answer.code == 0, answer.err
    assert "the same for the next 20" in answer.out
    assert "a separate process" in answer.out
    assert names(tenure) == ["beat", "nightly", "off"]
    job = tenure("show", "nightly", "--json").json["job"]
    assert (job["cwd"], job["grace"], job["catch_up"]) == (str(tmp_path / "app"), 600, "none")
    done = subprocess.run(job["command"], cwd=job["cwd"], capture_output=True, check=True)
    assert done.stdout == b"shipped x 0\n"
    assert tenure("show", "off", "--json").json["job"]["state"] == "paused"
    again = tenure(*argv, "--yes")
    assert "nothing to add" in again.out
    assert "already there as nightly" in again.out
    assert len(names(tenure)) == 3


def test_a_template_and_a_folder_need_commands(tenure: Tenure, store: Path) -> None:
    for option in (("--cwd", "/"), ("--command-template", "run {func}")):
        refused = tenure("import", "apscheduler", str(store), *option)
        assert refused.code == 2
        assert "--as-commands" in refused.err
    argv = ("import", "apscheduler", str(store), "--as-commands", "--yes", "--prefix", "old ")
    assert tenure(*argv, "--cwd", "/", "--command-template", "run {func}").code == 0
    job = tenure("show", "old nightly", "--json").json["job"]
    assert (job["command"], job["cwd"]) == (["run", "depot:ship"], "/")


def test_as_a_document(tenure: Tenure, store: Path) -> None:
    document = tenure("import", "apscheduler", str(store), "--json").json
    jobs = {job["apscheduler_id"]: job for job in document["jobs"]}
    assert {id: job["action"] for id, job in jobs.items()} == {
        "nightly": "add", "beat": "add", "weekly": "skip", "off": "add",
    }  # fmt: skip
    assert len(jobs["nightly"]["fires"]["differences"]) == 3
    assert jobs["nightly"]["fires"]["compared_with"].startswith("APScheduler 3.")
    assert jobs["beat"]["fires"] is None
    assert "tenure.job(" in document["python"]
    assert document["written"] is False


def test_without_apscheduler_nothing_is_compared_and_that_is_said(
    tenure: Tenure, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("apscheduler")]:
        monkeypatch.setitem(sys.modules, module, None)  # importing it fails
    answer = tenure("import", "apscheduler", str(store), "--as-commands", "--dry-run")
    assert answer.code == 0, answer.err
    assert "not compared: APScheduler is not installed here" in answer.out
    assert "becomes  nightly" in answer.out


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("mongodb://h/jobs", 2, "MongoDB store cannot be read"),
        ("nowhere.sqlite", 4, "does not exist"),
        ("postgresql+nosuch://me:secret@h/db", 75, "me:***@h"),
    ],
)
def test_other_stores(tenure: Tenure, url: str, code: int, said: str) -> None:
    answer = tenure("import", "apscheduler", url)
    assert answer.code == code
    assert said in answer.err
    assert "secret" not in answer.err
