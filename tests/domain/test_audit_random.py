"""Whatever truly happens to a profile, `audit` finds nothing; and one lost record is found."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from auditkit import DESKTOP, GATEWAY, MINUTE, START, Story, definition, rules
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenure.audit import audit, render_report
from tenure.audit.reader import read_history
from tenure.domain.event import EventKind
from tenure.domain.job import CatchUp, Definition, JobState, Overlap
from tenure.domain.ownership import OwnershipAction, OwnershipState
from tenure.domain.policy.text import make_policy
from tenure.domain.run import ACTIVE, Cause, RunState
from tenure.domain.schedule.model import Schedule, at_schedule, cron_schedule, every_schedule
from tenure.store.contract import PurgeLimits, RunFilter, Store
from tenure.store.sqlite.store import SqliteStore
from testkit.memory_store.store import MemoryStore

SCHEDULES: list[Schedule] = [
    every_schedule(MINUTE, START),
    every_schedule(timedelta(seconds=95), START),
    cron_schedule("*/3 * * * *"),
    cron_schedule("*/7 8-9 * * *", "Europe/Berlin"),
    at_schedule(START + timedelta(minutes=20)),
]
OUTCOMES = [
    RunState.SUCCEEDED,
    RunState.FAILED,
    RunState.RETRYING,
    RunState.LOST,
    RunState.NEVER_RAN,
    RunState.RUNNING,
    RunState.CLAIMED,
]
DEFINITIONS = st.builds(
    lambda schedule, overlap, catch_up, protected, retries, jitter: definition(
        "job",
        schedule,
        overlap=overlap,
        catch_up=catch_up,
        protected=protected,
        retries=retries,
        jitter=timedelta(seconds=jitter),
    ),
    st.sampled_from(SCHEDULES),
    st.sampled_from(Overlap),
    st.sampled_from([None, *CatchUp]),
    st.booleans(),
    st.integers(0, 2),
    st.sampled_from([0, 20]),
)
JOBS = [f"job{i}" for i in range(3)]
STEPS = st.one_of(
    st.tuples(st.just("pass"), st.integers(1, 40)),
    st.tuples(st.just("sleep"), st.integers(1, 300)),
    st.tuples(st.just("fall"), st.just(0)),
    st.tuples(st.just("gateway"), st.just(0)),
    st.tuples(st.just("desktop"), st.just(0)),
    st.tuples(st.just("purge"), st.integers(1, 20)),
    st.tuples(st.just("back"), st.integers(1, 90)),
    st.tuples(st.just("end"), st.sampled_from(OUTCOMES[:5])),
    st.tuples(st.sampled_from(["edit"]), st.tuples(st.sampled_from(JOBS), DEFINITIONS)),
    st.tuples(st.sampled_from(["pause", "resume", "remove", "trigger"]), st.sampled_from(JOBS)),
    st.tuples(st.just("fate"), st.tuples(st.sampled_from(JOBS), st.sampled_from(OUTCOMES))),
)


class Fate(Story):
    """A story that a random list of steps tells."""

    members = 0

    def do(self, what: str, how: object) -> None:
        getattr(self, f"do_{what}")(how)

    def do_pass(self, minutes: int) -> None:
        self.pass_time(minutes)

    def do_sleep(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    def do_fall(self, _: object) -> None:
        """The owner dies; the kernel says so."""
        owner = self.store.ownership()
        if owner.hold is OwnershipState.HELD and owner.process is not None:
            self.store.leave(owner.process, self.now, died=True)
            self.authority = None

    def do_gateway(self, _: object) -> None:
        self._take(GATEWAY, 0)

    def do_desktop(self, _: object) -> None:
        self._take(DESKTOP, 1)

    def _take(self, executable: str, rule: int) -> None:
        self.members += 1
        name = f"p{self.members}"
        self.join(name, executable)
        vacant = self.store.ownership().hold is OwnershipState.VACANT
        self.take(name, rule, OwnershipAction.TAKE if vacant else OwnershipAction.TAKE_BY_FORCE)
        assert self.authority is not None
        for run in self.store.orphans(name):
            self.store.adopt_run(self.authority, run.id, run.attempt, self.now)

    def do_purge(self, kept: int) -> None:
        few = PurgeLimits(runs_per_job=kept, days=1, events=kept * 5)
        self.store.purge(few, self.now)

    def do_back(self, minutes: int) -> None:
        """The clock is set back, and the owner notices."""
        self.now -= minutes * MINUTE
        if self.authority is not None:
            facts = {"kind": "step_backward", "seconds": minutes * 60.0}
            self.store.record_event(EventKind.CLOCK, self.now, facts=facts)
            self.store.restart_planning(self.authority, self.now)

    def do_end(self, state: RunState) -> None:
        for run in self.store.runs(RunFilter(states=ACTIVE))[0]:
            if run.state is not RunState.RETRYING:
                done = RunState.FAILED if state is RunState.RETRYING else state
                self.finish(run, done)

    def do_edit(self, how: tuple[str, Definition]) -> None:
        job = self._job(how[0])
        if job is not None:
            new = replace(how[1], name=how[0])
            self.store.edit_job(job.id, job.revision, new, by="bob", now=self.now)

    def do_pause(self, name: str) -> None:
        self._set(name, JobState.PAUSED, JobState.ACTIVE)

    def do_resume(self, name: str) -> None:
        self._set(name, JobState.ACTIVE, JobState.PAUSED)

    def do_remove(self, name: str) -> None:
        self._set(name, JobState.REMOVED, JobState.ACTIVE)

    def do_trigger(self, name: str) -> None:
        if self._job(name) is not None:
            self.trigger(name)

    def do_fate(self, how: tuple[str, RunState]) -> None:
        self.outcomes[how[0]] = how[1]

    def _set(self, name: str, state: JobState, was: JobState) -> None:
        job = self._job(name)
        if job is not None and job.state is was:
            self.store.set_job_state(job.id, state, by="bob", now=self.now)

    def _job(self, name: str):  # type: ignore[no-untyped-def]
        return next((j for j in self.store.jobs()[0] if j.name == name), None)


def tell(store: Store, definitions: list[Definition], steps: list[tuple[str, object]]) -> Fate:
    story = Fate(store)
    store.accept_policy(make_policy(rules(), version=1), "alice", START)
    for name, wants in zip(JOBS, definitions, strict=True):
        store.add_job(replace(wants, name=name), by="alice", now=START)
    story.do_gateway(0)
    for what, how in steps:
        story.do(what, how)
    return story


@given(st.lists(DEFINITIONS, min_size=3, max_size=3), st.lists(STEPS, max_size=14), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_true_histories_are_clean(
    definitions: list[Definition], steps: list[tuple[str, object]], data: st.DataObject
) -> None:
    story = tell(MemoryStore("random", START), definitions, steps)
    history = read_history(story.store, story.now)
    report = audit(history)
    assert report.clean, "\n".join(render_report(report))
    # And a run that is taken out is missed, unless the clock or retention hides it.
    since = {p.job.id: p.accounting.accounted_from for p in history.jobs}
    steady = not any(what == "back" for what, _ in steps)
    sure = [
        r
        for r in history.runs
        if steady and r.cause in (Cause.SCHEDULE, Cause.CATCH_UP) and r.fire_time > since[r.job]
    ]
    if sure:
        gone = data.draw(st.sampled_from(sure))
        rest = tuple(r for r in history.runs if r.id != gone.id)
        (finding,) = audit(replace(history, runs=rest)).findings
        assert finding.code == "fire_unaccounted"
        assert finding.facts["first"] == gone.fire_time.isoformat()


def test_a_held_run_that_a_set_back_clock_cut_off_is_no_fault() -> None:
    kept = definition("job", cron_schedule("*/3 * * * *"), protected=True, catch_up=CatchUp.LATEST)
    steps = [("desktop", 0), ("pass", 7), ("gateway", 0), ("pass", 1), ("back", 6)]
    story = tell(MemoryStore("random", START), [kept] * 3, steps)
    assert [run.cause for run in story.store.runs(RunFilter())[0]] == [Cause.HELD] * 3
    report = audit(read_history(story.store, story.now))
    assert report.clean, "\n".join(render_report(report))


@given(st.lists(DEFINITIONS, min_size=3, max_size=3), st.lists(STEPS, max_size=14))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_true_histories_of_a_database_are_clean(
    definitions: list[Definition], steps: list[tuple[str, object]]
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tenure.db"
        with SqliteStore.create(path, profile_id="p", now=START) as store:
            story = tell(store, definitions, steps)
            report = audit(read_history(store, story.now))
    assert report.clean, "\n".join(render_report(report))
