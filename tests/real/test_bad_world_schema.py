"""`tenure migrate`: opening never migrates; nobody migrates under a process that lives."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from worldkit import World

from tenure.store.sqlite import schema
from tenure.store.sqlite.maintenance import Maintenance
from waiting import eventually

pytestmark = pytest.mark.real


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.close()


def _add_column(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE jobs ADD COLUMN colour TEXT")


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of this test, forks of this process, are of a later Tenure: schema + 1."""
    now = schema.SCHEMA
    step = schema.Migration(to=now + 1, change=_add_column, min_reader=1, min_writer=now + 1)
    monkeypatch.setattr(schema, "SCHEMA", now + 1)
    monkeypatch.setattr(Maintenance.migrate, "__defaults__", ((step,),))


def test_an_older_schema_is_migrated_when_asked_and_at_rest(world: World, newer: None) -> None:
    """'Opening never migrates ... an owner migrates when no older process lives, or `tenure
    migrate` does.'"""
    old = schema.SCHEMA - 1
    owner = world.owner()  # a process of its own interpreter: the old Tenure
    world.rows("SELECT 1")
    before = world.rows("SELECT value FROM meta WHERE key = 'schema'")
    assert before == [(old,)]
    for verb in (("status",), ("list",), ("add", "every 1h", "--", "true"), ("serve",)):
        answer = world.tenure("--json", *verb)
        assert answer.code == 3, (verb, answer)
        assert "tenure migrate" in answer.error["remedy"]
    running = world.tenure("migrate", "--json")
    assert running.code == 3
    assert "before migrating" in running.error["text"]
    assert world.rows("SELECT value FROM meta WHERE key = 'schema'") == before
    assert owner.terminate() == 0

    done = world.ok("migrate", "--json").json
    assert (done["before"], done["after"]) == (old, old + 1)
    assert world.ok("migrate", "--json").json["before"] == old + 1
    world.add()
    assert world.rows("SELECT colour FROM jobs") == [(None,)]
    # The old one keeps off what it may not write, and says so.
    late = world.serve()
    assert eventually(late.process.poll, "the old serve to end") == 3
    assert "upgrade" in late.log


def test_nothing_to_migrate(world: World) -> None:
    assert world.tenure("migrate").code == 4
    world.add()
    assert "already" in world.ok("migrate").out
    db = sqlite3.connect(world.database)
    db.execute("UPDATE meta SET value = 0 WHERE key = 'schema'")
    db.commit()
    db.close()
    lost = world.tenure("migrate", "--json")
    assert lost.code == 3
    assert "older Tenure" in lost.error["remedy"]
    assert world.rows("SELECT value FROM meta WHERE key = 'schema'") == [(0,)]
