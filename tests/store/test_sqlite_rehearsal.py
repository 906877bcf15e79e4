"""Thousands of changes in one commit: rehearsed outside, and true to what others did meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tenure.domain.errors import Conflict, NotFound
from tenure.domain.job import Job, JobState, Runner
from tenure.domain.ownership import Authority
from tenure.domain.planning.catch_up import CatchUpBudget
from tenure.domain.planning.plan import OwnerCapabilities
from tenure.domain.planning.planner import plan
from tenure.store.contract import Declaration, JobEditor
from tenure.store.sqlite import SqliteStore
from tenure.store.sqlite.edits import MAX_UNREHEARSED
from testkit.factories import START, after, make_definition, own, plan_round

MANY = 3 * MAX_UNREHEARSED
Step = Callable[[JobEditor], Job]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore.create(tmp_path / "tenure.db", profile_id="p", now=START) as made:
        yield made


@pytest.fixture
def other(store: SqliteStore) -> Iterator[SqliteStore]:
    with SqliteStore.open(store.path) as made:
        yield made


def add(name: str) -> Step:
    return lambda editor: editor.add_job(make_definition(name), by="ada", now=START)


def state(job: Job, wanted: JobState) -> Step:
    return lambda editor: editor.set_job_state(job.id, wanted, by="ada", now=after(minutes=1))


def edited(job: Job, wanted: str) -> Step:
    definition = job.definition.with_changes(tags=(wanted,))
    return lambda editor: editor.edit_job(
        job.id, job.revision, definition, by="ada", now=after(seconds=30)
    )


def filled(store: SqliteStore) -> list[Job]:
    return list(store.change_jobs([add(f"j{n:03}") for n in range(MANY)]))


def once_before(step: Step, act: Callable[[], object]) -> Step:
    """Another process acts after the snapshot, while the step is rehearsed."""
    acted: list[object] = []

    def call(editor: JobEditor) -> Job:
        if not acted:
            acted.append(act() or True)
        return step(editor)

    return call


def test_what_nobody_touched_is_as_it_was_rehearsed(store: SqliteStore) -> None:
    jobs = filled(store)
    assert [store.job(job.id) for job in jobs] == jobs
    changed = store.change_jobs([edited(job, "new") for job in jobs])
    assert [store.job(job.id) for job in jobs] == list(changed)
    assert {job.revision for job in changed} == {2}
    assert len(store.revisions(jobs[0].id)) == 2
    events = store.events(limit=1000)
    assert [e.job for e in events] == [job.id for job in jobs] * 2


def test_a_claim_meanwhile_is_kept(store: SqliteStore, other: SqliteStore) -> None:
    """C4, C5: the watermark that the claim moved is the one that the edit goes on from."""
    authority = own(store)
    jobs = filled(store)
    runs: list[str] = []

    def claim() -> None:
        now = after(minutes=1)
        (due,) = (due for due in other.due(now, {Runner.COMMAND: MANY}) if due.job.id == jobs[7].id)
        standing, budget = OwnerCapabilities(authoritative=True), CatchUpBudget(rate=1, burst=1)
        (claimed,) = other.claim(authority, [plan(due, now, standing, 1, budget)], now)
        runs.append(claimed.runs[0].id)

    steps = [state(job, JobState.PAUSED) for job in jobs]
    steps[3] = once_before(steps[3], claim)
    store.change_jobs(steps)
    assert store.run(runs[0]).fire_time == after(minutes=1)
    assert store.job(jobs[7].id).state is JobState.PAUSED
    # Of the others the fire is missed; of the one that ran it is not.
    assert store.omissions(job=jobs[7].id)[0] == ()
    assert [o.first for o in store.omissions(job=jobs[8].id)[0]] == [after(minutes=1)]


def test_an_edit_meanwhile_is_not_overwritten(store: SqliteStore, other: SqliteStore) -> None:
    jobs = filled(store)
    steps = [edited(job, "mine") for job in jobs]
    theirs = jobs[7].definition.with_changes(tags=("theirs",))
    steps[3] = once_before(
        steps[3], lambda: other.edit_job(jobs[7].id, 1, theirs, by="bob", now=after(seconds=20))
    )
    before = store.events(limit=1000)
    with pytest.raises(Conflict, match="bob edited it"):
        store.change_jobs(steps)
    assert {store.job(job.id).revision for job in jobs if job is not jobs[7]} == {1}
    assert store.job(jobs[7].id).definition == theirs
    assert len(store.events(limit=1000)) == len(before) + 1


def test_a_name_that_was_taken_meanwhile(store: SqliteStore, other: SqliteStore) -> None:
    steps = [add(f"j{n:03}") for n in range(MANY)]
    taken = make_definition("j040")
    steps[3] = once_before(steps[3], lambda: other.add_job(taken, by="bob", now=START))
    with pytest.raises(Conflict, match="j040"):
        store.change_jobs(steps)
    assert [job.name for job in store.jobs()[0]] == ["j040"]


def test_a_name_that_came_free_meanwhile(store: SqliteStore, other: SqliteStore) -> None:
    """One that the rehearsal refuses is refused: nothing was changed, and it can be tried again."""
    job = store.add_job(make_definition("j040"), by="bob", now=START)
    steps = [add(f"j{n:03}") for n in range(MANY)]
    steps[3] = once_before(
        steps[3], lambda: other.set_job_state(job.id, JobState.REMOVED, by="bob", now=START)
    )
    with pytest.raises(Conflict, match="j040"):
        store.change_jobs(steps)
    assert len(store.change_jobs(steps)) == MANY


def test_a_hold_that_was_opened_meanwhile(store: SqliteStore, other: SqliteStore) -> None:
    """Removing accounts for open held fires as missed, also for those that are held since."""
    own(store, authoritative=False)
    jobs = filled(store)
    wanted = make_definition("held", protected=True)
    held = store.add_job(wanted, by="ada", now=START)

    def hold() -> None:
        plan_round(other, Authority(term=1, process="gateway", policy_version=0), after(minutes=1))

    steps = [state(job, JobState.REMOVED) for job in [*jobs, held]]
    steps[3] = once_before(steps[3], hold)
    store.change_jobs(steps)
    (omission,) = store.omissions(job=held.id)[0]
    assert not omission.open
    assert "removed" in omission.resolution


def test_steps_of_one_job_follow_each_other(store: SqliteStore, other: SqliteStore) -> None:
    jobs = filled(store)
    steps = [step for job in jobs for step in (state(job, JobState.PAUSED), edited(job, "x"))]
    steps += [state(job, JobState.ACTIVE) for job in jobs]
    steps[3] = once_before(
        steps[3], lambda: other.set_job_state(jobs[7].id, JobState.PAUSED, by="bob", now=START)
    )
    made = store.change_jobs(steps)
    assert made[-MANY:] == tuple(store.job(job.id) for job in jobs)
    assert {(job.state, job.revision) for job in made[-MANY:]} == {(JobState.ACTIVE, 2)}


def test_inside_a_batch_it_is_part_of_it(store: SqliteStore) -> None:
    with pytest.raises(KeyError), store.batch():
        _fill_and_fail(store)
    assert store.jobs()[0] == ()


def _fill_and_fail(store: SqliteStore) -> None:
    filled(store)
    raise KeyError("the caller's own")


def test_declarations_of_an_app_go_the_same_way(store: SqliteStore, other: SqliteStore) -> None:
    authority = own(store)

    def declared(tag: str, count: int = MANY) -> list[Declaration]:
        return [
            Declaration(definition=make_definition(f"app:j{n:03}", tags=(tag,)))
            for n in range(count)
        ]

    first = store.reconcile(authority, "app", "1", declared("a"), START)
    assert len(first.added) == MANY
    # One is removed by hand between two starts: it comes back, as a new job.
    gone = store.job("app:j003")
    other.set_job_state(gone.id, JobState.REMOVED, by="bob", now=START)
    second = store.reconcile(authority, "app", "2", declared("b", MANY - 1), after(minutes=1))
    assert second.added == ("app:j003",)
    assert len(second.changed) == MANY - 2
    assert second.dormant == (f"app:j{MANY - 1:03}",)
    with pytest.raises(NotFound):
        store.change_jobs([state(gone, JobState.ACTIVE)] * MANY)


def test_the_write_lock_is_free_while_it_is_prepared(
    store: SqliteStore, other: SqliteStore
) -> None:
    """Another process writes while a step is rehearsed: the lock is not held then."""
    jobs = filled(store)
    waited: list[float] = []

    def write() -> None:
        began = time.monotonic()
        other.set_job_state(jobs[0].id, JobState.PAUSED, by="bob", now=START)
        waited.append(time.monotonic() - began)

    def in_a_thread() -> None:
        thread = threading.Thread(target=write)
        thread.start()
        thread.join(10)
        assert waited, "another connection could not write while the changes were rehearsed"

    steps = [edited(job, "x") for job in jobs[1:]]
    steps[-1] = once_before(steps[-1], in_a_thread)
    store.change_jobs(steps)
    assert store.job(jobs[0].id).state is JobState.PAUSED
    assert timedelta(seconds=waited[0]) < timedelta(seconds=5)
