"""`audit` of jobs that another scheduler plans: what it told is told once, the rest is its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pytest
from auditkit import DESKTOP, GATEWAY, MINUTE, START, Story, rules
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tenure.audit import History, audit, render_report
from tenure.audit.reader import read_history
from tenure.domain.event import EventKind
from tenure.domain.job import Call, Definition, JobState
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.ownership import OwnershipAction
from tenure.domain.planning.external import Announced, plan_announced
from tenure.domain.planning.plan import Due, OwnerCapabilities
from tenure.domain.policy.text import make_policy
from tenure.domain.run import ACTIVE, Cause, Run, RunState
from tenure.domain.schedule.model import foreign_schedule
from tenure.store.contract import PurgeLimits, RunFilter, Store
from testkit.memory_store.store import MemoryStore


def theirs(name: str = "theirs", **more: Any) -> Definition:
    schedule = foreign_schedule("every 10m")
    return Definition(name=name, schedule=schedule, action=Call(target="other:1"), **more)


class Told(Story):
    """A story in which another scheduler announces."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        store.accept_policy(make_policy(rules(), version=1), "alice", self.now)

    def owner(self, name: str, executable: str, rule: int) -> None:
        self.join(name, executable)
        held = self.store.ownership().process is not None
        self.take(name, rule, OwnershipAction.TAKE_BY_FORCE if held else OwnershipAction.TAKE)
        assert self.authority is not None
        for run in self.store.orphans(name):
            self.store.adopt_run(self.authority, run.id, run.attempt, self.now)
        self.work()

    def announce(self, name: str = "theirs", minutes: int = 10, passed: int = 0) -> None:
        """Time goes on, and the job is due."""
        self.now += minutes * MINUTE
        job, fire = self.store.job(name), self.now - timedelta(seconds=5)
        active, _ = self.store.runs(RunFilter(job=job.id, states=ACTIVE))
        holds, _ = self.store.omissions(job=job.id, only_open=True)
        due = Due(job=job, active=len(active), holds=tuple(reversed(holds)))
        before = [fire - n * MINUTE for n in range(passed, 0, -1)]
        told = (before[0], before[-1], passed) if before else None
        standing = OwnerCapabilities(authoritative=self.authoritative)
        plan = plan_announced(due, Announced(fire=fire, passed=told), standing, self.now)
        if self.authority is None or plan is None or job.state is not JobState.ACTIVE:
            return
        (claimed,) = self.store.claim(self.authority, [plan], self.now)
        for run in claimed.runs:
            self.run(run)


@cache
def good() -> History:
    """Runs, what passed before them, skipped beside an active one, held under a fallback."""
    story = Told(MemoryStore("audited", START))
    add = story.store.add_job
    add(theirs(), by="alice", now=story.now)
    kept = add(theirs("kept", protected=True), by="alice", now=story.now)
    story.owner("gw1", GATEWAY, 0)
    for passed in (0, 3, 0):
        story.announce(passed=passed)
        story.announce("kept", minutes=1)
    story.outcomes = {"theirs": RunState.RUNNING}
    for _ in range(3):
        story.announce()
    (running,) = story.store.runs(RunFilter(states=ACTIVE))[0]
    story.outcomes = {}
    story.finish(running, RunState.SUCCEEDED)
    story.announce()
    story.owner("desk", DESKTOP, 1)
    for _ in range(3):
        story.announce("kept")
    edited = theirs("kept", protected=True, tags=("x",))
    story.store.edit_job(kept.id, 1, edited, by="bob", now=story.now)
    for _ in range(2):
        story.announce("kept")
    story.now += MINUTE
    story.owner("gw2", GATEWAY, 0)
    story.announce("kept")
    return read_history(story.store, story.now)


def of(name: str, kind: OmissionKind, nth: int = 0) -> Omission:
    found = [o for o in good().omissions if (o.job_name, o.kind) == (name, kind)]
    return sorted(found, key=lambda o: o.first)[nth]


def run_of(name: str, nth: int = 0, **wants: Any) -> Run:
    found = [
        r
        for r in sorted(good().runs, key=lambda r: r.fire_time)
        if r.job_name == name and all(getattr(r, k) == v for k, v in wants.items())
    ]
    return found[nth]


def with_run(run: Run, **changes: Any) -> History:
    runs = tuple(replace(r, **changes) if r.id == run.id else r for r in good().runs)
    return replace(good(), runs=runs)


def with_omission(omission: Omission, **changes: Any) -> History:
    found = tuple(replace(o, **changes) if o.id == omission.id else o for o in good().omissions)
    return replace(good(), omissions=found)


def with_watermark(name: str, at: datetime) -> History:
    jobs = tuple(
        replace(p, accounting=replace(p.accounting, watermark=at)) if p.job.name == name else p  # type: ignore[type-var]
        for p in good().jobs
    )
    return replace(good(), jobs=jobs)


def test_a_true_history_is_clean_and_has_what_the_others_need() -> None:
    report = audit(good())
    assert report.clean, "\n".join(render_report(report))
    assert {r.cause for r in good().runs} == {Cause.SCHEDULE, Cause.HELD}
    assert {o.kind for o in good().omissions} == set(OmissionKind)
    assert of("theirs", OmissionKind.SKIPPED).count == 2
    assert of("kept", OmissionKind.HELD).count == 3
    told = sum(o.count for o in good().omissions) + len(good().runs)
    held = sum(r.cause is Cause.HELD for r in good().runs)
    assert report.checked["fires"] == told - held


FAULTS: dict[str, tuple[str, Any]] = {
    "a run inside what was skipped": (
        "fire_accounted_twice",
        lambda: with_omission(
            of("theirs", OmissionKind.SKIPPED), first=run_of("theirs", 3).fire_time
        ),
    ),
    "two stretches that meet": (
        "fire_accounted_twice",
        lambda: with_omission(
            of("theirs", OmissionKind.SKIPPED),
            first=of("theirs", OmissionKind.MISSED).last,
            count=9,
        ),
    ),
    "a run of a hold that nobody held": (
        "held_run_without_hold",
        lambda: with_run(run_of("kept"), cause=Cause.HELD),
    ),
    "a hold that says too many became runs": (
        "hold_miscounted",
        lambda: with_omission(of("kept", OmissionKind.HELD), claimed=2),
    ),
    "a run beyond the watermark": (
        "beyond_watermark",
        lambda: with_watermark("theirs", run_of("theirs", -1).fire_time - MINUTE),
    ),
    "a run before its fire": (
        "claimed_early",
        lambda: with_run(run_of("kept"), fire_time=run_of("kept").fire_time + 5 * MINUTE),
    ),
    "a run of an edit that came later": (
        "revision_not_current",
        lambda: with_run(run_of("kept"), revision=2),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_planted_fault_is_found_and_nothing_else(name: str) -> None:
    code, doctored = FAULTS[name]
    found = audit(doctored()).findings
    assert {f.code for f in found} == {code}, "\n".join(f"{f.code} {f.text}" for f in found)


def test_a_run_that_was_taken_out_cannot_be_missed() -> None:
    """Only what was announced could be told, and no arithmetic says what was."""
    gone = run_of("theirs", 1)
    rest = replace(good(), runs=tuple(r for r in good().runs if r.id != gone.id))
    assert audit(rest).clean


STEPS = st.one_of(
    st.tuples(st.just("announce"), st.sampled_from(["a", "b"]), st.integers(0, 3)),
    st.tuples(st.just("announce"), st.sampled_from(["a", "b"]), st.integers(0, 3)),
    st.tuples(st.just("fate"), st.sampled_from(["a", "b"]), st.integers(0, 2)),
    st.tuples(st.just("end"), st.just(""), st.just(0)),
    st.tuples(st.just("owner"), st.just(""), st.integers(0, 1)),
    st.tuples(st.just("nobody"), st.just(""), st.just(0)),
    st.tuples(st.just("edit"), st.sampled_from(["a", "b"]), st.integers(0, 5)),
    st.tuples(st.just("pause"), st.sampled_from(["a", "b"]), st.just(0)),
    st.tuples(st.just("back"), st.just(""), st.integers(1, 40)),
    st.tuples(st.just("purge"), st.just(""), st.integers(0, 3)),
    st.tuples(st.just("trigger"), st.sampled_from(["a", "b"]), st.just(0)),
)


class Fate(Told):
    """A story that a random list of steps tells."""

    members = 0

    def do(self, what: str, name: str, how: int) -> None:
        store, job = self.store, None if not name else self.store.job(name)
        if what == "announce":
            self.announce(name, minutes=how + 3, passed=how)
        elif what == "fate":
            outcomes = (RunState.SUCCEEDED, RunState.LOST, RunState.RUNNING)
            self.outcomes[name] = outcomes[how]
        elif what == "end":
            for run in store.runs(RunFilter(states=ACTIVE))[0]:
                self.finish(run, RunState.SUCCEEDED)
        elif what == "owner":
            self.members += 1
            executable = (GATEWAY, DESKTOP)[how]
            self.owner(f"p{self.members}", executable, how)
        elif what == "nobody" and self.authority is not None:
            self.hand_over()
        elif what == "edit" and job is not None:
            wants = theirs(name, protected=job.definition.protected, tags=(f"t{how}",))
            store.edit_job(job.id, job.revision, wants, by="bob", now=self.now)
        elif what == "pause" and job is not None:
            state = JobState.PAUSED if job.state is JobState.ACTIVE else JobState.ACTIVE
            store.set_job_state(job.id, state, by="bob", now=self.now)
        elif what == "back" and self.authority is not None:
            self.now -= how * MINUTE
            facts = {"kind": "step_backward", "seconds": how * 60.0}
            store.record_event(EventKind.CLOCK, self.now, facts=facts)
            store.restart_planning(self.authority, self.now)
        elif what == "purge":
            store.purge(PurgeLimits(runs_per_job=how, days=1, events=5 + how * 20), self.now)
        elif what == "trigger":
            self.trigger(name)


@example([("trigger", "a", 0), ("announce", "a", 0), ("purge", "", 0), ("back", "", 4)])
@example([("owner", "", 1), ("announce", "b", 1), ("owner", "", 0), ("back", "", 2)])
@given(st.lists(STEPS, max_size=25))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_true_histories_are_clean(steps: list[tuple[str, str, int]]) -> None:
    story = Fate(MemoryStore("random", START))
    for name, protected in (("a", False), ("b", True)):
        story.store.add_job(theirs(name, protected=protected), by="alice", now=START)
    story.do("owner", "", 0)
    for step in steps:
        story.do(*step)
    report = audit(read_history(story.store, story.now))
    assert report.clean, "\n".join(render_report(report))
