"""The statements of docs/fencing.md, taken from the page and run."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from tenure import Fence

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fencing.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def db(tmp_path: Path) -> sqlite3.Connection:
    table, _ = blocks("sql")
    db = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    db.executescript(table + "CREATE TABLE ledger (entry TEXT)")
    return db


def effect(db: sqlite3.Connection, token: Fence, entry: str) -> None:
    """As the page does it: the fence and the effect in one transaction."""
    _, statement = blocks("sql")
    program = next(block for block in blocks("python") if "def pass_fence" in block)
    names: dict[str, object] = {"STATEMENT": statement}
    exec(program, names)
    db.execute("BEGIN IMMEDIATE")
    try:
        names["pass_fence"](db, token)  # type: ignore[operator]
        db.execute("INSERT INTO ledger VALUES (?)", (entry,))
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def test_a_deposed_owner_changes_nothing(db: sqlite3.Connection) -> None:
    effect(db, Fence("close", 3, "r1"), "by 3")
    effect(db, Fence("close", 3, "r2"), "by 3 again")
    effect(db, Fence("close", 5, "r3"), "by 5")
    with pytest.raises(RuntimeError, match="term 3 of close is over: run r1 gives up"):
        effect(db, Fence("close", 3, "r1"), "late")
    effect(db, Fence("another", 3, "r4"), "another job")
    entries = [entry for (entry,) in db.execute("SELECT entry FROM ledger")]
    assert entries == ["by 3", "by 3 again", "by 5", "another job"]
    assert db.execute("SELECT term, run FROM tenure_fence WHERE job = 'close'").fetchone() == (
        5,
        "r3",
    )
