"""Fires that another scheduler announces: each at most once, each accounted for (C4, C5, C8)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.domain.errors import InvalidInput
from tenure.domain.job import Call, CatchUp, Command, Definition, Job, JobState, Overlap
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.planning.catch_up import CatchUpBudget
from tenure.domain.planning.external import (
    STILL_ACTIVE,
    Announced,
    plan_announced,
)
from tenure.domain.planning.plan import Due, OwnerCapabilities, Plan
from tenure.domain.planning.planner import SUPERSEDED, plan
from tenure.domain.run import Cause
from tenure.domain.schedule.model import foreign_schedule
from testkit.factories import START, after, cron, make_definition

MINUTE = timedelta(minutes=1)
ALLOWED, FALLBACK = OwnerCapabilities(authoritative=True), OwnerCapabilities(authoritative=False)
CALL = Call(target="hermes:1a2b")


def foreign(**changes: Any) -> Definition:
    return make_definition(schedule=foreign_schedule("every 5m"), action=CALL, **changes)


def job(definition: Definition | None = None, **changes: Any) -> Job:
    values: dict[str, Any] = {"watermark": START, "state": JobState.ACTIVE, "revision": 3} | changes
    return Job(
        id="j1",
        definition=definition or foreign(),
        created_at=START,
        edited_at=START,
        edited_by="ada",
        due_at=None,
        **values,
    )


def held(number: int = 1, minute: int = 2, **changes: Any) -> Omission:
    values: dict[str, Any] = {
        "id": number, "job": "j1", "job_name": "report", "revision": 3, "kind": OmissionKind.HELD,
        "first": after(minutes=1), "last": after(minutes=minute), "count": minute,
        "reason": "only an authoritative owner may run it", "decided_at": START,
        "decided_by": "desktop", "term": 1,
    }  # fmt: skip
    return Omission(**values | changes)


def made(
    minute: float = 5,
    *,
    passed: tuple[datetime, datetime, int] | None = None,
    late: timedelta = timedelta(seconds=10),
    standing: OwnerCapabilities = ALLOWED,
    of: Job | None = None,
    **found: Any,
) -> Plan | None:
    fire = after(minutes=minute)
    due = Due(job=of or job(), **found)
    return plan_announced(due, Announced(fire=fire, passed=passed), standing, fire + late)


def planned(*args: Any, **kwargs: Any) -> Plan:
    found = made(*args, **kwargs)
    assert found is not None
    return found


# -- each branch ----------------------------------------------------------------------------------


def test_a_fire_is_claimed_and_the_watermark_moves_to_it() -> None:
    found = planned(5)
    (claim,) = found.claims
    assert (claim.at, claim.cause, claim.hold) == (after(minutes=5), Cause.SCHEDULE, None)
    assert (found.was, found.watermark, found.revision) == (START, after(minutes=5), 3)
    assert (found.omissions, found.holds, found.due_at) == ((), (), None)
    assert not found.done
    assert not found.waiting


@pytest.mark.parametrize(("late", "cause"), [(60, Cause.SCHEDULE), (61, Cause.CATCH_UP)])
@pytest.mark.parametrize("catch_up", [None, CatchUp.NONE, CatchUp.LATEST])
def test_a_late_fire_is_claimed_too_for_the_other_scheduler_has_decided_that(
    late: int, cause: Cause, catch_up: CatchUp | None
) -> None:
    of = job(foreign(grace=MINUTE, catch_up=catch_up))
    (claim,) = planned(5, late=timedelta(seconds=late), of=of).claims
    assert claim.cause is cause


@pytest.mark.parametrize("minute", [0, -1])
def test_what_is_accounted_for_already_is_not_planned_again(minute: int) -> None:
    assert made(minute) is None


def test_what_is_yet_to_come_is_not_planned() -> None:
    assert made(5, late=timedelta(microseconds=-1)) is None
    assert made(5, late=timedelta(0)) is not None


def test_what_passed_unannounced_is_missed() -> None:
    found = planned(5, passed=(after(minutes=1), after(minutes=4), 4))
    (missed,) = found.omissions
    assert (missed.kind, missed.reason) == (OmissionKind.MISSED, SUPERSEDED)
    assert (missed.first, missed.last, missed.count) == (after(minutes=1), after(minutes=4), 4)
    assert len(found.claims) == 1


@pytest.mark.parametrize(
    ("first", "last", "count", "left"),
    [(1, 4, 4, None), (2, 2, 1, None), (1, 5, 5, (5, 5, 1)), (4, 6, 3, (6, 6, 1)), (5, 6, 2, ...)],
)
def test_what_passed_is_told_from_the_watermark_on(
    first: int, last: int, count: int, left: Any
) -> None:
    """Another thread may have announced meanwhile: no fire is in two records."""
    of = job(watermark=after(minutes=4))
    found = planned(9, passed=(after(minutes=first), after(minutes=last), count), of=of)
    stretches = [(o.first, o.last, o.count) for o in found.omissions]
    first, last, count = (first, last, count) if left in (..., None) else left
    wanted = [(after(minutes=first), after(minutes=last), count)]
    assert stretches == ([] if left is None else wanted)


def test_a_protected_job_is_held_with_what_passed() -> None:
    of = job(foreign(protected=True))
    found = planned(5, standing=FALLBACK, of=of, passed=(after(minutes=1), after(minutes=4), 4))
    (stretch,) = found.omissions
    assert (stretch.kind, stretch.count) == (OmissionKind.HELD, 5)
    assert (stretch.first, stretch.last) == (after(minutes=1), after(minutes=5))
    assert "authoritative" in stretch.reason
    assert (found.claims, found.holds, found.watermark) == ((), (), after(minutes=5))
    assert planned(5, standing=ALLOWED, of=of).claims


def test_a_denied_capability_and_a_missing_approval_hold_it_too() -> None:
    of = job(foreign(requires=("disk",)))
    denied = OwnerCapabilities(authoritative=True, denied=frozenset({"disk"}))
    assert planned(5, standing=denied, of=of).omissions[0].kind is OmissionKind.HELD
    unapproved = OwnerCapabilities(authoritative=True, approve_protected=True)
    assert planned(5, standing=unapproved, of=of).omissions[0].kind is OmissionKind.HELD
    assert planned(5, standing=unapproved, of=job(of.definition, approved_revision=3)).claims


def test_while_the_previous_run_is_active_it_is_skipped() -> None:
    found = planned(5, active=1, passed=(after(minutes=3), after(minutes=4), 2))
    (stretch,) = found.omissions
    assert (stretch.kind, stretch.count, stretch.reason) == (OmissionKind.SKIPPED, 3, STILL_ACTIVE)
    assert (found.claims, found.watermark, found.waiting) == ((), after(minutes=5), False)


def test_what_is_held_waits_for_the_run_that_a_fire_was_skipped_for() -> None:
    of = job(foreign(protected=True), watermark=after(minutes=2))
    found = planned(5, active=1, of=of, holds=(held(),))
    assert (found.holds, found.waiting) == ((), True)


def test_a_claim_supersedes_what_is_held() -> None:
    of = job(foreign(protected=True), watermark=after(minutes=2))
    found = planned(5, of=of, holds=(held(1), held(2)))
    assert [(h.omission, h.claimed, h.missed_reason) for h in found.holds] == [
        (1, 0, SUPERSEDED),
        (2, 0, SUPERSEDED),
    ]


# -- what is announced ----------------------------------------------------------------------------


def test_instants_are_kept_in_utc() -> None:
    there = timezone(timedelta(hours=5))
    found = Announced(
        fire=after(minutes=5).astimezone(there),
        passed=(after(minutes=1).astimezone(there), after(minutes=4).astimezone(there), 4),
    )
    assert found.passed is not None
    assert {found.fire.tzinfo, found.passed[0].tzinfo, found.passed[1].tzinfo} == {UTC}


@pytest.mark.parametrize(
    ("fire", "passed"),
    [
        (START.replace(tzinfo=None), None),
        (after(minutes=5), (after(minutes=4), after(minutes=1), 4)),
        (after(minutes=5), (after(minutes=1), after(minutes=5), 5)),
        (after(minutes=5), (after(minutes=1), after(minutes=4), 0)),
        (after(minutes=5), (after(minutes=1), after(minutes=4), 1)),
        (after(minutes=5), (after(minutes=1), after(minutes=1), 2)),
        (after(minutes=5), (START.replace(tzinfo=None), after(minutes=1), 2)),
    ],
)
def test_nonsense_is_refused(fire: datetime, passed: Any) -> None:
    with pytest.raises(InvalidInput):
        Announced(fire=fire, passed=passed)


@pytest.mark.parametrize(
    "changes",
    [
        {"action": Command(argv=("true",))},
        {"overlap": Overlap.ALLOW},
        {"catch_up": CatchUp.ALL},
        {"jitter": MINUTE},
    ],
)
def test_what_the_other_scheduler_decides_cannot_be_said_here(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        foreign().with_changes(**changes)
    assert caught.value.field == "schedule"


def test_a_change_leaves_the_watermark_of_a_foreign_job_alone() -> None:
    """C5: its pending fires are not known yet, and will be announced."""
    now, planned_here = after(hours=1), make_definition(schedule=cron("0 * * * *"))
    assert job().watermark_after_change(foreign(tags=("x",)), now) == START
    assert job().watermark_after_change(planned_here, now) == now
    assert job(planned_here).watermark_after_change(foreign(), now) == now
    ahead = job(watermark=after(hours=2))
    assert ahead.watermark_after_change(planned_here, now) == after(hours=2)


# -- the planner: held fires of a foreign job ---------------------------------------------------


def replanned(
    of: Job, *holds: Omission, standing: OwnerCapabilities = ALLOWED, **found: Any
) -> Plan:
    due = Due(job=of, holds=holds, **found)
    return plan(due, after(minutes=9), standing, 4, CatchUpBudget())


def test_held_fires_run_once_an_authoritative_owner_is_back() -> None:
    """C8: the latest of them; the job is never done."""
    of = job(foreign(protected=True), watermark=after(minutes=4))
    found = replanned(of, held(1, 2), held(2, 4, first=after(minutes=3), count=2))
    (claim,) = found.claims
    assert (claim.at, claim.cause, claim.hold) == (after(minutes=4), Cause.HELD, 2)
    assert [(h.omission, h.claimed) for h in found.holds] == [(1, 0), (2, 1)]
    assert (found.watermark, found.due_at, found.done) == (after(minutes=4), None, False)


def test_held_fires_stay_held_under_a_fallback() -> None:
    of = job(foreign(protected=True), watermark=after(minutes=2))
    found = replanned(of, held(), standing=FALLBACK)
    assert (found.claims, found.omissions, found.holds) == ((), (), ())
    assert (found.watermark, found.due_at, found.done) == (after(minutes=2), None, False)


def test_held_fires_wait_for_the_previous_run() -> None:
    of = job(foreign(protected=True), watermark=after(minutes=2))
    found = replanned(of, held(), active=1)
    assert (found.claims, found.waiting, found.done) == ((), True, False)


def test_held_fires_are_missed_where_catch_up_asks_for_none() -> None:
    wants = foreign(protected=True, catch_up=CatchUp.NONE)
    found = replanned(job(wants, watermark=after(minutes=2)), held())
    assert (found.claims, found.done) == ((), False)
    assert "catch-up is 'none'" in found.holds[0].missed_reason


def test_a_foreign_job_that_is_looked_at_for_nothing_is_not_done() -> None:
    assert not replanned(job()).done


# -- whatever is announced ------------------------------------------------------------------------


class Ledger:
    """A job under any sequence of announcements: what became of each fire, in which record."""

    def __init__(self, protected: bool) -> None:
        self.job = job(foreign(protected=protected, grace=MINUTE))
        self.records: list[Omission] = []
        self.ran: list[datetime] = []
        self.active = 0

    def announce(self, announced: Announced, standing: OwnerCapabilities, now: datetime) -> None:
        holds = tuple(o for o in self.records if o.open)
        due = Due(job=self.job, active=self.active, holds=holds)
        self.carry_out(plan_announced(due, announced, standing, now))

    def look(self, standing: OwnerCapabilities, now: datetime) -> None:
        """As the dispatcher does for a job with held fires."""
        holds = tuple(o for o in self.records if o.open)
        if holds:
            due = Due(job=self.job, active=self.active, holds=holds)
            self.carry_out(plan(due, now, standing, 1, CatchUpBudget(rate=1e9, burst=1e9)))

    def carry_out(self, found: Plan | None) -> None:
        if found is None:
            return
        before = self.job.watermark
        assert found.was == before
        assert found.watermark >= before, "a watermark went back"
        assert not found.done, "a foreign job is done"
        for claim in found.claims:
            assert claim.at not in self.ran, f"{claim.at} was claimed twice"
            assert claim.hold is not None or before < claim.at <= found.watermark
            self.ran.append(claim.at)
            self.active = 1
        for one in found.holds:
            self.records = [
                replace(o, resolved_at=START, claimed=one.claimed) if o.id == one.omission else o
                for o in self.records
            ]
        for stretch in found.omissions:
            assert before < stretch.first <= stretch.last <= found.watermark
            assert stretch.count >= 1
            self.note(stretch, before)
        self.job = replace(self.job, watermark=found.watermark)

    def note(self, stretch: Any, accounted: datetime) -> None:
        """As a store does: an older record of the same kind and reason is gone on with."""
        schedule = self.job.definition.schedule
        for index, old in enumerate(self.records):
            alike = (old.kind, old.reason) == (stretch.kind, stretch.reason)
            whole = old.open or old.kind is not OmissionKind.HELD
            if alike and whole and schedule.adjoin(old.last, stretch.first, accounted):
                count = old.count + stretch.count
                self.records[index] = replace(old, last=stretch.last, count=count)
                return
        facts = {n: getattr(stretch, n) for n in ("kind", "first", "last", "count", "reason")}
        self.records.append(held(len(self.records), **facts))

    def check(self) -> None:
        """No fire is in two records, or in a record and a run; but for a hold and its own run."""
        ends = sorted((o.first, o.last) for o in self.records)
        assert all(one[1] < other[0] for one, other in pairwise(ends))
        for at in self.ran:
            inside = [o for o in self.records if o.first <= at <= o.last]
            assert all(o.kind is OmissionKind.HELD and o.last == at for o in inside), (at, inside)


MINUTES = st.integers(1, 60)
STEPS = st.one_of(
    st.tuples(st.just("fire"), MINUTES, st.integers(0, 9)),
    st.tuples(st.just("look"), st.just(0), st.just(0)),
    st.tuples(st.just("end"), st.just(0), st.just(0)),
    st.tuples(st.just("owner"), st.just(0), st.integers(0, 1)),
)


@settings(max_examples=400, deadline=None)
@given(st.booleans(), st.lists(STEPS, max_size=40))
def test_whatever_is_announced_each_fire_is_accounted_for_once(
    protected: bool, steps: list[tuple[str, int, int]]
) -> None:
    """In any order, again and again, overlapping: C4 and C5 hold, and watermarks only grow."""
    ledger, standing = Ledger(protected), ALLOWED
    announced: set[datetime] = set()
    for what, minute, more in steps:
        now = after(hours=2)
        if what == "fire":
            first, last = after(minutes=max(1, minute - more)), after(minutes=minute - 1)
            passed = None
            if first <= last:
                passed = (first, last, (last - first) // MINUTE + 1)
            fire = after(minutes=minute)
            ledger.announce(Announced(fire=fire, passed=passed), standing, now)
            announced.add(fire)
        elif what == "look":
            ledger.look(standing, now)
        elif what == "end":
            ledger.active = 0
        else:
            standing = ALLOWED if more else FALLBACK
        ledger.check()
    for fire in announced:
        assert fire <= ledger.job.watermark
    assert set(ledger.ran) <= announced
    if not any(what == "end" for what, _, _ in steps):
        assert len(ledger.ran) <= 1, "a run began while the previous one was active"


@settings(max_examples=100, deadline=None)
@given(st.lists(MINUTES, min_size=1, unique=True, max_size=30))
def test_a_long_hold_is_one_record(minutes: list[int]) -> None:
    ledger = Ledger(protected=True)
    for minute in sorted(minutes):
        ledger.announce(Announced(fire=after(minutes=minute)), FALLBACK, after(hours=2))
    (record,) = ledger.records
    assert (record.kind, record.count) == (OmissionKind.HELD, len(minutes))
    assert (record.first, record.last) == (
        after(minutes=min(minutes)),
        after(minutes=max(minutes)),
    )
    ledger.look(ALLOWED, after(hours=2))
    assert ledger.ran == [record.last]


@settings(max_examples=100, deadline=None)
@given(st.permutations(list(range(1, 12))))
def test_each_fire_runs_at_most_once_and_in_order(minutes: list[int]) -> None:
    ledger = Ledger(protected=False)
    for minute in [*minutes, *minutes]:
        ledger.active = 0
        ledger.announce(Announced(fire=after(minutes=minute)), ALLOWED, after(hours=2))
    assert ledger.ran == sorted(ledger.ran)
    assert ledger.ran[-1] == after(minutes=11)
