"""A store with many jobs, each hours away, without a scheduler."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tenure.domain.job import Command, Definition, Job
from tenure.domain.schedule.model import at_schedule, cron_schedule
from tenure.store.sqlite import SqliteStore


def definition(name: str, schedule: str | datetime) -> Definition:
    """A command, by a cron expression or once."""
    when = (
        at_schedule(schedule) if isinstance(schedule, datetime) else cron_schedule(schedule, "UTC")
    )
    return Definition(name=name, schedule=when, action=Command(argv=("true",)))


def fill(store: SqliteStore, count: int, now: datetime) -> list[Job]:
    """Add jobs that fire daily, some hours from now; in transactions of 5,000."""
    hour = now.hour
    made: list[Job] = []
    while len(made) < count:
        with store.batch():
            for i in range(len(made), min(len(made) + 5000, count)):
                when = f"{i % 60} {(hour + 3 + i // 60 % 12) % 24} * * *"
                made.append(store.add_job(definition(f"job-{i}", when), by="bench", now=now))
    return made


def populated(work: Path, count: int) -> tuple[SqliteStore, list[Job], datetime]:
    """A fresh store with ``count`` jobs, one of them due at the instant that is returned."""
    now = datetime.now(UTC)
    store = SqliteStore.create(work / "tenure.db", profile_id="bench", now=now)
    jobs = fill(store, count - 1, now)
    soon = now + timedelta(seconds=1)
    jobs.append(store.add_job(definition("due", soon), by="bench", now=now))
    return store, jobs, soon + timedelta(seconds=1)


def times(calls: list[Callable[[], object]]) -> list[float]:
    """Milliseconds that each call takes."""
    took = []
    for call in calls:
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1000)
    return took
