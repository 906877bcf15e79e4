"""Further attempts of a run: claimed anew, with everything a first claim is asked (C8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from tenure.domain.job import JobState, Runner
from tenure.domain.ownership import Authority
from tenure.domain.run import Run, RunState
from tenure.store.codec import micros
from tenure.store.contract import Claimed, ClaimOutcome
from tenure.store.sqlite.ownership import fence
from tenure.store.sqlite.part import Part
from tenure.store.sqlite.run_rows import load_run, run_of
from tenure.store.sqlite.runs import end_retries
from tenure.store.sqlite.sql import Statements

SQL = Statements("retries")


class Retries(Part):
    def due_retries(self, now: datetime, room: Mapping[Runner, int]) -> tuple[Run, ...]:
        taken: Counter[str] = Counter()
        with self._db.snapshot() as db:
            found: list[Run] = []
            left = sum(max(limit, 0) for limit in room.values())
            # Rows are read one by one: as many retries may be due as there are jobs.
            for row in db.execute(SQL.due, (micros(now),)):
                if len(found) >= left:
                    break
                runner = row[-1]
                if taken[runner] < room.get(Runner(runner), 0):
                    taken[runner] += 1
                    found.append(run_of(db, row))
            return tuple(found)

    def claim_retry(self, authority: Authority, run: str, now: datetime) -> Claimed:
        at = micros(now)
        with self._db.writing() as db:
            authoritative = fence(db, authority)
            found = load_run(db, run)
            changed = Claimed(job=found.job, outcome=ClaimOutcome.CHANGED)
            if found.state is not RunState.RETRYING:
                return changed
            state, revision, needs_authority = db.execute(SQL.job_of, (found.job,)).fetchone()
            why = _why_not(JobState(state), revision, found)
            if why is not None:
                end_retries(db, found, RunState.FAILED, why, at)
                return changed
            if needs_authority and not authoritative:
                return Claimed(job=found.job, outcome=ClaimOutcome.PROTECTED)
            db.execute(SQL.keep_attempt, (run,))
            process = authority.process
            row = (authority.term, process, process, authority.policy_version, at, run)
            db.execute(SQL.claim, row)
            again = load_run(db, run)
            return Claimed(job=found.job, outcome=ClaimOutcome.CLAIMED, runs=(again,))


def _why_not(state: JobState, revision: int, run: Run) -> str | None:
    """Why a run is not retried, though it has retries left."""
    if state not in (JobState.ACTIVE, JobState.DONE):
        return f"not retried: the job is {state}"
    if revision != run.revision:
        return f"not retried: the job is at revision {revision} now"
    return None
