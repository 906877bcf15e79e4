"""Every store passes the shipped suite whole."""

from __future__ import annotations

from pathlib import Path

from tenure.store.contract import Store
from tenure.store.memory import MemoryStore
from tenure.store.sqlite.store import SqliteStore
from tenure.testing.conformance import StoreConformance
from tenure.testing.making import START


class TestMemoryStore(StoreConformance):
    def make_store(self, folder: Path) -> Store:
        return MemoryStore("memory", now=START)


class TestSqliteStore(StoreConformance):
    def make_store(self, folder: Path) -> Store:
        return SqliteStore.create(folder / "tenure.db", profile_id="conformance", now=START)
