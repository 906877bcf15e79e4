"""For whoever looks on: what is new, and the latest of each job. Cheap whatever the history."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from tenure.domain.run import Run
from tenure.store.contract import Mark
from tenure.store.sqlite.part import Part
from tenure.store.sqlite.run_rows import SQL, run_of


class LookingOn(Part):
    def mark(self) -> Mark:
        with self._db.reading() as db:
            event, run, omission = db.execute(SQL.newest).fetchone()
        return Mark(event=event, run=run, omission=omission)

    def runs_after(self, number: int, *, limit: int = 100) -> tuple[tuple[Run, ...], int]:
        with self._db.snapshot() as db:
            rows = db.execute(SQL.after, (number, limit)).fetchall()
            return tuple(run_of(db, row) for row in rows), rows[-1][0] if rows else number

    def runs_by_id(self, runs: Collection[str]) -> tuple[Run, ...]:
        with self._db.snapshot() as db:
            rows = db.execute(SQL.named, (json.dumps(sorted(runs)),)).fetchall()
            return tuple(run_of(db, row) for row in rows)

    def latest_runs(self, jobs: Collection[str], *, each: int = 1) -> Mapping[str, Sequence[Run]]:
        found: dict[str, Sequence[Run]] = {}
        with self._db.snapshot() as db:
            for job in jobs:
                rows = db.execute(SQL.latest, (job, each)).fetchall()
                if rows:
                    found[job] = tuple(run_of(db, row) for row in rows)
        return found
