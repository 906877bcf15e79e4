"""The same random histories, lived through by the reference model and by another store."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tenure.store.contract import Store
from tenure.store.memory import MemoryStore
from tenure.testing.histories import make_machine
from tenure.testing.making import START

LONG = settings(
    max_examples=60,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def make_memory() -> Store:
    return MemoryStore("other", now=START)


TestMemory = make_machine(make_memory).TestCase
TestMemory.settings = LONG
