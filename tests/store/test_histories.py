"""The same random histories, lived through by the reference model and by another store."""

from __future__ import annotations

from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tenure.domain.omission import OmissionKind
from tenure.store.contract import Store
from tenure.store.sqlite.store import SqliteStore
from testkit.factories import START
from testkit.histories import make_machine
from testkit.memory_store import MemoryStore

LONG = settings(
    max_examples=25,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SEARCH = settings(LONG, max_examples=400, phases=[Phase.generate])


def test_sqlite_lives_as_the_model(tmp_path: Path) -> None:
    numbers = count()

    def make() -> Store:
        path = tmp_path / f"{next(numbers)}.db"
        return SqliteStore.create(path, profile_id="histories", now=START)

    run_state_machine_as_test(make_machine(make), settings=LONG)


class Unfenced(MemoryStore):
    """Breaks C3: any authority will do."""

    def _require(self, authority: Any) -> None:
        pass


class Forgetful(MemoryStore):
    """Breaks C4: a fire is claimed again."""

    def _was_claimed(self, job: str, at: datetime) -> bool:
        return False


class Careless(MemoryStore):
    """Breaks C5: an edit drops the fires that were pending."""

    def _account_pending(self, job: Any, until: datetime, *args: Any, **kw: Any) -> datetime:
        return max(job.watermark, until)


class Generous(MemoryStore):
    """Breaks C8: anybody runs a protected job."""

    def _may_run(self, definition: Any) -> bool:
        return True


class Eager(MemoryStore):
    """Breaks C12: a plan takes whatever happened to its job."""

    def _still_stands(self, plan: Any, job: Any) -> bool:
        return True


class Sweeping(MemoryStore):
    """Breaks C5: a stretch of a foreign job goes on past what ran meanwhile."""

    def _mergeable(self, job: Any, stretch: Any) -> Any:
        for old in self._tables.omissions.values():
            alike = (old.job, old.revision, old.kind) == (job.id, job.revision, stretch.kind)
            if alike and old.cut_at is None and old.kind is not OmissionKind.HELD:
                return old
        return super()._mergeable(job, stretch)


@pytest.mark.parametrize("broken", [Unfenced, Forgetful, Careless, Generous, Eager, Sweeping])
def test_a_broken_store_is_found(broken: type[MemoryStore]) -> None:
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        run_state_machine_as_test(make_machine(lambda: broken(now=START)), settings=SEARCH)
