"""The statements of docs/fencing.md, taken from the page and run, on SQLite and on PostgreSQL."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import postgres
import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from tenure import Fence
from waiting import DEADLINE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fencing.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    with postgres.server() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        # Not five seconds: a busy machine may keep who holds the lock for longer.
        patient = {"timeout": DEADLINE}
        engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}", connect_args=patient)
    else:
        engine = create_engine(request.getfixturevalue("servers"))
    table, _ = blocks("sql")
    with engine.begin() as db:
        db.execute(text("DROP TABLE IF EXISTS tenure_fence"))
        db.execute(text("DROP TABLE IF EXISTS ledger"))
        db.execute(text(table))
        db.execute(text("CREATE TABLE ledger (entry TEXT)"))
    yield engine
    engine.dispose()


def pass_fence(db: Connection, token: Fence) -> None:
    """The page's own function, with its own statement."""
    _, statement = blocks("sql")
    program = next(block for block in blocks("python") if "def pass_fence" in block)
    names: dict[str, Any] = {"STATEMENT": text(statement)}
    exec(program, names)
    names["pass_fence"](db, token)


def effect(engine: Engine, token: Fence, entry: str) -> None:
    """As the page does it: the fence and the effect in one transaction."""
    with engine.begin() as db:
        pass_fence(db, token)
        db.execute(text("INSERT INTO ledger VALUES (:entry)"), {"entry": entry})


def entries(engine: Engine) -> list[str]:
    with engine.connect() as db:
        return [entry for (entry,) in db.execute(text("SELECT entry FROM ledger"))]


def test_a_deposed_owner_changes_nothing(engine: Engine) -> None:
    effect(engine, Fence("close", 3, "r1"), "by 3")
    effect(engine, Fence("close", 3, "r2"), "by 3 again")
    effect(engine, Fence("close", 5, "r3"), "by 5")
    with pytest.raises(RuntimeError, match="term 3 of close is over: run r1 gives up"):
        effect(engine, Fence("close", 3, "r1"), "late")
    effect(engine, Fence("another", 3, "r4"), "another job")
    assert entries(engine) == ["by 3", "by 3 again", "by 5", "another job"]
    with engine.connect() as db:
        kept = db.execute(text("SELECT term, run FROM tenure_fence WHERE job = 'close'")).one()
    assert tuple(kept) == (5, "r3")


def test_two_owners_do_not_pass_at_once(engine: Engine) -> None:
    """The old one has passed and not committed: the new one waits for it, and then the old one
    passes no more. Where the database does not wait, it refuses."""
    effect(engine, Fence("close", 2, "r0"), "by 2")
    passed = threading.Event()
    refused: list[Exception] = []

    def newer() -> None:
        try:
            effect(engine, Fence("close", 5, "r3"), "by 5")
        except OperationalError as error:  # SQLite: "database is locked", after a while
            refused.append(error)
        passed.set()

    with engine.begin() as old:
        pass_fence(old, Fence("close", 3, "r1"))
        thread = threading.Thread(target=newer)
        thread.start()
        assert not passed.wait(0.3), "the newer owner passed beside one that had not committed"
        old.execute(text("INSERT INTO ledger VALUES ('by 3')"))
    assert passed.wait(DEADLINE), "the newer owner to pass"
    thread.join(DEADLINE)
    assert not refused
    with pytest.raises(RuntimeError, match="term 3 of close is over"):
        effect(engine, Fence("close", 3, "r1"), "late")
    assert entries(engine) == ["by 2", "by 3", "by 5"]
