"""tenure import hermes: shown, compared, asked, added at once, and not twice.

Hermes' Python is a stand-in here that answers what the test says; with the real ones,
tests/hermes/test_import_real.py.
"""

from __future__ import annotations

import json
import os
import pty
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from clikit import Answer, Tenure

from tenure.domain.schedule.model import cron_schedule

ZONE = "Europe/Berlin"


class Hermes:
    """A Hermes home with jobs, and a Python that answers for it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "hermes"
        self.home = self.root / "profiles" / "la"
        for name in ("cron", "scripts"):
            (self.home / name).mkdir(parents=True)
        (self.home / "scripts" / "watch.sh").touch()
        (self.home / "config.yaml").write_text(f"timezone: {ZONE}\n")
        self.jobs: list[dict[str, Any]] = []
        self.told: dict[str, Any] = {}
        site = folder / "venv" / "lib" / "python3.11" / "site-packages" / "hermes_cli"
        site.mkdir(parents=True)
        (site / "__init__.py").write_text('__version__ = "0.19.0"\n')
        (folder / "venv" / "bin").mkdir()
        self.python = folder / "venv" / "bin" / "python"
        self.answer = folder / "told.json"
        self.python.write_text(f"#!/bin/sh\ncat > /dev/null\nexec cat {self.answer}\n")
        self.python.chmod(0o755)

    def job(self, name: str, expr: str = "0 9 * * *", **fields: Any) -> str:
        """A job, and as its fires those that Tenure computes, so that both agree."""
        id = f"c0ffee0000{len(self.jobs):02}"
        schedule = {"kind": "cron", "expr": expr, "display": expr}
        self.jobs.append(
            {"id": id, "name": name, "script": "watch.sh", "no_agent": True, "enabled": True,
             "state": "scheduled", "schedule": schedule, **fields}
        )  # fmt: skip
        now = datetime.now(UTC)
        end = now + timedelta(days=30)
        fires = cron_schedule(expr, ZONE).fires(now, end)
        self.told[id] = {
            "fires": [int(at.timestamp()) for at in fires],
            "ranges": [[int(now.timestamp()), int(end.timestamp())]],
        }
        self.write()
        return id

    def write(self) -> None:
        (self.home / "cron" / "jobs.json").write_text(json.dumps({"jobs": self.jobs}))
        told = {"zone": ZONE, "changes": [], "hermes": "0.19.0", "croniter": "6.0.0",
                "script_timeout": 60, "env": {}, "jobs": self.told}  # fmt: skip
        self.answer.write_text(json.dumps(told))


Import = Callable[..., Answer]


@pytest.fixture
def hermes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hermes:
    monkeypatch.delenv("HERMES_HOME", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setitem(sys.modules, "croniter", None)
    return Hermes(tmp_path)


@pytest.fixture
def imports(tenure: Tenure, hermes: Hermes) -> Import:
    def run(*options: str, python: bool = True) -> Answer:
        which = ["--hermes-python", str(hermes.python)] if python else []
        home = ["--hermes-home", str(hermes.root), "--hermes-profile", "la"]
        return tenure("import", "hermes", *home, *which, *options)

    return run


def names(tenure: Tenure, *options: str) -> list[str]:
    return [job["name"] for job in tenure("list", "--json", *options).json["jobs"]]


def test_jobs_are_added_and_run_as_in_hermes(
    tenure: Tenure, hermes: Hermes, imports: Import
) -> None:
    id = hermes.job("watch", deliver="telegram")
    hermes.job("lunch", "0 12 * * *", state="paused", enabled=False)
    done = imports("--yes")
    assert done.code == 0
    assert "compared with what Hermes 0.19.0, croniter 6.0.0 computes" in done.out
    assert "the same for the next 20" in done.out
    assert "not sent to telegram" in done.out
    assert f"HERMES_HOME={hermes.root} hermes -p la cron pause {id}" in done.out
    assert "no scheduler is running for this profile" in done.err
    job = tenure("show", "watch", "--json").json["job"]
    assert job["command"][1] == str(hermes.home / "scripts" / "watch.sh")
    assert job["env"] == {"HERMES_HOME": str(hermes.home)}
    assert (job["tags"], job["timeout"]) == ([f"hermes:{id}"], 60)
    assert job["schedule"]["timezone"] == ZONE
    assert tenure("show", "lunch", "--json").json["job"]["state"] == "paused"


def test_a_second_import_adds_what_is_new_only(
    tenure: Tenure, hermes: Hermes, imports: Import
) -> None:
    hermes.job("watch")
    assert imports("--yes").code == 0
    again = imports("--yes")
    assert (again.code, "already there" in again.out, "nothing to add" in again.out) == (
        0,
        True,
        True,
    )
    assert "cron pause" in again.out  # it still runs in both
    hermes.job("other", "30 9 * * *")
    assert [job["action"] for job in imports("--yes", "--json").json["jobs"]] == ["present", "add"]
    assert names(tenure) == ["other", "watch"]


def test_nothing_is_written_unasked(
    tenure: Tenure, hermes: Hermes, imports: Import, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hermes.job("watch")
    for options in (["--dry-run"], ["--dry-run", "--yes"], ["--dry-run", "--json"]):
        assert imports(*options).code == 0
        assert not home.exists()
    master, slave = pty.openpty()
    with open(os.devnull) as nobody, os.fdopen(slave) as terminal:
        monkeypatch.setattr(sys, "stdin", nobody)
        refused = imports()
        assert (refused.code, "--yes" in refused.err) == (2, True)
        monkeypatch.setattr(sys, "stdin", terminal)
        os.write(master, b"n\n")
        refused = imports()
        assert (refused.code, "Add 1 job to the profile default?" in refused.err) == (2, True)
        assert not home.exists()
        os.write(master, b"y\n")
        assert imports().code == 0
    os.close(master)
    assert names(tenure) == ["watch"]


def test_where_they_disagree_is_shown_first(hermes: Hermes, imports: Import) -> None:
    id = hermes.job("watch")
    now = int(datetime.now(UTC).timestamp())
    fires = hermes.told[id]["fires"]
    missing, hermes.told[id]["fires"] = fires[0], [now + 90, *fires[1:]]
    hermes.write()
    done = imports("--dry-run")
    assert "2 times differ" in done.out
    for line in ("only Hermes runs it", "only Tenure runs it"):
        assert line in done.out
    (job,) = imports("--dry-run", "--json").json["jobs"]
    found = {(d["hermes"], d["at"]) for d in job["fires"]["differences"]}
    assert found == {
        (True, datetime.fromtimestamp(now + 90, UTC).isoformat().replace("+00:00", "Z")),
        (False, datetime.fromtimestamp(missing, UTC).isoformat().replace("+00:00", "Z")),
    }


def test_what_was_not_compared_needs_to_be_said(
    tenure: Tenure, hermes: Hermes, imports: Import
) -> None:
    hermes.job("watch")
    refused = imports("--yes", python=False)
    assert (refused.code, "--uncompared" in refused.err) == (2, True)
    assert "not compared: no Python that has Hermes was found" in refused.out
    assert names_or_none(tenure) == []
    done = imports("--yes", "--uncompared", "--json", python=False).json
    assert (done["compared_by"], done["written"]) == (None, True)
    assert done["jobs"][0]["fires"]["compared"] is False
    assert names(tenure) == ["watch"]


def names_or_none(tenure: Tenure) -> list[str]:
    listed = tenure("list", "--json")
    return [] if listed.code else [job["name"] for job in listed.json["jobs"]]


def test_a_job_that_hermes_cannot_plan_is_not_compared(hermes: Hermes, imports: Import) -> None:
    id = hermes.job("watch")
    hermes.told[id] = {"error": "CroniterBadDateError: failed to find next date"}
    hermes.write()
    refused = imports("--yes")
    assert (refused.code, "failed to find next date" in refused.out) == (2, True)


def test_what_cannot_be_imported_is_said_and_the_rest_is(
    tenure: Tenure, hermes: Hermes, imports: Import
) -> None:
    hermes.job("good")
    hermes.job("evil", script="/bin/true")
    hermes.job("snake", script="snake.py")
    done = imports("--yes")
    assert "not imported: its script /bin/true lies outside" in done.out
    assert names(tenure) == ["good", "snake"]
    assert f"the file {hermes.home / 'scripts' / 'snake.py'} does not exist" in done.out


def test_chosen_jobs_with_a_prefix(tenure: Tenure, hermes: Hermes, imports: Import) -> None:
    hermes.job("one")
    two = hermes.job("two")
    assert imports("--job", two, "--prefix", "la-", "--yes").code == 0
    assert names(tenure) == ["la-two"]
    missing = imports("--job", "three", "--yes")
    assert (missing.code, "it has one, two" in missing.err) == (4, True)


def test_another_profile_is_another_import(tenure: Tenure, hermes: Hermes, imports: Import) -> None:
    hermes.job("watch")
    assert imports("--yes").code == 0
    assert imports("--yes", "--profile", "other").code == 0
    assert [j["name"] for j in tenure("list", "--profile", "other", "--json").json["jobs"]] == [
        "watch"
    ]


def test_an_agent_is_imported_paused_where_it_lacks_its_data(
    tenure: Tenure, hermes: Hermes, imports: Import
) -> None:
    hermes.job("news", no_agent=False, prompt="What is new?")
    done = imports("--yes")
    assert "paused here only" in done.out
    assert "`tenure resume news` starts it" in done.out
    assert "cron pause" not in done.out
    assert "note: agents run as `hermes chat -Q`" in done.out
    job = tenure("show", "news", "--json").json["job"]
    assert (job["state"], job["command"][-1]) == ("paused", "--query=What is new?")


def test_what_comes_from_outside_cannot_drive_the_terminal(hermes: Hermes, imports: Import) -> None:
    hermes.job("a\x1b[2Jb", deliver="x\x1b[2Jy", schedule_display="\x1b[31m")
    assert "\x1b" not in imports("--dry-run").out


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [(["--hermes-home", "/no/such"], 4, "no Hermes home"),
     (["--hermes-python", sys.executable], 4, "is not a Python that has Hermes"),
     (["-n", "0"], 2, "range"), (["--jobs", "x"], 2, "--job")],
)  # fmt: skip
def test_mistakes_are_told(
    tenure: Tenure, hermes: Hermes, options: list[str], code: int, word: str
) -> None:
    base = [] if "--hermes-home" in options else ["--hermes-home", str(hermes.home)]
    failed = tenure("import", "hermes", *base, *options)
    assert (failed.code, word in failed.err) == (code, True), failed


def test_a_file_that_cannot_be_read_is_no_empty_import(hermes: Hermes, imports: Import) -> None:
    (hermes.home / "cron" / "jobs.json").write_text("{")
    failed = imports("--yes", "--json")
    assert (failed.code, failed.json["error"]["code"]) == (75, "undetermined")


def test_a_python_is_kept_by_its_whole_path(
    tenure: Tenure, hermes: Hermes, imports: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs name it, and run elsewhere; and a link to it is an environment of its own."""
    hermes.job("snake", script="snake.py")
    monkeypatch.chdir(hermes.python.parent.parent)
    python = hermes.python.with_name("python3")
    python.symlink_to("python")
    (job,) = imports("--dry-run", "--json", "--hermes-python", "bin/python3").json["jobs"]
    assert job["definition"]["command"][0] == str(python)


def test_a_hermes_that_the_owner_would_not_find_is_a_warning(
    tenure: Tenure, hermes: Hermes, imports: Import
) -> None:
    hermes.job("agent", no_agent=False, script=None, prompt="Say hi.")
    done = imports("--yes", "--uncompared", python=False)
    assert "hermes is not found in this shell's PATH" in done.err


def test_a_doubtful_zone_is_a_warning(
    hermes: Hermes, imports: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    hermes.job("watch")
    monkeypatch.setenv("TZ", "UTC")
    (hermes.home / "config.yaml").unlink()
    document = {"jobs": hermes.jobs, "updated_at": "2026-11-22T15:00:00+11:45"}
    (hermes.home / "cron" / "jobs.json").write_text(json.dumps(document))
    done = imports("--dry-run", python=False)
    assert "Hermes last wrote at 15:00 UTC+1145" in done.err


def test_no_jobs_are_no_error(hermes: Hermes, imports: Import) -> None:
    assert "nothing to add" in imports("--yes").out


def test_import_alone_lists_from_where(tenure: Tenure) -> None:
    shown = tenure("import")
    assert (shown.code, "Import the jobs of a Hermes profile." in shown.out) == (0, True)
    assert "Did you mean 'hermes'" in tenure("import", "hermse").err
