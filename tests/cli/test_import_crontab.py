"""``tenure import crontab``: shown, asked, written all at once or not at all; never the crontab."""

from __future__ import annotations

import os
import stat
import subprocess
import zoneinfo
from importlib import resources
from pathlib import Path

import pytest
from clikit import Answer, Tenure

from tenure.adapters.crontab.source import machine_zone

CRONTAB = """\
MAILTO=paul
5 0 * * * $HOME/bin/daily.job >> $HOME/tmp/out 2>&1
@reboot /opt/start
*/5 * * * * cat > {out}%one%two\\%
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "crontab.txt"
    file.write_text(CRONTAB.format(out=tmp_path / "out"))
    return file


@pytest.fixture
def crontab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `crontab` command that lists the crontab of a file beside it, and says what it was told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "crontab"
    command.write_text(
        f'#!/bin/sh\necho "$*" >> {folder}/calls\n'
        f'case "$*" in *-V*) echo cronie 1.5.7;; *-l*) cat {folder}/table;; esac\n'
    )
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def names(tenure: Tenure) -> list[str]:
    return [job["name"] for job in tenure("list", "--json").json["jobs"]]


def test_it_is_shown_then_written_then_said_how_to_end_the_originals(
    tenure: Tenure, table: Path
) -> None:
    before = table.read_text()
    answer = tenure("import", "crontab", str(table), "--yes", "--dialect", "debian")
    assert answer.code == 0, answer.err
    assert "line 2: 5 0 * * *" in answer.out
    assert "at 00:05 every day" in answer.out
    assert "not mailed to paul" in answer.out
    assert "not imported: @reboot is not supported" in answer.out
    assert "'one' and 1 more line" in answer.out
    assert f"sed -i.before '2s/^/#/;4s/^/#/' {table}" in answer.out
    assert names(tenure) == ["cat", "daily.job"]
    assert table.read_text() == before


def test_the_command_that_is_said_comments_out_what_was_imported(
    tenure: Tenure, table: Path
) -> None:
    answer = tenure("import", "crontab", str(table), "--yes", "--json")
    (command,) = answer.json["comment_out"]
    subprocess.run(["sh", "-c", command], check=True)
    rows = table.read_text().splitlines()
    assert [row.startswith("#") for row in rows] == [False, True, False, True]
    again = tenure("import", "crontab", str(table), "--json").json
    assert [job["action"] for job in again["jobs"]] == ["skip"]
    assert again["comment_out"] == []


def test_a_dry_run_and_a_missing_yes_write_nothing(tenure: Tenure, table: Path, home: Path) -> None:
    assert "2 would be added" in tenure("import", "crontab", str(table), "--dry-run").out
    refused = tenure("import", "crontab", str(table))
    assert refused.code == 2
    assert "--yes" in refused.err
    assert not home.exists()


def test_importing_again_adds_nothing(tenure: Tenure, table: Path) -> None:
    tenure("import", "crontab", str(table), "--yes")
    again = tenure("import", "crontab", str(table), "--yes")
    assert again.code == 0
    assert "nothing to add" in again.out
    assert "already there as daily.job" in again.out
    assert len(names(tenure)) == 2


def test_a_wrong_line_stops_everything(tenure: Tenure, table: Path, home: Path) -> None:
    table.write_text(table.read_text() + "61 * * * * x\nFOO=\n")
    stopped = tenure("import", "crontab", str(table), "--yes")
    assert stopped.code == 2
    assert "line 5: minute '61'" in stopped.err
    assert "line 6: FOO=" in stopped.out
    assert not home.exists()
    document = tenure("import", "crontab", str(table), "--yes", "--json").json
    assert [found["line"] for found in document["error"]["facts"]["wrong"]] == [5, 6]
    skipped = tenure("import", "crontab", str(table), "--yes", "--skip-broken", "--json").json
    assert [found["line"] for found in skipped["wrong"]] == [5, 6]
    assert len(names(tenure)) == 2


def test_the_callers_own_crontab(tenure: Tenure, crontab: Path) -> None:
    (crontab / "table").write_text("# mine\n0 1 * * * x\n")
    answer = tenure("import", "crontab", "--yes", "--paused")
    assert answer.code == 0, answer.err
    assert "read as cronie reads it" in answer.out
    assert "crontab -l > crontab.before && sed '2s/^/#/' crontab.before | crontab -" in answer.out
    assert "`tenure resume x` starts it" in answer.out
    assert (crontab / "calls").read_text().split("\n") == ["-l", "-V", ""]
    (job,) = tenure("list", "--json").json["jobs"]
    assert job["state"] == "paused"


def test_without_a_crontab(tenure: Tenure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "crontab command is not installed" in tenure("import", "crontab").err
    assert tenure("import", "crontab", str(tmp_path / "none")).code == 4
    assert tenure("import", "crontab", str(tmp_path)).code == 2


def test_the_zone_is_crons(tenure: Tenure, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")  # the caller's own, which cron does not see
    argv = ("import", "crontab", str(table), "--dry-run", "--json")
    assert tenure(*argv).json["crontab"]["timezone"] != "Asia/Tokyo"
    document = tenure(*argv, "--tz", "Asia/Tokyo").json
    assert document["jobs"][0]["definition"]["schedule"]["timezone"] == "Asia/Tokyo"
    assert tenure("import", "crontab", str(table), "--tz", "Nowhere").code == 2


def test_a_zone_without_a_name_is_asked_for(tmp_path: Path) -> None:
    copy = tmp_path / "localtime"
    copy.write_bytes(zone_data("America/Phoenix"))
    zone, doubt = machine_zone(copy)
    assert (zone, "not UTC" in doubt) == ("UTC", True)
    (tmp_path / "timezone").write_text("America/Phoenix\n")
    assert machine_zone(copy) == ("America/Phoenix", "")
    assert machine_zone(tmp_path / "none") == ("America/Phoenix", "")


def zone_data(key: str) -> bytes:
    for folder in zoneinfo.TZPATH:
        if Path(folder, key).exists():
            return Path(folder, key).read_bytes()
    return resources.files("tzdata.zoneinfo").joinpath(key).read_bytes()


def test_an_empty_crontab(tenure: Tenure, crontab: Path) -> None:
    (crontab / "table").write_text("# nothing\n")
    answer = tenure("import", "crontab", "--yes")
    assert (answer.code, "nothing to add" in answer.out) == (0, True)


@pytest.mark.root
def test_a_system_crontab_and_its_users(tenure: Tenure, tmp_path: Path) -> None:
    me = tenure("whoami", "--json").json["evidence"]["user"]
    file = tmp_path / "app"
    file.write_text(f"0 1 * * * {me} mine\n0 2 * * * nobody theirs\n")
    answer = tenure("import", "crontab", str(file), "--system", "--yes")
    assert answer.code == 0, answer.err
    assert "it runs as nobody" in answer.out
    assert names(tenure) == ["mine"]
    if os.geteuid() == 0:
        refused = tenure("import", "crontab", str(file), "--system", "--user", "nobody", "--yes")
        assert refused.code == 3
        assert "sudo -u nobody" in refused.err


def test_a_line_that_lies_cannot_drive_the_terminal(tenure: Tenure, tmp_path: Path) -> None:
    file = tmp_path / "evil"
    file.write_text("0 1 * * * echo '\x1b[2J'\n\x1b[2J x\n")
    answer = tenure("import", "crontab", str(file), "--dry-run", "--skip-broken")
    assert "\x1b" not in answer.out + answer.err


def test_bytes_that_are_no_text(tenure: Tenure, tmp_path: Path) -> None:
    file = tmp_path / "latin"
    file.write_bytes(b"# caf\xe9\n0 1 * * * good\n0 2 * * * caf\xe9\n")
    stopped = tenure("import", "crontab", str(file), "--yes")
    assert stopped.code == 2
    assert "line 3" in stopped.err
    assert "UTF-8" in stopped.err
    answer = tenure("import", "crontab", str(file), "--yes", "--skip-broken", "--json")
    assert answer.code == 0, answer.err
    assert names(tenure) == ["good"]


def test_what_is_imported_runs_as_under_cron(tenure: Tenure, table: Path, tmp_path: Path) -> None:
    """The definition, run as the owner runs it: the shell, the line, the input."""
    tenure("import", "crontab", str(table), "--yes")
    job = tenure("show", "cat", "--json", "--show-secrets").json["job"]
    assert job["shell"] is True
    subprocess.run(
        ["/bin/sh", "-c", job["command"][0]], input=job["stdin"], text=True, check=True,
        env=job["env"],
    )  # fmt: skip
    assert (tmp_path / "out").read_text() == "one\ntwo%\n"


def test_help_names_it(tenure: Tenure) -> None:
    answer: Answer = tenure("import", "--help")
    assert "crontab" in answer.out
