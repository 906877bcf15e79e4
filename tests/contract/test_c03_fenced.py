"""C3 Fenced. Every claim names its term and the policy version. A stale one changes nothing,
whoever holds it and however late it wakes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tenure.domain.errors import StaleTerm
from tenure.domain.ownership import OwnershipAction
from tenure.domain.planning.catch_up import CatchUpBudget
from tenure.domain.planning.plan import OwnerCapabilities
from tenure.domain.planning.planner import plan
from tenure.domain.policy.admission import Policy, hash_of
from tenure.domain.run import FinishOutcome, RunState, Start
from tenure.store.contract import RunFilter, Store
from testkit.factories import ROOM, START, after, claim_one, ended, make_definition, own


@pytest.mark.parametrize("loss", ["deposed", "handed over", "stepped down", "policy", "itself"])
@pytest.mark.parametrize("late", [timedelta(0), timedelta(days=1000)])
def test_a_stale_claim_changes_nothing(store: Store, loss: str, late: timedelta) -> None:
    """C3: A stale one changes nothing, whoever holds it and however late it wakes."""
    stale = own(store, "gateway")
    job = store.add_job(make_definition(), by="ada", now=START)
    now = after(minutes=1)
    (due,) = store.due(now, ROOM)
    made = plan(due, now, OwnerCapabilities(authoritative=True), 1, CatchUpBudget())
    assert made.claims
    if loss == "deposed":
        own(store, "desktop", now=now)
    elif loss == "itself":
        own(store, "gateway", now=now)
    elif loss == "policy":
        store.accept_policy(Policy(text="# new", hash=hash_of("# new")), "ada", now)
    else:
        act = OwnershipAction.HAND_OVER if loss == "handed over" else OwnershipAction.STEP_DOWN
        store.end_term(stale, act=act, why=loss, now=now)
    before = store.events()
    with pytest.raises(StaleTerm):
        store.claim(stale, [made], now + late)
    assert store.runs(RunFilter())[0] == ()
    assert store.job(job.id) == job
    assert store.events() == before


def test_a_claim_under_a_policy_to_come_is_stale_too(store: Store) -> None:
    """C3: Every claim names its term and the policy version."""
    authority = own(store)
    for changed in (
        replace(authority, policy_version=1),
        replace(authority, term=2),
        replace(authority, process="desktop"),
    ):
        with pytest.raises(StaleTerm):
            store.claim(changed, [], START)


def test_a_claim_under_a_policy_that_the_term_was_not_reaffirmed_under_is_stale(
    store: Store,
) -> None:
    """C3: Every claim names its term and the policy version: the one that the term was decided by,
    and the accepted one."""
    authority = own(store)
    store.accept_policy(Policy(text="# new", hash=hash_of("# new")), "ada", START)
    accepted = replace(authority, policy_version=store.policy().version)
    for stale in (authority, accepted):
        with pytest.raises(StaleTerm):
            store.claim(stale, [], START)
    new = store.reaffirm(
        authority,
        rule=0,
        authoritative=True,
        policy_version=accepted.policy_version,
        now=START,
    )
    assert new == accepted
    assert store.claim(new, [], START) == ()


def test_the_loser_starts_nothing_but_what_it_ran_is_kept(store: Store) -> None:
    """C3: fenced; C6: a result is fenced by its run."""
    stale = own(store, "gateway")
    job = store.add_job(make_definition(), by="ada", now=START)
    run = claim_one(store, stale, job, after(minutes=1))
    own(store, "desktop", now=after(minutes=1))
    with pytest.raises(StaleTerm):
        store.start(stale, [Start(run=run.id, attempt=1, at=START, identity=None)])
    assert store.run(run.id).state is RunState.CLAIMED
    assert store.finish([ended(run)], after(minutes=2)) == (FinishOutcome.TAKEN,)
