"""The planner, situation by situation: what becomes of each fire (C5, C8, C13)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planning import ALLOWED, REFUSED, Planned

from tenure.domain.job import CatchUp, JobState, Overlap, jitter_of
from tenure.domain.planning.catch_up import CatchUpBudget
from tenure.domain.planning.plan import Due, OwnerCapabilities
from tenure.domain.planning.planner import plan
from testkit.factories import START, after, cron, each, make_definition, once

MINUTE = timedelta(minutes=1)


def planned(**changes: Any) -> Planned:
    return Planned(make_definition(**changes))


def fates(job: Planned) -> list[str]:
    """What became of the fires so far, in order."""
    job.check_all_accounted()
    return [job.fates[at] for at in sorted(job.fates)]


# -- one fire, on time, late, too late ------------------------------------------------------


def test_a_fire_within_grace_runs() -> None:
    job = planned()
    made = job.step(after(minutes=2))
    assert fates(job) == ["missed", "schedule"]
    assert made.omissions[0].reason == "superseded by a later scheduled run"
    assert made.due_at == after(minutes=3)


@pytest.mark.parametrize(
    ("catch_up", "late", "fate"),
    [
        (CatchUp.NONE, 60, "schedule"),
        (CatchUp.NONE, 61, "missed"),
        (CatchUp.LATEST, 61, "catch_up"),
        (CatchUp.LATEST, 3000, "catch_up"),
        (CatchUp.ALL, 60, "schedule"),
        (CatchUp.ALL, 61, "catch_up"),
        (CatchUp.ALL, 3000, "catch_up"),
    ],
)
def test_grace_and_catch_up(catch_up: CatchUp, late: int, fate: str) -> None:
    job = planned(schedule=each(hours=1), catch_up=catch_up, grace=MINUTE)
    job.step(after(hours=1, seconds=late))
    assert fates(job) == [fate]


@pytest.mark.parametrize("catch_up", [CatchUp.LATEST, CatchUp.ALL])
@pytest.mark.parametrize(("late", "fate"), [(600, "catch_up"), (601, "missed")])
def test_catch_up_reaches_as_far_as_its_window(catch_up: CatchUp, late: int, fate: str) -> None:
    window = timedelta(minutes=10)
    job = planned(schedule=once(after(hours=1)), catch_up=catch_up, window=window)
    job.settle(after(hours=1, seconds=late) + (timedelta() if late == 600 else MINUTE))
    assert fates(job) == [fate]
    assert job.job.state is JobState.DONE


def test_all_takes_a_day_unless_told_otherwise() -> None:
    job = planned(schedule=each(hours=6), catch_up=CatchUp.ALL)
    job.settle(after(days=2, hours=1))
    assert fates(job) == ["missed"] * 4 + ["catch_up"] * 4


def test_all_runs_in_turn_oldest_first() -> None:
    job = planned(schedule=each(hours=1), catch_up=CatchUp.ALL)
    now = after(hours=3, minutes=30)
    first = job.step(now)
    assert [fire.at for fire in first.claims] == [after(hours=1)]
    assert (first.due_at, first.watermark) == (now, after(hours=1))
    second = job.step(now)
    assert (second.claims, second.waiting, second.watermark) == ((), True, after(hours=1))
    job.finish_all(now)
    job.settle(now)
    assert fates(job) == ["catch_up"] * 3


def test_all_with_allow_fills_the_slots() -> None:
    job = planned(schedule=each(hours=1), catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    now = after(hours=5, minutes=30)
    assert [len(job.step(now, slots=2).claims) for _ in range(3)] == [2, 2, 1]
    assert job.job.due_at == after(hours=6)
    assert fates(job) == ["catch_up"] * 5


@pytest.mark.parametrize(
    ("schedule", "fate"),
    [
        (each(hours=1), "missed"),
        (cron("0 * * * *"), "catch_up"),
        (once(after(hours=1)), "catch_up"),
    ],
    ids=["interval", "cron", "one-shot"],
)
def test_catch_up_by_default(schedule: Any, fate: str) -> None:
    """C5: cron and one-shot the latest, intervals none."""
    job = planned(schedule=schedule)
    job.step(after(hours=1, minutes=30))
    assert fates(job) == [fate]


# -- overlap ----------------------------------------------------------------------------------


def test_skip_records_what_it_skips() -> None:
    job = planned(overlap=Overlap.SKIP)
    job.step(after(minutes=1))
    made = job.step(after(minutes=3))
    assert fates(job) == ["schedule", "skipped", "skipped"]
    assert "still active" in made.omissions[0].reason
    assert not made.waiting


def test_allow_runs_beside() -> None:
    job = planned(overlap=Overlap.ALLOW)
    job.step(after(minutes=1))
    job.step(after(minutes=2))
    assert fates(job) == ["schedule", "schedule"]
    assert job.active == 2


def test_queue_waits_beyond_any_grace() -> None:
    job = planned(overlap=Overlap.QUEUE)
    job.step(after(minutes=1))
    made = job.step(after(minutes=2))
    assert (made.waiting, made.due_at, made.watermark) == (True, None, after(minutes=2) - _tick())
    job.finish_all(after(hours=1))
    job.step(after(hours=1))
    assert job.fates[after(minutes=2)] == "schedule"
    job.finish_all(after(hours=2))
    job.step(after(hours=2))
    assert job.fates[after(hours=1)] == "schedule"
    assert fates(job).count("skipped") == 57 + 59


def _tick() -> timedelta:
    return timedelta(microseconds=1)


def test_queue_does_not_wait_for_what_catch_up_refuses() -> None:
    job = planned(schedule=each(hours=1), overlap=Overlap.QUEUE, catch_up=CatchUp.NONE)
    job.active = 1
    made = job.step(after(hours=2, minutes=30))
    assert fates(job) == ["missed", "missed"]
    assert not made.waiting


def test_queue_waits_for_the_latest_of_many() -> None:
    job = planned(schedule=each(hours=1), overlap=Overlap.QUEUE, catch_up=CatchUp.LATEST)
    job.active = 1
    assert job.step(after(hours=3, minutes=30)).waiting
    job.finish_all(after(hours=3, minutes=40))
    job.step(after(hours=3, minutes=40))
    assert fates(job) == ["missed", "missed", "schedule"]


def test_cancel_ends_the_previous_and_runs_the_latest() -> None:
    job = planned(overlap=Overlap.CANCEL)
    job.step(after(minutes=1))
    assert job.step(after(minutes=2)).cancel_previous
    assert job.is_due(after(minutes=2))
    job.step(after(minutes=4))
    assert fates(job) == ["schedule", "skipped", "skipped", "schedule"]


def test_nothing_is_cancelled_for_a_misfire() -> None:
    job = planned(schedule=each(hours=1), overlap=Overlap.CANCEL, catch_up=CatchUp.NONE)
    job.active = 1
    made = job.step(after(hours=1, minutes=30))
    assert not made.cancel_previous
    assert fates(job) == ["missed"]


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE, Overlap.CANCEL])
def test_catching_all_up_cancels_and_skips_nothing(overlap: Overlap) -> None:
    job = planned(schedule=each(hours=1), overlap=overlap, catch_up=CatchUp.ALL)
    for hour in (1, 2, 3):
        made = job.step(after(hours=hour))
        assert not made.cancel_previous
    job.finish_all(after(hours=3))
    job.settle(after(hours=3))
    assert set(fates(job)) <= {"schedule", "catch_up"}


# -- held (C8) --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "standing", "why"),
    [
        ({"protected": True}, REFUSED, "authoritative"),
        ({"requires": ("disk",)}, REFUSED, "authoritative"),
        (
            {"requires": ("disk",)},
            OwnerCapabilities(authoritative=True, denied=frozenset({"disk"})),
            "disk",
        ),
        (
            {"protected": True},
            OwnerCapabilities(authoritative=True, approve_protected=True),
            "approval",
        ),
    ],
)
def test_held_until_the_owner_may(
    changes: dict[str, Any], standing: OwnerCapabilities, why: str
) -> None:
    job = planned(**changes)
    made = job.step(after(minutes=2), standing)
    assert made.claims == ()
    assert why in made.omissions[0].reason
    assert sum(map(len, job.held.values())) == 2


@pytest.mark.parametrize(
    "standing",
    [
        ALLOWED,
        OwnerCapabilities(authoritative=True, denied=frozenset({"other"})),
        OwnerCapabilities(authoritative=False, denied=frozenset({"disk"})),
    ],
)
def test_what_may_run_is_not_held(standing: OwnerCapabilities) -> None:
    job = planned(requires=("disk",) if standing.authoritative else ())
    job.step(after(minutes=1), standing)
    assert fates(job) == ["schedule"]


def test_a_one_shot_held_then_released() -> None:
    job = planned(schedule=once(after(minutes=1)), protected=True)
    made = job.step(after(minutes=1), REFUSED)
    assert (made.done, made.due_at) == (False, None)
    job.wake(after(days=3))
    released = job.step(after(days=3))
    assert fates(job) == ["held"]
    assert (released.claims[0].at, released.done) == (after(minutes=1), True)


def test_a_held_fire_within_grace_is_no_misfire() -> None:
    job = planned(schedule=each(hours=1), protected=True, catch_up=CatchUp.NONE)
    job.step(after(hours=1), REFUSED)
    job.wake(after(hours=1, seconds=20))
    job.step(after(hours=1, seconds=20))
    assert fates(job) == ["held"]


def test_a_later_fire_supersedes_held_ones() -> None:
    job = planned(schedule=cron("0 * * * *"), protected=True)
    job.step(after(hours=2), REFUSED)
    job.step(after(hours=3))
    assert fates(job) == ["missed", "missed", "schedule"]


def test_the_latest_held_runs_the_others_are_missed() -> None:
    job = planned(schedule=cron("0 * * * *"), protected=True)
    job.step(after(hours=1), REFUSED)
    job.step(after(hours=2), REFUSED)
    job.wake(after(hours=2, minutes=30))
    job.step(after(hours=2, minutes=30))
    assert fates(job) == ["missed", "held"]


def test_held_and_all_released_in_order() -> None:
    job = planned(schedule=each(hours=1), protected=True, catch_up=CatchUp.ALL)
    job.step(after(hours=3), REFUSED)
    job.settle(after(hours=4, minutes=30))
    assert fates(job) == ["held"] * 3 + ["catch_up"]


def test_held_too_long_for_the_window() -> None:
    window = timedelta(hours=2)
    job = planned(schedule=each(hours=1), protected=True, catch_up=CatchUp.ALL, window=window)
    job.step(after(hours=4), REFUSED)
    job.wake(after(hours=4, minutes=30))
    job.settle(after(hours=4, minutes=30))
    assert fates(job) == ["missed", "missed", "held", "held"]


@pytest.mark.parametrize("catch_up", list(CatchUp))
def test_held_fires_of_an_older_revision_are_missed(catch_up: CatchUp) -> None:
    from dataclasses import replace

    job = planned(schedule=once(after(minutes=1)), protected=True, catch_up=catch_up)
    job.step(after(minutes=1), REFUSED)
    due = Due(job=replace(job.job, revision=2), holds=tuple(job.holds.values()))
    made = plan(due, after(minutes=1), ALLOWED, 1, CatchUpBudget())
    (held,) = made.holds
    assert (held.claimed, held.settled_until, made.claims) == (0, None, ())
    assert "revised" in held.missed_reason
    assert made.done


@pytest.mark.parametrize(
    ("overlap", "schedule", "waits"),
    [
        (Overlap.SKIP, each(hours=1), False),
        (Overlap.SKIP, once(after(hours=1)), True),
        (Overlap.QUEUE, each(hours=1), True),
    ],
)
def test_held_fires_wait_for_the_active_run(overlap: Overlap, schedule: Any, waits: bool) -> None:
    job = planned(schedule=schedule, protected=True, overlap=overlap)
    job.step(after(hours=1), REFUSED)
    job.active = 1
    made = job.step(after(hours=1, minutes=1))
    assert (made.waiting, made.due_at is None, made.done) == (waits, waits, False)
    assert job.holds


# -- spread, jitter, clocks ---------------------------------------------------------------------


def test_catch_up_is_spread() -> None:
    """C13: catch-up is bounded and spread."""
    now = after(days=1)
    budget = CatchUpBudget(rate=2, burst=3)
    delays = [budget.delay(now) / timedelta(seconds=1) for _ in range(6)]
    assert delays == [0, 0, 0, 0.5, 1.0, 1.5]
    assert budget.delay(now + timedelta(seconds=10)) == timedelta(0)


def test_a_budget_survives_a_clock_set_back() -> None:
    budget = CatchUpBudget(rate=1, burst=1)
    budget.delay(after(days=4000))
    assert budget.delay(START) == timedelta(0)


@pytest.mark.parametrize("catch_up", [CatchUp.LATEST, CatchUp.ALL])
def test_a_deferred_catch_up_keeps_its_place(catch_up: CatchUp) -> None:
    job = planned(schedule=each(hours=1), catch_up=catch_up)
    job.budget = CatchUpBudget(rate=1, burst=1)
    now = after(hours=1, minutes=30)
    assert job.budget.delay(now) == timedelta(0)
    made = job.step(now)
    assert (made.claims, made.deferred, made.watermark > START) == (
        (),
        True,
        catch_up is CatchUp.ALL and made.watermark > START,
    )
    assert made.due_at == now + timedelta(seconds=1)
    job.budget = CatchUpBudget(rate=0.001, burst=0)
    later = job.step(now + timedelta(seconds=1))
    assert [fire.at for fire in later.claims] == [after(hours=1)]
    assert not later.deferred


def test_each_of_many_takes_a_place_of_its_own() -> None:
    job = planned(schedule=each(hours=1), catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    job.budget = CatchUpBudget(rate=1, burst=2)
    now = after(hours=6, minutes=30)
    claimed = []
    for second in range(5):
        made = job.step(now + timedelta(seconds=second))
        claimed.append(len(made.claims))
    assert claimed == [2, 1, 1, 1, 1]
    assert fates(job) == ["catch_up"] * 6


def test_fires_on_time_need_no_place() -> None:
    job = planned()
    job.budget = CatchUpBudget(rate=0.001, burst=0)
    job.step(after(minutes=1))
    assert fates(job) == ["schedule"]


def test_jitter_delays_each_fire_alike() -> None:
    jitter = timedelta(seconds=50)
    job = planned(jitter=jitter)
    delay = jitter_of("j1", jitter)
    assert timedelta(0) < delay < jitter
    assert job.job.due_at == after(minutes=1) + delay
    job.step(after(minutes=1) + delay - _tick())
    assert fates(job) == []
    made = job.step(after(minutes=1) + delay)
    assert fates(job) == ["schedule"]
    assert made.due_at == after(minutes=2) + delay
    job.step(after(minutes=2) + delay + MINUTE - _tick())
    assert fates(job) == ["schedule", "skipped"]


def test_before_its_time_nothing_happens() -> None:
    job = planned()
    for now in (START, START - timedelta(days=9), after(seconds=59)):
        made = job.step(now)
        assert (made.claims, made.omissions, made.watermark) == ((), (), START)
        assert made.due_at == after(minutes=1)


def test_daylight_saving_is_the_schedules() -> None:
    """C13: gap and fold are explicit: whatever the schedule says is due is accounted for."""
    for start in (datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)):
        schedule = cron("*/30 1-3 * * *", "Europe/Berlin")
        definition = make_definition(schedule=schedule, catch_up=CatchUp.ALL)
        job = Planned(definition, start)
        for hour in range(0, 72, 5):
            job.settle(start + timedelta(hours=hour))
        job.check_all_accounted()
        assert len(job.fates) == schedule.count(start, job.job.watermark)


# -- for any history ------------------------------------------------------------------------------

schedules = st.sampled_from(
    [
        each(seconds=7),
        each(minutes=1),
        each(hours=1),
        cron("*/5 * * * *"),
        cron("0 3 * * *", "Europe/Berlin"),
        cron("*/20 * * * * *"),
        once(after(minutes=10)),
    ]
)
definitions = st.builds(
    make_definition,
    schedule=schedules,
    catch_up=st.sampled_from([None, *CatchUp]),
    overlap=st.sampled_from(list(Overlap)),
    protected=st.booleans(),
    grace=st.sampled_from([timedelta(seconds=1), MINUTE, timedelta(hours=1)]),
    window=st.sampled_from([None, timedelta(minutes=2), timedelta(hours=2)]),
    jitter=st.sampled_from([timedelta(0), timedelta(seconds=40)]),
)
steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 7.0, 61.0, 300.0, 4000.0, -30.0]),
        st.booleans(),
        st.booleans(),
        st.integers(1, 4),
        st.booleans(),
    ),
    max_size=25,
)


@settings(max_examples=250, derandomize=True, deadline=None)
@given(definition=definitions, steps=steps, rate=st.sampled_from([0.5, 1000.0]))
def test_every_fire_is_accounted_for_once(
    definition: Any, steps: list[tuple[float, bool, bool, int, bool]], rate: float
) -> None:
    """C5, for any sequence of plans: the checks are in Planned."""
    job = Planned(definition)
    job.budget = CatchUpBudget(rate=rate, burst=2)
    now = START
    for advance, authoritative, finishes, slots, wakes in steps:
        now += timedelta(seconds=advance)
        if finishes:
            job.finish_all(now)
        if wakes and job.holds and authoritative:
            job.wake(now)
        if job.is_due(now):
            job.step(now, OwnerCapabilities(authoritative=authoritative), slots)
        assert definition.protected or not job.holds
    job.check_all_accounted()


@settings(max_examples=100, derandomize=True, deadline=None)
@given(definition=definitions, hours=st.sampled_from([0, 1, 2, 30]), held=st.booleans())
def test_planning_comes_to_an_end(definition: Any, hours: int, held: bool) -> None:
    """C5: whatever was away for whatever time, nothing due is left, and nothing held."""
    job = Planned(definition)
    job.budget = CatchUpBudget(rate=10**6, burst=10**5)
    now = after(hours=hours if definition.window else min(hours, 2), seconds=1)
    if held:
        job.settle(now, REFUSED)
        job.wake(now)
    if job.job.state is JobState.ACTIVE:
        job.settle(now, ALLOWED, 50)
    assert not job.holds
    job.check_all_accounted()
    pending = definition.schedule.latest(
        job.job.watermark, now - jitter_of("j1", definition.jitter)
    )
    assert pending is None
