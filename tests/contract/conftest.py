"""Each clause is shown on every store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure.store.contract import Store
from tenure.store.memory import MemoryStore
from tenure.store.sqlite.store import SqliteStore
from tenure.testing.making import START


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore(now=START)
        return
    made = SqliteStore.create(tmp_path / "tenure.db", profile_id="contract", now=START)
    yield made
    made.close()
