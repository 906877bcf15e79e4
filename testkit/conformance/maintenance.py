"""Transactions, events, figures; retention never weakens C4."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from tenure.domain.errors import Conflict, NotFound, StaleTerm
from tenure.domain.event import EventKind
from tenure.domain.job import Job, JobState
from tenure.domain.ownership import Authority
from tenure.domain.request import DEADLINE, RequestKind, RequestState
from tenure.domain.run import RunState
from tenure.store.contract import SCHEMA, ClaimOutcome, JobEditor, PurgeLimits, RunFilter, Store
from testkit.conformance.base import StoreCase
from testkit.factories import (
    REQUESTER,
    START,
    after,
    claim_one,
    ended,
    make_definition,
    make_process,
    own,
    plan_round,
)

KEEP_TWO = PurgeLimits(runs_per_job=2, days=3650)
DAY = timedelta(days=1)


def run_minutes(store: Store, authority: Authority, minutes: int) -> list[str]:
    """Run a minutely job for ``minutes`` fires; the ids of its runs, oldest first."""
    job = store.add_job(make_definition(), by="ada", now=START)
    runs = []
    for minute in range(1, minutes + 1):
        run = claim_one(store, authority, job, after(minutes=minute))
        store.finish([ended(run)], after(minutes=minute, seconds=5))
        runs.append(run.id)
    return runs


class MaintenanceConformance(StoreCase):
    def test_facts(self, store: Store) -> None:
        """C1: compared with profile.id, which lies outside the store."""
        facts = store.facts()
        assert facts.profile_id
        assert (facts.schema, facts.term) == (SCHEMA, 0)
        assert facts.min_reader <= SCHEMA
        assert facts.min_writer <= SCHEMA

    def test_a_batch_is_one_commit(self, store: Store) -> None:
        """C4: one commit for many."""
        with store.batch():
            job = store.add_job(make_definition(), by="ada", now=START)
            store.set_job_state(job.id, JobState.PAUSED, by="ada", now=START)
        assert store.job("report").state is JobState.PAUSED

    def test_an_exception_undoes_the_batch(self, store: Store) -> None:
        """Bad input changes nothing."""
        before = store.events()

        def fail() -> None:
            with store.batch():
                store.add_job(make_definition(), by="ada", now=START)
                raise KeyError("the caller's own")

        with pytest.raises(KeyError):
            fail()
        with pytest.raises(NotFound):
            store.job("report")
        assert store.events() == before
        store.add_job(make_definition(), by="ada", now=START)

    def test_many_changes_are_one_commit(self, store: Store) -> None:
        """All, or what a step raises is raised and nothing is changed."""

        def add(name: str) -> Callable[[JobEditor], Job]:
            def step(editor: JobEditor) -> Job:
                job = editor.add_job(make_definition(name), by="ada", now=START)
                return editor.set_job_state(job.id, JobState.PAUSED, by="ada", now=START)

            return step

        names = [f"j{number:03}" for number in range(50)]
        with pytest.raises(Conflict):
            store.change_jobs([add(name) for name in (*names, names[7])])
        assert store.jobs()[0] == ()
        assert store.events() == ()
        jobs = store.change_jobs([add(name) for name in names])
        assert [job.name for job in jobs] == names
        assert store.jobs()[0] == jobs
        assert {job.state for job in jobs} == {JobState.PAUSED}
        assert store.change_jobs([]) == ()

    def test_a_verb_that_raises_in_a_batch_undoes_itself_only(self, store: Store) -> None:
        """It either takes whole or raises and changes nothing."""
        with store.batch():
            store.add_job(make_definition(), by="ada", now=START)
            with pytest.raises(Conflict):
                store.add_job(make_definition(), by="ada", now=START)
            store.add_job(make_definition("other"), by="ada", now=START)
        assert [j.name for j in store.jobs()[0]] == ["other", "report"]

    def test_batches_do_not_nest(self, store: Store) -> None:
        """Does not nest."""
        with pytest.raises(Exception, match="nest"), store.batch(), store.batch():
            pass
        store.add_job(make_definition(), by="ada", now=START)

    def test_threads_wait_for_a_batch(self, store: Store) -> None:
        """A store object may be shared by threads: each call is atomic towards the others."""
        began = threading.Event()
        seen: list[int] = []

        def look() -> None:
            began.set()
            seen.append(len(store.jobs()[0]))

        other = threading.Thread(target=look)
        with store.batch():
            store.add_job(make_definition("a"), by="ada", now=START)
            other.start()
            assert began.wait(10), "the other thread did not begin within 10 s"
            store.add_job(make_definition("b"), by="ada", now=START)
        other.join(10)
        assert seen in ([0], [2])

    def test_concurrent_claims_take_once(self, store: Store) -> None:
        """C4: A fire is claimed at most once, ever."""
        authority = own(store)
        store.add_job(make_definition(), by="ada", now=START)
        outcomes: list[ClaimOutcome] = []

        def compete() -> None:
            outcomes.extend(c.outcome for c in plan_round(store, authority, after(minutes=1)))

        threads = [threading.Thread(target=compete) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert outcomes.count(ClaimOutcome.CLAIMED) == 1
        assert len(store.runs(RunFilter())[0]) == 1

    def test_a_commit_by_this_object_may_move_the_mark(self, store: Store) -> None:
        """A number, for cheap polling: the same while nothing happens."""
        assert store.change_mark() == store.change_mark()

    def test_events_are_in_order(self, store: Store) -> None:
        """One event per business fact."""
        for number in range(3):
            store.record_event(EventKind.WARNING, START, term=1, job="j", facts={"n": number})
        events = store.events()
        assert [e.facts["n"] for e in events] == [0, 1, 2]
        assert [e.seq for e in events] == sorted({e.seq for e in events})
        assert store.events(after=events[0].seq, limit=1) == events[1:2]
        assert (events[0].kind, events[0].term, events[0].job) == (EventKind.WARNING, 1, "j")

    def test_counts(self, store: Store) -> None:
        """C9: figures for status."""
        authority = own(store, authoritative=False)
        for name, protected in (("a", False), ("b", True), ("c", True)):
            store.add_job(make_definition(name, protected=protected), by="ada", now=START)
        store.set_job_state(store.job("c").id, JobState.PAUSED, by="ada", now=START)
        plan_round(store, authority, after(minutes=1))
        store.create_request(
            kind=RequestKind.HAND_OVER, key="k", requester=REQUESTER, now=START, deadline=DEADLINE
        )
        counts = store.counts()
        assert (counts.jobs[JobState.ACTIVE], counts.jobs[JobState.PAUSED]) == (2, 1)
        assert (counts.protected, counts.active_runs, counts.open_holds) == (2, 1, 1)
        assert counts.pending_requests == 1

    def test_retention_goes_by_a_clock_that_no_step_moves(self, store: Store) -> None:
        """Advance the clock that retention goes by; it starts where the store was made."""
        minute, year = timedelta(minutes=1), 365 * DAY
        assert store.history_now(START, timedelta(0)) == START
        assert store.history_now(START + minute, minute) == START + minute
        wrong = START + year + 2 * minute
        assert store.history_now(wrong, minute) == START + 2 * minute
        assert store.history_now(START + minute, timedelta(0)) == START + minute
        assert store.history_now(START + 3 * minute, minute) == START + 3 * minute

    def test_that_clock_believes_a_step_in_time(self, store: Store) -> None:
        """A machine that was off for long: see tenure.domain.history_clock."""
        step, year = timedelta(minutes=5), 365 * DAY
        read = [store.history_now(START + year + n * step, step) for n in range(1, 80)]
        assert read[71] == START + 72 * step
        assert read[78] - read[71] > 5 * DAY

    def test_retention_keeps_the_newest(self, store: Store) -> None:
        """PurgeLimits is bounded."""
        runs = run_minutes(store, own(store), 5)
        purged = store.purge(KEEP_TWO, after(hours=1))
        assert sorted(purged.runs) == sorted(runs[:3])
        assert store.purge(KEEP_TWO, after(hours=1)).runs == ()
        kept = [r.id for r in store.runs(RunFilter())[0]]
        assert kept == runs[:2:-1]
        with pytest.raises(NotFound):
            store.run(runs[0])
        job = store.job("report")
        assert store.accounting(job.id).accounted_from == after(minutes=3)

    def test_retention_is_done_in_steps(self, store: Store) -> None:
        """So that no transaction is long."""
        runs = run_minutes(store, own(store), 4)
        few = PurgeLimits(runs_per_job=1, days=3650, batch=2)
        assert sorted(store.purge(few, after(hours=1)).runs) == sorted(runs[:2])
        assert store.purge(few, after(hours=1)).runs == (runs[2],)

    def test_a_purged_fire_is_not_claimed_again(self, store: Store) -> None:
        """C4: at most once, ever, also after retention has deleted its row."""
        authority = own(store)
        run_minutes(store, authority, 4)
        store.purge(PurgeLimits(runs_per_job=0, days=3650), after(hours=1))
        assert store.runs(RunFilter())[0] == ()
        job = store.job("report")
        store.restart_planning(authority, START)
        for minute in range(1, 5):
            (answer,) = plan_round(store, authority, after(minutes=minute))
            assert (answer.outcome, answer.runs) == (ClaimOutcome.REPEATED, ())
        assert claim_one(store, authority, job, after(minutes=5)).fire_time == after(minutes=5)

    def test_retention_spares_what_goes_on(self, store: Store) -> None:
        """Never an open hold, an active run, a process that is named by a kept run."""
        authority = own(store, authoritative=False)
        job = store.add_job(make_definition(), by="ada", now=START)
        store.add_job(make_definition("held", protected=True), by="ada", now=START)
        run = claim_one(store, authority, job, after(minutes=1))
        store.leave("gateway", after(minutes=1))
        store.join(make_process("passer-by"))
        store.leave("passer-by", after(minutes=1))
        own(store, "desktop", now=after(minutes=1))
        nothing = PurgeLimits(runs_per_job=0, days=0, events=1)
        purged = store.purge(nothing, after(days=30))
        assert (purged.runs, purged.omissions, purged.processes) == ((), 0, 1)
        assert store.run(run.id).state is RunState.CLAIMED
        assert {p.id for p in store.processes(gone=True)} == {"gateway", "desktop"}
        assert len(store.omissions(only_open=True)[0]) == 1
        assert len(store.events()) == 1

    def test_closed_omissions_and_answered_requests_go(self, store: Store) -> None:
        """PurgeLimits of history is bounded."""
        job = store.add_job(make_definition(), by="ada", now=START)
        store.set_job_state(job.id, JobState.PAUSED, by="ada", now=after(minutes=3))
        values = {"kind": RequestKind.HAND_OVER, "requester": REQUESTER, "deadline": DEADLINE}
        first = store.create_request(key="a", now=START, **values)  # type: ignore[arg-type]
        second = store.create_request(key="b", now=START, **values)  # type: ignore[arg-type]
        refused = RequestState.REFUSED
        store.resolve_request(first.id, refused, authority=None, now=START, answer="no")
        nothing = PurgeLimits(runs_per_job=1000, days=0)
        early = store.purge(nothing, START + DAY)
        assert (early.omissions, early.requests) == (1, 0)
        assert store.purge(nothing, START + 2 * DAY).requests == 1
        assert [r.id for r in store.requests()] == [second.id]
        assert store.accounting(job.id).accounted_from == after(minutes=3)

    def test_retention_is_fenced_by_nothing(self, store: Store) -> None:
        """C3: a stale authority still changes nothing after a purge."""
        stale = own(store)
        run_minutes(store, stale, 3)
        own(store, "desktop", now=after(minutes=4))
        store.purge(PurgeLimits(runs_per_job=0, days=3650), after(hours=1))
        with pytest.raises(StaleTerm):
            plan_round(store, stale, after(hours=1))
