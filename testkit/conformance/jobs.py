"""C7 and C12: definitions are transactions by revision, from any process, and none is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tenure.domain.errors import Conflict, IllegalTransition, InvalidInput, NotFound
from tenure.domain.event import EventKind
from tenure.domain.job import Call, Definition, JobState
from tenure.domain.omission import OmissionKind
from tenure.domain.schedule.model import every_schedule
from tenure.store.contract import Declaration, Page, Store
from testkit.conformance.base import StoreCase
from testkit.factories import START, after, each, make_definition, once, own, plan_round


def declared(name: str, **changes: object) -> Declaration:
    definition = make_definition(f"shop:{name}", action=Call(target=f"shop:{name}"), **changes)  # type: ignore[arg-type]
    return Declaration(definition=definition)


class JobsConformance(StoreCase):
    def test_a_job_is_added_without_an_owner(self, store: Store) -> None:
        """C7: valid from any process with or without an owner."""
        definition = make_definition(jitter=timedelta(seconds=20), tags=("a",))
        job = store.add_job(definition, by="ada", now=START)
        assert store.job(job.id) == store.job("report") == job
        assert (job.revision, job.state, job.definition) == (1, JobState.ACTIVE, definition)
        assert (job.watermark, job.created_at, job.edited_by) == (START, START, "ada")
        assert job.due_at is not None
        assert after(minutes=1) <= job.due_at < after(minutes=1, seconds=20)
        assert store.accounting(job.id).accounted_from == START
        added = store.events()[-1]
        assert (added.kind, added.job) == (EventKind.JOB_ADDED, job.id)

    def test_names_are_taken_once(self, store: Store) -> None:
        """C12: concurrent edits lose nothing."""
        job = store.add_job(make_definition(), by="ada", now=START)
        with pytest.raises(Conflict):
            store.add_job(make_definition(), by="bob", now=START)
        other = store.add_job(make_definition("other"), by="bob", now=START)
        with pytest.raises(Conflict):
            store.edit_job(other.id, 1, make_definition(), by="bob", now=START)
        store.set_job_state(job.id, JobState.REMOVED, by="ada", now=START)
        again = store.add_job(make_definition(), by="bob", now=START)
        assert again.id != job.id
        assert store.job("report") == again

    def test_near_names_are_offered(self, store: Store) -> None:
        """Every refusal names the remedy."""
        store.add_job(make_definition(), by="ada", now=START)
        with pytest.raises(NotFound) as error:
            store.job("repotr")
        assert "report" in str(error.value)

    def test_an_edit_is_a_revision(self, store: Store) -> None:
        """C12: never ignored by the running owner. C14: every revision records its editor."""
        job = store.add_job(make_definition(), by="ada", now=START)
        changed = make_definition(schedule=each(hours=1))
        now = after(seconds=5)
        edited = store.edit_job(job.id, 1, changed, by="bob", now=now)
        assert (edited.revision, edited.edited_by, edited.edited_at) == (2, "bob", now)
        assert edited.due_at == after(hours=1)
        assert store.definition(job.id, 1) == job.definition
        assert store.definition(job.id, 2) == changed
        revisions = [(r.revision, r.edited_by, r.valid_after) for r in store.revisions(job.id)]
        assert revisions == [(1, "ada", START), (2, "bob", now)]
        with pytest.raises(NotFound):
            store.definition(job.id, 3)
        with pytest.raises(NotFound):
            store.revisions("nothing")

    def test_of_two_editors_one_reads_again(self, store: Store) -> None:
        """C12: Concurrent edits by any number of processes lose nothing."""
        job = store.add_job(make_definition(), by="ada", now=START)
        store.edit_job(job.id, 1, make_definition(tags=("a",)), by="ada", now=START)
        with pytest.raises(Conflict):
            store.edit_job(job.id, 1, make_definition(tags=("b",)), by="bob", now=START)
        assert store.job(job.id).definition.tags == ("a",)

    def test_an_equal_definition_changes_nothing(self, store: Store) -> None:
        """C7: definitions are store transactions by revision."""
        job = store.add_job(make_definition(), by="ada", now=START)
        assert store.edit_job(job.id, 1, make_definition(), by="bob", now=after(hours=1)) == job
        assert len(store.revisions(job.id)) == 1

    def test_an_edit_accounts_for_pending_fires(self, store: Store) -> None:
        """C5: Fires follow the revision valid at their instant."""
        job = store.add_job(make_definition(), by="ada", now=START)
        now = after(minutes=5, seconds=10)
        edited = store.edit_job(job.id, 1, make_definition(schedule=each(hours=1)), by="a", now=now)
        (missed,) = store.omissions(job=job.id)[0]
        assert (missed.kind, missed.revision, missed.count) == (OmissionKind.MISSED, 1, 5)
        assert (missed.decided_by, missed.term) == ("a", 0)
        assert edited.watermark == now

    def test_a_fire_that_both_revisions_have_is_left(self, store: Store) -> None:
        """C12: an edit at the wrong second loses no fire."""
        job = store.add_job(make_definition(), by="ada", now=START)
        now = after(minutes=5, seconds=10)
        edited = store.edit_job(job.id, 1, make_definition(tags=("new",)), by="ada", now=now)
        assert edited.due_at == after(minutes=5)
        (missed,) = store.omissions(job=job.id)[0]
        assert (missed.last, missed.count) == (after(minutes=4), 4)
        authority = own(store, now=now)
        (claimed,) = plan_round(store, authority, now)
        (run,) = claimed.runs
        assert (run.fire_time, run.revision) == (after(minutes=5), 2)

    def test_pausing_and_resuming(self, store: Store) -> None:
        """C5: skipped, with the reason and who decided."""
        job = store.add_job(make_definition(), by="ada", now=START)
        paused = store.set_job_state(job.id, JobState.PAUSED, by="ada", now=after(minutes=2))
        assert (paused.state, paused.due_at) == (JobState.PAUSED, None)
        assert store.set_job_state(job.id, JobState.PAUSED, by="ada", now=after(hours=1)) == paused
        resumed = store.set_job_state(job.id, JobState.ACTIVE, by="bob", now=after(minutes=5))
        assert (resumed.state, resumed.due_at) == (JobState.ACTIVE, after(minutes=6))
        skipped, missed = store.omissions(job=job.id)[0]
        assert (missed.kind, missed.count) == (OmissionKind.MISSED, 2)
        assert (skipped.kind, skipped.count, skipped.reason) == (OmissionKind.SKIPPED, 3, "paused")
        assert skipped.decided_by == "bob"
        assert store.events()[-1].kind is EventKind.JOB_STATE

    def test_a_paused_job_may_be_edited(self, store: Store) -> None:
        """C5: Fires follow the revision valid at their instant."""
        job = store.add_job(make_definition(), by="ada", now=START)
        store.set_job_state(job.id, JobState.PAUSED, by="ada", now=START)
        now = after(minutes=3)
        edited = store.edit_job(job.id, 1, make_definition(tags=("x",)), by="ada", now=now)
        assert (edited.state, edited.due_at, edited.watermark) == (JobState.PAUSED, None, now)
        (skipped,) = store.omissions(job=job.id)[0]
        assert (skipped.kind, skipped.count, skipped.revision) == (OmissionKind.SKIPPED, 3, 1)

    def test_a_removed_job_is_a_tombstone(self, store: Store) -> None:
        """C5: a removed job leaves a tombstone."""
        job = store.add_job(make_definition(), by="ada", now=START)
        store.set_job_state(job.id, JobState.REMOVED, by="ada", now=after(minutes=1))
        gone = store.job(job.id)
        assert (gone.state, gone.watermark, gone.due_at) == (
            JobState.REMOVED,
            after(minutes=1),
            None,
        )
        assert store.jobs()[0] == ()
        assert store.jobs(states=frozenset({JobState.REMOVED}))[0] == (gone,)
        (missed,) = store.omissions(job=job.id)[0]
        assert missed.kind is OmissionKind.MISSED
        with pytest.raises(NotFound):
            store.job("report")
        for state in (JobState.ACTIVE, JobState.REMOVED):
            with pytest.raises(NotFound):
                store.set_job_state(job.id, state, by="ada", now=START)
        with pytest.raises(NotFound):
            store.edit_job(job.id, 1, make_definition(tags=("x",)), by="ada", now=START)
        with pytest.raises(NotFound):
            store.approve_job(job.id, 1, by="ada", now=START)

    def test_removing_settles_what_was_held(self, store: Store) -> None:
        """C5: Every due fire ends as a run or as recorded."""
        job = store.add_job(make_definition(protected=True), by="ada", now=START)
        plan_round(store, own(store, authoritative=False), after(minutes=1))
        store.set_job_state(job.id, JobState.REMOVED, by="ada", now=after(minutes=1))
        (held,) = store.omissions(job=job.id)[0]
        assert (held.open, held.claimed) == (False, 0)
        assert held.resolution.startswith("missed: ")

    def test_states_follow_the_arrows(self, store: Store) -> None:
        """Transitions are one table; illegal ones raise and change nothing."""
        job = store.add_job(make_definition(), by="ada", now=START)
        paused = store.set_job_state(job.id, JobState.PAUSED, by="ada", now=START)
        for state in (JobState.DONE, JobState.DORMANT):
            with pytest.raises(IllegalTransition):
                store.set_job_state(job.id, state, by="ada", now=after(minutes=3))
        assert store.job(job.id) == paused

    def test_a_schedule_without_a_fire_is_done(self, store: Store) -> None:
        """A job whose schedule has no fire after its watermark is DONE at once."""
        job = store.add_job(make_definition(schedule=once(START)), by="ada", now=START)
        assert (job.state, job.due_at) == (JobState.DONE, None)
        with pytest.raises(IllegalTransition):
            store.set_job_state(job.id, JobState.ACTIVE, by="ada", now=START)
        later = make_definition(schedule=once(after(hours=1)))
        edited = store.edit_job(job.id, 1, later, by="ada", now=START)
        assert (edited.state, edited.due_at) == (JobState.ACTIVE, after(hours=1))
        store.set_job_state(job.id, JobState.PAUSED, by="ada", now=START)
        resumed = store.set_job_state(job.id, JobState.ACTIVE, by="ada", now=after(hours=2))
        assert resumed.state is JobState.DONE
        (skipped,) = store.omissions(job=job.id)[0]
        assert skipped.kind is OmissionKind.SKIPPED

    def test_approval_names_the_revision(self, store: Store) -> None:
        """C14: approve_protected holds a changed protected job until it is approved."""
        job = store.add_job(make_definition(protected=True), by="ada", now=START)
        plan_round(store, own(store, authoritative=False), after(minutes=1))
        with pytest.raises(Conflict):
            store.approve_job(job.id, 2, by="ada", now=START)
        now = after(minutes=1, seconds=5)
        approved = store.approve_job(job.id, 1, by="ada", now=now)
        assert (approved.approved_revision, approved.due_at) == (1, now)
        assert store.job(job.id) == approved

    def test_jobs_are_listed_by_name_in_pages(self, store: Store) -> None:
        """C9: lists are paged."""
        for name in ("c", "a", "b"):
            store.add_job(make_definition(name), by="ada", now=START)
        assert [j.name for j in store.jobs()[0]] == ["a", "b", "c"]
        first, cursor = store.jobs(page=Page(limit=2))
        second, end = store.jobs(page=Page(limit=2, cursor=cursor))
        assert [j.name for j in (*first, *second)] == ["a", "b", "c"]
        assert end is None
        assert store.jobs(states=frozenset({JobState.PAUSED}))[0] == ()

    def test_declared_jobs_are_reconciled(self, store: Store) -> None:
        """Only the owner reconciles; a vanished declaration goes dormant, not deleted."""
        authority = own(store)
        store.add_job(make_definition("mine"), by="ada", now=START)
        done = store.reconcile(authority, "shop", "1", [declared("a"), declared("b")], START)
        assert done.added == ("shop:a", "shop:b")
        job = store.job("shop:a")
        assert (job.app, job.app_version, job.definition.runner.value) == ("shop", "1", "thread")
        done = store.reconcile(authority, "shop", "1", [declared("a", retries=1)], START)
        assert (done.changed, done.dormant, done.added) == (("shop:a",), ("shop:b",), ())
        assert store.job("shop:b").state is JobState.DORMANT
        now = after(minutes=2)
        both = [declared("a", retries=1), declared("b")]
        done = store.reconcile(authority, "shop", "2", both, now)
        assert (done.woken, done.changed) == (("shop:b",), ())
        assert store.job("shop:b").watermark == now
        assert store.job("mine").revision == 1

    def test_a_time_that_passed_between_declaring_and_adding_is_a_fire(self, store: Store) -> None:
        """C5: it is due, and not a job that is done without a run."""
        authority, now = own(store), after(seconds=5)
        soon = replace(declared("a", schedule=once(after(seconds=3))), since=START)
        late = replace(declared("b", schedule=once(after(seconds=3))), since=after(seconds=4))
        never = declared("c", schedule=once(after(seconds=3)))
        store.reconcile(authority, "shop", "1", [soon, late, never], now)
        found = {name: store.job(f"shop:{name}") for name in "abc"}
        assert (found["a"].state, found["a"].due_at) == (JobState.ACTIVE, after(seconds=3))
        assert found["a"].watermark == START
        assert [found[name].state for name in "bc"] == [JobState.DONE, JobState.DONE]

    def test_an_older_version_overwrites_nothing(self, store: Store) -> None:
        """An older version never overwrites a newer one."""
        authority = own(store)
        store.reconcile(authority, "shop", "1.10", [declared("a"), declared("b")], START)
        done = store.reconcile(authority, "shop", "1.9", [declared("a", retries=3)], START)
        assert done.kept_newer == ("shop:a", "shop:b")
        assert store.job("shop:a").revision == 1
        assert store.job("shop:b").state is JobState.ACTIVE

    def test_a_restart_is_no_revision(self, store: Store) -> None:
        """An interval that differs in its anchor alone is the same, and keeps its anchor."""
        authority = own(store)
        store.reconcile(authority, "shop", "1", [declared("a")], START)
        moved = every_schedule(timedelta(minutes=1), after(seconds=17))
        done = store.reconcile(authority, "shop", "1", [declared("a", schedule=moved)], START)
        assert done.changed == ()
        assert store.job("shop:a").definition.schedule == each(minutes=1)

    def test_who_does_not_carry_the_code_is_told_of_a_job(self, store: Store) -> None:
        """An owner that does not carry the code is refused ownership (design, part 8)."""
        store.add_job(make_definition("plain"), by="ada", now=START)
        assert store.find_job_without_code(None) is None
        authority = own(store)
        store.reconcile(authority, "shop", "1", [declared("a")], START)
        assert store.find_job_without_code(None) == "shop:a"
        assert store.find_job_without_code("shop") is None
        assert store.find_job_without_code("other") == "shop:a"
        store.set_job_state(store.job("shop:a").id, JobState.PAUSED, by="ada", now=START)
        assert store.find_job_without_code(None) is None

    def test_a_profile_belongs_to_one_app(self, store: Store) -> None:
        """A second app in the same profile is an error that says to use another profile."""
        authority = own(store)
        store.reconcile(authority, "shop", "1", [declared("a")], START)
        with pytest.raises(Conflict):
            store.reconcile(authority, "bank", "1", [], START)
        stranger = Declaration(definition=make_definition("else:where"))
        with pytest.raises(InvalidInput):
            store.reconcile(authority, "shop", "1", [stranger], START)

    def test_a_name_of_somebody_else_is_not_taken_over(self, store: Store) -> None:
        """C12: edits are kept."""
        authority = own(store)
        theirs: Definition = make_definition("shop:a")
        store.add_job(theirs, by="ada", now=START)
        with pytest.raises(Conflict):
            store.reconcile(authority, "shop", "1", [declared("b"), declared("a")], START)
        assert store.job("shop:a").definition == theirs
        with pytest.raises(NotFound):
            store.job("shop:b")
