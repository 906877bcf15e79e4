"""Runs (C6): starts under the claim's term, ends fenced by the run itself; and monitoring."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from tenure.domain.event import EventKind
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.ownership import Authority
from tenure.domain.policy.evidence import Evidence
from tenure.domain.request import RequestState
from tenure.domain.run import (
    FINAL,
    FinishOutcome,
    Late,
    Result,
    Run,
    RunState,
    Start,
    check_transition,
)
from tenure.store.contract import Mark, Page, RunFilter
from testkit.memory_store.base import page_of, verb
from testkit.memory_store.jobs import JobLayer

HELD_STATES = frozenset({RunState.CLAIMED, RunState.RUNNING})
"""The states in which a process watches the run."""


class RunLayer(JobLayer):
    @verb
    def start(self, authority: Authority, starts: Sequence[Start]) -> tuple[bool, ...]:
        self._require(authority)
        return tuple(self._start(authority, start) for start in starts)

    def _start(self, authority: Authority, start: Start) -> bool:
        run = self._tables.runs.get(start.run)
        if run is None or run.state is not RunState.CLAIMED:
            return False
        if (run.attempt, run.term) != (start.attempt, authority.term):
            return False
        if run.cancel_requested_at is not None:
            return False
        self._tables.runs[run.id] = replace(
            run,
            state=RunState.RUNNING,
            started_at=start.at,
            identity=start.identity,
            log=start.log,
        )
        return True

    @verb
    def finish(self, results: Sequence[Result], now: datetime) -> tuple[FinishOutcome, ...]:
        return tuple(self._finish(result, now) for result in results)

    def _finish(self, result: Result, now: datetime) -> FinishOutcome:
        """One result, in the order: late, ended already, held by another, taken."""
        check_transition(RunState.RUNNING, result.state)
        run = self._tables.runs.get(result.run)
        if run is None:
            return FinishOutcome.ALREADY
        if run.attempt != result.attempt:
            return FinishOutcome.NOT_HELD
        declares = result.state in (RunState.LOST, RunState.NEVER_RAN, RunState.RETRYING)
        if run.state is RunState.LOST and run.late is None and not declares:
            self._keep_late(run, result, now)
            return FinishOutcome.LATE
        if run.state not in HELD_STATES:
            return FinishOutcome.ALREADY
        if run.holder != result.process:
            return FinishOutcome.NOT_HELD
        self._take_result(run, result, now)
        return FinishOutcome.TAKEN

    def _keep_late(self, run: Run, result: Result, now: datetime) -> None:
        late = Late(
            at=result.at,
            state=result.state,
            reason=result.reason,
            exit_code=result.exit_code,
            signal=result.signal,
        )
        self._tables.runs[run.id] = replace(run, late=late)
        facts = {"state": result.state.value, "exit_code": result.exit_code}
        self._say(
            EventKind.LATE_RESULT,
            now,
            process=result.process,
            job=run.job,
            run=run.id,
            facts=facts,
        )

    def _take_result(self, run: Run, result: Result, now: datetime) -> None:
        state = result.state
        if state is RunState.RETRYING and run.cancel_requested_at is not None:
            state = RunState.CANCELLED
        ended = replace(
            run,
            state=state,
            started_at=result.started_at or run.started_at,
            finished_at=result.at,
            reason=result.reason,
            exit_code=result.exit_code,
            signal=result.signal,
            retry_at=result.retry_at if state is RunState.RETRYING else None,
        )
        if state is RunState.LOST:
            facts = {"reason": result.reason}
            kind, process = EventKind.RUN_LOST, result.process
            self._say(kind, now, process=process, job=run.job, run=run.id, facts=facts)
        if state in FINAL:
            self._end(ended, now)
        else:
            self._tables.runs[run.id] = ended

    def _end(self, run: Run, now: datetime) -> None:
        """Record a final state; wake the job if a fire of it waits; its request is done."""
        self._tables.runs[run.id] = replace(run, retry_at=None)
        if self._tables.jobs[run.job].waiting:
            self._make_due(run.job, now)
        request = self._tables.requests.get(run.request or "")
        if request is not None and request.state is RequestState.ACCEPTED:
            answer = f"run {run.id} {run.state}"
            self._tables.requests[request.id] = replace(
                request, state=RequestState.DONE, answer=answer
            )
            facts = {"request": request.id, "state": RequestState.DONE.value, "answer": answer}
            self._say(EventKind.ANSWERED, now, job=run.job, run=run.id, facts=facts)

    @verb
    def note_started(self, runs: Sequence[tuple[str, int, datetime]]) -> None:
        for run_id, attempt, at in runs:
            run = self._tables.runs.get(run_id)
            if run is not None and run.state is RunState.CLAIMED and run.attempt == attempt:
                self._tables.runs[run_id] = replace(run, state=RunState.RUNNING, started_at=at)

    @verb
    def note_reasons(self, process: str, notes: Sequence[tuple[str, int, str]]) -> None:
        for run_id, attempt, why in notes:
            run = self._tables.runs.get(run_id)
            if run is None or run.state not in HELD_STATES:
                continue
            if (run.attempt, run.holder) == (attempt, process):
                self._tables.runs[run_id] = replace(run, reason=why)

    @verb
    def orphans(self, process: str) -> tuple[Run, ...]:
        watched = [r for r in self._tables.runs.values() if r.state in HELD_STATES]
        return tuple(r for r in watched if r.holder != process)

    @verb
    def runs_held_by(self, process: str) -> tuple[Run, ...]:
        watched = [r for r in self._tables.runs.values() if r.state in HELD_STATES]
        return tuple(r for r in watched if r.holder == process)

    @verb
    def adopt_run(self, authority: Authority, run: str, attempt: int, now: datetime) -> bool:
        self._require(authority)
        found = self._get_run(run)
        if found.state not in HELD_STATES or found.attempt != attempt:
            return False
        if found.holder != authority.process:
            self._tables.runs[run] = replace(found, holder=authority.process)
            self._say(
                EventKind.RUN_ADOPTED,
                now,
                term=authority.term,
                process=authority.process,
                job=found.job,
                run=run,
                facts={"from": found.holder},
            )
        return True

    @verb
    def request_cancel(self, run: str, now: datetime) -> None:
        self._cancel(self._get_run(run), now)

    def _cancel(self, run: Run, now: datetime) -> None:
        if run.state in FINAL:
            return
        marked = replace(run, cancel_requested_at=run.cancel_requested_at or now)
        if run.state is RunState.RETRYING:
            reason = "cancelled before its next attempt"
            ended = replace(marked, state=RunState.CANCELLED, reason=reason, finished_at=now)
            self._end(ended, now)
        else:
            self._tables.runs[run.id] = marked

    @verb
    def run(self, run: str) -> Run:
        return self._get_run(run)

    @verb
    def runs(
        self, where: RunFilter, page: Page | None = None
    ) -> tuple[tuple[Run, ...], str | None]:
        found = [run for run in self._tables.runs.values() if _fits(run, where)]
        found.reverse()  # Later insertions first among those claimed at one instant.
        return page_of(sorted(found, key=lambda r: r.claimed_at, reverse=True), page)

    @verb
    def provenance(self, run: str) -> Evidence:
        return self.process(self._get_run(run).process).evidence

    @verb
    def omissions(
        self,
        *,
        job: str | None = None,
        kind: OmissionKind | None = None,
        only_open: bool = False,
        since: datetime | None = None,
        page: Page | None = None,
    ) -> tuple[tuple[Omission, ...], str | None]:
        found = [
            o
            for o in self._tables.omissions.values()
            if job in (None, o.job) and kind in (None, o.kind) and (o.open or not only_open)
            if since is None or o.decided_at >= since
        ]
        return page_of(found[::-1], page)

    # -- monitoring: what is new, and the latest runs of each job --------------------------------
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


def _fits(run: Run, where: RunFilter) -> bool:
    return (
        where.job in (None, run.job)
        and (where.states is None or run.state in where.states)
        and (where.since is None or run.claimed_at >= where.since)
        and where.term in (None, run.term)
        and where.process in (None, run.process)
    )


def _number(run: str) -> int:
    """Ids here are ``r`` and a number that only grows."""
    return int(run[1:])
