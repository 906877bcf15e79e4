"""Long absences, sleep, wrong clocks and DST under a real scheduler whose clock a test moves.

C5 Nothing silently missed. C13 Honest clocks. After each, `audit` must find nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tenure.audit.reader import audit_store
from tenure.domain.job import Call, CatchUp, Definition, Job, JobState, Runner
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.request import Requester, RequestKind, RequestState
from tenure.domain.run import ACTIVE, Run
from tenure.domain.schedule.parser import parse_schedule
from tenure.store.contract import Page, RunFilter
from testkit.cluster import Cluster, Node
from waiting import eventually

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Profile(Cluster):
    """A cluster with jobs that count."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.called = 0

    def work(self) -> None:
        self.called += 1

    def carrier(self, name: str = "owner") -> Node:
        return self.node(name, functions={"app:work": self.work}, app="app")

    def add(self, schedule: str, name: str, *, zone: str = "UTC", **fields: Any) -> Job:
        now = self.clock.now()
        wants = Definition(
            name=name,
            schedule=parse_schedule(schedule, now=now, timezone=zone),
            action=Call(target="app:work", runner=Runner.THREAD),
            **fields,
        )
        return self.profile.store.add_job(wants, by="test", now=now)

    def work_off(self, node: Node) -> None:
        """Turns until all that is due is done."""
        for _ in range(3):  # what a turn leaves, the next may find due

            def quiet() -> bool:
                node.turn()
                return not self.runs(states=ACTIVE)

            eventually(quiet, "the end of every run")

    def pass_time(self, node: Node, total: timedelta, step: timedelta = MINUTE) -> None:
        for _ in range(int(total / step)):
            self.clock.advance(step)
            node.look()
            self.work_off(node)

    def runs(self, **where: Any) -> tuple[Run, ...]:
        return self.profile.store.runs(RunFilter(**where), Page(limit=10_000))[0]

    def fires(self, job: Job) -> list[datetime]:
        return sorted(run.fire_time for run in self.runs(job=job.id))

    def omissions(self, job: Job) -> list[Omission]:
        found, _ = self.profile.store.omissions(job=job.id)
        return sorted(found, key=lambda o: o.first)

    def check(self) -> None:
        report = audit_store(self.profile.store, self.clock.now())
        assert report.findings == ()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Profile]:
    with opened(tmp_path) as one:
        yield one


@contextmanager
def opened(path: Path) -> Iterator[Profile]:
    one = Profile(path)
    try:
        yield one
    finally:
        one.close()


def test_a_week_without_an_owner(world: Profile) -> None:
    """'long stretches are one record ... Fires follow the revision valid at their instant; a
    removed job leaves a tombstone ... Catch-up by default: cron and one-shot the latest,
    intervals none.'"""
    first = world.carrier("first")
    often = world.add("every 30s", "often")
    daily = world.add("0 3 * * *", "daily")
    each = world.add("0 */6 * * *", "each", catch_up=CatchUp.ALL, window=2 * DAY)
    never = world.add("30 4 * * *", "never", catch_up=CatchUp.NONE)
    once = world.add("in 3 days", "once")
    edited = world.add("0 12 * * *", "edited")
    removed = world.add("every 1h", "removed")
    paused = world.add("every 1h", "paused")
    world.settle()
    world.pass_time(first, timedelta(minutes=2), timedelta(seconds=30))
    assert len(world.fires(often)) == 4
    world.kill(first)

    world.clock.advance(2 * DAY)
    store, now = world.profile.store, world.clock.now()
    other = replace(
        edited.definition, schedule=parse_schedule("0 18 * * *", now=now, timezone="UTC")
    )
    store.edit_job(edited.id, edited.revision, other, by="test", now=now)
    store.set_job_state(removed.id, JobState.REMOVED, by="test", now=now)
    store.set_job_state(paused.id, JobState.PAUSED, by="test", now=now)
    world.clock.advance(5 * DAY)
    back = world.clock.now()
    second = world.carrier("second")
    world.settle()
    assert second.owns
    world.work_off(second)
    world.clock.advance(10)
    world.work_off(second)

    # every 30s: ONE record for the week; what is within grace runs.
    (missed,) = world.omissions(often)
    assert missed.kind is OmissionKind.MISSED
    late = [fire for fire in world.fires(often) if fire > missed.last]
    assert missed.first == START + timedelta(seconds=150)
    assert missed.count == (missed.last - missed.first) / timedelta(seconds=30) + 1
    assert len(late) <= 1
    assert missed.count + len(world.fires(often)) == 7 * DAY / timedelta(seconds=30) + 4
    # cron: the latest; all within two days; none.
    assert world.fires(daily) == [datetime(2026, 1, 7, 3, tzinfo=UTC)]
    assert sum(o.count for o in world.omissions(daily)) == 6
    assert len(world.fires(each)) in (8, 9)
    assert min(world.fires(each)) >= back - 2 * DAY
    assert world.fires(never) == []
    assert [o.count for o in world.omissions(never)] == [7]
    assert len(world.fires(once)) == 1
    # Edited after two days: two fires under revision 1, five under revision 2, one of them runs.
    (run,) = world.runs(job=edited.id)
    assert (run.revision, run.fire_time.hour) == (2, 18)
    by_revision = {o.revision: o.count for o in world.omissions(edited)}
    assert by_revision == {1: 2, 2: 4}
    # Removed and paused: accounted for up to then, and no further.
    for job in (removed, paused):
        assert world.fires(job) == []
        assert sum(o.count for o in world.omissions(job)) == 48
        assert max(o.last for o in world.omissions(job)) <= now
    assert store.job(removed.id).state is JobState.REMOVED
    world.check()


def test_eight_hours_of_sleep(world: Profile) -> None:
    """'suspend and wall-clock steps are noticed and reported; catch-up is bounded and spread.'"""
    node = world.carrier()
    hourly, often = world.add("0 * * * *", "hourly"), world.add("every 1m", "often")
    world.settle()
    world.pass_time(node, timedelta(minutes=5))
    world.clock.suspend(timedelta(hours=8))
    node.look()
    world.work_off(node)
    assert node.owns
    assert world.profile.store.ownership().term == 1
    assert world.fires(hourly) == [START + 8 * HOUR]
    assert [o.count for o in world.omissions(hourly)] == [7]
    (asleep,) = world.omissions(often)
    assert asleep.count in (479, 480)
    kinds = [e.facts.get("kind") for e in world.profile.store.events(limit=1000)]
    assert "suspended" in kinds
    world.pass_time(node, timedelta(minutes=3))
    assert len(world.fires(often)) + asleep.count == 488
    world.check()


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_the_clock_is_an_hour_off_and_is_set_right(world: Profile, step: timedelta) -> None:
    """'after a backward step planning restarts from now, and claimed instants do not repeat.'"""
    node = world.carrier()
    often, cron = world.add("every 1m", "often"), world.add("*/10 * * * *", "cron")
    world.clock.advance(DAY)
    world.settle()
    world.work_off(node)
    for change in (step, -step):
        world.clock.step(change)
        node.look()
        world.work_off(node)
        before = len(world.fires(often))
        world.pass_time(node, timedelta(minutes=12))
        # Whatever the clock did, the next minutes run: nothing waits for an old watermark.
        assert len(world.fires(often)) >= before + 11
    for job in (often, cron):
        assert len(world.fires(job)) == len(set(world.fires(job)))
    before = len(world.fires(often))
    world.pass_time(node, 2 * HOUR, timedelta(minutes=1))
    # All but those that were claimed while the clock was ahead.
    assert len(world.fires(often)) - before in ((107, 108) if step > timedelta(0) else (120, 121))
    world.check()


def test_a_minute_in_2036_with_requests_and_one_shots(world: Profile) -> None:
    """'never jumps ahead on a wrong clock'"""
    node = world.carrier()
    cron = world.add("*/5 * * * *", "cron")
    soon = world.add("in 2h", "soon")
    world.settle()
    world.pass_time(node, timedelta(minutes=10))
    ten_years = timedelta(days=3653)
    world.clock.step(ten_years)
    world.pass_time(node, MINUTE, timedelta(seconds=20))
    wrong = world.add("in 30m", "made in 2036")
    asked = world.profile.store.create_request(
        kind=RequestKind.TRIGGER,
        key="k",
        requester=Requester(pid=1, uid=0),
        now=world.clock.now(),
        deadline=timedelta(seconds=30),
        job=cron.id,
    )
    world.work_off(node)
    assert world.profile.store.request(asked.id).state is RequestState.DONE
    world.clock.step(-ten_years)
    node.look()
    world.work_off(node)
    before = len(world.fires(cron))
    world.pass_time(node, HOUR)
    assert len(world.fires(cron)) == before + 12
    # A trigger after it is answered too.
    again = world.profile.store.create_request(
        kind=RequestKind.TRIGGER,
        key="k2",
        requester=Requester(pid=1, uid=0),
        now=world.clock.now(),
        deadline=timedelta(seconds=30),
        job=cron.id,
    )
    world.work_off(node)
    assert world.profile.store.request(again.id).state is RequestState.DONE
    # A one-shot is due once, by any clock: in 2036 this one was ten years late, and it ran then.
    assert len(world.fires(soon)) == 1
    assert world.fires(wrong) == []
    assert world.profile.store.job(wrong.id).state is JobState.ACTIVE
    assert len(world.fires(cron)) == len(set(world.fires(cron)))
    world.check()


@pytest.mark.parametrize(
    ("day", "zone", "gap"),
    [
        (datetime(2026, 3, 28, 12, tzinfo=UTC), "Europe/Berlin", True),
        (datetime(2026, 10, 24, 12, tzinfo=UTC), "Europe/Berlin", False),
        (datetime(2026, 3, 7, 20, tzinfo=UTC), "America/New_York", True),
        (datetime(2026, 10, 31, 20, tzinfo=UTC), "America/New_York", False),
        (datetime(2026, 4, 4, 0, tzinfo=UTC), "Australia/Lord_Howe", False),
    ],
)
def test_a_change_of_summer_time(world: Profile, day: datetime, zone: str, gap: bool) -> None:
    """'Time zone, DST gap and fold are explicit per job': each night's job runs exactly once."""
    world.clock.set(day)
    node = world.carrier()
    nights = [world.add(f"{m} {h} * * *", f"at {h}:{m}", zone=zone) for h, m in ((1, 45), (2, 30))]
    hourly = world.add("every 1h", "hourly", zone=zone)
    world.settle()
    world.pass_time(node, timedelta(hours=24), timedelta(minutes=15))
    for job in nights:
        assert len(world.fires(job)) == 1, (job.name, world.fires(job), world.omissions(job))
        assert world.omissions(job) == []
    fires = world.fires(hourly)
    assert {b - a for a, b in pairwise(fires)} == {HOUR}
    world.check()


def test_a_wrong_clock_for_an_hour_deletes_no_history(world: Profile) -> None:
    """Retention by age goes by the time that really passed; C5: what is left accounts for all."""
    owner = world.carrier()
    job = world.add("every 1h", "hourly")
    paused = world.add("every 1h", "paused")
    world.settle()
    world.pass_time(owner, 3 * HOUR, 30 * MINUTE)
    store, now = world.profile.store, world.clock.now()
    store.set_job_state(paused.id, JobState.PAUSED, by="ada", now=now)
    world.pass_time(owner, 2 * HOUR, 30 * MINUTE)
    store.set_job_state(paused.id, JobState.ACTIVE, by="ada", now=world.clock.now())
    asked = store.create_request(
        kind=RequestKind.HAND_OVER,
        key="k",
        requester=Requester(pid=1),
        now=world.clock.now(),
        deadline=MINUTE,
    )
    world.pass_time(owner, 5 * MINUTE)
    gone = world.carrier("gone")
    gone.scheduler.member.leave("its work is done")
    before = {run.id for run in world.runs(job=job.id)}
    omitted = {omission.id for omission in world.omissions(paused)}
    assert before
    assert omitted

    world.clock.step(400 * DAY)
    world.pass_time(owner, HOUR, MINUTE)
    assert before <= {run.id for run in world.runs(job=job.id)}
    assert omitted <= {omission.id for omission in world.omissions(paused)}
    assert store.request(asked.id).state is not RequestState.PENDING
    assert gone.id in {process.id for process in store.processes(gone=True)}

    world.clock.step(-400 * DAY)
    world.pass_time(owner, HOUR, MINUTE)
    assert before <= {run.id for run in world.runs(job=job.id)}
    assert audit_store(store, world.clock.now()).clean


def test_a_machine_that_was_off_for_long_deletes_what_is_old_within_a_day(
    world: Profile,
) -> None:
    owner = world.carrier()
    job = world.add("every 1h", "hourly")
    world.settle()
    world.pass_time(owner, 3 * HOUR, 30 * MINUTE)
    before = {run.id for run in world.runs(job=job.id)}
    assert before
    world.clock.step(100 * DAY)  # off, as far as a clock that starts with the machine can say
    world.pass_time(owner, DAY, 5 * MINUTE)
    assert not before & {run.id for run in world.runs(job=job.id)}
    assert audit_store(world.profile.store, world.clock.now()).clean
