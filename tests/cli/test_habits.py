"""What people type out of habit, what a narrow terminal shows, and lists longer than a page."""

from __future__ import annotations

import io
import sys
from datetime import timedelta

import pytest
from clikit import Tenure, World

from tenure.domain.job import JobState
from tenure.surfaces.cli import output

JOB = ("add", "every 1h", "--name", "my job", "--", "true")

HABITS: list[tuple[list[str], int, str]] = [
    (["add", "every 10s"], 2, "tenure add 'every 10s' -- COMMAND"),
    (["add", "0", "3", "*", "*", "*", "--", "true"], 2, "quote it as one word"),
    (["add", "0", "3", "a.txt", "b.txt"], 2, "quote it as one word"),
    (["add", "every", "10s", "--", "true"], 2, "quote it as one word"),
    (["edit", "my job", "every 30s"], 2, "--schedule 'every 30s'"),
    (["edit", "my job", "@daily"], 2, "--schedule @daily"),
    (["show", "my", "job"], 2, "quote what has spaces"),
    (["logs", "my job"], 4, "tenure explain 'my job'"),
    (["logs", "my job", "-f", "--json"], 2, "cannot be combined"),
    (["logs", "my job", "-f", "-n", "3"], 2, "follow: "),
    (["cancel", "my job"], 4, "tenure runs 'my job'"),
    (["retry", "my job"], 4, "is a job, not a run"),
    (["run", "my job"], 2, "did you mean trigger"),
    (["rm", "my job"], 2, "did you mean remove"),
    (["export", "-o", "/nowhere/x"], 4, "/nowhere/x"),
    (["restore", "/nowhere"], 4, "/nowhere does not exist"),
    (["completion"], 2, "Choose from: bash, zsh, fish"),
]


@pytest.mark.parametrize(("argv", "code", "text"), HABITS, ids=lambda v: str(v)[:60])
def test_a_habit_of_elsewhere_is_told_what_to_type(
    tenure: Tenure, world: World, argv: list[str], code: int, text: str
) -> None:
    tenure(*JOB)
    before = world.store.jobs()
    done = tenure(*argv)
    assert done.code == code, done
    assert text.lower() in (done.out + done.err).lower()
    assert world.store.jobs() == before


def test_a_command_that_only_looks_like_a_schedule_is_taken(tenure: Tenure, world: World) -> None:
    tenure(*JOB)
    assert tenure("edit", "my job", "--shell", "--", "every 30s").code == 0
    assert tenure("edit", "my job", "--", "echo", "@daily").code == 0
    assert "leave its quotes away" in tenure("edit", "my job", "--", "echo hi").err


def test_waiting_for_what_nobody_has_accepted_is_no_success(tenure: Tenure, world: World) -> None:
    tenure(*JOB)
    done = tenure("trigger", "my job", "--queue", "--wait")
    assert done.code == 75
    assert "not waiting" in done.err


def test_requests_are_paged(tenure: Tenure, world: World) -> None:
    tenure(*JOB)
    for _ in range(3):
        tenure("trigger", "my job", "--queue")
    every = [r["id"] for r in tenure("requests", "--json").json["requests"]]
    first = tenure("requests", "list", "-n", "2", "--json").json
    rest = tenure("requests", "list", "-n", "2", "--json", "--cursor", first["next"]).json
    assert [r["id"] for r in first["requests"] + rest["requests"]] == every
    assert rest["next"] is None
    assert tenure("requests", "list", "--cursor", "odd").code == 2


def test_what_did_not_run_is_paged_beside_the_runs(tenure: Tenure, world: World) -> None:
    for name in ("a", "b", "c"):
        tenure("add", "every 1s", "--name", name, "--", "true")
        later = world.now() + timedelta(seconds=30)
        world.store.set_job_state(world.store.job(name).id, JobState.PAUSED, by="me", now=later)
    tenure(*JOB)
    ran = world.run_of(world.owner(), "my job").id
    cursor: list[str] = []
    runs: list[str] = []
    missed: list[str] = []
    for _ in range(3):
        page = tenure("runs", "--all", "-n", "1", "--json", *cursor).json
        runs += [run["id"] for run in page["runs"]]
        missed += [left_out["job_name"] for left_out in page["not_run"]]
        cursor = ["--cursor", page["next"]]
    assert page["next"] is None
    assert runs == [ran]
    assert sorted(missed) == ["a", "b", "c"]
    assert tenure("runs", "--all", "--cursor", "[1]").code == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_table_loses_nothing_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    cells = ["r1m81jgg43exmzxkxg9", "my job", "succeeded", "2026-11-22 12:08:19 UTC", "pid 32237"]
    shown = Terminal()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    output.table(["run", "job", "state", "fire", "by"], [cells], states=frozenset({2}))
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert all(word in shown.getvalue() for cell in cells for word in cell.split())
    assert len(lines) == 2 or width < 80
