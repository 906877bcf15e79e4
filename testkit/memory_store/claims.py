"""Claims (C3, C4, C5, C8): the verbs that only the owner's current authority carries out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tenure.domain.event import EventKind
from tenure.domain.job import Definition, Job, JobState, Runner
from tenure.domain.omission import Omission, OmissionKind, resolution
from tenure.domain.ownership import Authority
from tenure.domain.planning.plan import Due, Fire, HoldResolution, Plan
from tenure.domain.run import Cause, Run, RunState
from tenure.store.contract import Claimed, ClaimOutcome
from testkit.memory_store.base import verb
from testkit.memory_store.runs import RunLayer

LONGEST_BACKOFF = timedelta(hours=1)
RESTARTED = "planning restarted: the clock was set back"


class ClaimLayer(RunLayer):
    @verb
    def due(self, now: datetime, room: Mapping[Runner, int]) -> tuple[Due, ...]:
        waiting = [
            (job.due_at, job)
            for job in self._tables.jobs.values()
            if job.state is JobState.ACTIVE and job.due_at is not None and job.due_at <= now
        ]
        taken: Counter[Runner] = Counter()
        found: list[Due] = []
        for _, job in sorted(waiting, key=lambda pair: pair[0]):
            runner = job.definition.runner
            if taken[runner] < room.get(runner, 0):
                taken[runner] += 1
                found.append(self._as_due(job))
        return tuple(found)

    @verb
    def defer_unreadable_job(self, authority: Authority, job: Job, now: datetime) -> None:
        self._require(authority)  # no job of this store is unreadable

    def _as_due(self, job: Job) -> Due:
        holds = [o for o in self._tables.omissions.values() if o.job == job.id and o.open]
        return Due(
            job=job,
            active=len(self._active_runs(job.id)),
            holds=tuple(sorted(holds, key=lambda o: o.first)),
        )

    @verb
    def next_due(self, runners: Collection[Runner] | None = None) -> datetime | None:
        jobs = [
            j.due_at
            for j in self._tables.jobs.values()
            if j.state is JobState.ACTIVE and (runners is None or j.definition.runner in runners)
        ]
        retries = [r.retry_at for r in self._tables.runs.values() if r.state is RunState.RETRYING]
        return min((at for at in [*jobs, *retries] if at is not None), default=None)

    @verb
    def claim(
        self, authority: Authority, plans: Sequence[Plan], now: datetime
    ) -> tuple[Claimed, ...]:
        self._require(authority)
        return tuple(self._carry_out(authority, plan, now) for plan in plans)

    def _carry_out(self, authority: Authority, plan: Plan, now: datetime) -> Claimed:
        job = self._tables.jobs.get(plan.job)
        if job is None or not self._still_stands(plan, job):
            return Claimed(job=plan.job, outcome=ClaimOutcome.CHANGED)
        if plan.claims and not self._may_run(job.definition):
            self._say(
                EventKind.CLAIM_REFUSED,
                now,
                term=authority.term,
                process=authority.process,
                job=job.id,
                facts={"why": "only an authoritative owner may run it"},
            )
            return Claimed(job=plan.job, outcome=ClaimOutcome.PROTECTED)
        runs: dict[Fire, Run] = {}
        for fire in plan.claims:
            if not self._was_claimed(job.id, fire.at):
                runs[fire] = self._claim_run(authority, job, fire.at, fire.cause, now)
        for held in plan.holds:
            mine = [run for fire, run in runs.items() if fire.hold == held.omission]
            self._settle(held, mine, now)
        for stretch in plan.omissions:
            by, term = authority.process, authority.term
            self._omit(job, stretch, by=by, term=term, now=now, merge=True)
        self._move_on(job, plan, now)
        whole = len(runs) == len(plan.claims)
        return Claimed(
            job=job.id,
            outcome=ClaimOutcome.CLAIMED if whole else ClaimOutcome.REPEATED,
            runs=tuple(runs.values()),
        )

    def _still_stands(self, plan: Plan, job: Job) -> bool:
        """Whether everything that the plan was made from is still so (C12)."""
        holds = [self._tables.omissions.get(h.omission) for h in plan.holds]
        return (
            job.state is JobState.ACTIVE
            and job.revision == plan.revision
            and job.watermark == plan.was
            and all(hold is not None and hold.open and hold.job == job.id for hold in holds)
        )

    def _may_run(self, definition: Definition) -> bool:
        """C8, held by the store itself for each attempt."""
        return self._tables.ownership.authoritative or not definition.needs_authority

    def _was_claimed(self, job: str, at: datetime) -> bool:
        """C4: ever. A fire in a span where rows were deleted counts as claimed."""
        if any(span.first <= at <= span.last for span in self._tables.spans.get(job, ())):
            edge = self._tables.accounted_from[job]
            self._tables.accounted_from[job] = max(edge, at)
            return True
        return (job, at) in self._tables.fires

    def _claim_run(
        self,
        authority: Authority,
        job: Job,
        at: datetime,
        cause: Cause,
        now: datetime,
        request: str | None = None,
    ) -> Run:
        run = Run(
            id=f"r{self._number('run')}",
            job=job.id,
            job_name=job.name,
            revision=job.revision,
            fire_time=at,
            cause=cause,
            state=RunState.CLAIMED,
            term=authority.term,
            process=authority.process,
            holder=authority.process,
            policy_version=authority.policy_version,
            protected=job.definition.needs_authority,
            attempt=1,
            claimed_at=now,
            request=request,
        )
        self._tables.runs[run.id] = run
        self._tables.fires[job.id, at] = run.id
        return run

    def _settle(self, held: HoldResolution, runs: list[Run], now: datetime) -> None:
        """Say what became of a held stretch, or of its beginning."""
        hold = self._tables.omissions[held.omission]
        claimed = hold.claimed + len(runs)
        if held.settled_until is not None:
            changed = replace(hold, claimed=claimed, settled_until=held.settled_until)
        else:
            text = resolution(
                claimed=claimed,
                missed=hold.count - claimed,
                reason=held.missed_reason,
                run=runs[-1].id if runs else None,
            )
            changed = replace(hold, claimed=claimed, resolved_at=now, resolution=text)
        self._tables.omissions[hold.id] = changed

    def _move_on(self, job: Job, plan: Plan, now: datetime) -> None:
        """Watermark and due instant, in the transaction of the claims (C5)."""
        self._tables.jobs[job.id] = replace(
            job,
            state=JobState.DONE if plan.done else JobState.ACTIVE,
            watermark=plan.watermark,
            due_at=plan.due_at,
            waiting=plan.waiting,
            deferred=plan.deferred,
        )
        if plan.cancel_previous:
            for run in self._active_runs(job.id):
                self._cancel(run, now)
        if plan.waiting and not self._active_runs(job.id):
            self._make_due(job.id, now)

    @verb
    def due_retries(self, now: datetime, room: Mapping[Runner, int]) -> tuple[Run, ...]:
        waiting = [
            (run.retry_at, run)
            for run in self._tables.runs.values()
            if run.state is RunState.RETRYING and run.retry_at is not None and run.retry_at <= now
        ]
        taken: Counter[Runner] = Counter()
        found: list[Run] = []
        for _, run in sorted(waiting, key=lambda pair: pair[0]):
            runner = self.definition(run.job, run.revision).runner
            if taken[runner] < room.get(runner, 0):
                taken[runner] += 1
                found.append(run)
        return tuple(found)

    @verb
    def claim_retry(self, authority: Authority, run: str, now: datetime) -> Claimed:
        self._require(authority)
        found = self._get_run(run)
        job = self._tables.jobs[found.job]
        if found.state is not RunState.RETRYING:
            return Claimed(job=job.id, outcome=ClaimOutcome.CHANGED)
        why = _why_no_retry(job, found)
        if why is not None:
            self._end(replace(found, state=RunState.FAILED, reason=why, finished_at=now), now)
            return Claimed(job=job.id, outcome=ClaimOutcome.CHANGED)
        if not self._may_run(job.definition):
            return Claimed(job=job.id, outcome=ClaimOutcome.PROTECTED)
        again = replace(
            found,
            state=RunState.CLAIMED,
            term=authority.term,
            process=authority.process,
            holder=authority.process,
            policy_version=authority.policy_version,
            attempt=found.attempt + 1,
            claimed_at=now,
            retry_at=None,
            started_at=None,
            finished_at=None,
            reason="",
            exit_code=None,
            signal=None,
            identity=None,
            log=None,
            earlier=found.attempts,
        )
        self._tables.runs[run] = again
        return Claimed(job=job.id, outcome=ClaimOutcome.CLAIMED, runs=(again,))

    @verb
    def restart_planning(self, authority: Authority, now: datetime) -> int:
        self._require(authority)
        ahead = [
            job
            for job in self._tables.jobs.values()
            if job.watermark > now and job.state is not JobState.REMOVED
        ]
        self._bring_near(now)
        for job in ahead:
            self._restart(job, now)
        if ahead:
            self._number("clock era")
            term, process = authority.term, authority.process
            facts = {"jobs": len(ahead), "was": max(job.watermark for job in ahead).isoformat()}
            kind = EventKind.PLANNING_RESTARTED
            self._say(kind, now, term=term, process=process, facts=facts)
        return len(ahead)

    def _bring_near(self, now: datetime) -> None:
        """Undo what the wrong clock put off: nothing else would wake it."""
        for job in list(self._tables.jobs.values()):
            off = job.deferred or job.waiting or self._has_open_hold(job.id)
            if off and job.state is JobState.ACTIVE and job.due_at is not None and job.due_at > now:
                self._tables.jobs[job.id] = replace(job, due_at=now, deferred=False)
        for run in list(self._tables.runs.values()):
            far = run.retry_at is not None and run.retry_at > now + LONGEST_BACKOFF
            if far and run.state is RunState.RETRYING:
                self._tables.runs[run.id] = replace(run, retry_at=now)

    def _restart(self, job: Job, now: datetime) -> None:
        for omission in list(self._tables.omissions.values()):
            if omission.job == job.id and omission.last > now:
                self._tables.omissions[omission.id] = self._cut(omission, now)
        self._tables.revisions[job.id] = tuple(
            replace(revision, valid_after=min(revision.valid_after, now))
            for revision in self._tables.revisions[job.id]
        )
        self._tables.accounted_from[job.id] = now
        self._tables.jobs[job.id] = self._rescheduled(replace(job, watermark=now), now)

    def _cut(self, omission: Omission, now: datetime) -> Omission:
        """What is left of a record that reaches past ``now``."""
        schedule = self.definition(omission.job, omission.revision).schedule
        count, last = schedule.left_of(omission.first, omission.last, omission.count, now)
        cut = replace(omission, cut_at=now, count=count, last=last)
        done_with = omission.settled_until is not None and omission.settled_until >= cut.last
        if omission.kind is OmissionKind.HELD and omission.open and (not count or done_with):
            cut = replace(cut, resolved_at=now, resolution=RESTARTED)
        return cut

    @verb
    def wake_held_jobs(self, authority: Authority, now: datetime) -> int:
        self._require(authority)
        return self._make_held_due(now)

    @verb
    def replan(self, authority: Authority, jobs: Collection[str], now: datetime) -> int:
        self._require(authority)
        later = [
            job
            for job in map(self._tables.jobs.get, jobs)
            if job is not None
            and job.state is JobState.ACTIVE
            and job.due_at is not None
            and job.due_at > now
        ]
        for job in later:
            self._tables.jobs[job.id] = replace(job, due_at=now)
        return len(later)


def _why_no_retry(job: Job, run: Run) -> str | None:
    """Why a run is not retried, though it has retries left."""
    if job.state not in (JobState.ACTIVE, JobState.DONE):
        return f"not retried: the job is {job.state}"
    if job.revision != run.revision:
        return f"not retried: the job is at revision {job.revision} now"
    return None
