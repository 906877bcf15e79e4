"""C7 Delegate or refuse: pending, accepted, done, refused, expired, withdrawn."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tenure.domain.errors import Conflict, IllegalTransition, InvalidInput, NotFound, StaleTerm
from tenure.domain.event import EventKind
from tenure.domain.job import JobState, Overlap
from tenure.domain.ownership import RESERVED_FOR, OwnershipAction
from tenure.domain.request import DEADLINE, Request, Requester, RequestKind, RequestState
from tenure.domain.run import Cause, RunState
from tenure.store.contract import Store
from testkit.conformance.base import StoreCase
from testkit.factories import (
    REQUESTER,
    START,
    after,
    claim_one,
    ended,
    make_definition,
    own,
    plan_round,
)

NOW = after(seconds=10)


def ask(
    store: Store, kind: RequestKind = RequestKind.TRIGGER, key: str = "k", **changes: Any
) -> Request:
    values: dict[str, Any] = {"requester": REQUESTER, "now": START, "deadline": DEADLINE}
    return store.create_request(kind=kind, key=key, **(values | changes))


def add(store: Store, name: str = "report", **changes: Any) -> str:
    return store.add_job(make_definition(name, **changes), by="ada", now=START).id


class RequestsConformance(StoreCase):
    def test_an_ask_is_durable(self, store: Store) -> None:
        """C7: each with an idempotency key and a deadline."""
        job = add(store)
        request = ask(store, job="report")
        assert (request.state, request.job, request.kind) == (
            RequestState.PENDING,
            job,
            RequestKind.TRIGGER,
        )
        assert (request.asked_at, request.deadline) == (START, START + DEADLINE)
        assert store.request(request.id) == request
        assert store.events()[-1].kind is EventKind.REQUESTED
        with pytest.raises(NotFound):
            store.request("nothing")

    def test_the_same_key_asks_once(self, store: Store) -> None:
        """C7: each with an idempotency key."""
        add(store)
        add(store, "other")
        request = ask(store, job="report")
        assert ask(store, job="report", now=after(hours=1)) == request
        with pytest.raises(Conflict):
            ask(store, job="other")
        with pytest.raises(Conflict):
            ask(store, RequestKind.HAND_OVER)
        authority = own(store)
        accepted, _ = store.claim_trigger(authority, request.id, NOW)
        assert ask(store, job="report") == accepted

    def test_an_ask_names_what_there_is(self, store: Store) -> None:
        """Bad input changes nothing."""
        job = add(store)
        store.set_job_state(job, JobState.REMOVED, by="ada", now=START)
        for reference in ("nothing", job):
            with pytest.raises(NotFound):
                ask(store, job=reference)
        with pytest.raises(NotFound):
            ask(store, RequestKind.CANCEL, run="nothing")
        with pytest.raises(InvalidInput):
            ask(store, RequestKind.TRIGGER)
        with pytest.raises(InvalidInput):
            ask(store, RequestKind.RETRY)
        assert store.requests() == ()

    def test_accepting_and_claiming_is_one(self, store: Store) -> None:
        """C7: accepting a trigger and claiming its run is one commit."""
        job = add(store)
        request = ask(store, job=job)
        authority = own(store)
        accepted, run = store.claim_trigger(authority, request.id, NOW)
        assert run is not None
        assert (run.cause, run.fire_time, run.request) == (Cause.REQUEST, NOW, request.id)
        assert (run.state, run.term) == (RunState.CLAIMED, 1)
        assert (accepted.state, accepted.run, accepted.term) == (
            RequestState.ACCEPTED,
            run.id,
            1,
        )
        assert accepted.answered_at == NOW
        assert store.job(job).watermark == START
        assert store.claim_trigger(authority, request.id, NOW) == (accepted, None)
        store.finish([ended(run)], after(seconds=20))
        assert store.request(request.id).state is RequestState.DONE

    def test_triggers_take_instants_of_their_own(self, store: Store) -> None:
        """C4: claimed at most once, and no scheduled fire's place is taken."""
        job = add(store, overlap=Overlap.ALLOW)
        authority = own(store)
        at = after(minutes=1)
        runs = []
        for key in "ab":
            request = ask(store, key=key, job=job, now=at)
            runs.append(store.claim_trigger(authority, request.id, at)[1])
        fires = [run.fire_time for run in runs if run is not None]
        assert fires == [at + timedelta(microseconds=1), at + timedelta(microseconds=2)]
        (scheduled,) = plan_round(store, authority, at)
        assert [run.fire_time for run in scheduled.runs] == [at]

    def test_the_deadline_is_checked_in_the_accepting_transaction(self, store: Store) -> None:
        """C7: a deadline that is checked in the accepting transaction."""
        job = add(store)
        authority = own(store)
        on_time = ask(store, key="a", job=job)
        assert store.claim_trigger(authority, on_time.id, START + DEADLINE)[1] is not None
        request = ask(store, key="b", job=job)
        late = START + DEADLINE + timedelta(microseconds=1)
        answered, run = store.claim_trigger(authority, request.id, late)
        assert (answered.state, run) == (RequestState.EXPIRED, None)
        assert answered.remedy

    @pytest.mark.parametrize("state", [JobState.PAUSED, JobState.REMOVED])
    def test_what_cannot_run_is_refused_with_a_remedy(self, store: Store, state: JobState) -> None:
        """C7: Without ... the answer is a refusal that says what to type."""
        job = add(store)
        request = ask(store, job=job)
        store.set_job_state(job, state, by="ada", now=START)
        answered, run = store.claim_trigger(own(store), request.id, NOW)
        assert (answered.state, run) == (RequestState.REFUSED, None)
        assert answered.answer
        assert answered.remedy

    def test_protected_jobs_are_not_triggered_by_a_fallback(self, store: Store) -> None:
        """C8: runs only under an authoritative owner."""
        job = add(store, protected=True)
        now, later = ask(store, key="a", job=job), ask(store, key="b", job=job, queued=True)
        fallback = own(store, "desktop", authoritative=False)
        refused, _ = store.claim_trigger(fallback, now.id, NOW)
        assert refused.state is RequestState.REFUSED
        assert store.claim_trigger(fallback, later.id, NOW) == (later, None)
        gateway = own(store, "gateway", now=NOW)
        assert store.claim_trigger(gateway, later.id, NOW)[1] is not None

    @pytest.mark.parametrize("overlap", list(Overlap))
    def test_overlap_holds_for_triggers(self, store: Store, overlap: Overlap) -> None:
        """C7: never a quiet success."""
        authority = own(store)
        job = store.add_job(make_definition(overlap=overlap), by="ada", now=START)
        run = claim_one(store, authority, job, after(minutes=1))
        now = after(minutes=1, seconds=5)
        request = ask(store, job=job.id, now=now)
        answered, second = store.claim_trigger(authority, request.id, now)
        expected = {
            Overlap.ALLOW: RequestState.ACCEPTED,
            Overlap.QUEUE: RequestState.PENDING,
            Overlap.SKIP: RequestState.REFUSED,
            Overlap.CANCEL: RequestState.REFUSED,
        }
        assert answered.state is expected[overlap]
        assert (second is not None) == (overlap is Overlap.ALLOW)
        if overlap is Overlap.QUEUE:
            store.finish([ended(run)], now)
            assert store.claim_trigger(authority, request.id, now)[1] is not None

    def test_a_retry_is_a_new_run(self, store: Store) -> None:
        """C4: retry is the user's explicit choice."""
        authority = own(store)
        job = store.add_job(make_definition(), by="ada", now=START)
        run = claim_one(store, authority, job, after(minutes=1))
        store.finish([ended(run, RunState.FAILED)], after(minutes=1))
        request = ask(store, RequestKind.RETRY, run=run.id, now=after(minutes=1))
        assert (request.job, request.run) == (job.id, run.id)
        accepted, again = store.claim_trigger(authority, request.id, after(minutes=1, seconds=9))
        assert again is not None
        assert (again.job, again.cause, accepted.run) == (job.id, Cause.REQUEST, again.id)
        assert again.id != run.id

    def test_other_kinds_are_answered(self, store: Store) -> None:
        """C7: Trigger, cancel and hand-over are requests that the owner answers."""
        authority = own(store)
        request = ask(store, RequestKind.HAND_OVER, to_process="gateway")
        with pytest.raises(InvalidInput):
            store.claim_trigger(authority, request.id, NOW)
        accepted = store.resolve_request(
            request.id, RequestState.ACCEPTED, authority=authority, now=NOW, answer="draining"
        )
        assert (accepted.state, accepted.answer, accepted.term) == (
            RequestState.ACCEPTED,
            "draining",
            1,
        )
        done = store.resolve_request(
            request.id, RequestState.DONE, authority=authority, now=NOW, answer="handed over"
        )
        assert store.request(request.id) == done
        assert store.events()[-1].kind is EventKind.ANSWERED
        with pytest.raises(IllegalTransition):
            store.resolve_request(
                request.id, RequestState.REFUSED, authority=None, now=NOW, answer="no"
            )

    @pytest.mark.parametrize(
        ("named", "taker", "state"),
        [
            ("chosen", "chosen", RequestState.DONE),
            (None, "chosen", RequestState.DONE),
            ("chosen", "other", RequestState.REFUSED),
            (None, "other", RequestState.REFUSED),
        ],
    )
    def test_a_hand_over_ends_with_the_next_take(
        self, store: Store, named: str | None, taker: str, state: RequestState
    ) -> None:
        """C7: a hand-over is done when the successor holds the term."""
        authority = own(store, "gateway")
        request = ask(store, RequestKind.HAND_OVER, to_process=named)
        accepted = store.resolve_request(
            request.id, RequestState.ACCEPTED, authority=authority, now=NOW, answer="it goes"
        )
        until = NOW + RESERVED_FOR
        store.end_term(
            authority,
            act=OwnershipAction.HAND_OVER,
            why="asked",
            now=NOW,
            reserved_for="chosen",
            reserved_until=until,
        )
        assert store.request(request.id) == accepted
        own(store, taker, now=until)
        ended = store.request(request.id)
        assert (ended.state, ended.answered_at, ended.term) == (state, until, authority.term)
        assert bool(ended.remedy) == (state is RequestState.REFUSED)
        assert taker in ended.answer
        event = store.events()[-1]
        assert (event.kind, event.facts["state"]) == (EventKind.ANSWERED, state.value)
        with pytest.raises(IllegalTransition):
            store.resolve_request(
                request.id, RequestState.EXPIRED, authority=None, now=NOW, answer=""
            )

    def test_a_hand_over_that_was_accepted_and_not_taken_up_is_refused(self, store: Store) -> None:
        """C7: the owner died before it let go."""
        authority = own(store, "gateway")
        request = ask(store, RequestKind.HAND_OVER)
        store.resolve_request(
            request.id, RequestState.ACCEPTED, authority=authority, now=NOW, answer="so"
        )
        own(store, "desktop", now=NOW)
        assert store.request(request.id).state is RequestState.REFUSED

    def test_an_accepted_hand_over_expires_while_no_process_owns(self, store: Store) -> None:
        """C7: a request is never open for ever."""
        authority = own(store, "gateway")
        request = ask(store, RequestKind.HAND_OVER)
        store.resolve_request(
            request.id, RequestState.ACCEPTED, authority=authority, now=NOW, answer="so"
        )
        assert store.expire_requests(START + DEADLINE * 2) == 0  # the owner is to let go still
        store.end_term(
            authority, act=OwnershipAction.HAND_OVER, why="asked", now=NOW, reserved_for="gone"
        )
        assert store.expire_requests(START + DEADLINE) == 0
        assert store.expire_requests(START + DEADLINE * 2) == 1
        assert store.expire_requests(START + DEADLINE * 2) == 0
        expired = store.request(request.id)
        assert (expired.state, expired.term) == (RequestState.EXPIRED, authority.term)
        assert expired.remedy

    def test_without_authority_only_no_may_be_said(self, store: Store) -> None:
        """C7: Without an owner the answer is a refusal."""
        job = add(store)
        request = ask(store, job=job)
        stale = own(store, "desktop")
        own(store, "gateway")
        for state in (RequestState.ACCEPTED, RequestState.DONE):
            with pytest.raises(InvalidInput):
                store.resolve_request(request.id, state, authority=None, now=NOW, answer="yes")
        with pytest.raises(StaleTerm):
            store.resolve_request(
                request.id, RequestState.ACCEPTED, authority=stale, now=NOW, answer=""
            )
        for key, state in (
            ("r", RequestState.REFUSED),
            ("e", RequestState.EXPIRED),
            ("w", RequestState.WITHDRAWN),
        ):
            other = ask(store, key=key, job=job)
            said = store.resolve_request(
                other.id, state, authority=None, now=NOW, answer="no", remedy="tenure serve"
            )
            assert (said.state, said.remedy, said.term) == (state, "tenure serve", None)

    def test_nothing_is_accepted_late(self, store: Store) -> None:
        """C7: a deadline that is checked in the accepting transaction."""
        request = ask(store, RequestKind.HAND_OVER)
        late = START + DEADLINE * 2
        answered = store.resolve_request(
            request.id, RequestState.ACCEPTED, authority=own(store), now=late, answer="yes"
        )
        assert answered.state is RequestState.EXPIRED

    def test_requests_expire(self, store: Store) -> None:
        """C7: 30 s; with --queue 24 h."""
        job = add(store)
        short = ask(store, key="a", job=job)
        long = ask(store, key="b", job=job, deadline=timedelta(hours=24), queued=True)
        assert store.expire_requests(START + DEADLINE) == 0
        assert store.expire_requests(after(minutes=1)) == 1
        assert store.expire_requests(after(minutes=1)) == 0
        assert store.request(short.id).state is RequestState.EXPIRED
        assert store.request(long.id) == long

    def test_requests_are_listed(self, store: Store) -> None:
        """C7: pending ones in the order in which they were asked."""
        job = add(store)
        moments: list[datetime] = [after(seconds=s) for s in range(3)]
        ids = [ask(store, key=str(m), job=job, now=m).id for m in moments]
        pending = frozenset({RequestState.PENDING})
        assert [r.id for r in store.requests(states=pending)] == ids
        assert [r.id for r in store.requests()] == ids[::-1]
        assert [r.id for r in store.requests(limit=1)] == ids[-1:]
        assert store.requests(states=frozenset({RequestState.DONE})) == ()

    def test_the_kernel_knows_better_who_asked(self, store: Store) -> None:
        """C2: never a process's own word; a requester's evidence is observed."""
        request = ask(store, job=add(store))
        seen = Requester(pid=77, uid=0, user="root", observed=True)
        store.observe_requester(request.id, seen)
        known = store.request(request.id).requester
        assert known == replace(seen, via=request.requester.via)
        with pytest.raises(NotFound):
            store.observe_requester("nothing", seen)
