"""Whether every fire of a job is accounted for exactly once (C5), from a store's records."""

from __future__ import annotations

from collections.abc import Collection, Container
from datetime import datetime, timedelta
from itertools import pairwise

from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.run import Cause, Run
from tenure.domain.schedule.model import ScheduleKind
from tenure.store.contract import Page, RunFilter, Store

_EVERYTHING = Page(limit=1_000_000)
_INSTANT = timedelta(microseconds=1)


def account_for(
    store: Store,
    job: str,
    claimed_ahead: Container[datetime] = (),
    announced: Collection[datetime] = (),
) -> None:
    """Raise AssertionError unless each fire in (accounted_from, watermark] is a run or omitted.

    ``claimed_ahead``: fires that were claimed under a wrong clock before planning restarted. They
    stay claimed, and are met again by the schedule: counted twice, or under another revision.
    ``announced``: fires that a foreign scheduler announced; no schedule can name them.
    """
    edge = store.accounting(job)
    low, high = edge.accounted_from, edge.watermark
    fires = _fires(store, job, low, high)
    foreign = _check_announced(store, job, low, high, claimed_ahead, announced)
    runs = {
        run.fire_time: run
        for run in store.runs(RunFilter(job=job), _EVERYTHING)[0]
        if run.cause is not Cause.REQUEST and low < run.fire_time <= high
    }
    omitted: dict[datetime, Omission] = {}
    for omission in store.omissions(job=job, page=_EVERYTHING)[0]:
        for at in _omitted_fires(store, omission, low, high):
            assert at not in omitted, f"{at} is omitted twice: {omission}, {omitted[at]}"
            omitted[at] = omission
    for at in fires:
        assert at in runs or at in omitted, f"{at} is neither a run nor recorded"
    for at, run in runs.items():
        if at in claimed_ahead or run.revision in foreign:
            continue
        assert at in fires, f"{run} ran at {at}, which is not a fire of its revision"
        of_hold = (
            at in omitted and omitted[at].kind is OmissionKind.HELD and run.cause is Cause.HELD
        )
        assert at not in omitted or of_hold, f"{at} ran, and is recorded as {omitted[at]}"
    for at, omission in omitted.items():
        assert at in fires or at in claimed_ahead, f"{omission} covers {at}, which is not a fire"
        settled = not omission.open and omission.kind is OmissionKind.HELD
        if settled and omission.cut_at is None and at not in claimed_ahead:
            assert omission.claimed <= omission.count


def _check_announced(
    store: Store,
    job: str,
    low: datetime,
    high: datetime,
    claimed_ahead: Container[datetime],
    announced: Collection[datetime],
) -> set[int]:
    """What was announced is in one record, or is one run. Which revisions are foreign."""
    foreign = {r.revision for r in store.revisions(job) if _is_foreign(store, job, r.revision)}
    records = sorted(
        (
            o
            for o in store.omissions(job=job, page=_EVERYTHING)[0]
            if o.count and o.last > low and o.revision in foreign
        ),
        key=lambda o: o.first,
    )
    for one, other in pairwise(records):
        assert one.last < other.first, f"{one} and {other} overlap"
    runs: dict[datetime, Run] = {}
    for run in store.runs(RunFilter(job=job), _EVERYTHING)[0]:
        if run.revision in foreign and run.cause is not Cause.REQUEST:
            runs[run.fire_time] = run
    inside = {at: [o for o in records if o.first <= at <= o.last] for at in (*runs, *announced)}
    for at, run in runs.items():
        of_hold = run.cause is Cause.HELD and all(o.kind is OmissionKind.HELD for o in inside[at])
        assert not inside[at] or of_hold or at in claimed_ahead, f"{run} ran, and {inside[at]}"
    for at in announced:
        done = at in runs or inside[at] or at in claimed_ahead
        assert done or not low < at <= high, f"{at} was announced, and is not recorded"
    return foreign


def _is_foreign(store: Store, job: str, revision: int) -> bool:
    return store.definition(job, revision).schedule.kind is ScheduleKind.FOREIGN


def _fires(store: Store, job: str, low: datetime, high: datetime) -> set[datetime]:
    """The fires of (low, high], each of the revision valid at its instant."""
    revisions = store.revisions(job)
    ends = [r.valid_after for r in revisions[1:]] + [high]
    found: set[datetime] = set()
    for revision, end in zip(revisions, ends, strict=True):
        after, until = max(low, revision.valid_after), min(high, end)
        if after < until:
            found |= set(revision.definition.schedule.fires(after, until))
    return found


def _omitted_fires(
    store: Store, omission: Omission, low: datetime, high: datetime
) -> list[datetime]:
    schedule = store.definition(omission.job, omission.revision).schedule
    if not omission.count or schedule.kind is ScheduleKind.FOREIGN:
        return []
    count = schedule.count(omission.first - _INSTANT, omission.last)
    assert count == omission.count, f"{omission} covers {count} fires"
    after = max(omission.first - _INSTANT, low)
    return list(schedule.fires(after, min(omission.last, high)))
