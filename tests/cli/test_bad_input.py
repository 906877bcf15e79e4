"""Bad input for each verb: one clear error, field, remedy, exit code; nothing changed."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from clikit import Tenure, World

JOB = ["add", "@daily", "--name", "n", "--", "true"]

WRONG: list[tuple[list[str], int, str]] = [
    # add
    (["add"], 2, "missing argument"),
    (["add", "@daily"], 2, "command"),
    (["add", "@daily", "--"], 2, "command"),
    (["add", "whenever", "--", "x"], 2, "schedule: "),
    (["add", "", "--", "x"], 2, "schedule: "),
    (["add", "90", "--", "x"], 2, "schedule: "),
    (["add", "every 90", "--", "x"], 2, "schedule: "),
    (["add", "61 * * * *", "--", "x"], 2, "schedule: "),
    (["add", "0 0 30 2 *", "--", "x"], 2, "schedule: "),
    (["add", "2001-01-01T00:00", "--", "x"], 2, "schedule: "),
    (["add", "@daily", "--tz", "Mars/Olympus", "--", "x"], 2, "timezone: "),
    (["add", "@daily", "--tz", "", "--", "x"], 2, "timezone: "),
    (["add", "@daily", "--dst", "never", "--", "x"], 2, "dst: "),
    (["add", "@daily", "--name", "", "--", "x"], 2, "name: "),
    (["add", "@daily", "--name", "a\nb", "--", "x"], 2, "name: "),
    (["add", "@daily", "--name", "x" * 201, "--", "x"], 2, "name: "),
    (["add", "@daily", "--overlap", "x", "--", "x"], 2, "overlap: "),
    (["add", "@daily", "--catch-up", "x", "--", "x"], 2, "catch_up: "),
    (["add", "@daily", "--catch-up", "all:x", "--", "x"], 2, "catch_up: "),
    (["add", "@daily", "--grace", "5", "--", "x"], 2, "grace: "),
    (["add", "@daily", "--jitter", "-1s", "--", "x"], 2, "jitter: "),
    (["add", "@daily", "--timeout", "0s", "--", "x"], 2, "timeout: "),
    (["add", "@daily", "--timeout", "99999d", "--", "x"], 2, "timeout: "),
    (["add", "@daily", "--retries", "-1", "--", "x"], 2, "retries: "),
    (["add", "@daily", "--retries", "many", "--", "x"], 2, "retries"),
    (["add", "@daily", "--backoff", "x", "--", "x"], 2, "backoff: "),
    (["add", "@daily", "--env", "A", "--", "x"], 2, "env: "),
    (["add", "@daily", "--env", "=1", "--", "x"], 2, "env: "),
    (["add", "@daily", "--env", "T=********", "--", "x"], 2, "env.T: "),
    (["add", "@daily", "--cwd", "", "--", "x"], 2, "cwd: "),
    (["add", "@daily", "--requires", "magic", "--", "x"], 2, "requires: "),
    (["add", "@daily", "--requires", "read:relative", "--", "x"], 2, "requires: "),
    (["add", "@daily", "--tag", "", "--", "x"], 2, "tags: "),
    (["add", "@daily", "--shell", "--", "a", "b"], 2, "shell: "),
    (["add", "@daily", "--", ""], 2, "command: "),
    (["add", "@daily", "--", "x" * 140_000], 2, "command: "),
    (["add", "@daily", "--colour", "red", "--", "x"], 2, "no such option"),
    (["add", "@daily", "--name", "n", "--", "x"], 5, "'n'"),
    # jobs
    (["list", "--state", "odd"], 2, "odd"),
    (["list", "-n", "0"], 2, "0"),
    (["list", "--cursor", "rubbish", "-n", "1"], 2, "cursor"),
    (["show"], 2, "missing argument"),
    (["show", "nowhere"], 4, "nowhere"),
    (["show", "../../etc/passwd"], 4, "passwd"),
    (["edit", "n"], 2, "no change was given"),
    (["edit", "nowhere", "--retries", "1"], 4, "nowhere"),
    (["edit", "n", "--schedule", "x"], 2, "schedule: "),
    (["edit", "n", "--rename", ""], 2, "name: "),
    (["edit", "n", "--unset-env", "A"], 2, "unset-env: "),
    (["edit", "n", "--reset", "name"], 2, "reset: "),
    (["edit", "n", "--rename", "m"], 5, "'m'"),
    (["pause"], 2, "job: "),
    (["pause", "n", "--all"], 2, "job: "),
    (["pause", "nowhere"], 4, "nowhere"),
    (["resume"], 2, "job: "),
    (["remove"], 2, "job: "),
    (["remove", "nowhere"], 4, "nowhere"),
    # files
    (["apply", "/nowhere.toml"], 4, "nowhere.toml"),
    (["apply", "/"], 2, "file: "),
    (["export", "nowhere"], 4, "nowhere"),
    (["backup", "/"], 2, "file: "),
    (["backup", "/nowhere/x"], 2, "file: "),
    (["restore", "/nowhere", "--yes"], 4, "/nowhere"),
    # asking
    (["trigger", "nowhere"], 4, "nowhere"),
    (["trigger", "n"], 3, "can't run it: profile 'default' has no owner"),
    (["cancel", "r123"], 4, "r123"),
    (["retry", "r123"], 4, "r123"),
    (["requests", "cancel", "q123"], 4, "q123"),
    (["requests", "list", "--state", "odd"], 2, "odd"),
    # reading
    (["runs", "nowhere"], 4, "nowhere"),
    (["runs", "--state", "odd"], 2, "odd"),
    (["logs", "nowhere"], 4, "nowhere"),
    (["logs", "n"], 4, "has not run"),
    (["next", "nowhere"], 4, "nowhere"),
    (["next", "-n", "0"], 2, "0"),
    (["explain", "nowhere"], 4, "nowhere"),
    (["whoami", "--pid", "0"], 2, "0"),
    (["whoami", "--pid", "4194304"], 4, "4194304"),
    # ownership
    (["owner", "take"], 3, "no other process"),
    (["owner", "release"], 3, "no process owns the profile"),
    (["owner", "hand-over"], 3, "can't hand over: profile 'default' has no owner"),
    (["owner", "hand-over", "--to", "x"], 2, "to: "),
    (["owner", "policy", "--accept", "--clear"], 2, "clear: "),
    (["owner", "policy", "--accept"], 2, "profile.toml"),
    (["owner", "nonsense"], 2, "nonsense"),
    (["profile", "adopt"], 2, "how: "),
    (["profile", "adopt", "--moved"], 5, "belong together"),
    (["profile", "remove", "nowhere", "--yes"], 4, "nowhere"),
    (["profile", "remove", "../default", "--yes"], 2, "profile: "),
    # everywhere
    (["frobnicate"], 2, "unknown command"),
    (["sttus"], 2, "did you mean status"),
    (["list", "--profile", "No Such"], 2, "profile: "),
    (["list", "--profile", "nowhere"], 4, "nowhere"),
    (["list", "--home", ""], 2, "home: "),
    (["completion", "tcsh"], 2, "tcsh"),
    (["serve", "--app", "no.such:thing"], 2, "app: "),
]


def state_of(world: World) -> object:
    jobs, _ = world.store.jobs()
    return [(job.id, job.revision, job.state) for job in jobs]


@pytest.fixture
def two_jobs(tenure: Tenure, world: World) -> World:
    tenure(*JOB)
    tenure("add", "@daily", "--name", "m", "--", "true")
    return world


@pytest.mark.parametrize(("argv", "code", "text"), WRONG, ids=lambda v: str(v)[:60])
def test_it_says_what_is_wrong_and_changes_nothing(
    tenure: Tenure, two_jobs: World, argv: list[str], code: int, text: str
) -> None:
    before = state_of(two_jobs)
    done = tenure(*argv)
    assert done.code == code, done
    assert state_of(two_jobs) == before
    assert text.lower() in done.err.lower()
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    "argv",
    [argv for argv, code, _ in WRONG if code in (3, 5)],
    ids=lambda v: str(v)[:60],
)
def test_every_refusal_says_what_to_type(tenure: Tenure, two_jobs: World, argv: list[str]) -> None:
    assert "\n→ " in tenure(*argv).err


def test_an_error_is_a_document_with_json(tenure: Tenure, two_jobs: World) -> None:
    done = tenure("add", "whenever", "--json", "--", "x")
    error = done.json["error"]
    assert (done.code, done.err) == (2, "")
    assert (error["code"], error["field"]) == ("invalid", "schedule")
    assert error["remedy"]
    assert set(error) == {"code", "text", "remedy", "field", "facts"}
    assert tenure("--json", "frobnicate").json["error"]["code"] == "invalid"
    assert tenure("show", "nowhere", "--json").json["error"]["code"] == "not_found"
    # what stands behind -- is the job's own
    assert tenure("add", "whenever", "--", "x", "--json").err.startswith("error: ")


def test_bad_input_creates_no_profile(tenure: Tenure, home: Path) -> None:
    assert tenure("add", "whenever", "--", "x").code == 2
    assert tenure("add", "@daily", "--timeout", "x", "--", "x").code == 2
    assert not home.exists()
    for verb in (["list"], ["status"], ["trigger", "x"], ["audit"], ["owner"], ["migrate"]):
        done = tenure(*verb)
        assert done.code == 4, verb
        assert "tenure add" in done.err
    assert not home.exists()


def test_a_broken_profile_toml_is_a_warning_and_stops_nothing(
    tenure: Tenure, two_jobs: World
) -> None:
    two_jobs.profile.folder.toml.write_text("[[owner]\n")
    assert tenure("add", "@daily", "--name", "o", "--", "true").code == 0
    done = tenure("status", "--json")
    warnings = {w["code"]: w for w in done.json["warnings"]}
    assert done.code == 1
    assert "not TOML" in warnings["policy_file_problem"]["text"]
    accepted = tenure("owner", "policy", "--accept")
    assert (accepted.code, "not TOML" in accepted.err) == (2, True)


def test_an_unknown_key_of_a_rule_is_named(tenure: Tenure, two_jobs: World) -> None:
    two_jobs.profile.folder.toml.write_text('[[owner]]\nservce = "x"\n')
    done = tenure("owner", "policy", "--accept")
    assert done.code == 2
    assert "owner[1].servce" in done.err


def corrupt(path: Path) -> bytes:
    content = b"this is no database " * 500
    path.write_bytes(content)
    return content


READERS = [["list"], ["status"], ["runs"], ["audit"], ["owner"], ["add", "@daily", "--", "x"]]


@pytest.mark.parametrize("argv", READERS, ids=lambda v: v[0])
def test_a_corrupt_database_is_named_and_never_overwritten(
    tenure: Tenure, home: Path, argv: list[str]
) -> None:
    tenure(*JOB)
    database = home / "profiles" / "default" / "tenure.db"
    content = corrupt(database)
    done = tenure(*argv)
    assert done.code == 1, done
    assert "tenure restore" in done.err
    assert database.read_bytes() == content


def test_a_database_of_somebody_else_is_left_alone(tenure: Tenure, home: Path) -> None:
    tenure(*JOB)
    database = home / "profiles" / "default" / "tenure.db"
    database.unlink()
    with sqlite3.connect(database) as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    content = database.read_bytes()
    assert tenure("list").code == 1
    assert tenure("add", "@daily", "--", "x").code == 1
    assert database.read_bytes() == content


def test_a_deleted_database_is_not_made_anew(tenure: Tenure, home: Path) -> None:
    tenure(*JOB)
    database = home / "profiles" / "default" / "tenure.db"
    database.unlink()
    done = tenure("add", "@daily", "--", "x")
    assert done.code == 3
    assert "tenure restore" in done.err
    assert not database.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tenure: Tenure, home: Path) -> None:
    home.parent.chmod(0o500)
    try:
        done = tenure(*JOB)
    finally:
        home.parent.chmod(0o700)
    assert done.code == 3
    assert "cannot be used" in done.err


def test_a_home_that_is_a_file(tenure: Tenure, home: Path) -> None:
    home.write_text("not a folder")
    done = tenure(*JOB)
    assert done.code == 3
    assert "--home" in done.err
    assert home.read_text() == "not a folder"


def test_a_locked_database_is_could_not_tell(
    tenure: Tenure, two_jobs: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    from tenure.runtime import profile

    monkeypatch.setattr(profile, "PATIENCE", timedelta(milliseconds=50))
    before = state_of(two_jobs)
    blocker = sqlite3.connect(two_jobs.profile.folder.database, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        done = tenure("pause", "n")
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    assert done.code == 75
    assert "write lock" in done.err
    assert state_of(two_jobs) == before


def test_an_internal_error_is_one_line_and_says_how_to_learn_more(
    tenure: Tenure, two_jobs: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenure.surfaces.cli import jobs

    def broken(*_: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(jobs, "all_jobs", broken)
    done = tenure("list")
    assert done.code == 70
    assert done.err.startswith("error: internal error: KeyError: 'surprise'\n→ ")
    assert "Traceback" not in done.err
    monkeypatch.setenv("TENURE_DEBUG", "1")
    assert "Traceback" in tenure("list").err


def test_an_interrupt_is_quiet(
    tenure: Tenure, two_jobs: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenure.surfaces.cli import jobs

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "all_jobs", interrupted)
    done = tenure("list")
    assert (done.code, done.out, done.err.strip()) == (130, "", "")


def test_text_from_outside_cannot_drive_the_terminal(tenure: Tenure, two_jobs: World) -> None:
    tenure("add", "@daily", "--name", "evil", "--", "echo", "\x1b[2J\x07")
    for words in (["list"], ["show", "evil"]):
        assert "\x1b" not in tenure(*words).out
    assert "\x1b" not in tenure("show", "\x1b[31mred").err
