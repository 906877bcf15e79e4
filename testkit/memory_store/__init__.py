"""The reference model: a store in memory, written to be read beside the contract."""

from testkit.memory_store.store import MemoryStore

__all__ = ["MemoryStore"]
