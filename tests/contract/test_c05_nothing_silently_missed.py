"""C5 Nothing silently missed. Every due fire ends as a run or as a recorded `skipped`, `missed`
or `held`, with the reason and who decided; long stretches are one record (job, revision, first,
last, count, reason), not thousands. A job's watermark moves in the claim's own transaction,
outlives retention, and never jumps ahead on a wrong clock: after a backward step planning restarts
from now, and claimed instants do not repeat. Fires follow the revision valid at their instant; a
removed job leaves a tombstone. `held` stays open: when an authoritative owner is back, catch-up
makes it a run or `missed`. Catch-up by default: cron and one-shot the latest, intervals none.
"""

from __future__ import annotations

from datetime import timedelta

from tenure.domain.job import CatchUp, Job, JobState, Overlap
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.run import Cause
from tenure.store.contract import RunFilter, Store
from testkit.accounts import account_for
from testkit.factories import (
    START,
    after,
    claim_one,
    cron,
    each,
    ended,
    make_definition,
    once,
    own,
    plan_round,
)

WEEK = timedelta(weeks=1)
BACK = START + WEEK + timedelta(seconds=30)
"""When an owner is there again: a week, and the next fire of a job each 30 s."""


def omitted(store: Store, job: Job) -> list[Omission]:
    return list(store.omissions(job=job.id)[0])


def test_a_week_without_an_owner_is_one_record(store: Store) -> None:
    """C5: long stretches are one record (job, revision, first, last, count, reason)."""
    job = store.add_job(make_definition(schedule=each(seconds=30)), by="ada", now=START)
    authority = own(store, now=BACK)
    run = claim_one(store, authority, job, BACK)
    assert (run.fire_time, run.cause) == (BACK, Cause.SCHEDULE)
    (missed,) = omitted(store, job)
    assert (missed.kind, missed.revision, missed.count) == (OmissionKind.MISSED, 1, 20160)
    assert (missed.first, missed.last) == (after(seconds=30), START + WEEK)
    assert (missed.decided_by, missed.term, missed.decided_at) == ("gateway", 1, BACK)
    assert missed.reason
    account_for(store, job.id)


def test_after_a_week_cron_does_what_its_catch_up_says(store: Store) -> None:
    """C5: Catch-up by default: cron and one-shot the latest, intervals none."""
    wanted = {
        "default": (None, 1, 6),
        "none": (CatchUp.NONE, 0, 7),
        "latest": (CatchUp.LATEST, 1, 6),
        "all": (CatchUp.ALL, 7, 0),
    }
    jobs = {}
    for name, (catch_up, _, _) in wanted.items():
        definition = make_definition(
            name,
            cron("0 3 * * *", "Europe/Berlin"),
            catch_up=catch_up,
            overlap=Overlap.ALLOW,
            window=timedelta(days=8) if catch_up is CatchUp.ALL else None,
        )
        jobs[name] = store.add_job(definition, by="ada", now=START)
    interval = store.add_job(make_definition("interval", each(hours=24)), by="ada", now=START)
    single = store.add_job(make_definition("single", once(after(hours=5))), by="ada", now=START)
    authority = own(store, now=BACK)
    late = BACK + timedelta(minutes=5)
    plan_round(store, authority, late)
    for name, (_, runs, missed) in wanted.items():
        found = store.runs(RunFilter(job=jobs[name].id))[0]
        assert len(found) == runs, name
        assert all(run.cause is Cause.CATCH_UP for run in found)
        assert sum(o.count for o in omitted(store, jobs[name])) == missed, name
        account_for(store, jobs[name].id)
    assert [o.count for o in omitted(store, interval)] == [7]
    assert store.runs(RunFilter(job=interval.id))[0] == ()
    (run,) = store.runs(RunFilter(job=single.id))[0]
    assert (run.fire_time, run.cause) == (after(hours=5), Cause.CATCH_UP)
    assert store.job(single.id).state is JobState.DONE


def test_fires_follow_the_revision_valid_at_their_instant(store: Store) -> None:
    """C5: a job edited or removed meanwhile is accounted for under the right revision."""
    edited = store.add_job(make_definition("edited", each(hours=1)), by="ada", now=START)
    removed = store.add_job(make_definition("removed", each(hours=1)), by="ada", now=START)
    now = after(days=3, minutes=30)
    store.edit_job(edited.id, 1, make_definition("edited", each(hours=6)), by="bob", now=now)
    store.set_job_state(removed.id, JobState.REMOVED, by="bob", now=now)
    authority = own(store, now=after(days=7, minutes=30))
    plan_round(store, authority, after(days=7, minutes=30))
    by_revision = {o.revision: o for o in omitted(store, edited)}
    assert by_revision[1].count == 72
    assert by_revision[1].decided_by == "bob"
    assert by_revision[2].count == 16
    assert by_revision[2].decided_by == "gateway"
    (tombstone,) = omitted(store, removed)
    assert (tombstone.count, tombstone.decided_by) == (72, "bob")
    assert store.job(removed.id).watermark == now
    for job in (edited, removed):
        account_for(store, job.id)


def test_a_clock_that_was_in_2036_stops_nothing(store: Store) -> None:
    """C5: never jumps ahead on a wrong clock: after a backward step planning restarts from now,
    and claimed instants do not repeat."""
    authority = own(store)
    interval = store.add_job(make_definition("interval"), by="ada", now=START)
    single = store.add_job(make_definition("single", once(after(days=9))), by="ada", now=START)
    for claimed in plan_round(store, authority, after(days=3650)):
        store.finish([ended(run) for run in claimed.runs], after(days=3650))
    assert store.job(interval.id).watermark == after(days=3650)
    store.restart_planning(authority, after(minutes=1, seconds=30))
    run = claim_one(store, authority, interval, after(minutes=2))
    assert run.fire_time == after(minutes=2)
    (missed,) = omitted(store, interval)
    assert (missed.last, missed.count) == (after(minutes=1), 1)
    assert missed.cut_at == after(minutes=1, seconds=30)
    assert store.job(single.id).due_at == after(days=9)
    (again,) = (c for c in plan_round(store, authority, after(days=9)) if c.job == single.id)
    assert again.runs == (), "it ran already, under the wrong clock"
    account_for(store, interval.id, {after(days=3650)})


def test_held_stays_open_until_it_is_decided(store: Store) -> None:
    """C5: `held` stays open: when an authoritative owner is back, catch-up makes it a run or
    `missed`."""
    definition = make_definition(schedule=cron("0 * * * *"), protected=True)
    job = store.add_job(definition, by="ada", now=START)
    fallback = own(store, "desktop", authoritative=False)
    for hour in range(1, 30):
        plan_round(store, fallback, after(hours=hour))
    (held,) = omitted(store, job)
    assert (held.kind, held.open, held.count) == (OmissionKind.HELD, True, 29)
    gateway = own(store, "gateway", now=after(hours=29, minutes=30))
    run = claim_one(store, gateway, job, after(hours=29, minutes=30))
    assert (run.fire_time, run.cause) == (after(hours=29), Cause.HELD)
    (settled,) = omitted(store, job)
    assert (settled.open, settled.claimed) == (False, 1)
    assert run.id in settled.resolution
    assert "28 missed" in settled.resolution
    account_for(store, job.id)
