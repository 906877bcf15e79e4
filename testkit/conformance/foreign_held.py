"""C5, C8: what of a foreign job's announced fires did not run, and what becomes of what is held."""

from __future__ import annotations

from tenure.domain.job import JobState
from tenure.domain.omission import OmissionKind
from tenure.domain.planning.external import Announced, plan_announced
from tenure.domain.planning.plan import Due
from tenure.domain.run import Cause
from tenure.store.contract import Store
from testkit.conformance.base import StoreCase
from testkit.conformance.foreign import (
    ALLOWED,
    add,
    announce,
    finish,
    foreign,
    only,
    records,
    run_of,
)
from testkit.factories import START, after, ended, make_definition, own, plan_round


class ForeignHeldConformance(StoreCase):
    def test_held_fires_merge_and_are_revisited(self, store: Store) -> None:
        """C5, C8: one record; under an authoritative owner the latest of them runs."""
        job, authority = add(store, protected=True), own(store, "desk", authoritative=False)
        for minute in (5, 11, 30):
            announce(store, authority, job, after(minutes=minute))
        hold = (OmissionKind.HELD, after(minutes=5), after(minutes=30), 3)
        assert records(store, job) == [hold]
        assert store.job(job.id).due_at is None
        assert store.wake_held_jobs(authority, after(minutes=31)) == 1
        plan_round(store, authority, after(minutes=31))
        assert (store.job(job.id).due_at, store.job(job.id).state) == (None, JobState.ACTIVE)
        assert records(store, job) == [hold]
        gateway = own(store, "gateway", now=after(minutes=40))
        assert store.job(job.id).due_at == after(minutes=40)
        (claimed,) = plan_round(store, gateway, after(minutes=40))
        run = run_of(claimed)
        assert (run.fire_time, run.cause) == (after(minutes=30), Cause.HELD)
        assert (only(store, job).open, only(store, job).claimed) == (False, 1)
        after_it = store.job(job.id)
        assert (after_it.state, after_it.due_at) == (JobState.ACTIVE, None)

    def test_a_later_fire_supersedes_what_is_held(self, store: Store) -> None:
        """C5: held becomes missed, and says why."""
        job, authority = add(store, protected=True), own(store, "desk", authoritative=False)
        announce(store, authority, job, after(minutes=5))
        gateway = own(store, "gateway", now=after(minutes=9))
        run = run_of(announce(store, gateway, job, after(minutes=10)))
        assert run.cause is Cause.SCHEDULE
        settled = only(store, job)
        assert (settled.open, settled.claimed) == (False, 0)
        assert settled.resolution.startswith("missed: ")
        assert plan_round(store, gateway, after(minutes=11)) == ()

    def test_what_is_held_waits_for_the_end_of_the_previous_run(self, store: Store) -> None:
        """C5: a fire that is skipped meanwhile does not leave it forgotten."""
        job, authority = add(store, protected=True), own(store)
        first = announce(store, authority, job, after(minutes=5))
        desk = own(store, "desk", authoritative=False, now=after(minutes=6))
        announce(store, desk, job, after(minutes=10))
        gateway = own(store, "gateway", now=after(minutes=12))
        announce(store, gateway, job, after(minutes=15))
        assert (store.job(job.id).waiting, store.job(job.id).due_at) == (True, None)
        store.finish([ended(run_of(first))], after(minutes=16))
        assert store.job(job.id).due_at == after(minutes=16)
        (claimed,) = plan_round(store, gateway, after(minutes=16))
        assert (run_of(claimed).fire_time, run_of(claimed).cause) == (
            after(minutes=10),
            Cause.HELD,
        )

    def test_a_record_covers_no_fire_that_ran(self, store: Store) -> None:
        """C5: stretches merge only where nothing was accounted for between them."""
        job, authority = add(store), own(store)
        for minute in (10, 40):
            first = announce(store, authority, job, after(minutes=minute))
            announce(store, authority, job, after(minutes=minute + 10))
            announce(store, authority, job, after(minutes=minute + 20))
            finish(store, first)
        skipped = OmissionKind.SKIPPED
        assert records(store, job) == [
            (skipped, after(minutes=20), after(minutes=30), 2),
            (skipped, after(minutes=50), after(minutes=60), 2),
        ]

    def test_what_is_missed_beside_runs_stays_apart(self, store: Store) -> None:
        job, authority = add(store), own(store)
        for minute in (10, 20):
            passed = (after(minutes=minute - 2), after(minutes=minute - 1), 2)
            finish(store, announce(store, authority, job, after(minutes=minute), passed=passed))
        assert [(first, last) for _, first, last, _ in records(store, job)] == [
            (after(minutes=8), after(minutes=9)),
            (after(minutes=18), after(minutes=19)),
        ]

    def test_another_revision_is_another_record(self, store: Store) -> None:
        """C5: fires follow the revision valid at their instant."""
        job, authority = add(store, protected=True), own(store, authoritative=False)
        announce(store, authority, job, after(minutes=5))
        edited = foreign(protected=True, tags=("x",))
        edit = store.edit_job(job.id, 1, edited, by="ada", now=after(minutes=7))
        assert (edit.watermark, edit.due_at) == (after(minutes=5), after(minutes=7))
        announce(store, authority, job, after(minutes=10))
        assert [(o.revision, o.count) for o in store.omissions(job=job.id)[0]] == [(2, 1), (1, 1)]

    def test_planning_restarts_at_a_clock_set_back(self, store: Store) -> None:
        """C5: what was held up to now stays held, and what lies ahead is cut off."""
        job, authority = add(store, protected=True), own(store, authoritative=False)
        for minute in (10, 20, 30):
            announce(store, authority, job, after(minutes=minute))
        assert store.restart_planning(authority, after(minutes=25)) == 1
        cut = only(store, job)
        assert (cut.open, cut.count, cut.cut_at) == (True, 3, after(minutes=25))
        assert (cut.first, cut.last) == (after(minutes=10), after(minutes=25))
        back = store.job(job.id)
        assert (back.watermark, back.state) == (after(minutes=25), JobState.ACTIVE)
        assert back.due_at == after(minutes=25)
        announce(store, authority, job, after(minutes=30))
        assert [(o.first, o.open) for o in store.omissions(job=job.id)[0]] == [
            (after(minutes=30), True),
            (after(minutes=10), True),
        ]
        gateway = own(store, "gateway", now=after(minutes=31))
        (claimed,) = plan_round(store, gateway, after(minutes=31))
        assert run_of(claimed).fire_time == after(minutes=30)
        assert store.omissions(job=job.id, only_open=True)[0] == ()

    def test_a_hold_that_lies_ahead_of_the_clock_is_resolved(self, store: Store) -> None:
        job, authority = add(store, protected=True), own(store, authoritative=False)
        announce(store, authority, job, after(minutes=20))
        store.restart_planning(authority, after(minutes=10))
        cut = only(store, job)
        assert (cut.open, cut.count, cut.resolved_at) == (False, 0, after(minutes=10))
        assert store.job(job.id).due_at is None

    def test_removing_settles_what_was_held(self, store: Store) -> None:
        job, authority = add(store, protected=True), own(store, authoritative=False)
        announce(store, authority, job, after(minutes=5))
        gone = store.set_job_state(job.id, JobState.REMOVED, by="ada", now=after(minutes=9))
        assert (gone.state, gone.watermark) == (JobState.REMOVED, after(minutes=5))
        assert not only(store, job).open

    def test_what_was_pending_can_be_given_up(self, store: Store) -> None:
        """C4: what ran since the backup of a restored profile is unknown."""
        job, authority = add(store, protected=True), own(store, authoritative=False)
        announce(store, authority, job, after(minutes=5))
        store.miss_held_fires(job.id, "the profile was restored", now=after(minutes=30))
        assert not only(store, job).open
        assert store.job(job.id).watermark == after(minutes=30)
        due = Due(job=store.job(job.id))
        assert (
            plan_announced(due, Announced(fire=after(minutes=29)), ALLOWED, after(days=1)) is None
        )
        announce(store, authority, job, after(minutes=31))
        planned = store.add_job(make_definition("planned here"), by="ada", now=START)
        store.miss_held_fires(planned.id, "the profile was restored", now=after(minutes=40))
        assert store.job(planned.id) == planned
