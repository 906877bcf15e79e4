"""Whatever the system can pass as an argument is answered with 2, 4 or the answer of the verb."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from clikit import Tenure, World

from tenure.surfaces.cli.command import common_options
from tenure.surfaces.cli.main import cli, main

WEIRD = [
    "", " ", "-", "-1", "\udcff", "a\udc80b", "a\0b", "\x1b[31m", "x" * 1_000_000, "9" * 400,
    "1e999", "nan", "0001-01-01", "10000-01-01", "2027-01-01T00:00:00+99:99",
    "99999999999999w", "-5m", "\u202e", "../..", "/dev/null", "👩\u200d👧", "٣", "every 99999999w",
    "K=\udcff", "\n",
]  # fmt: skip
ANSWERS = {0, 1, 2, 3, 4, 5, 75}
SERVING = {("serve",), ("dashboard",)}


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            below = command.get_command(click.Context(command), name)
            assert below is not None
            yield from commands(below, (*path, name))
    elif path not in SERVING:
        yield path


def found(path: tuple[str, ...]) -> click.Command:
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        below = command.get_command(click.Context(command), name)
        assert below is not None
        command = below
    return command


def calls(path: tuple[str, ...], value: str) -> Iterator[list[str]]:
    """The verb with this value as its argument, and as the value of each of its options."""
    common = {option.name for option in common_options()}
    command = found(path)
    takes = [p for p in command.params if isinstance(p, click.Argument)]
    first = ["@daily" if path == ("add",) else "job"] if takes else []
    if takes:
        yield [*path, "--", value]
        yield [*path, *first, "--", value]
    for option in command.params:
        if isinstance(option, click.Option) and not option.is_flag and option.name not in common:
            yield [*path, f"{option.opts[-1]}={value}", *first]


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No input, in a folder of its own: some verbs make a file of the name they are given."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("path", list(commands(cli)), ids=" ".join)
def test_no_argument_is_an_internal_error(
    tenure: Tenure, world: World, quiet: None, path: tuple[str, ...]
) -> None:
    tenure("add", "@daily", "--name", "job", "--", "true")
    for value in WEIRD:
        for call in calls(path, value):
            done = tenure(*call)
            assert done.code in ANSWERS, (call, done.err[:500])
            assert "internal error" not in done.err, (call, done.err[:500])


def test_the_common_options_are_checked_too(tenure: Tenure, world: World, quiet: None) -> None:
    for value in WEIRD:
        for option in ("--profile", "--home"):
            done = tenure("list", f"{option}={value}")
            assert done.code in ANSWERS, (option, value[:40], done.err[:500])
    for empty in (("--profile", "", "list"), ("--profile=", "list"), ("list", "--profile=")):
        done = tenure(*empty)
        assert (done.code, "profile" in done.err) == (2, True), "an empty name is not the default"


def test_a_look_alike_is_refused_and_the_other_is_named(
    tenure: Tenure, world: World, tmp_path: Path
) -> None:
    tenure("add", "@daily", "--name", "café", "--", "true")
    tenure("add", "@daily", "--name", "other", "--", "true")
    for call in (
        ("add", "@daily", "--name", "cafe\u0301", "--", "true"),
        ("add", "@daily", "--name", "CAFÉ", "--", "true"),
        ("edit", "other", "--rename", "Café"),
    ):
        done = tenure(*call)
        assert (done.code, "'café'" in done.err) == (5, True), call
    file = tmp_path / "jobs.toml"
    file.write_text('[[job]]\nname = "CAFÉ"\nschedule = "@daily"\ncommand = ["true"]\n')
    applied = tenure("apply", str(file))
    assert (applied.code, "'café'" in applied.err) == (2, True)
    assert tenure("edit", "café", "--rename", "Café").code == 0, "its own name may change its look"
    assert tenure("edit", "Café", "--tag", "x").code == 0


def test_a_bare_date_is_a_schedule(tenure: Tenure, world: World) -> None:
    year = world.now().year + 1
    assert tenure("add", f"{year}-01-31", "--name", "d", "--tz", "UTC", "--", "true").code == 0
    at = world.store.job("d").definition.schedule.at
    assert at is not None
    assert at.isoformat() == f"{year}-01-31T00:00:00+00:00"
    past = tenure("add", "2020-01-01", "--", "true")
    assert (past.code, "is in the past" in past.err) == (2, True)
    split = tenure("add", "0", "7", "*", "*", "*")
    assert (split.code, "quote it" in split.err) == (2, True)


@pytest.mark.parametrize("word", ["help", "version", "doctor"])
def test_what_others_call_it_is_answered_with_what_to_type(tenure: Tenure, word: str) -> None:
    done = tenure(word)
    assert (done.code, "Did you mean" in done.err) == (2, True)


# -- the streams, with real processes ---------------------------------------------------------


def run(home: Path, *argv: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Through a shell that opens and closes descriptors as ``before`` says."""
    line = f'exec "$@" {before}'
    return subprocess.run(
        ["/bin/sh", "-c", line, "sh", sys.executable, "-m", "tenure", *argv],
        env={**os.environ, "TENURE_HOME": str(home), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.real
@pytest.mark.parametrize(
    "argv", [("list",), ("list", "--json"), ("--help",), ("--version",), ("show", "no", "--json")]
)
def test_a_full_device_is_said_and_is_no_traceback(
    home: Path, tenure: Tenure, argv: tuple[str, ...]
) -> None:
    tenure("add", "@daily", "--name", "n", "--", "true")
    done = run(home, *argv, before=">/dev/full")
    assert done.returncode == (4 if "show" in argv else 75)
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")


def test_a_reader_that_goes_is_no_error(home: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "tenure", "--help"],
            stdout=gone,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.real
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_file_of_tenures(home: Path, tenure: Tenure, closed: str) -> None:
    assert run(home, "add", "@daily", "--name", "n", "--", "true", before=closed).returncode == 0
    assert tenure("list", "--json").json["jobs"][0]["name"] == "n"
    assert run(home, "show", "no", before=closed).returncode == 4


def test_the_level_of_the_log_is_checked(
    tenure: Tenure, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENURE_LOG", "loud")
    done = tenure("serve")
    assert (done.code, "TENURE_LOG" in done.err) == (2, True)


# -- what can only be read --------------------------------------------------------------------


@pytest.fixture
def read_only(tenure: Tenure, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A profile on a file system that is mounted read-only, as the system tells of one."""
    assert main(["add", "@daily", "--name", "n", "--", "true"]) == 0
    access, statvfs = os.access, os.statvfs

    class ReadOnly:
        def __init__(self, real: os.statvfs_result) -> None:
            self.f_flag = real.f_flag | os.ST_RDONLY

    monkeypatch.setattr(os, "access", lambda p, m: access(p, m) and not m & os.W_OK)
    monkeypatch.setattr(os, "statvfs", lambda p: ReadOnly(statvfs(p)))
    return home


def test_a_read_only_profile_is_shown_and_status_says_so(tenure: Tenure, read_only: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in sorted(read_only.rglob("*"))}
    for verb in ("list", "next", "export", "runs", "owner", "audit", "requests"):
        assert tenure(verb).code == 0, verb
    warning = tenure("status", "--json").json["warnings"][0]
    assert (warning["code"], "mounted read-only" in warning["text"]) == ("read_only", True)
    assert before == {p: p.stat().st_mtime_ns for p in sorted(read_only.rglob("*"))}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(tenure: Tenure, home: Path) -> None:
    tenure("add", "@daily", "--name", "n", "--", "true")
    folder = home / "profiles" / "default"
    folder.chmod(0o500)
    try:
        assert tenure("list").code == 0
        done = tenure("pause", "n")
        assert (done.code, f"chmod u+w {folder}" in done.err) == (75, True)
    finally:
        folder.chmod(0o700)
