"""C1 One owner, C3 Fenced, C11 Step down when in doubt: the ownership record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tenure.domain.errors import (
    Conflict,
    IllegalTransition,
    InvalidInput,
    NotFound,
    Refused,
    StaleTerm,
)
from tenure.domain.event import EventKind
from tenure.domain.omission import OmissionKind
from tenure.domain.ownership import RESERVED_FOR, Authority, OwnershipAction, OwnershipState
from tenure.domain.policy.admission import Policy, hash_of
from tenure.store.contract import Store
from testkit.conformance.base import StoreCase
from testkit.factories import START, after, make_definition, make_process, own, plan_round, take

POLICY = Policy(text="# another", hash=hash_of("# another"))


class OwnershipConformance(StoreCase):
    def test_a_fresh_profile_has_no_owner(self, store: Store) -> None:
        """C1: A profile has at most one owner."""
        assert store.ownership().hold is OwnershipState.VACANT
        assert store.ownership().term == 0
        assert store.ownership().authority is None
        assert store.terms() == ()

    def test_taking_begins_a_term(self, store: Store) -> None:
        """C1: Each ownership has a term."""
        authority = own(store, "gateway")
        assert authority == Authority(term=1, process="gateway", policy_version=0)
        assert store.ownership().authority == authority
        assert store.ownership().since == START
        (term,) = store.terms()
        assert (term.term, term.process, term.how, term.ended_at) == (
            1,
            "gateway",
            OwnershipAction.TAKE,
            None,
        )
        kinds = [event.kind for event in store.events()]
        assert kinds == [EventKind.PROCESS_JOINED, EventKind.OWNERSHIP_TAKEN]
        store.check_authority(authority)

    def test_the_place_is_taken_once(self, store: Store) -> None:
        """C1: A profile has at most one owner."""
        first = own(store, "gateway")
        store.join(make_process("desktop"))
        with pytest.raises(Conflict):
            take(store, "desktop", act=OwnershipAction.TAKE, expected_term=0, new_term=2)
        with pytest.raises(IllegalTransition):
            take(store, "desktop", act=OwnershipAction.TAKE)
        assert store.ownership().authority == first
        assert len(store.terms()) == 1

    def test_terms_only_grow(self, store: Store) -> None:
        """C1: an integer that only grows and is never reused."""
        own(store, "gateway")
        store.join(make_process("desktop"))
        for new_term in (-1, 0, 1):
            with pytest.raises(InvalidInput):
                take(store, "desktop", act=OwnershipAction.TAKE_BY_FORCE, new_term=new_term)
        assert store.ownership().term == 1
        take(store, "desktop", act=OwnershipAction.TAKE_BY_FORCE, new_term=40)
        assert store.facts().term == 40
        assert [t.term for t in store.terms()] == [40, 1]
        assert store.terms(limit=1)[0].term == 40

    def test_the_term_outlives_its_end(self, store: Store) -> None:
        """C1: never reused."""
        authority = own(store)
        store.end_term(authority, act=OwnershipAction.STEP_DOWN, why="", now=START)
        assert store.ownership().term == 1
        with pytest.raises(InvalidInput):
            take(store, "gateway", new_term=1)
        assert take(store, "gateway").term == 2

    def test_only_those_who_joined_may_own(self, store: Store) -> None:
        """C2: Only a process that the profile's owner policy admits may own."""
        with pytest.raises(NotFound):
            take(store, "stranger")
        store.join(make_process("gone"))
        store.leave("gone", START)
        with pytest.raises(NotFound):
            take(store, "gone")
        assert store.ownership().hold is OwnershipState.VACANT

    def test_admission_is_by_the_accepted_policy(self, store: Store) -> None:
        """C3: Every claim names its term and the policy version."""
        store.accept_policy(POLICY, "ada", START)
        store.join(make_process("gateway"))
        with pytest.raises(StaleTerm):
            take(store, "gateway", policy_version=0)
        assert take(store, "gateway").policy_version == 1

    @pytest.mark.parametrize(
        "act", [OwnershipAction.REAFFIRM, OwnershipAction.HAND_OVER, OwnershipAction.STEP_DOWN]
    )
    def test_other_acts_begin_no_term(self, store: Store, act: OwnershipAction) -> None:
        """C1: the arrows of the state machine."""
        store.join(make_process("gateway"))
        with pytest.raises(IllegalTransition):
            take(store, "gateway", act=act)

    def test_from_the_dead_only_where_somebody_held(self, store: Store) -> None:
        """C1: the arrows of the state machine."""
        store.join(make_process("gateway"))
        with pytest.raises(IllegalTransition):
            take(store, "gateway", act=OwnershipAction.TAKE_FROM_DEAD)
        take(store, "gateway")
        store.join(make_process("desktop"))
        authority = take(store, "desktop", act=OwnershipAction.TAKE_FROM_DEAD, now=after(seconds=5))
        assert authority.term == 2
        old = store.terms()[1]
        assert old.ended_at == after(seconds=5)

    def test_a_deposed_owner_changes_nothing(self, store: Store) -> None:
        """C3: A stale claim changes nothing, from any process and however late it arrives."""
        stale = own(store, "gateway")
        job = store.add_job(make_definition(), by="ada", now=START)
        own(store, "desktop", now=after(seconds=1))
        before = (store.job(job.id), store.ownership(), store.events())
        now = after(minutes=2)
        writes: list[Any] = [
            lambda: store.check_authority(stale),
            lambda: store.claim(stale, [], now),
            lambda: plan_round(store, stale, now),
            lambda: store.start(stale, []),
            lambda: store.record_progress(stale, 1.0, now),
            lambda: store.restart_planning(stale, START - timedelta(days=1)),
            lambda: store.wake_held_jobs(stale, now),
            lambda: store.replan(stale, [], now),
            lambda: store.reconcile(stale, "app", "1", [], now),
            lambda: store.claim_retry(stale, "r1", now),
            lambda: store.claim_trigger(stale, "q1", now),
            lambda: store.adopt_run(stale, "r1", 1, now),
            lambda: store.reaffirm(stale, rule=0, authoritative=True, policy_version=0, now=now),
        ]
        for write in writes:
            with pytest.raises(StaleTerm):
                write()
        assert not store.end_term(stale, act=OwnershipAction.STEP_DOWN, why="", now=now)
        assert (store.job(job.id), store.ownership(), store.events()) == before

    @pytest.mark.parametrize(
        "changes", [{"term": 2}, {"process": "desktop"}, {"policy_version": 3}]
    )
    def test_each_part_of_an_authority_counts(self, store: Store, changes: dict[str, Any]) -> None:
        """C3: Every claim names its term and the policy version."""
        authority = own(store, "gateway")
        with pytest.raises(StaleTerm):
            store.check_authority(replace(authority, **changes))

    def test_a_newer_policy_fences_until_reaffirmed(self, store: Store) -> None:
        """C3: A stale one changes nothing. C11: no longer admitted stops claiming at once."""
        authority = own(store)
        store.accept_policy(POLICY, "ada", after(seconds=1))
        with pytest.raises(StaleTerm):
            store.check_authority(authority)
        with pytest.raises(StaleTerm):
            store.reaffirm(authority, rule=1, authoritative=False, policy_version=0, now=START)
        renewed = store.reaffirm(
            authority, rule=1, authoritative=False, policy_version=1, now=after(seconds=2)
        )
        assert renewed == replace(authority, policy_version=1)
        store.check_authority(renewed)
        assert (store.ownership().rule, store.ownership().authoritative) == (1, False)
        assert store.terms()[0].policy_version == 1
        assert store.events()[-1].kind is EventKind.OWNERSHIP_REAFFIRMED

    def test_an_owner_may_go_under_any_policy(self, store: Store) -> None:
        """C11: Step down when in doubt."""
        authority = own(store)
        store.accept_policy(POLICY, "ada", START)
        now = after(seconds=3)
        assert store.end_term(authority, act=OwnershipAction.STEP_DOWN, why="not admitted", now=now)
        record = store.ownership()
        assert (record.hold, record.term, record.process) == (OwnershipState.VACANT, 1, None)
        assert (record.ended_at, record.ended_why) == (now, "not admitted")
        assert store.terms()[0].ended_why == "not admitted"
        assert store.events()[-1].kind is EventKind.OWNERSHIP_ENDED
        assert not store.end_term(authority, act=OwnershipAction.STEP_DOWN, why="again", now=now)
        assert store.events()[-1].facts["why"] == "not admitted"

    def test_a_term_is_not_ended_by_taking(self, store: Store) -> None:
        """C1: the arrows of the state machine."""
        authority = own(store)
        with pytest.raises(IllegalTransition):
            store.end_term(authority, act=OwnershipAction.TAKE, why="", now=START)

    def test_a_hand_over_keeps_the_place(self, store: Store) -> None:
        """C1: hand over to the candidate that is named, for a short while."""
        authority = own(store, "gateway")
        store.join(make_process("desktop"))
        store.join(make_process("chosen"))
        until = START + RESERVED_FOR
        store.end_term(
            authority,
            act=OwnershipAction.HAND_OVER,
            why="asked",
            now=START,
            reserved_for="chosen",
            reserved_until=until,
        )
        soon = START + RESERVED_FOR / 2
        with pytest.raises(Refused):
            take(store, "desktop", act=OwnershipAction.TAKE, now=soon)
        with pytest.raises(Refused):
            take(store, "desktop", act=OwnershipAction.TAKE, now=soon, instead_of="gateway")
        assert take(store, "chosen", now=soon).process == "chosen"

    def test_a_place_kept_for_one_that_cannot_take_it_is_free(self, store: Store) -> None:
        """C11: a hand-over never leaves an eligible candidate waiting longer than a second."""
        authority = own(store, "gateway")
        store.join(make_process("desktop"))
        store.end_term(
            authority,
            act=OwnershipAction.HAND_OVER,
            why="asked",
            now=START,
            reserved_for="frozen",
            reserved_until=START + RESERVED_FOR,
        )
        assert take(store, "desktop", now=START, instead_of="frozen").process == "desktop"

    def test_a_reservation_runs_out(self, store: Store) -> None:
        """C11: ownership is not blocked by who never comes, nor by a wrong clock."""
        for now in (START + RESERVED_FOR, START - timedelta(days=300)):
            authority = own(store, "gateway")
            store.end_term(
                authority,
                act=OwnershipAction.HAND_OVER,
                why="asked",
                now=START,
                reserved_for="absent",
                reserved_until=START + RESERVED_FOR,
            )
            assert take(store, "gateway", now=now).process == "gateway"
            store.end_term(
                store.ownership().authority or authority,
                act=OwnershipAction.STEP_DOWN,
                why="",
                now=now,
            )

    def test_force_takes_a_reserved_place(self, store: Store) -> None:
        """C1: by force, the user's explicit choice."""
        authority = own(store, "gateway")
        store.join(make_process("desktop"))
        store.end_term(
            authority,
            act=OwnershipAction.HAND_OVER,
            why="asked",
            now=START,
            reserved_for="absent",
            reserved_until=START + RESERVED_FOR,
        )
        assert take(store, "desktop", act=OwnershipAction.TAKE_BY_FORCE).process == "desktop"

    def test_progress_is_recorded(self, store: Store) -> None:
        """C9: an owner that makes no progress is seen."""
        authority = own(store)
        store.record_progress(authority, 12.5, after(seconds=12))
        record = store.ownership()
        assert (record.progress_at, record.progress_awake) == (after(seconds=12), 12.5)

    @pytest.mark.parametrize("how", ["take", "reaffirm"])
    def test_authority_makes_held_jobs_due(self, store: Store, how: str) -> None:
        """C5: when an authoritative owner is back, catch-up makes it a run or missed."""
        fallback = own(store, "desktop", authoritative=False)
        definition = make_definition(protected=True)
        job = store.add_job(definition, by="ada", now=START)
        plan_round(store, fallback, after(seconds=61))
        (held,) = store.omissions(job=job.id)[0]
        assert held.kind is OmissionKind.HELD
        now = after(seconds=70)
        assert store.job(job.id).due_at == after(minutes=2)
        if how == "take":
            own(store, "gateway", now=now)
        else:
            store.reaffirm(fallback, rule=0, authoritative=True, policy_version=0, now=now)
        assert store.job(job.id).due_at == now
