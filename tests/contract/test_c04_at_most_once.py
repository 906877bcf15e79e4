"""C4 At most once. A fire (job, fire time) is claimed at most once, ever, also after retention has
deleted its row. A crash between claim and start is proved ('never ran') or recorded as `lost`,
never silently run again; `retry_lost` is the user's explicit choice. No more is claimed than has
a free slot to run in.
"""

from __future__ import annotations

from datetime import datetime

from tenure.domain.job import CatchUp, Overlap, Runner
from tenure.domain.run import RunState
from tenure.store.contract import ClaimOutcome, PurgeLimits, RunFilter, Store
from testkit.factories import (
    START,
    after,
    claim_one,
    cron,
    each,
    ended,
    make_definition,
    own,
    plan_round,
)


def test_no_instant_repeats_whatever_the_clock_does(store: Store) -> None:
    """C4: at most once, ever; C5: claimed instants do not repeat."""
    authority = own(store)
    definition = make_definition(catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    store.add_job(definition, by="ada", now=START)
    seen: list[datetime] = []
    for minutes in (3, 5, 1, 4, 2, 9):
        now = after(minutes=minutes)
        store.restart_planning(authority, now)
        for claimed in plan_round(store, authority, now):
            seen += [run.fire_time for run in claimed.runs]
    assert sorted(seen) == [after(minutes=m) for m in range(1, 10)]
    assert len(set(seen)) == len(seen)


def test_nor_after_retention(store: Store) -> None:
    """C4: also after retention has deleted its row."""
    authority = own(store)
    definition = make_definition(schedule=cron("* * * * *"), overlap=Overlap.ALLOW)
    job = store.add_job(definition, by="ada", now=START)
    for minute in range(1, 6):
        run = claim_one(store, authority, job, after(minutes=minute))
        store.finish([ended(run)], after(minutes=minute))
    store.purge(PurgeLimits(runs_per_job=1, days=3650), after(hours=1))
    store.restart_planning(authority, START)
    outcomes = []
    for minute in range(1, 7):
        (claimed,) = plan_round(store, authority, after(minutes=minute))
        outcomes.append(claimed.outcome)
    assert outcomes == [ClaimOutcome.REPEATED] * 5 + [ClaimOutcome.CLAIMED]


def test_a_claim_without_a_start_is_not_run_again(store: Store) -> None:
    """C4: A crash between claim and start is proved or recorded as lost, never run again."""
    first = own(store, "gateway")
    job = store.add_job(make_definition(schedule=each(hours=1)), by="ada", now=START)
    run = claim_one(store, first, job, after(hours=1))
    second = own(store, "desktop", now=after(hours=1, seconds=9))
    assert plan_round(store, second, after(hours=1, seconds=9)) == ()
    for orphan in store.orphans("desktop"):
        assert store.adopt_run(second, orphan.id, orphan.attempt, after(hours=1, seconds=10))
        never = ended(store.run(orphan.id), RunState.NEVER_RAN, reason="its gate never opened")
        store.finish([never], after(hours=1, seconds=10))
    assert store.run(run.id).state is RunState.NEVER_RAN
    assert [r.id for r in store.runs(RunFilter(job=job.id))[0]] == [run.id]


def test_no_more_than_there_are_slots(store: Store) -> None:
    """C4: No more is claimed than has a free slot to run in."""
    authority = own(store)
    for number in range(5):
        definition = make_definition(f"job {number}", catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
        store.add_job(definition, by="ada", now=START)
    assert len(store.due(after(minutes=9), {Runner.COMMAND: 2})) == 2
    claimed = plan_round(store, authority, after(minutes=9), slots=3)
    assert [len(c.runs) for c in claimed] == [3] * 5
