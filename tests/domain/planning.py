"""A job that is planned without a store: applies plans and remembers what became of each fire."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from tenure.domain.job import Definition, Job, JobState, jitter_of
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.planning.catch_up import CatchUpBudget
from tenure.domain.planning.plan import Due, OwnerCapabilities, Plan
from tenure.domain.planning.planner import plan
from testkit.factories import START

ALLOWED = OwnerCapabilities(authoritative=True)
REFUSED = OwnerCapabilities(authoritative=False)
INSTANT = timedelta(microseconds=1)


class Planned:
    """One job. ``fates`` says what became of each fire; a fire has one fate or is held."""

    def __init__(self, definition: Definition, start: datetime = START) -> None:
        fire = definition.schedule.next_after(start)
        due_at = None if fire is None else fire + jitter_of("j1", definition.jitter)
        self.start = start
        self.job = Job(
            id="j1",
            definition=definition,
            revision=1,
            state=JobState.ACTIVE,
            created_at=start,
            edited_at=start,
            edited_by="ada",
            watermark=start,
            due_at=due_at,
        )
        self.active = 0
        self.holds: dict[int, Omission] = {}
        self.held: dict[int, set[datetime]] = {}
        self.fates: dict[datetime, str] = {}
        self.budget = CatchUpBudget(rate=1000, burst=1000)
        self.cancelled = 0

    def is_due(self, now: datetime) -> bool:
        due_at = self.job.due_at
        return self.job.state is JobState.ACTIVE and due_at is not None and due_at <= now

    def step(self, now: datetime, standing: OwnerCapabilities = ALLOWED, slots: int = 10) -> Plan:
        due = Due(job=self.job, active=self.active, holds=tuple(self.holds.values()))
        made = plan(due, now, standing, slots, self.budget)
        self.apply(made, now, slots)
        return made

    def apply(self, made: Plan, now: datetime, slots: int) -> None:
        assert (made.job, made.revision, made.was) == ("j1", 1, self.job.watermark)
        assert made.watermark >= self.job.watermark, "a watermark went back"
        assert made.watermark <= max(now, self.job.watermark), "a watermark is ahead of the clock"
        assert len(made.claims) <= slots, "more was claimed than has a slot"
        for fire in made.claims:
            if fire.hold is None:
                assert made.was < fire.at <= made.watermark
            else:
                self.held[fire.hold].remove(fire.at)
            self._fate(fire.at, fire.cause.value)
        self._resolve(made)
        self._omit(made)
        if made.cancel_previous:
            self.cancelled, self.active = self.cancelled + self.active, 0
        self.active += len(made.claims)
        self.job = replace(
            self.job,
            state=JobState.DONE if made.done else JobState.ACTIVE,
            watermark=made.watermark,
            due_at=made.due_at,
            waiting=made.waiting,
            deferred=made.deferred,
        )
        if made.done:
            assert not self.holds
        if made.waiting and not self.active:
            self.wake(now)

    def _fate(self, at: datetime, fate: str) -> None:
        assert at not in self.fates, f"{at} is {self.fates[at]} and {fate}"
        self.fates[at] = fate

    def _resolve(self, made: Plan) -> None:
        for held in made.holds:
            claimed = sum(fire.hold == held.omission for fire in made.claims)
            assert claimed == held.claimed
            until = held.settled_until
            hold = self.holds[held.omission]
            if until is not None:
                self.holds[held.omission] = replace(hold, settled_until=until)
                assert until < hold.last, "an open hold has nothing left"
            for at in sorted(self.held[held.omission]):
                if until is None or at <= until:
                    self._fate(at, "missed")
                    self.held[held.omission].remove(at)
            if until is None:
                del self.holds[held.omission], self.held[held.omission]

    def _omit(self, made: Plan) -> None:
        for stretch in made.omissions:
            fires = list(self.job.definition.schedule.fires(stretch.first - INSTANT, stretch.last))
            assert fires[0] == stretch.first
            assert fires[-1] == stretch.last
            assert len(fires) == stretch.count
            assert stretch.reason
            assert made.was < stretch.first
            assert stretch.last <= made.watermark
            if stretch.kind is not OmissionKind.HELD:
                for at in fires:
                    self._fate(at, stretch.kind.value)
                continue
            number = len(self.held) + len(self.fates) + 1000
            self.held[number] = set(fires)
            assert not self.fates.keys() & self.held[number]
            self.holds[number] = Omission(
                id=number,
                job="j1",
                job_name=self.job.name,
                revision=1,
                kind=OmissionKind.HELD,
                first=stretch.first,
                last=stretch.last,
                count=stretch.count,
                reason=stretch.reason,
                decided_at=made.watermark,
                decided_by="p",
                term=1,
            )

    def wake(self, now: datetime) -> None:
        self.job = replace(self.job, due_at=now)

    def finish_all(self, now: datetime) -> None:
        """All runs end; that wakes a job whose fire waits."""
        if self.active and self.job.waiting:
            self.wake(now)
        self.active = 0

    def settle(self, now: datetime, standing: OwnerCapabilities = ALLOWED, slots: int = 10) -> int:
        """Plan, and end every run at once, until nothing is due at ``now``; how many plans."""
        for count in range(3000):
            if not self.is_due(now):
                return count
            self.step(now, standing, slots)
            self.finish_all(now)
        raise AssertionError("planning does not come to an end")

    def check_all_accounted(self) -> None:
        fires = set(self.job.definition.schedule.fires(self.start, self.job.watermark))
        held = set().union(*self.held.values()) if self.held else set()
        assert not held & self.fates.keys()
        assert held | self.fates.keys() == fires
