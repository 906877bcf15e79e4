"""A profile that an earlier Tenure wrote is opened, and carried on, by this one.

The golden files of the scenes `unadopted` and `idle` hold its documents before it has an owner.
Here a real scheduler takes it over.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from goldenkit import OLD, copy_old_profile

from tenure.surfaces.cli.main import main
from waiting import DEADLINE, eventually

SERVE = [sys.executable, "-m", "tenure", "serve"]
LAST_TERM = 3
UNFINISHED = {"half-past-two": "claimed", "price-watch": "running"}


class Shell:
    """The command line at a copy of the old profile."""

    def __init__(self, home: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture
        kept = {name: value for name, value in os.environ.items() if name != "TENURE_PROFILE"}
        self.env = {**kept, "TENURE_HOME": str(home), "HOME": str(home.parent)}
        self.server: subprocess.Popen[bytes] | None = None

    def ask(self, *line: str) -> Any:
        """The document, whatever the exit code."""
        self._capture.readouterr()
        main(["--json", "--home", self.env["TENURE_HOME"], *line])
        return json.loads(self._capture.readouterr().out)

    def serve(self, log: Path) -> None:
        with log.open("wb") as out:
            self.server = subprocess.Popen(SERVE, env=self.env, stdout=out, stderr=out)

    def stop(self) -> int:
        assert self.server is not None
        self.server.send_signal(signal.SIGTERM)
        return self.server.wait(DEADLINE)

    def runs(self, job: str) -> list[Any]:
        """The newest first."""
        found: list[Any] = self.ask("runs", job)["runs"]
        return found


@pytest.fixture
def shell(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    copy_old_profile(tmp_path / "home")
    made = Shell(tmp_path / "home", capfd)
    yield made
    if made.server is not None and made.server.poll() is None:
        made.server.kill()
        made.server.wait(DEADLINE)


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in OLD.rglob("*") if path.is_file()) < 300_000


@pytest.mark.real
def test_a_scheduler_takes_it_over_and_runs_what_is_due(shell: Shell, tmp_path: Path) -> None:
    assert {job: shell.runs(job)[0]["state"] for job in UNFINISHED} == UNFINISHED
    shell.serve(tmp_path / "before.log")  # the copy is not adopted yet: no process may own it
    eventually(lambda: shell.ask("status")["processes"], "the scheduler to join")
    assert shell.ask("status")["owner"] is None
    assert shell.stop() == 0
    assert shell.ask("profile", "adopt", "--moved")["how"] == "moved"

    shell.serve(tmp_path / "serve.log")
    owner = eventually(lambda: shell.ask("status")["owner"], "an owner")
    assert owner["term"] > LAST_TERM
    assert owner["rule"] == 3
    run = eventually(lambda: ended(shell.runs("half-past-two")), "the run that is due")
    assert (run["state"], run["term"], run["cause"]) == ("succeeded", owner["term"], "catch_up")
    states = eventually(lambda: settled(shell), "the end of what the old owner left")
    assert states == {"half-past-two": "never_ran", "price-watch": "lost"}
    (again, *_) = shell.runs("mail-digest")
    assert [attempt["term"] for attempt in again["attempts"]][:2] == [LAST_TERM, owner["term"]]
    assert shell.ask("status")["jobs"]["open_holds"] > 0  # rule 3 is a fallback
    assert shell.stop() == 0
    audit = shell.ask("audit")
    assert (audit["clean"], audit["findings"]) == (True, [])
    assert audit["checked"]["terms"] == LAST_TERM + 1


def ended(runs: list[Any]) -> Any:
    """The first of the new term that is over."""
    over = [run for run in runs if run["term"] > LAST_TERM and run["finished_at"] is not None]
    return over[0] if over else None


def settled(shell: Shell) -> dict[str, str] | None:
    """How the runs ended that the old owner left unfinished."""
    states = {}
    for job in UNFINISHED:
        old = [run for run in shell.runs(job) if run["term"] == LAST_TERM]
        if old[0]["finished_at"] is None:
            return None
        states[job] = old[0]["state"]
    return states
