"""C5 Nothing silently missed: records of what did not run, and what becomes of held fires."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tenure.domain.errors import NotFound
from tenure.domain.job import CatchUp, Job, Overlap
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.ownership import Authority
from tenure.domain.planning.plan import HoldResolution, Plan
from tenure.domain.run import Cause
from tenure.store.contract import ClaimOutcome, Page, RunFilter, Store
from testkit.conformance.base import StoreCase
from testkit.factories import (
    START,
    after,
    claim_one,
    each,
    ended,
    make_definition,
    once,
    own,
    plan_round,
)


def only(store: Store, job: Job) -> Omission:
    (omission,) = store.omissions(job=job.id)[0]
    return omission


def add(store: Store, now: datetime = START, **changes: Any) -> Job:
    return store.add_job(make_definition(**changes), by="ada", now=now)


def hold(store: Store, job: Job, *minutes: int) -> Authority:
    """A fallback owner plans at these minutes: the protected job's fires are held."""
    authority = own(store, "desktop", authoritative=False)
    for minute in minutes:
        plan_round(store, authority, after(minutes=minute))
    return authority


class OmissionsConformance(StoreCase):
    def test_long_stretches_are_one_record(self, store: Store) -> None:
        """C5: long stretches are one record (job, revision, first, last, count, reason)."""
        job = add(store, catch_up=CatchUp.NONE)
        authority = own(store)
        plan_round(store, authority, after(days=1, seconds=30))
        missed = only(store, job)
        assert (missed.kind, missed.count) == (OmissionKind.MISSED, 24 * 60 - 1)
        assert (missed.first, missed.last) == (after(minutes=1), after(hours=23, minutes=59))
        assert (missed.decided_by, missed.term) == ("gateway", 1)
        assert (missed.revision, missed.job_name) == (1, "report")
        assert missed.reason
        assert not missed.open

    def test_neighbours_merge(self, store: Store) -> None:
        """C5: long stretches are one record, not thousands."""
        job = add(store, protected=True)
        hold(store, job, 1, 2, 3)
        held = only(store, job)
        assert (held.kind, held.count, held.open) == (OmissionKind.HELD, 3, True)
        assert (held.first, held.last) == (after(minutes=1), after(minutes=3))

    def test_a_run_parts_stretches(self, store: Store) -> None:
        """C5: a record covers no fire that ran."""
        job = add(store, overlap=Overlap.SKIP)
        authority = own(store)
        for minute in (1, 4):
            run = claim_one(store, authority, job, after(minutes=minute))
            plan_round(store, authority, after(minutes=minute + 1))
            plan_round(store, authority, after(minutes=minute + 2))
            store.finish([ended(run)], after(minutes=minute + 2))
        stretches = [(o.first, o.last, o.count) for o in store.omissions(job=job.id)[0]]
        assert stretches == [
            (after(minutes=5), after(minutes=6), 2),
            (after(minutes=2), after(minutes=3), 2),
        ]

    def test_another_revision_is_another_record(self, store: Store) -> None:
        """C5: Fires follow the revision valid at their instant."""
        job = add(store, protected=True)
        authority = hold(store, job, 1)
        changed = make_definition(protected=True, tags=("new",))
        store.edit_job(job.id, 1, changed, by="ada", now=after(minutes=1, seconds=1))
        plan_round(store, authority, after(minutes=2))
        assert [o.revision for o in store.omissions(job=job.id)[0]] == [2, 1]

    def test_held_stays_open(self, store: Store) -> None:
        """C5: held stays open: when an authoritative owner is back, catch-up makes it a run."""
        job = add(store, schedule=once(after(minutes=1)), protected=True)
        hold(store, job, 1)
        waiting = store.job(job.id)
        assert (waiting.due_at, waiting.state.value) == (None, "active")
        assert [o.id for o in store.omissions(only_open=True)[0]] == [only(store, job).id]
        owner = own(store, "gateway", now=after(minutes=9))
        run = claim_one(store, owner, job, after(minutes=9))
        assert (run.fire_time, run.cause) == (after(minutes=1), Cause.HELD)
        settled = only(store, job)
        assert (settled.open, settled.claimed) == (False, 1)
        assert settled.resolved_at == after(minutes=9)
        assert settled.resolution == f"run {run.id}"
        assert store.job(job.id).state.value == "done"
        assert store.omissions(only_open=True)[0] == ()

    def test_held_becomes_missed(self, store: Store) -> None:
        """C5: ... or missed. Intervals none."""
        job = add(store, protected=True)
        hold(store, job, 1, 2)
        owner = own(store, "gateway", now=after(minutes=5, seconds=30))
        claim_one(store, owner, job, after(minutes=5, seconds=30))
        (missed, held) = store.omissions(job=job.id)[0]
        assert (missed.kind, missed.count) == (OmissionKind.MISSED, 2)
        assert (held.claimed, held.open) == (0, False)
        assert held.resolution.startswith("missed: ")

    def test_a_long_hold_is_settled_in_parts(self, store: Store) -> None:
        """C5: catch-up all, one at a time: the rest of the stretch stays open."""
        job = add(store, protected=True, catch_up=CatchUp.ALL)
        hold(store, job, 1, 2, 3)
        owner = own(store, "gateway", now=after(minutes=3, seconds=30))
        for minute in (1, 2, 3):
            now = after(minutes=3, seconds=30 + minute)
            run = claim_one(store, owner, job, now)
            assert (run.fire_time, run.cause) == (after(minutes=minute), Cause.HELD)
            settled = only(store, job)
            assert (settled.claimed, settled.open) == (minute, minute < 3)
            store.finish([ended(run)], now)
        assert only(store, job).resolution

    def test_a_plan_on_a_closed_hold_changes_nothing(self, store: Store) -> None:
        """C4: at most once: what a hold became is decided once."""
        job = add(store, schedule=once(after(minutes=1)), protected=True)
        hold(store, job, 1)
        owner = own(store, "gateway", now=after(minutes=9))
        claim_one(store, owner, job, after(minutes=9))
        again = add(store, now=after(minutes=9), name="other")
        closed = only(store, job).id
        made = Plan(
            job=again.id,
            revision=1,
            was=again.watermark,
            watermark=again.watermark,
            due_at=None,
            holds=(HoldResolution(omission=closed, claimed=0, missed_reason="no"),),
        )
        (answer,) = store.claim(owner, [made], after(minutes=10))
        assert answer.outcome is ClaimOutcome.CHANGED
        assert store.job(again.id) == again

    def test_held_fires_can_be_given_up(self, store: Store) -> None:
        """C4: what may have run elsewhere meanwhile is not run from here."""
        job = add(store, schedule=once(after(minutes=1)), protected=True)
        store.miss_held_fires(job.id, "nothing is held yet", now=START)
        hold(store, job, 1)
        store.miss_held_fires(job.id, "the profile was restored", now=after(minutes=3))
        given_up = only(store, job)
        assert (given_up.open, given_up.claimed) == (False, 0)
        assert "restored" in given_up.resolution
        owner = own(store, "gateway", now=after(minutes=9))
        assert store.wake_held_jobs(owner, after(minutes=9)) == 0
        plan_round(store, owner, after(minutes=9))
        assert store.runs(RunFilter())[0] == ()
        with pytest.raises(NotFound):
            store.miss_held_fires("unknown", "gone", now=START)

    def test_a_probe_that_changed_revisits_held_jobs(self, store: Store) -> None:
        """C8: Evidence that can change is read again."""
        job = add(store, schedule=once(after(minutes=1)), protected=True)
        add(store, name="other")
        authority = hold(store, job, 1)
        assert store.wake_held_jobs(authority, after(minutes=2)) == 1
        assert store.job(job.id).due_at == after(minutes=2)

    def test_omissions_are_listed_in_pages(self, store: Store) -> None:
        """C5: a recorded skipped, missed or held."""
        first = add(store, name="a", schedule=each(hours=1), protected=True)
        second = add(store, name="b", catch_up=CatchUp.NONE)
        authority = own(store, authoritative=False)
        plan_round(store, authority, after(hours=1, seconds=30))
        assert {o.kind for o in store.omissions()[0]} == {OmissionKind.HELD, OmissionKind.MISSED}
        assert store.omissions(job=first.id)[0] == store.omissions(kind=OmissionKind.HELD)[0]
        one, cursor = store.omissions(page=Page(limit=1))
        rest, end = store.omissions(page=Page(limit=1, cursor=cursor))
        assert end is None
        assert {o.job for o in (*one, *rest)} == {first.id, second.id}

    @pytest.mark.parametrize("catch_up", list(CatchUp))
    def test_every_fire_is_accounted_for(self, store: Store, catch_up: CatchUp) -> None:
        """C5: Every due fire ends as a run or as a recorded skipped, missed or held."""
        job = add(store, catch_up=catch_up)
        authority = own(store)
        for now in (after(minutes=10, seconds=30), after(minutes=20)):
            for _ in range(30):
                for claimed in plan_round(store, authority, now):
                    store.finish([ended(run) for run in claimed.runs], now)
        edge = store.accounting(job.id)
        assert edge.watermark == after(minutes=20)
        runs = store.counts()
        fires = job.definition.schedule.count(edge.accounted_from, edge.watermark)
        omitted = sum(o.count for o in store.omissions(job=job.id)[0])
        claims = len(store.runs(RunFilter(job=job.id))[0])
        assert (fires, runs.active_runs) == (20, 0)
        assert omitted + claims == 20
