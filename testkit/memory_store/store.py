"""A store in memory: the reference model of :mod:`tenure.store.contract`.

Written so that each verb can be compared with its sentence in the contract; nothing here is
fast. Nothing survives the process, so "durable" means "before the verb returns". For tests of your
own jobs, and the model that every other store is compared with.

The layers, each a file: tables, transactions (base), processes, ownership, accounting (pending),
jobs, runs, claims, requests, maintenance.
"""

from __future__ import annotations

from datetime import UTC, datetime

from tenure.store.contract import SCHEMA, Facts
from testkit.memory_store.base import verb
from testkit.memory_store.maintenance import MaintenanceLayer


class MemoryStore(MaintenanceLayer):
    """Keeps :class:`tenure.store.contract.Store`. Thread-safe; ``now`` is when it was made."""

    def __init__(self, profile_id: str = "memory", now: datetime | None = None) -> None:
        super().__init__()
        self.profile_id = profile_id
        self.created_at = now or datetime.now(UTC)

    @verb
    def facts(self) -> Facts:
        return Facts(
            profile_id=self.profile_id,
            schema=SCHEMA,
            min_reader=SCHEMA,
            min_writer=SCHEMA,
            term=max([0, *self._tables.terms]),
            clock_era=self._tables.numbers["clock era"],
        )

    def change_mark(self) -> int:
        with self._lock:
            return self._commits

    def close(self) -> None:
        """Nothing to release; verbs go on working."""
