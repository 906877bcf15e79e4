"""Monitoring: what is new, and the latest runs of each job."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from tenure.domain.run import Run
from tenure.store.contract import Mark
from testkit.memory_store.base import verb
from testkit.memory_store.requests import RequestLayer


class MonitoringLayer(RequestLayer):
    @verb
    def mark(self) -> Mark:
        return Mark(
            event=max([0, *self._tables.events]),
            run=max([0, *map(_number, self._tables.runs)]),
            omission=max([0, *self._tables.omissions]),
        )

    @verb
    def runs_after(self, number: int, *, limit: int = 100) -> tuple[tuple[Run, ...], int]:
        found = [run for id, run in self._tables.runs.items() if _number(id) > number][:limit]
        return tuple(found), _number(found[-1].id) if found else number

    @verb
    def runs_by_id(self, runs: Collection[str]) -> tuple[Run, ...]:
        return tuple(run for id, run in self._tables.runs.items() if id in runs)

    @verb
    def latest_runs(self, jobs: Collection[str], *, each: int = 1) -> Mapping[str, Sequence[Run]]:
        found: dict[str, Sequence[Run]] = {}
        for job in jobs:
            mine = [run for run in self._tables.runs.values() if run.job == job]
            mine.sort(key=lambda run: run.fire_time, reverse=True)
            if mine:
                found[job] = tuple(mine[:each])
        return found


def _number(run: str) -> int:
    """Ids here are ``r`` and a number that only grows."""
    return int(run[1:])
