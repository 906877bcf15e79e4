"""C4, C5, C8, C12 for jobs that another scheduler plans: their fires are announced."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tenure.domain.errors import IllegalTransition
from tenure.domain.event import EventKind
from tenure.domain.job import Call, Definition, Job, JobState
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.ownership import Authority
from tenure.domain.planning.external import Announced, plan_announced
from tenure.domain.planning.plan import Due, OwnerCapabilities, Plan
from tenure.domain.request import RequestKind
from tenure.domain.run import ACTIVE, Cause, Run, RunState
from tenure.domain.schedule.model import foreign_schedule
from tenure.store.contract import Claimed, ClaimOutcome, PurgeLimits, RunFilter, Store
from testkit.conformance.base import StoreCase
from testkit.factories import (
    REQUESTER,
    ROOM,
    START,
    after,
    ended,
    make_definition,
    once,
    own,
    plan_round,
)

ALLOWED = OwnerCapabilities(authoritative=True)
FALLBACK = OwnerCapabilities(authoritative=False)


def foreign(text: str = "every 5m", **changes: Any) -> Definition:
    call = changes.pop("action", Call(target="other:1"))
    return make_definition(schedule=foreign_schedule(text), action=call, **changes)


def add(store: Store, now: datetime = START, **changes: Any) -> Job:
    return store.add_job(foreign(**changes), by="ada", now=now)


def due_of(store: Store, job: Job) -> Due:
    active, _ = store.runs(RunFilter(job=job.id, states=ACTIVE))
    holds, _ = store.omissions(job=job.id, only_open=True)
    return Due(job=store.job(job.id), active=len(active), holds=tuple(reversed(holds)))


def planned(
    store: Store,
    job: Job,
    announced: Announced,
    standing: OwnerCapabilities,
    now: datetime | None = None,
) -> Plan:
    found = plan_announced(due_of(store, job), announced, standing, now or announced.fire)
    assert found is not None, f"{announced.fire} is accounted for already"
    return found


def announce(
    store: Store,
    authority: Authority,
    job: Job,
    fire: datetime,
    *,
    standing: OwnerCapabilities | None = None,
    passed: tuple[datetime, datetime, int] | None = None,
) -> Claimed:
    """The fire is due now, and the owner decides about it as it must."""
    rights = standing or OwnerCapabilities(authoritative=store.ownership().authoritative)
    found = planned(store, job, Announced(fire=fire, passed=passed), rights)
    (claimed,) = store.claim(authority, [found], fire)
    return claimed


def run_of(claimed: Claimed) -> Run:
    (run,) = claimed.runs
    return run


def finish(store: Store, claimed: Claimed) -> None:
    run = run_of(claimed)
    store.finish([ended(run)], run.claimed_at)


def records(store: Store, job: Job) -> list[tuple[OmissionKind, datetime, datetime, int]]:
    """Oldest first."""
    found, _ = store.omissions(job=job.id)
    return [(o.kind, o.first, o.last, o.count) for o in reversed(found)]


def only(store: Store, job: Job) -> Omission:
    (omission,) = store.omissions(job=job.id)[0]
    return omission


class ForeignConformance(StoreCase):
    def test_a_foreign_job_is_active_and_never_due(self, store: Store) -> None:
        """Its fires are announced: the owner does not look for them."""
        job = add(store)
        assert (job.state, job.due_at, job.next_fire) == (JobState.ACTIVE, None, None)
        assert store.job(job.id) == job
        assert store.next_due() is None
        assert store.due(after(days=999), ROOM) == ()
        assert plan_round(store, own(store), after(days=1)) == ()

    def test_no_change_makes_it_done_or_moves_its_watermark(self, store: Store) -> None:
        """C5: which of its fires are pending is not known yet, so none of them may be lost."""
        job = add(store)
        edited = store.edit_job(job.id, 1, foreign(tags=("x",)), by="ada", now=after(hours=1))
        paused = store.set_job_state(job.id, JobState.PAUSED, by="ada", now=after(hours=2))
        resumed = store.set_job_state(job.id, JobState.ACTIVE, by="ada", now=after(hours=3))
        assert {edited.watermark, paused.watermark, resumed.watermark} == {START}
        assert (edited.state, paused.state, resumed.state) == (
            JobState.ACTIVE,
            JobState.PAUSED,
            JobState.ACTIVE,
        )
        assert (edited.due_at, paused.due_at, resumed.due_at) == (None, None, None)
        assert [r.valid_after for r in store.revisions(job.id)] == [START, START]
        assert store.omissions(job=job.id)[0] == ()
        authority = own(store, now=after(hours=3))
        run = run_of(announce(store, authority, job, after(hours=1, minutes=-5)))
        assert (run.revision, run.fire_time) == (2, after(minutes=55))
        assert (EventKind.JOB_STATE, after(hours=3)) in [(e.kind, e.at) for e in store.events()]

    def test_a_job_that_is_due_already_may_be_added(self, store: Store) -> None:
        """C5: the fire that it was added with is not lost."""
        job = store.add_job(foreign(), by="ada", now=after(minutes=7), since=after(minutes=4))
        assert (job.watermark, job.created_at) == (after(minutes=4), after(minutes=7))
        assert store.accounting(job.id).accounted_from == after(minutes=4)
        assert store.revisions(job.id)[0].valid_after == after(minutes=4)
        assert run_of(announce(store, own(store), job, after(minutes=5)))
        late = store.add_job(foreign(name="b"), by="ada", now=START, since=after(minutes=4))
        assert late.watermark == START

    def test_a_job_planned_here_may_be_added_with_its_last_fires(self, store: Store) -> None:
        definition = make_definition(schedule=once(after(minutes=5)))
        job = store.add_job(definition, by="ada", now=after(minutes=7), since=START)
        assert (job.state, job.due_at) == (JobState.ACTIVE, after(minutes=5))

    def test_a_claim_is_a_run(self, store: Store) -> None:
        """C3, C4: under the term, with the watermark in the same transaction."""
        job, authority = add(store), own(store)
        run = run_of(announce(store, authority, job, after(minutes=5)))
        assert (run.state, run.cause, run.term) == (RunState.CLAIMED, Cause.SCHEDULE, 1)
        assert (run.fire_time, run.protected) == (after(minutes=5), False)
        found = store.job(job.id)
        assert (found.watermark, found.due_at) == (after(minutes=5), None)
        assert found.state is JobState.ACTIVE
        assert store.run(run.id) == run

    def test_the_same_announcement_takes_once(self, store: Store) -> None:
        """C4, C12: of two that planned on the same watermark one takes."""
        job, authority = add(store), own(store)
        made = planned(store, job, Announced(fire=after(minutes=5)), ALLOWED)
        first, second = store.claim(authority, [made, made], after(minutes=5))
        assert (first.outcome, second.outcome) == (ClaimOutcome.CLAIMED, ClaimOutcome.CHANGED)
        assert plan_announced(
            due_of(store, job), Announced(fire=after(minutes=5)), ALLOWED, after(minutes=6)
        ) is None  # fmt: skip

    def test_a_plan_on_an_older_job_is_refused(self, store: Store) -> None:
        """C12: the job was edited or paused meanwhile."""
        authority, names = own(store), ("edited", "paused", "removed")
        jobs = [add(store, name=name) for name in names]
        fire = Announced(fire=after(minutes=5))
        plans = [planned(store, job, fire, ALLOWED) for job in jobs]
        store.edit_job(jobs[0].id, 1, foreign(tags=("x",)), by="ada", now=START)
        store.set_job_state(jobs[1].id, JobState.PAUSED, by="ada", now=START)
        store.set_job_state(jobs[2].id, JobState.REMOVED, by="ada", now=START)
        answers = store.claim(authority, plans, after(minutes=5))
        assert {a.outcome for a in answers} == {ClaimOutcome.CHANGED}

    def test_a_claimed_fire_stays_claimed(self, store: Store) -> None:
        """C4: at most once, ever, also after the clock was set back, or retention."""
        job, authority = add(store), own(store)
        claimed = announce(store, authority, job, after(minutes=5))
        finish(store, claimed)
        assert store.restart_planning(authority, after(minutes=1)) == 1
        again = announce(store, authority, job, after(minutes=5))
        assert (again.outcome, again.runs) == (ClaimOutcome.REPEATED, ())
        store.purge(PurgeLimits(runs_per_job=0, days=0), after(days=9))
        assert store.runs(RunFilter())[0] == ()
        store.restart_planning(authority, after(minutes=1))
        again = announce(store, authority, job, after(minutes=5))
        assert (again.outcome, again.runs) == (ClaimOutcome.REPEATED, ())

    def test_what_passed_unannounced_is_missed(self, store: Store) -> None:
        """C5: no process announced it; a long range is one record."""
        job, authority = add(store), own(store)
        passed = (after(minutes=5), after(hours=9), 108)
        announce(store, authority, job, after(hours=9, minutes=5), passed=passed)
        assert records(store, job) == [(OmissionKind.MISSED, *passed)]

    def test_the_store_refuses_protected_jobs(self, store: Store) -> None:
        """C8: the store itself, whatever the plan says."""
        job, authority = add(store, protected=True), own(store, authoritative=False)
        claimed = announce(store, authority, job, after(minutes=5), standing=ALLOWED)
        assert (claimed.outcome, claimed.runs) == (ClaimOutcome.PROTECTED, ())
        assert store.job(job.id).watermark == START
        assert store.events()[-1].kind is EventKind.CLAIM_REFUSED

    def test_a_trigger_takes_the_place_of_no_fire(self, store: Store) -> None:
        """C7: the watermark stays, and the fire that is announced next is claimed."""
        job, authority = add(store), own(store)
        request = store.create_request(
            kind=RequestKind.TRIGGER,
            key="k",
            requester=REQUESTER,
            now=after(minutes=6),
            deadline=timedelta(seconds=30),
            job=job.id,
        )
        _, run = store.claim_trigger(authority, request.id, after(minutes=6))
        assert run is not None
        assert (run.cause, run.fire_time) == (Cause.REQUEST, after(minutes=6))
        assert store.job(job.id).watermark == START
        store.finish([ended(run)], after(minutes=6))
        assert run_of(announce(store, authority, job, after(minutes=5)))

    def test_it_becomes_a_job_planned_here_and_back(self, store: Store) -> None:
        """A one-shot of the other scheduler's that is over is done; set again, it is not."""
        job, authority = add(store), own(store)
        finish(store, announce(store, authority, job, after(minutes=5)))
        over = foreign().with_changes(schedule=once(after(minutes=5)))
        done = store.edit_job(job.id, 1, over, by="ada", now=after(minutes=9))
        assert (done.state, done.watermark) == (JobState.DONE, after(minutes=9))
        with pytest.raises(IllegalTransition):
            store.set_job_state(job.id, JobState.PAUSED, by="ada", now=after(minutes=9))
        back = store.edit_job(job.id, 2, foreign(), by="ada", now=after(minutes=10))
        assert (back.state, back.due_at, back.watermark) == (
            JobState.ACTIVE,
            None,
            after(minutes=10),
        )

    def test_who_does_not_carry_it_must_not_own(self, store: Store) -> None:
        """A process without the other scheduler could run none of its jobs."""
        job = add(store)
        assert store.find_job_without_code(None) == job.name
        assert store.find_job_without_code("other") is None
        store.set_job_state(job.id, JobState.PAUSED, by="ada", now=START)
        assert store.find_job_without_code(None) is None
        store.add_job(make_definition(name="command"), by="ada", now=START)
        assert store.find_job_without_code(None) is None
