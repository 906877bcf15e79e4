"""Events, figures, and retention that never weakens C4."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from tenure.domain.event import Event, EventKind
from tenure.domain.history_clock import HistoryClock
from tenure.domain.job import JobState
from tenure.domain.omission import Omission
from tenure.domain.process import Process
from tenure.domain.request import Request, RequestState
from tenure.domain.run import ACTIVE, FINAL, Run
from tenure.store.contract import Counts, Purged, PurgeLimits
from testkit.memory_store.base import verb
from testkit.memory_store.requests import RequestLayer
from testkit.memory_store.tables import Span

DAY = timedelta(days=1)


class MaintenanceLayer(RequestLayer):
    created_at: datetime

    @verb
    def record_event(
        self,
        kind: EventKind,
        now: datetime,
        *,
        term: int | None = None,
        process: str | None = None,
        job: str | None = None,
        run: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self._say(kind, now, term=term, process=process, job=job, run=run, facts=facts)

    @verb
    def events(self, *, after: int = 0, limit: int = 100) -> tuple[Event, ...]:
        later = [event for seq, event in self._tables.events.items() if seq > after]
        return tuple(later[:limit])

    @verb
    def counts(self) -> Counts:
        jobs = self._tables.jobs.values()
        present = [j for j in jobs if j.state is not JobState.REMOVED]
        return Counts(
            jobs=dict(Counter(j.state for j in jobs)),
            protected=sum(j.definition.needs_authority for j in present),
            active_runs=sum(r.state in ACTIVE for r in self._tables.runs.values()),
            open_holds=sum(o.open for o in self._tables.omissions.values()),
            pending_requests=sum(
                r.state is RequestState.PENDING for r in self._tables.requests.values()
            ),
        )

    @verb
    def history_now(self, now: datetime, ran: timedelta) -> datetime:
        clock = self._tables.history or HistoryClock(at=self.created_at)
        self._tables.history = clock.advanced(now, ran)
        return self._tables.history.now(now)

    @verb
    def purge(self, retention: PurgeLimits, now: datetime) -> Purged:
        before = now - timedelta(days=retention.days)
        runs = self._old_runs(retention, before)[: retention.batch]
        omissions = self._old_omissions(retention, before)[: retention.batch]
        self._forget_runs(runs)
        for omission in omissions:
            del self._tables.omissions[omission.id]
            self._account_from(omission.job, omission.last)
        events = list(self._tables.events)[: -retention.events or None][: retention.batch]
        for seq in events:
            del self._tables.events[seq]
        requests = self._old_requests(min(before, now - DAY))[: retention.batch]
        for request in requests:
            del self._tables.requests[request.id]
        processes = self._old_processes(before)[: retention.batch]
        for process in processes:
            del self._tables.processes[process.id]
        return Purged(
            runs=tuple(run.id for run in runs),
            omissions=len(omissions),
            events=len(events),
            requests=len(requests),
            processes=len(processes),
        )

    def _old_runs(self, retention: PurgeLimits, before: datetime) -> list[Run]:
        """Earliest fires first."""
        old: list[Run] = []
        by_job = sorted(self._tables.runs.values(), key=lambda r: (r.job, r.fire_time))
        for job, group in groupby(by_job, key=lambda r: r.job):
            runs = list(group)
            surplus = {r.id for r in runs[: max(0, len(runs) - retention.runs_per_job)]}
            watermark = self._tables.jobs[job].watermark
            old += [
                run
                for run in runs
                if run.state in FINAL
                and run.fire_time <= watermark
                and (run.id in surplus or _over_at(run) < before)
            ]
        return sorted(old, key=lambda r: r.fire_time)

    def _forget_runs(self, runs: list[Run]) -> None:
        """Delete rows, and keep the spans of their fires (C4)."""
        by_job = sorted(runs, key=lambda r: (r.job, r.fire_time))
        for job, group in groupby(by_job, key=lambda r: r.job):
            fires = [run.fire_time for run in group]
            self._add_span(job, Span(first=fires[0], last=fires[-1]))
            self._account_from(job, fires[-1])
        for run in runs:
            del self._tables.runs[run.id]
            del self._tables.fires[run.job, run.fire_time]

    def _add_span(self, job: str, new: Span) -> None:
        apart: list[Span] = []
        for span in self._tables.spans.get(job, ()):
            if span.overlaps(new):
                new = Span(first=min(span.first, new.first), last=max(span.last, new.last))
            else:
                apart.append(span)
        self._tables.spans[job] = (*apart, new)

    def _account_from(self, job: str, at: datetime) -> None:
        self._tables.accounted_from[job] = max(self._tables.accounted_from[job], at)

    def _old_omissions(self, retention: PurgeLimits, before: datetime) -> list[Omission]:
        old: list[Omission] = []
        by_job = sorted(self._tables.omissions.values(), key=lambda o: (o.job, o.last))
        for _, group in groupby(by_job, key=lambda o: o.job):
            kept = list(group)
            surplus = {o.id for o in kept[: max(0, len(kept) - retention.runs_per_job)]}
            old += [o for o in kept if not o.open and (o.id in surplus or o.decided_at < before)]
        return sorted(old, key=lambda o: o.last)

    def _old_requests(self, before: datetime) -> list[Request]:
        unanswered = (RequestState.PENDING, RequestState.ACCEPTED)
        return [
            r
            for r in self._tables.requests.values()
            if r.state not in unanswered and r.answered_at is not None and r.answered_at < before
        ]

    def _old_processes(self, before: datetime) -> list[Process]:
        named = {self._tables.ownership.process}
        for run in self._tables.runs.values():
            named |= {run.holder, *(attempt.process for attempt in run.attempts)}
        return [
            p
            for p in self._tables.processes.values()
            if p.left_at is not None and p.left_at < before and p.id not in named
        ]


def _over_at(run: Run) -> datetime:
    """The later of claim and end: a clock set back between them makes no run older."""
    return max(run.claimed_at, run.finished_at or run.claimed_at)
