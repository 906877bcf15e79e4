"""C8 Protected jobs. A job marked `protected`, or that `requires` a capability, runs only under an
*authoritative* owner whose probe does not say 'denied'; otherwise its fires are `held`. The store
itself refuses such a claim, for each attempt.
"""

from __future__ import annotations

from typing import Any

import pytest

from tenure.domain.omission import OmissionKind
from tenure.domain.planning.catch_up import CatchUpBudget
from tenure.domain.planning.plan import OwnerCapabilities
from tenure.domain.planning.planner import plan
from tenure.domain.request import DEADLINE, RequestKind, RequestState
from tenure.domain.run import RunState
from tenure.store.contract import ClaimOutcome, RunFilter, Store
from testkit.factories import (
    REQUESTER,
    ROOM,
    START,
    after,
    claim_one,
    ended,
    make_definition,
    own,
    plan_round,
)

NEEDS = pytest.mark.parametrize("needs", [{"protected": True}, {"requires": ("disk",)}])


@NEEDS
@pytest.mark.parametrize(
    ("authoritative", "denied", "runs"),
    [(True, (), 1), (True, ("camera",), 1), (False, (), 0), (False, ("disk",), 0)],
)
def test_runs_only_under_authority(
    store: Store, needs: dict[str, Any], authoritative: bool, denied: tuple[str, ...], runs: int
) -> None:
    """C8: runs only under an authoritative owner; otherwise its fires are `held`."""
    authority = own(store, authoritative=authoritative)
    job = store.add_job(make_definition(**needs), by="ada", now=START)
    rights = OwnerCapabilities(authoritative=authoritative, denied=frozenset(denied))
    plan_round(store, authority, after(minutes=1), standing=rights)
    held = store.omissions(job=job.id, kind=OmissionKind.HELD)[0]
    assert (len(store.runs(RunFilter())[0]), len(held)) == (runs, 1 - runs)


def test_a_denied_capability_holds(store: Store) -> None:
    """C8: whose probe does not say 'denied'."""
    authority = own(store)
    store.add_job(make_definition(requires=("disk",)), by="ada", now=START)
    rights = OwnerCapabilities(authoritative=True, denied=frozenset({"disk"}))
    plan_round(store, authority, after(minutes=1), standing=rights)
    (held,) = store.omissions(only_open=True)[0]
    assert "disk" in held.reason


@NEEDS
def test_the_store_itself_refuses(store: Store, needs: dict[str, Any]) -> None:
    """C8: The store itself refuses such a claim, for each attempt; also when asked for."""
    gateway = own(store, "gateway")
    job = store.add_job(make_definition(retries=1, **needs), by="ada", now=START)
    run = claim_one(store, gateway, job, after(minutes=1))
    again = ended(run, RunState.RETRYING, retry_at=after(minutes=1))
    store.finish([again], after(minutes=1))
    fallback = own(store, "desktop", authoritative=False, now=after(minutes=2))
    assert store.claim_retry(fallback, run.id, after(minutes=2)).outcome is ClaimOutcome.PROTECTED
    now = after(minutes=3)
    (due,) = store.due(now, ROOM)
    due = type(due)(job=due.job)
    pretending = plan(due, now, OwnerCapabilities(authoritative=True), 1, CatchUpBudget())
    assert pretending.claims
    (claimed,) = store.claim(fallback, [pretending], now)
    assert (claimed.outcome, claimed.runs) == (ClaimOutcome.PROTECTED, ())
    request = store.create_request(
        kind=RequestKind.TRIGGER,
        key="k",
        requester=REQUESTER,
        now=now,
        deadline=DEADLINE,
        job=job.id,
    )
    answered, none = store.claim_trigger(fallback, request.id, now)
    assert (answered.state, none) == (RequestState.REFUSED, None)
    assert [r.term for r in store.runs(RunFilter())[0]] == [gateway.term]
