"""A world that is adopted: Tenure's verbs on it, and what Tenure recorded."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Any

from hermesparts import Run
from hermesworld import PROFILE, HermesWorld

from commands import Answer
from waiting import DEADLINE, eventually

TENURE_PROFILE = f"hermes-{PROFILE}"
CONFIG = """\
# my settings
model:   anthropic/claude   # two spaces too many
plugins:
    disabled: []
timezone: "Europe/Berlin"
"""
"""Of somebody who wrote it by hand: comments, odd spaces, a key that adoption edits beside."""
SETTLING = 3.0
"""Seconds that a run which a tick had handed out before may take to begin."""


def adopt(world: HermesWorld, *options: str, code: int = 0) -> Answer:
    """``tenure hermes adopt`` of the profile, without being asked back."""
    return world.tenure("hermes", "adopt", "--yes", "--profile", PROFILE, *options, code=code)


def release(world: HermesWorld, *options: str, code: int = 0) -> Answer:
    """``tenure hermes release``."""
    return world.tenure("hermes", "release", "--yes", "--profile", PROFILE, *options, code=code)


def status(world: HermesWorld) -> Any:
    """The document of ``tenure hermes status``, whatever its exit code."""
    return world.tenure("hermes", "status", "--profile", PROFILE, "--json", code=None).json


def status_words(world: HermesWorld) -> str:
    """What a person reads."""
    said = world.tenure("hermes", "status", "--profile", PROFILE, code=None)
    return said.out + said.err


def asked(world: HermesWorld, verb: str, *argv: str, code: int | None = 0) -> Any:
    """The document of a verb on the Tenure profile."""
    return world.tenure(verb, *argv, "--profile", TENURE_PROFILE, "--json", code=code).json


def recorded(world: HermesWorld) -> list[dict[str, Any]]:
    """All the runs that Tenure knows, the newest first."""
    found: list[dict[str, Any]] = []
    more: list[str] = []
    while True:
        page = asked(world, "runs", "-n", "1000", *more)
        found += page["runs"]
        if page["next"] is None:
            return found
        more = ["--cursor", page["next"]]


def not_run(world: HermesWorld, job: str) -> list[dict[str, Any]]:
    """The fires of a job that did not run, as ranges."""
    found: list[dict[str, Any]] = asked(world, "runs", job, "--all", "-n", "1000")["not_run"]
    return found


def stays_quiet(world: HermesWorld, since: float, seconds: float = 5.0) -> None:
    """Several ticks of everybody, jobs due every second: nothing begins. It cannot be an event."""
    until = max(since, time.time()) + seconds
    while time.time() < until:
        assert (began := world.runs(since=since)) == [], began
        time.sleep(0.1)


def stays_with(world: HermesWorld, role: str, runs: list[Run]) -> None:
    """Each of them is this role's; the gateway's can read the file."""
    others = [run for run in runs if run.role != role]
    assert others == []
    if role == "gateway":
        assert [run for run in runs if not run.read] == []


def wait_owner(world: HermesWorld, pid: int, within: float = DEADLINE) -> dict[str, Any]:
    """Until Tenure says that this process owns; its document."""

    def owner() -> dict[str, Any] | None:
        document: dict[str, Any] = asked(world, "status", code=None)
        own = document.get("owner")
        there = {process["id"]: process["pid"] for process in document.get("processes", [])}
        return document if own and there.get(own["process"]) == pid else None

    found = eventually(owner, f"pid {pid} to own {TENURE_PROFILE}", within)
    assert found is not None
    return found


_STATE = (
    "cron", "logs", "sessions", "state", "gateway", ".clean_shutdown", ".tirith", "kanban",
    "channel_directory.json", "processes.json", "skills", "cache", "home", ".usage", "auth",
    "models", "memories", ".skills", "sandboxes",
)  # fmt: skip
"""How names begin of what Hermes writes by itself while it runs."""


def snapshot(world: HermesWorld) -> dict[str, tuple[int, bytes | str]]:
    """Every file and folder of the profile but Hermes' own state: its mode and what is in it."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for folder, names, files in os.walk(world.profile):
        at = Path(folder)
        if at == world.profile:
            names[:] = [name for name in names if not name.startswith(_STATE)]
            files = [name for name in files if not name.startswith(_STATE)]
        for name in (*names, *files):
            path = at / name
            status = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else "folder"
            found[str(path.relative_to(world.profile))] = (status.st_mode, content)
    return found
