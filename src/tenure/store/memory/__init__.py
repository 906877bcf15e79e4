"""The reference model: a store in memory, written to be read beside the contract."""

from tenure.store.memory.store import MemoryStore

__all__ = ["MemoryStore"]
