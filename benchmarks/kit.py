"""What the sides share: pools of equal size, an opened profile, schedulers, percentiles."""

from __future__ import annotations

import logging
import math
import pickle
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apscheduler.schedulers.background import BackgroundScheduler

    from tenure import Tenure
    from tenure.domain.run import Run
    from tenure.store.sqlite import SqliteStore

POOL = 32
"""Slots of Tenure for callables and for commands, and threads of APScheduler's pool."""
PROFILE = "bench"


def percentile(values: Sequence[float], part: float) -> float:
    """By the nearest rank: the smallest value that ``part`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def lags(values: Sequence[float], wanted: int) -> dict[str, float]:
    """Figures of lags in seconds; raises unless there are as many as wanted."""
    if len(values) != wanted:
        raise RuntimeError(f"{len(values)} of {wanted} ran")
    return {
        "p50": percentile(values, 0.50) * 1000,
        "p99": percentile(values, 0.99) * 1000,
        "worst": max(values) * 1000,
    }


def wait_until(
    condition: Callable[[], bool], what: str, seconds: float, step: float = 0.01
) -> None:
    """Raises RuntimeError naming ``what`` was waited for in vain."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(step)


def sleep_until(instant: float) -> None:
    """Until a wall-clock instant (seconds since 1970)."""
    while (left := instant - time.time()) > 0:
        time.sleep(left)


def tenure_at(work: Path, *, slots: int = POOL) -> Tenure:
    """A fresh profile, not started; its slots are set in its profile.toml, as a user would."""
    from tenure import Tenure

    logging.basicConfig(level=logging.ERROR)
    tenure = Tenure(PROFILE, home=work / "home")
    toml = tenure.profile.folder.toml
    toml.write_text(f'timezone = "UTC"\n\n[slots]\ncallables = {slots}\ncommands = {slots}\n')
    return tenure


def own(tenure: Tenure, seconds: float = 60.0) -> None:
    """Start, and wait until it owns."""
    tenure.start()
    wait_until(lambda: tenure.owns, "ownership", seconds)


def runs(store: SqliteStore) -> Iterator[Run]:
    """Every run that the store has."""
    from tenure.store.contract import Page, RunFilter

    cursor: str | None = None
    while True:
        found, cursor = store.runs(RunFilter(), Page(limit=500, cursor=cursor))
        yield from found
        if cursor is None:
            return


def all_succeeded(store: SqliteStore, count: int) -> None:
    """Raises RuntimeError unless the store has ``count`` runs and each succeeded."""
    from tenure.domain.run import RunState

    ended = [run.state for run in runs(store)]
    if ended != [RunState.SUCCEEDED] * count:
        raise RuntimeError(f"{ended.count(RunState.SUCCEEDED)} of {count} succeeded")


def nothing_left(store: SqliteStore) -> bool:
    """Whether every one-shot has been claimed and every run has ended, in the store."""
    from tenure.domain.job import JobState

    counts = store.counts()
    return not counts.active_runs and not counts.jobs.get(JobState.ACTIVE)


def apscheduler_at(work: Path, kind: str, *, pool: int = POOL) -> BackgroundScheduler:
    """Started and paused, with the ``memory`` or the ``sqlite`` job store."""
    from apscheduler.executors.pool import ThreadPoolExecutor
    from apscheduler.jobstores.memory import MemoryJobStore
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
    from apscheduler.schedulers.background import BackgroundScheduler

    logging.basicConfig(level=logging.ERROR)
    store: Any = MemoryJobStore()
    if kind == "sqlite":
        store = SQLAlchemyJobStore(url=f"sqlite:///{work / 'jobs.sqlite'}")
    scheduler = BackgroundScheduler(
        jobstores={"default": store},
        executors={"default": ThreadPoolExecutor(pool)},
        job_defaults={"misfire_grace_time": 3600, "coalesce": True},
        timezone="UTC",
    )
    scheduler.start(paused=True)
    return scheduler


def add_once(
    scheduler: BackgroundScheduler,
    function: Callable[..., None],
    fires: Sequence[tuple[float, Any]],
) -> None:
    """Add one-shot jobs: (seconds since 1970, arguments). Into SQLite in one transaction, as by
    APScheduler's own interface each would be a commit; adding is not what is measured."""
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
    from apscheduler.triggers.date import DateTrigger

    store = scheduler._jobstores["default"]
    if not isinstance(store, SQLAlchemyJobStore):
        for fire, arguments in fires:
            scheduler.add_job(function, DateTrigger(_instant(fire)), args=arguments)
        return
    model = scheduler.add_job(function, DateTrigger(_instant(fires[0][0])), args=fires[0][1])
    rows = []
    for i, (fire, arguments) in enumerate(fires[1:]):
        state = model.__getstate__() | {
            "id": f"job-{i}",
            "trigger": DateTrigger(_instant(fire)),
            "args": tuple(arguments),
            "next_run_time": _instant(fire),
        }
        pickled = pickle.dumps(state, pickle.HIGHEST_PROTOCOL)
        rows.append({"id": state["id"], "next_run_time": fire, "job_state": pickled})
    if rows:
        with store.engine.begin() as connection:
            connection.execute(store.jobs_t.insert(), rows)


def _instant(fire: float) -> datetime:
    return datetime.fromtimestamp(fire, UTC)


def floor_database(work: Path) -> sqlite3.Connection:
    """A table of runs, as durable as Tenure's: WAL with synchronous=FULL."""
    db = sqlite3.connect(work / "floor.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE runs (job INTEGER, fire REAL, claimed REAL, finished REAL)")
    return db
