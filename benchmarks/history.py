"""A profile with a long history: rows as runs would have left them, written at once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from benchmarks.populated import fill
from tenure.domain.job import Job
from tenure.domain.process import Process, ProcessStatus
from tenure.host.processes import observe
from tenure.runtime.profile import Profile
from tenure.store.sqlite.connection import micros

SPAN = timedelta(days=10)
_INSERT = """
INSERT INTO runs (id, job, job_name, revision, fire_time, cause, state, term, process, holder,
                  policy_version, protected, attempt, claimed_at, started_at, finished_at, reason,
                  exit_code)
VALUES (?, ?, ?, 1, ?, 'schedule', ?, 1, 'p-bench', 'p-bench', 0, 0, 1, ?, ?, ?, ?, ?)
"""


def with_history(profile: Profile, jobs: int, runs: int) -> None:
    """Add so many jobs, hours away, and runs of theirs over the last ten days."""
    now = datetime.now(UTC)
    made = fill(profile.store, jobs, now)
    profile.store.join(
        Process(
            id="p-bench",
            evidence=observe(),
            joined_at=now - SPAN,
            executes=True,
            standing=ProcessStatus.CANDIDATE,
            why="for the history",
            role="bench",
        )
    )
    profile.store.leave("p-bench", now)
    with profile.store._db.writing() as db:
        db.executemany(_INSERT, _rows(made, runs, now))


def _rows(jobs: Sequence[Job], runs: int, now: datetime) -> list[tuple[object, ...]]:
    chance = random.Random(1)
    rows: list[tuple[object, ...]] = []
    for i in range(runs):
        job = jobs[i % len(jobs)]
        fire = micros(now - SPAN + SPAN * (i / runs))
        good = chance.random() < 0.97
        rows.append(
            (
                f"r{i:018d}", job.id, job.name, fire, "succeeded" if good else "failed",
                fire + 1000, fire + 3000, fire + 900_000, "" if good else "exit code 1",
                0 if good else 1,
            )
        )  # fmt: skip
    return rows
