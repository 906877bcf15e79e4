"""Every store passes the shipped suite whole."""

from __future__ import annotations

from pathlib import Path

from tenure.store.contract import Store
from tenure.store.sqlite.store import SqliteStore
from testkit.conformance import StoreConformance
from testkit.factories import START
from testkit.memory_store import MemoryStore


class TestMemoryStore(StoreConformance):
    def make_store(self, folder: Path) -> Store:
        return MemoryStore("memory", now=START)


class TestSqliteStore(StoreConformance):
    def make_store(self, folder: Path) -> Store:
        return SqliteStore.create(folder / "tenure.db", profile_id="conformance", now=START)
