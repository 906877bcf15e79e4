"""Requests (C7): a durable ask, answered once, its deadline checked where it is accepted."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from tenure.domain.errors import Conflict, InvalidInput, NotFound
from tenure.domain.event import EventKind
from tenure.domain.job import Job, JobState, Overlap, remedy_for_paused
from tenure.domain.ownership import Authority, OwnershipState
from tenure.domain.request import (
    HAND_OVER_EXPIRED,
    OWNERS_WORD,
    Request,
    Requester,
    RequestKind,
    RequestState,
    check_answer,
)
from tenure.domain.run import Cause, Run
from testkit.memory_store.base import verb
from testkit.memory_store.claims import ClaimLayer
from testkit.memory_store.pending import INSTANT

EXPIRED = "no owner answered before the deadline"
ASK_AGAIN = "ask again; with --queue it waits for 24 hours"


class RequestLayer(ClaimLayer):
    @verb
    def create_request(
        self,
        *,
        kind: RequestKind,
        key: str,
        requester: Requester,
        now: datetime,
        deadline: timedelta,
        job: str | None = None,
        run: str | None = None,
        to_process: str | None = None,
        queued: bool = False,
    ) -> Request:
        job = self._asked_job(kind, job, run)
        for known in self._tables.requests.values():
            if known.key == key:
                return _same_ask(known, kind, job, run, to_process)
        request = Request(
            id=f"q{self._number('request')}",
            kind=kind,
            key=key,
            state=RequestState.PENDING,
            asked_at=now,
            deadline=now + deadline,
            requester=requester,
            job=job,
            run=run,
            to_process=to_process,
            queued=queued,
        )
        self._tables.requests[request.id] = request
        facts = {"request": request.id, "kind": kind.value, "by": requester.describe()}
        self._say(EventKind.REQUESTED, now, job=job, run=run, facts=facts)
        return request

    def _asked_job(self, kind: RequestKind, job: str | None, run: str | None) -> str | None:
        """The id of the job that a request is about, None for a hand-over."""
        if kind is RequestKind.HAND_OVER:
            return None
        if kind is RequestKind.TRIGGER:
            if job is None:
                raise InvalidInput("a trigger names a job", field="job")
            return self._get_present(self.job(job).id).id
        if run is None:
            raise InvalidInput(f"a {kind} request names a run", field="run")
        return self._get_run(run).job

    @verb
    def claim_trigger(
        self, authority: Authority, request: str, now: datetime
    ) -> tuple[Request, Run | None]:
        self._require(authority)
        found = self.request(request)
        if found.kind not in (RequestKind.TRIGGER, RequestKind.RETRY) or found.job is None:
            raise InvalidInput(f"a {found.kind} request triggers nothing", field="request")
        if found.state is not RequestState.PENDING:
            return found, None
        if now > found.deadline:
            return self._expire(found, now), None
        job = self._tables.jobs[found.job]
        refusal = self._why_not(job, found)
        if refusal is not None:
            answer, remedy = refusal
            return self._reply(found, RequestState.REFUSED, authority, now, answer, remedy), None
        if self._stays_pending(job):
            return found, None
        at = self._free_instant(job, now)
        run = self._claim_run(authority, job, at, Cause.REQUEST, now, request=found.id)
        found = replace(found, run=run.id)
        answer = f"claimed as run {run.id}"
        return self._reply(found, RequestState.ACCEPTED, authority, now, answer, ""), run

    def _why_not(self, job: Job, request: Request) -> tuple[str, str] | None:
        """The refusal and its remedy; None if the request may be accepted, now or later."""
        if job.state is JobState.REMOVED:
            return "the job was removed", "add it again"
        if job.state is JobState.PAUSED:
            return "the job is paused", remedy_for_paused(job)
        if job.state is JobState.DORMANT:
            return "the app no longer declares the job", "start the version that declares it"
        if not self._may_run(job.definition) and not request.queued:
            return (
                "the job is protected, and the owner is not authoritative",
                "start the authoritative process, or ask with --queue to wait for it",
            )
        overlap = job.definition.overlap
        active = self._active_runs(job.id)
        if overlap in (Overlap.SKIP, Overlap.CANCEL) and active:
            running = max(active, key=lambda run: (run.claimed_at, run.id)).id
            return f"{job.name} is already running ({running})", "wait for that run, or cancel it"
        return None

    def _stays_pending(self, job: Job) -> bool:
        queues = job.definition.overlap is Overlap.QUEUE and bool(self._active_runs(job.id))
        return queues or not self._may_run(job.definition)

    def _free_instant(self, job: Job, now: datetime) -> datetime:
        """``now``, or soon after: nothing claimed and no fire of the schedule."""
        at = now
        while True:
            spans = self._tables.spans.get(job.id, ())
            inside = [span.last for span in spans if span.first <= at <= span.last]
            fires = job.definition.schedule.latest(at - INSTANT, at) is not None
            if not inside and not fires and (job.id, at) not in self._tables.fires:
                return at
            at = max([at, *inside]) + INSTANT

    def _expire(self, request: Request, now: datetime) -> Request:
        return self._reply(request, RequestState.EXPIRED, None, now, EXPIRED, ASK_AGAIN)

    @verb
    def resolve_request(
        self,
        request: str,
        state: RequestState,
        *,
        authority: Authority | None,
        now: datetime,
        answer: str,
        remedy: str = "",
        run: str | None = None,
    ) -> Request:
        if authority is not None:
            self._require(authority)
        elif state in OWNERS_WORD:
            raise InvalidInput(f"only the owner may answer {state}", field="authority")
        found = self.request(request)
        check_answer(found.kind, found.state, state)
        takes = found.state is RequestState.PENDING and state in OWNERS_WORD
        if takes and now > found.deadline:
            return self._expire(found, now)
        found = replace(found, run=run or found.run)
        return self._reply(found, state, authority, now, answer, remedy)

    @verb
    def request(self, request: str) -> Request:
        try:
            return self._tables.requests[request]
        except KeyError:
            raise NotFound(
                f"unknown request {request!r}", remedy="`tenure requests` shows them"
            ) from None

    @verb
    def requests(
        self,
        *,
        states: frozenset[RequestState] | None = None,
        limit: int = 100,
        before: str | None = None,
        newest_first: bool = False,
    ) -> tuple[Request, ...]:
        everything = list(self._tables.requests.values())
        if before is not None:
            everything = everything[: everything.index(self.request(before))]
        found = [r for r in everything if states is None or r.state in states]
        if states != frozenset({RequestState.PENDING}) or newest_first:
            found.reverse()
        return tuple(found[:limit])

    @verb
    def expire_requests(self, now: datetime) -> int:
        past = [
            request
            for request in self._tables.requests.values()
            if request.state is RequestState.PENDING and now > request.deadline
        ]
        for request in past:
            self._expire(request, now)
        vacant = self._tables.ownership.hold is OwnershipState.VACANT
        late = [r for r in self._accepted_hand_overs() if vacant and now > r.deadline]
        for request in late:
            self._end_hand_over(request, HAND_OVER_EXPIRED, now)
        return len(past) + len(late)

    @verb
    def observe_requester(self, request: str, requester: Requester) -> None:
        known = self.request(request)
        seen = replace(requester, via=known.requester.via)
        self._tables.requests[request] = replace(known, requester=seen)


def _same_ask(
    known: Request, kind: RequestKind, job: str | None, run: str | None, to_process: str | None
) -> Request:
    """The request that a key made before; Conflict if the key was for something else."""
    # An accepted one names the run it became instead of the one it asked about.
    same_run = known.run == run or known.state is not RequestState.PENDING
    same = (known.kind, known.job, known.to_process) == (kind, job, to_process)
    if not same or not same_run:
        raise Conflict(f"key {known.key!r} was already used for a different request", field="key")
    return known
