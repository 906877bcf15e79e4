"""C6 Finished work is kept. A run's result is fenced by that run, not by who owns now. 'Owned',
'lost' and 'cannot verify' are three answers: an unverifiable owner never throws a finished result
away. A result that arrives after the run was declared lost is kept beside it as late.
"""

from __future__ import annotations

import pytest

from tenure.domain.ownership import OwnershipAction
from tenure.domain.run import FinishOutcome, RunState
from tenure.store.contract import Store
from testkit.factories import START, after, claim_one, ended, make_definition, own


@pytest.mark.parametrize("owner", ["nobody", "somebody else", "itself in a later term"])
def test_a_result_is_taken_whoever_owns_now(store: Store, owner: str) -> None:
    """C6: A run's result is fenced by that run, not by who owns now."""
    authority = own(store, "gateway")
    job = store.add_job(make_definition(), by="ada", now=START)
    run = claim_one(store, authority, job, after(minutes=1))
    now = after(minutes=3)
    if owner == "nobody":
        store.end_term(authority, act=OwnershipAction.STEP_DOWN, why="in doubt", now=now)
    else:
        own(store, "desktop" if owner == "somebody else" else "gateway", now=now)
    assert store.finish([ended(run, RunState.FAILED, exit_code=7)], now) == (FinishOutcome.TAKEN,)
    assert store.run(run.id).exit_code == 7


def test_three_answers(store: Store) -> None:
    """C6: 'Owned', 'lost' and 'cannot verify' are three answers; kept beside it as late."""
    gateway = own(store, "gateway")
    job = store.add_job(make_definition(), by="ada", now=START)
    run = claim_one(store, gateway, job, after(minutes=1))
    desktop = own(store, "desktop", now=after(minutes=2))
    store.adopt_run(desktop, run.id, 1, after(minutes=2))
    result = ended(run, exit_code=0)
    assert store.finish([result], after(minutes=3)) == (FinishOutcome.NOT_HELD,)
    lost = ended(store.run(run.id), RunState.LOST, reason="nothing tells how it ended")
    assert store.finish([lost], after(minutes=4)) == (FinishOutcome.TAKEN,)
    assert store.finish([result], after(minutes=5)) == (FinishOutcome.LATE,)
    kept = store.run(run.id)
    assert kept.state is RunState.LOST
    assert kept.late is not None
    assert (kept.late.state, kept.late.exit_code) == (RunState.SUCCEEDED, 0)
    assert store.finish([result], after(minutes=6)) == (FinishOutcome.ALREADY,)
