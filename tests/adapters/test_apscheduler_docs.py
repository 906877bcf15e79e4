"""The pages for those who come from elsewhere: their code runs, and their commands exist.

Celery is not installed here: its blocks are only compiled.
"""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from tenure.client.apply import read_entries
from tenure.client.definitions import build
from tenure.library import Tenure
from tenure.surfaces.cli.command import Where
from tenure.surfaces.cli.main import cli

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("from-cron.md", "from-apscheduler.md", "from-celery-beat.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


def blocks(page: str, kind: str) -> list[str]:
    return [text for found, text in BLOCK.findall((DOCS / page).read_text()) if found == kind]


class Anything(ModuleType):
    """A module of the reader's application: every name in it is a function with `delay`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def function(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
            return (name, args)

        function.__name__ = name
        function.delay = lambda *args: (name, "sent", args)  # type: ignore[attr-defined]
        return function


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> None:
    package = Anything("shop")
    monkeypatch.setitem(sys.modules, "shop", package)
    for name in ("reports", "tasks"):
        module = Anything(f"shop.{name}")
        monkeypatch.setitem(sys.modules, f"shop.{name}", module)
        monkeypatch.setattr(package, name, module, raising=False)


def declared(code: str) -> dict[str, tuple[Any, Any]]:
    """What a block declares: the definition and the function, by name."""
    scope: dict[str, Any] = {}
    exec(compile(code, "block", "exec"), scope)
    instance = scope["tenure"]
    assert isinstance(instance, Tenure)
    assert instance.name == "shop"
    return {
        name.partition(":")[2]: (found.define(NOW, "UTC"), instance._functions[name])
        for name, found in instance._declared.items()
    }


@pytest.mark.usefixtures("application")
@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_python_runs(page: str) -> None:
    ours = [code for code in blocks(page, "python") if "from tenure" in code]
    assert (
        len(ours) == {"from-cron.md": 0, "from-apscheduler.md": 2, "from-celery-beat.md": 2}[page]
    )
    for code in ours:
        made = declared(code)
        assert sorted(made) in (
            ["nightly_report", "refresh"], ["nightly", "refresh"]
        )  # fmt: skip
        nightly = made.get("nightly") or made["nightly_report"]
        assert nightly[0].schedule.timezone == "Europe/Berlin"
        assert nightly[0].schedule.expression in ("0 3 * * *", "0 3 * * MON-FRI")
        assert made["refresh"][0].schedule.interval.total_seconds() == 30
    for code in blocks(page, "python"):
        compile(code, page, "exec")


@pytest.mark.usefixtures("application")
def test_in_beats_place_a_job_only_sends() -> None:
    (code,) = [c for c in blocks("from-celery-beat.md", "python") if ".delay(" in c]
    made = declared(code)
    assert made["nightly"][1]() == ("nightly", "sent", (7,))
    assert made["refresh"][1]() == ("refresh", "sent", ())


def test_the_same_jobs_stand_on_both_sides_of_the_apscheduler_page() -> None:
    theirs, ours = blocks("from-apscheduler.md", "python")[:2]
    scope: dict[str, Any] = {}
    exec(compile(theirs, "block", "exec"), scope)
    scheduler = scope["scheduler"]
    scheduler.start(paused=True)
    try:
        jobs = {job.name: job for job in scheduler.get_jobs()}
    finally:
        scheduler.shutdown()
    made = declared(ours)
    assert set(jobs) == set(made)
    nightly = made["nightly_report"][0]
    assert jobs["nightly_report"].misfire_grace_time == nightly.grace.total_seconds()
    assert str(jobs["nightly_report"].trigger) == "cron[hour='3']"


def test_the_job_file_of_the_cron_page_can_be_applied() -> None:
    (text,) = blocks("from-cron.md", "toml")
    assert tomllib.loads(text)
    (entry,) = read_entries(text)
    made = build(entry.fields, now=NOW, timezone="UTC")
    assert made.schedule.expression == "30 2 * * *"


def commands(page: str) -> list[str]:
    """What the reader is told to type: in console blocks, and between backticks."""
    text = (DOCS / page).read_text()
    typed = [
        line.removeprefix("$ ")
        for block in blocks(page, "console")
        for line in block.splitlines()
        if line.startswith("$ tenure ")
    ]
    inline = re.findall(r"`(tenure [^`]+)`", BLOCK.sub("", text))
    return [*typed, *(word.replace("\\|", "|") for word in inline)]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_exists_with_its_options(page: str) -> None:
    found = commands(page)
    assert len(found) > 3
    for line in found:
        words = shlex.split(line.partition(" > ")[0], comments=True)[1:]
        context = cli.make_context("tenure", list(words), obj=Where())
        command: click.Command = cli
        while isinstance(command, click.Group):
            rest = [*context._protected_args, *context.args]
            name, found_command, rest = command.resolve_command(context, rest)
            assert found_command is not None, line
            alone = words[-1:] == [name] and not rest
            command = found_command
            context = command.make_context(name, rest, parent=context, resilient_parsing=alone)
