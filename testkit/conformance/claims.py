"""C4 At most once, C8 Protected jobs, C12 Edits are kept: claims and attempts."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tenure.domain.errors import NotFound
from tenure.domain.event import EventKind
from tenure.domain.job import Job, JobState, Overlap, Runner
from tenure.domain.ownership import Authority
from tenure.domain.planning.catch_up import CatchUpBudget
from tenure.domain.planning.plan import Fire, OwnerCapabilities, Plan
from tenure.domain.planning.planner import plan
from tenure.domain.run import Cause, Run, RunState
from tenure.store.contract import ClaimOutcome, Store
from testkit.conformance.base import StoreCase
from testkit.factories import (
    ROOM,
    after,
    claim_one,
    each,
    ended,
    make_definition,
    once,
    own,
    plan_round,
)

ALLOWED = OwnerCapabilities(authoritative=True)


def planned(store: Store, job: Job, now: datetime) -> Plan:
    (due,) = (d for d in store.due(now, ROOM) if d.job.id == job.id)
    return plan(due, now, ALLOWED, 10, CatchUpBudget())


def retrying(store: Store, authority: Authority, run: Run, now: datetime) -> Run:
    later = now + timedelta(seconds=10)
    store.finish([ended(run, RunState.RETRYING, exit_code=1, retry_at=later)], now)
    return store.run(run.id)


class ClaimsConformance(StoreCase):
    def test_a_claim_is_a_run(self, store: Store) -> None:
        """C3: Every claim names its term and the policy version. C5: watermark in the claim's
        own transaction."""
        authority = own(store)
        job = store.add_job(make_definition(), by="ada", now=after())
        now = after(seconds=61)
        run = claim_one(store, authority, job, now)
        assert store.run(run.id) == run
        assert (run.state, run.cause, run.attempt) == (RunState.CLAIMED, Cause.SCHEDULE, 1)
        assert (run.job, run.job_name, run.revision) == (job.id, "report", 1)
        assert (run.fire_time, run.claimed_at) == (after(minutes=1), now)
        assert (run.term, run.process, run.holder) == (1, "gateway", "gateway")
        assert (run.policy_version, run.protected) == (0, False)
        claimed = store.job(job.id)
        assert (claimed.watermark, claimed.due_at) == (after(minutes=1), after(minutes=2))
        assert claimed.next_fire == after(minutes=2)

    def test_the_same_plan_takes_once(self, store: Store) -> None:
        """C4: A fire (job, fire time) is claimed at most once, ever."""
        authority = own(store)
        job = store.add_job(make_definition(), by="ada", now=after())
        made = planned(store, job, after(seconds=61))
        first, second = store.claim(authority, [made, made], after(seconds=61))
        assert (first.outcome, second.outcome) == (ClaimOutcome.CLAIMED, ClaimOutcome.CHANGED)
        (third,) = store.claim(authority, [made], after(seconds=62))
        assert (third.outcome, third.runs) == (ClaimOutcome.CHANGED, ())

    def test_a_claimed_instant_stays_claimed(self, store: Store) -> None:
        """C4: at most once, ever; C5: claimed instants do not repeat after a backward step."""
        authority = own(store)
        job = store.add_job(make_definition(), by="ada", now=after())
        run = claim_one(store, authority, job, after(minutes=1))
        store.finish([ended(run)], after(minutes=1))
        run = store.run(run.id)
        assert store.restart_planning(authority, after(seconds=30)) == 1
        assert store.job(job.id).due_at == after(minutes=1)
        (again,) = plan_round(store, authority, after(minutes=1, seconds=1))
        assert (again.outcome, again.runs) == (ClaimOutcome.REPEATED, ())
        assert store.job(job.id).watermark == after(minutes=1)
        assert store.run(run.id) == run

    def test_what_is_new_in_a_plan_with_a_repeat_is_claimed(self, store: Store) -> None:
        """C4: those are not claimed again, everything else of the plan is carried out."""
        authority = own(store)
        job = store.add_job(make_definition(overlap=Overlap.ALLOW), by="ada", now=after())
        claim_one(store, authority, job, after(minutes=1))
        store.restart_planning(authority, after())
        fires = (
            Fire(at=after(minutes=1), cause=Cause.SCHEDULE),
            Fire(at=after(minutes=2), cause=Cause.SCHEDULE),
        )
        made = Plan(
            job=job.id,
            revision=1,
            was=after(),
            watermark=after(minutes=2),
            due_at=after(minutes=3),
            claims=fires,
        )
        (outcome,) = store.claim(authority, [made], after(minutes=2))
        assert outcome.outcome is ClaimOutcome.REPEATED
        assert [run.fire_time for run in outcome.runs] == [after(minutes=2)]
        assert store.job(job.id).watermark == after(minutes=2)

    def test_many_plans_are_decided_one_by_one(self, store: Store) -> None:
        """C12: fails if the job is paused, removed or revised; the others take."""
        authority = own(store)
        names = ("kept", "paused", "removed", "revised", "unknown")
        jobs = {n: store.add_job(make_definition(n), by="ada", now=after()) for n in names}
        now = after(minutes=1)
        plans = [planned(store, jobs[n], now) for n in names]
        plans[-1] = replace(plans[-1], job="nothing")
        store.set_job_state(jobs["paused"].id, JobState.PAUSED, by="ada", now=now)
        store.set_job_state(jobs["removed"].id, JobState.REMOVED, by="ada", now=now)
        store.edit_job(jobs["revised"].id, 1, make_definition("new"), by="ada", now=now)
        outcomes = [c.outcome for c in store.claim(authority, plans, now)]
        assert outcomes == [ClaimOutcome.CLAIMED] + [ClaimOutcome.CHANGED] * 4

    def test_the_store_refuses_protected_jobs(self, store: Store) -> None:
        """C8: The store itself refuses such a claim."""
        authority = own(store, authoritative=False)
        changes: tuple[dict[str, Any], ...] = ({"protected": True}, {"requires": ("disk",)})
        for number, change in enumerate(changes):
            definition = make_definition(f"job {number}", **change)
            job = store.add_job(definition, by="ada", now=after())
            made = planned(store, job, after(minutes=1))
            assert made.claims
            (claimed,) = store.claim(authority, [made], after(minutes=1))
            assert (claimed.outcome, claimed.runs) == (ClaimOutcome.PROTECTED, ())
            assert store.job(job.id) == job
            assert store.events(limit=1000)[-1].kind is EventKind.CLAIM_REFUSED

    def test_an_authoritative_owner_runs_protected_jobs(self, store: Store) -> None:
        """C8: runs only under an authoritative owner."""
        authority = own(store)
        job = store.add_job(make_definition(protected=True), by="ada", now=after())
        assert claim_one(store, authority, job, after(minutes=1)).protected

    def test_due_are_the_earliest_within_room(self, store: Store) -> None:
        """C4: No more is claimed than has a free slot to run in."""
        for minutes in (3, 1, 2):
            definition = make_definition(f"in {minutes}", once(after(minutes=minutes)))
            store.add_job(definition, by="ada", now=after())
        due = store.due(after(minutes=5), {Runner.COMMAND: 2})
        assert [d.job.name for d in due] == ["in 1", "in 2"]
        assert store.due(after(minutes=5), {Runner.THREAD: 9}) == ()
        assert [d.job.name for d in store.due(after(minutes=1), ROOM)] == ["in 1"]
        assert store.next_due() == after(minutes=1)
        assert store.next_due({Runner.COMMAND}) == after(minutes=1)
        assert store.next_due({Runner.THREAD, Runner.ASYNC}) is None

    def test_only_active_jobs_are_due(self, store: Store) -> None:
        """C12: a claim fails if the job is paused."""
        job = store.add_job(make_definition(), by="ada", now=after())
        store.set_job_state(job.id, JobState.PAUSED, by="ada", now=after())
        assert store.due(after(hours=1), ROOM) == ()
        assert store.next_due() is None

    def test_due_counts_active_runs(self, store: Store) -> None:
        """Overlap is decided from what is active."""
        authority = own(store)
        job = store.add_job(make_definition(), by="ada", now=after())
        claim_one(store, authority, job, after(minutes=1))
        (due,) = store.due(after(minutes=2), ROOM)
        assert due.active == 1

    def test_a_one_shot_is_done(self, store: Store) -> None:
        """C5: every due fire ends as a run; then there is none left."""
        authority = own(store)
        definition = make_definition(schedule=once(after(minutes=1)))
        job = store.add_job(definition, by="ada", now=after())
        claim_one(store, authority, job, after(minutes=1))
        done = store.job(job.id)
        assert (done.state, done.due_at, done.next_fire) == (JobState.DONE, None, None)

    def test_a_waiting_job_wakes_when_its_run_ends(self, store: Store) -> None:
        """A final state wakes the job if a fire of it waits."""
        authority = own(store)
        definition = make_definition(overlap=Overlap.QUEUE)
        job = store.add_job(definition, by="ada", now=after())
        run = claim_one(store, authority, job, after(minutes=1))
        plan_round(store, authority, after(minutes=2))
        waits = store.job(job.id)
        assert (waits.waiting, waits.due_at) == (True, None)
        store.finish([ended(run)], after(minutes=2, seconds=30))
        assert store.job(job.id).due_at == after(minutes=2, seconds=30)
        queued = claim_one(store, authority, job, after(minutes=3, seconds=30))
        assert queued.fire_time == after(minutes=2)

    def test_a_run_that_ends_before_the_wait_begins(self, store: Store) -> None:
        """C5: nothing waits for what has ended between plan and claim."""
        authority = own(store)
        definition = make_definition(overlap=Overlap.QUEUE)
        job = store.add_job(definition, by="ada", now=after())
        run = claim_one(store, authority, job, after(minutes=1))
        made = planned(store, job, after(minutes=2))
        store.finish([ended(run)], after(minutes=2))
        store.claim(authority, [made], after(minutes=2, seconds=1))
        assert store.job(job.id).due_at == after(minutes=2, seconds=1)

    def test_cancel_previous_asks_the_active_run(self, store: Store) -> None:
        """Overlap 'cancel previous'."""
        authority = own(store)
        definition = make_definition(overlap=Overlap.CANCEL)
        job = store.add_job(definition, by="ada", now=after())
        run = claim_one(store, authority, job, after(minutes=1))
        plan_round(store, authority, after(minutes=2))
        assert store.run(run.id).cancel_requested_at == after(minutes=2)

    def test_cancel_previous_ends_a_retrying_run(self, store: Store) -> None:
        """Overlap 'cancel previous': no process watches a run between attempts."""
        authority = own(store)
        definition = make_definition(overlap=Overlap.CANCEL, retries=3)
        job = store.add_job(definition, by="ada", now=after())
        run = claim_one(store, authority, job, after(minutes=1))
        retrying(store, authority, run, after(minutes=1))
        plan_round(store, authority, after(minutes=2))
        assert store.run(run.id).state is RunState.CANCELLED
        assert store.job(job.id).due_at == after(minutes=2)

    def test_the_next_attempt_is_claimed_anew(self, store: Store) -> None:
        """C8: for each attempt. C10: every run records the process that ran it."""
        first = own(store, "gateway")
        job = store.add_job(make_definition(retries=2), by="ada", now=after())
        run = claim_one(store, first, job, after(minutes=1))
        failed = retrying(store, first, run, after(minutes=1))
        assert (failed.state, failed.exit_code) == (RunState.RETRYING, 1)
        assert store.due_retries(after(minutes=1, seconds=9), ROOM) == ()
        now = after(minutes=1, seconds=10)
        assert store.next_due() == now
        assert store.due_retries(now, {Runner.COMMAND: 0}) == ()
        assert [r.id for r in store.due_retries(now, ROOM)] == [run.id]
        second = own(store, "desktop", now=now)
        claimed = store.claim_retry(second, run.id, now)
        assert claimed.outcome is ClaimOutcome.CLAIMED
        again = store.run(run.id)
        assert claimed.runs == (again,)
        assert (again.attempt, again.state, again.term) == (2, RunState.CLAIMED, 2)
        assert (again.process, again.holder, again.exit_code) == ("desktop", "desktop", None)
        assert (again.started_at, again.finished_at, again.retry_at) == (None, None, None)
        (earlier,) = again.earlier
        assert (earlier.number, earlier.process, earlier.exit_code) == (1, "gateway", 1)
        assert earlier.state is RunState.RETRYING
        assert store.claim_retry(second, run.id, now).outcome is ClaimOutcome.CHANGED
        with pytest.raises(NotFound):
            store.claim_retry(second, "nothing", now)

    def test_attempts_of_protected_jobs_are_refused_too(self, store: Store) -> None:
        """C8: The store itself refuses such a claim, for each attempt."""
        first = own(store, "gateway")
        definition = make_definition(protected=True, retries=2)
        job = store.add_job(definition, by="ada", now=after())
        run = claim_one(store, first, job, after(minutes=1))
        waits = retrying(store, first, run, after(minutes=1))
        fallback = own(store, "desktop", authoritative=False, now=after(minutes=2))
        outcome = store.claim_retry(fallback, run.id, after(minutes=2)).outcome
        assert outcome is ClaimOutcome.PROTECTED
        assert store.run(run.id) == waits

    @pytest.mark.parametrize("change", ["edit", "pause", "remove"])
    def test_retries_end_with_the_revision(self, store: Store, change: str) -> None:
        """C12: a claim fails if the job is paused, removed or revised."""
        authority = own(store)
        job = store.add_job(make_definition(retries=2), by="ada", now=after())
        run = claim_one(store, authority, job, after(minutes=1))
        retrying(store, authority, run, after(minutes=1))
        now = after(minutes=1, seconds=20)
        if change == "edit":
            store.edit_job(job.id, 1, make_definition(retries=3), by="ada", now=now)
        else:
            state = JobState.PAUSED if change == "pause" else JobState.REMOVED
            store.set_job_state(job.id, state, by="ada", now=now)
        claimed = store.claim_retry(authority, run.id, now)
        assert (claimed.outcome, claimed.runs) == (ClaimOutcome.CHANGED, ())
        over = store.run(run.id)
        assert (over.state, over.attempt) == (RunState.FAILED, 1)
        assert over.reason
        assert store.due_retries(after(hours=1), ROOM) == ()

    def test_a_one_shot_is_retried_though_done(self, store: Store) -> None:
        """The retries of a DONE job go on: a one-shot may be retried."""
        authority = own(store)
        definition = make_definition(schedule=once(after(minutes=1)), retries=1)
        job = store.add_job(definition, by="ada", now=after())
        run = claim_one(store, authority, job, after(minutes=1))
        retrying(store, authority, run, after(minutes=1))
        claimed = store.claim_retry(authority, run.id, after(minutes=2))
        assert claimed.outcome is ClaimOutcome.CLAIMED

    def test_jobs_are_planned_again_when_the_rules_of_their_zones_change(
        self, store: Store
    ) -> None:
        """C13: only when they are looked at next changes; C5: their watermarks stay."""
        authority = own(store)
        later = store.add_job(make_definition("later", each(hours=1)), by="ada", now=after())
        paused = store.add_job(make_definition("paused", each(hours=1)), by="ada", now=after())
        paused = store.set_job_state(paused.id, JobState.PAUSED, by="ada", now=after())
        other = store.add_job(make_definition("other", each(hours=1)), by="ada", now=after())
        due = store.add_job(make_definition("due", each(seconds=30)), by="ada", now=after())
        at = after(minutes=1)
        named = [later.id, paused.id, due.id, "no such job"]
        assert store.replan(authority, named, at) == 1
        replanned = store.job(later.id)
        assert (replanned.due_at, replanned.watermark) == (at, later.watermark)
        assert replanned.revision == later.revision
        for job in (paused, other, due):
            assert store.job(job.id) == job
        outcomes = plan_round(store, authority, at)
        assert [run.job for claimed in outcomes for run in claimed.runs] == [due.id]
        assert store.job(later.id).due_at == after(hours=1)

    def test_planning_restarts_after_a_wrong_clock(self, store: Store) -> None:
        """C5: never jumps ahead on a wrong clock: after a backward step planning restarts from
        now."""
        authority = own(store)
        interval = store.add_job(make_definition("each", each(hours=1)), by="ada", now=after())
        single = store.add_job(make_definition("once", once(after(days=30))), by="ada", now=after())
        future = after(days=3650)
        for claimed in plan_round(store, authority, future):
            store.finish([ended(run) for run in claimed.runs], future)
        assert store.job(single.id).watermark >= after(days=30)
        assert store.restart_planning(authority, after(hours=2)) == 2
        assert store.events()[-1].kind is EventKind.PLANNING_RESTARTED
        assert store.restart_planning(authority, after(hours=2)) == 0
        for job in (interval, single):
            restarted = store.job(job.id)
            assert (restarted.watermark, restarted.state) == (after(hours=2), JobState.ACTIVE)
            assert store.accounting(job.id).accounted_from == after(hours=2)
            for omission in store.omissions(job=job.id)[0]:
                assert omission.cut_at == after(hours=2)
                assert omission.count == 0 or omission.last <= after(hours=2)
        run = claim_one(store, authority, interval, after(hours=3))
        assert run.fire_time == after(hours=3)
