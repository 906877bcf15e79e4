"""Each clause is shown on every store, or with several schedulers on one profile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tenure.store.contract import Store
from tenure.store.sqlite.store import SqliteStore
from testkit.cluster import Cluster
from testkit.factories import START
from testkit.memory_store import MemoryStore


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore(now=START)
        return
    made = SqliteStore.create(tmp_path / "tenure.db", profile_id="contract", now=START)
    yield made
    made.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Clusters: real schedulers on a real profile, with a clock that the test moves."""
    made: list[Cluster] = []

    def cluster(**options: Any) -> Cluster:
        made.append(Cluster(tmp_path / f"home{len(made)}", **options))
        return made[-1]

    yield cluster
    for one in made:
        one.close()
