"""The same random histories, lived through by the reference model and by another store."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tenure.store.contract import Store
from tenure.store.memory import MemoryStore
from tenure.store.sqlite.store import SqliteStore
from tenure.testing.histories import make_machine
from tenure.testing.making import START

LONG = settings(
    max_examples=40,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_memory() -> None:
    def make() -> Store:
        return MemoryStore("other", now=START)

    run_state_machine_as_test(make_machine(make), settings=LONG)


def test_sqlite(tmp_path: Path) -> None:
    numbers = count()

    def make() -> Store:
        path = tmp_path / f"{next(numbers)}.db"
        return SqliteStore.create(path, profile_id="histories", now=START)

    run_state_machine_as_test(make_machine(make), settings=LONG)
