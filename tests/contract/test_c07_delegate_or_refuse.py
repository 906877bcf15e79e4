"""C7 Delegate or refuse. Definitions (add, edit, pause, resume, remove) are store transactions by
revision, valid from any process with or without an owner. Trigger, cancel and hand-over are
requests that the owner answers: pending, accepted, done, refused, expired, each with an
idempotency key and a deadline that is checked in the accepting transaction; accepting a trigger
and claiming its run is one commit.
"""

from __future__ import annotations

from datetime import timedelta

from tenure.domain.job import JobState
from tenure.domain.ownership import RESERVED_FOR, OwnershipAction
from tenure.domain.request import DEADLINE, QUEUE_DEADLINE, RequestKind, RequestState
from tenure.store.contract import RunFilter, Store
from testkit.factories import REQUESTER, START, after, ended, make_definition, own


def test_definitions_need_no_owner(store: Store) -> None:
    """C7: valid from any process with or without an owner."""
    job = store.add_job(make_definition(), by="ada", now=START)
    store.edit_job(job.id, 1, make_definition(tags=("x",)), by="bob", now=START)
    store.set_job_state(job.id, JobState.PAUSED, by="ada", now=START)
    store.set_job_state(job.id, JobState.ACTIVE, by="ada", now=START)
    assert (store.job(job.id).revision, store.job(job.id).state) == (2, JobState.ACTIVE)
    store.set_job_state(job.id, JobState.REMOVED, by="ada", now=START)
    assert store.jobs()[0] == ()
    assert store.ownership().term == 0


def test_a_trigger_lives_from_ask_to_done(store: Store) -> None:
    """C7: pending, accepted, done; accepting a trigger and claiming its run is one commit."""
    job = store.add_job(make_definition(), by="ada", now=START)
    request = store.create_request(
        kind=RequestKind.TRIGGER,
        key="k",
        requester=REQUESTER,
        now=START,
        deadline=DEADLINE,
        job=job.id,
    )
    again = store.create_request(
        kind=RequestKind.TRIGGER,
        key="k",
        requester=REQUESTER,
        now=START,
        deadline=DEADLINE,
        job=job.id,
    )
    assert again == request
    authority = own(store)
    accepted, run = store.claim_trigger(authority, request.id, after(seconds=5))
    assert run is not None
    assert (accepted.state, accepted.run) == (RequestState.ACCEPTED, run.id)
    store.finish([ended(run)], after(seconds=9))
    assert store.request(request.id).state is RequestState.DONE
    assert len(store.runs(RunFilter())[0]) == 1


def test_the_deadline_is_checked_where_it_is_accepted(store: Store) -> None:
    """C7: (30 s; with --queue 24 h) checked in the accepting transaction."""
    assert (timedelta(seconds=30), timedelta(hours=24)) == (DEADLINE, QUEUE_DEADLINE)
    authority = own(store)
    job = store.add_job(make_definition(), by="ada", now=START)
    for key, deadline, late in (
        ("short", DEADLINE, after(seconds=31)),
        ("long", QUEUE_DEADLINE, after(hours=25)),
    ):
        request = store.create_request(
            kind=RequestKind.TRIGGER,
            key=key,
            requester=REQUESTER,
            now=START,
            deadline=deadline,
            job=job.id,
        )
        answered, run = store.claim_trigger(authority, request.id, late)
        assert (answered.state, run) == (RequestState.EXPIRED, None)
    assert store.runs(RunFilter())[0] == ()


def test_an_undone_acceptance_claims_nothing(store: Store) -> None:
    """C7: accepting a trigger and claiming its run is one commit."""
    authority = own(store)
    job = store.add_job(make_definition(), by="ada", now=START)
    request = store.create_request(
        kind=RequestKind.TRIGGER,
        key="k",
        requester=REQUESTER,
        now=START,
        deadline=DEADLINE,
        job=job.id,
    )
    try:
        with store.batch():
            store.claim_trigger(authority, request.id, START)
            raise KeyError
    except KeyError:
        pass
    assert store.request(request.id).state is RequestState.PENDING
    assert store.runs(RunFilter())[0] == ()


def test_a_hand_over_is_done_when_the_successor_holds_the_term(store: Store) -> None:
    """C7: A request is `done` only when its effect has happened."""
    authority = own(store, "gateway")
    request = store.create_request(
        kind=RequestKind.HAND_OVER, key="k", requester=REQUESTER, now=START, deadline=DEADLINE
    )
    with store.batch():
        store.resolve_request(
            request.id, RequestState.ACCEPTED, authority=authority, now=START, answer="it goes"
        )
        store.end_term(
            authority,
            act=OwnershipAction.HAND_OVER,
            why="asked",
            now=START,
            reserved_for="desktop",
            reserved_until=START + RESERVED_FOR,
        )
    assert store.request(request.id).state is RequestState.ACCEPTED
    own(store, "desktop", now=START)
    assert store.request(request.id).state is RequestState.DONE
