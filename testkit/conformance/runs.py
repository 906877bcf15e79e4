"""C6 Finished work is kept, C10 Provenance: starts, ends, adoption, cancelling."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenure.domain.errors import IllegalTransition, NotFound
from tenure.domain.event import EventKind
from tenure.domain.job import Overlap
from tenure.domain.ownership import Authority, OwnershipAction
from tenure.domain.policy.evidence import Identity
from tenure.domain.run import FINAL, FinishOutcome, Run, RunState, Start
from tenure.store.contract import Page, RunFilter, Store
from testkit.conformance.base import StoreCase
from testkit.factories import (
    after,
    claim_one,
    ended,
    make_definition,
    own,
    plan_round,
)

CHILD = Identity(boot_id="boot-1", pid=900, start=9000)
NOW = after(minutes=1, seconds=5)


def a_run(store: Store, **changes: object) -> tuple[Authority, Run]:
    authority = own(store)
    job = store.add_job(make_definition(**changes), by="ada", now=after())  # type: ignore[arg-type]
    return authority, claim_one(store, authority, job, after(minutes=1))


def begin(run: Run, attempt: int = 1) -> Start:
    return Start(run=run.id, attempt=attempt, at=NOW, identity=CHILD, log="logs/1")


class RunsConformance(StoreCase):
    def test_started_before_the_gate_opens(self, store: Store) -> None:
        """C4: durable before the first instruction of the job."""
        authority, run = a_run(store)
        assert store.start(authority, [begin(run), begin(run)]) == (True, False)
        running = store.run(run.id)
        assert (running.state, running.started_at) == (RunState.RUNNING, NOW)
        assert (running.identity, running.log) == (CHILD, "logs/1")

    def test_a_start_is_of_this_claim(self, store: Store) -> None:
        """C3: fenced: attempt, term and cancel are looked at."""
        authority, run = a_run(store)
        unknown = Start(run="nothing", attempt=1, at=NOW, identity=None)
        assert store.start(authority, [begin(run, 2), unknown]) == (False, False)
        store.request_cancel(run.id, NOW)
        assert store.start(authority, [begin(run)]) == (False,)

    def test_a_later_term_does_not_start_an_old_claim(self, store: Store) -> None:
        """C4: a crash between claim and start is never silently run again."""
        _, run = a_run(store)
        later = own(store, "desktop", now=NOW)
        assert store.adopt_run(later, run.id, 1, NOW)
        assert store.start(later, [begin(run)]) == (False,)

    @pytest.mark.parametrize("state", sorted(FINAL - {RunState.LOST}))
    def test_a_result_is_kept(self, store: Store, state: RunState) -> None:
        """C6: A run's result is fenced by that run, not by who owns now."""
        authority, run = a_run(store)
        store.end_term(authority, act=OwnershipAction.STEP_DOWN, why="", now=NOW)
        result = ended(run, state, exit_code=3, signal=None, reason="it said so")
        assert store.finish([result], NOW) == (FinishOutcome.TAKEN,)
        over = store.run(run.id)
        assert (over.state, over.exit_code, over.reason) == (state, 3, "it said so")
        assert over.finished_at == result.at
        assert store.finish([result], NOW) == (FinishOutcome.ALREADY,)
        assert store.run(run.id) == over

    def test_why_a_run_is_still_active_is_noted_by_its_holder(self, store: Store) -> None:
        """C6: a record that cannot be read is said, and changes nothing else."""
        _, run = a_run(store)
        store.note_reasons("desktop", [(run.id, 1, "not its own")])
        store.note_reasons(run.holder, [(run.id, 2, "not yet"), ("nothing", 1, "no run")])
        assert store.run(run.id) == run
        store.note_reasons(run.holder, [(run.id, 1, "its record cannot be read")])
        assert store.run(run.id) == replace(run, reason="its record cannot be read")
        store.finish([ended(run)], NOW)
        over = store.run(run.id)
        assert over.reason != "its record cannot be read"
        store.note_reasons(run.holder, [(run.id, 1, "too late")])
        assert store.run(run.id) == over

    def test_the_first_result_stays(self, store: Store) -> None:
        """C6: Finished work is kept."""
        _, run = a_run(store)
        store.finish([ended(run)], NOW)
        assert store.finish([ended(run, RunState.LOST)], NOW) == (FinishOutcome.ALREADY,)
        assert store.run(run.id).state is RunState.SUCCEEDED

    def test_each_result_is_decided_by_itself(self, store: Store) -> None:
        """C6: three answers, never two."""
        _, run = a_run(store)
        results = [
            ended(run, process="stranger"),
            ended(run, attempt=2),
            replace(ended(run), run="purged"),
            ended(run),
        ]
        assert store.finish(results, NOW) == (
            FinishOutcome.NOT_HELD,
            FinishOutcome.NOT_HELD,
            FinishOutcome.ALREADY,
            FinishOutcome.TAKEN,
        )

    def test_a_late_result_is_kept_beside(self, store: Store) -> None:
        """C6: A result that arrives after the run was declared lost is kept beside it as late."""
        _, run = a_run(store)
        desktop = own(store, "desktop", now=NOW)
        assert store.adopt_run(desktop, run.id, 1, NOW)
        lost = ended(run, RunState.LOST, process="desktop", reason="its owner died")
        assert store.finish([lost], NOW) == (FinishOutcome.TAKEN,)
        assert EventKind.RUN_LOST in [e.kind for e in store.events()]
        late = ended(run, RunState.FAILED, exit_code=7, reason="late")
        assert store.finish([late, late], after(hours=1)) == (
            FinishOutcome.LATE,
            FinishOutcome.ALREADY,
        )
        kept = store.run(run.id)
        assert (kept.state, kept.exit_code) == (RunState.LOST, None)
        assert kept.late is not None
        assert (kept.late.state, kept.late.exit_code) == (RunState.FAILED, 7)
        assert store.events()[-1].kind is EventKind.LATE_RESULT

    def test_an_end_is_an_end(self, store: Store) -> None:
        """Illegal transitions raise and change nothing."""
        _, run = a_run(store)
        for state in (RunState.CLAIMED, RunState.RUNNING):
            with pytest.raises(IllegalTransition):
                store.finish([ended(run), ended(run, state)], NOW)
        assert store.run(run.id) == run

    def test_callables_are_noted(self, store: Store) -> None:
        """C10: observed; for the record only."""
        _, run = a_run(store)
        store.note_started([(run.id, 2, NOW), ("nothing", 1, NOW)])
        assert store.run(run.id) == run
        store.note_started([(run.id, 1, NOW)])
        assert store.run(run.id).started_at == NOW
        entered = after(minutes=1, seconds=2)
        store.finish([ended(run, started_at=entered)], NOW)
        assert store.run(run.id).started_at == entered

    def test_orphans_are_adopted(self, store: Store) -> None:
        """C6: A command that outlives its owner keeps its output and its true exit status."""
        _, run = a_run(store)
        assert [r.id for r in store.runs_held_by("gateway")] == [run.id]
        assert store.orphans("gateway") == ()
        desktop = own(store, "desktop", now=NOW)
        assert [r.id for r in store.orphans("desktop")] == [run.id]
        assert not store.adopt_run(desktop, run.id, 2, NOW)
        assert store.adopt_run(desktop, run.id, 1, NOW)
        events = len(store.events(limit=1000))
        assert store.adopt_run(desktop, run.id, 1, NOW)
        assert len(store.events(limit=1000)) == events
        assert store.runs_held_by("gateway") == ()
        adopted = store.run(run.id)
        assert (adopted.holder, adopted.process, adopted.term) == ("desktop", "gateway", 1)
        assert store.finish([ended(run)], NOW) == (FinishOutcome.NOT_HELD,)
        assert store.finish([ended(adopted, exit_code=5)], NOW) == (FinishOutcome.TAKEN,)
        assert not store.adopt_run(desktop, run.id, 1, NOW)
        with pytest.raises(NotFound):
            store.adopt_run(desktop, "nothing", 1, NOW)

    def test_provenance_is_of_the_claimer(self, store: Store) -> None:
        """C10: Every run records the evidence of the process that ran it."""
        _, run = a_run(store)
        assert store.provenance(run.id) == store.process("gateway").evidence
        with pytest.raises(NotFound):
            store.provenance("nothing")

    def test_cancel_is_asked_of_the_holder(self, store: Store) -> None:
        """C7: cancel is a request that the owner answers."""
        _, run = a_run(store)
        store.request_cancel(run.id, NOW)
        store.request_cancel(run.id, after(hours=1))
        (marked,) = store.runs_held_by("gateway")
        assert (marked.cancel_requested_at, marked.state) == (NOW, RunState.CLAIMED)
        store.finish([ended(run, RunState.CANCELLED)], NOW)
        over = store.run(run.id)
        store.request_cancel(run.id, after(hours=2))
        assert store.run(run.id) == over
        with pytest.raises(NotFound):
            store.request_cancel("nothing", NOW)

    @pytest.mark.parametrize("first", ["cancel", "retry"])
    def test_a_cancelled_run_is_not_retried(self, store: Store, first: str) -> None:
        """C12: what the user asked for is not lost."""
        _, run = a_run(store, retries=3, overlap=Overlap.QUEUE)
        again = ended(run, RunState.RETRYING, retry_at=after(minutes=2))
        if first == "cancel":
            store.request_cancel(run.id, NOW)
        assert store.finish([again], NOW) == (FinishOutcome.TAKEN,)
        if first == "retry":
            assert store.finish([again], NOW) == (FinishOutcome.ALREADY,)
            store.request_cancel(run.id, NOW)
        over = store.run(run.id)
        assert (over.state, over.retry_at) == (RunState.CANCELLED, None)

    def test_runs_are_found(self, store: Store) -> None:
        """C10: every run says who ran it."""
        first = own(store)
        job = store.add_job(make_definition(overlap=Overlap.ALLOW), by="ada", now=after())
        other = store.add_job(make_definition("other"), by="ada", now=after())
        plan_round(store, first, after(minutes=1))
        second = own(store, "desktop", now=after(minutes=1, seconds=30))
        run = claim_one(store, second, job, after(minutes=2))
        store.finish([ended(run)], after(minutes=2))
        assert len(store.runs(RunFilter())[0]) == 3
        assert store.runs(RunFilter(job=job.id))[0][0] == store.run(run.id)
        assert [r.job for r in store.runs(RunFilter(job=other.id))[0]] == [other.id]
        succeeded = frozenset({RunState.SUCCEEDED})
        for where in (
            RunFilter(states=succeeded),
            RunFilter(since=after(minutes=2)),
            RunFilter(term=2),
            RunFilter(process="desktop"),
            RunFilter(job=job.id, term=2),
        ):
            assert [r.id for r in store.runs(where)[0]] == [run.id], where
        found: list[str] = []
        cursor: str | None = None
        for _ in range(3):
            page, cursor = store.runs(RunFilter(), Page(limit=1, cursor=cursor))
            found += [r.id for r in page]
        assert cursor is None
        assert found == [r.id for r in store.runs(RunFilter())[0]]
        with pytest.raises(NotFound):
            store.run("nothing")
