"""C12 Edits are kept. Concurrent edits by any number of processes lose nothing and are never
ignored by the running owner: a claim names job, revision and fire time, and fails if the job is
paused, removed or revised.
"""

from __future__ import annotations

import threading

import pytest

from tenure.domain.errors import Conflict
from tenure.domain.job import JobState
from tenure.domain.planning.catch_up import CatchUpBudget
from tenure.domain.planning.plan import OwnerCapabilities
from tenure.domain.planning.planner import plan
from tenure.store.contract import ClaimOutcome, RunFilter, Store
from testkit.factories import ROOM, START, after, claim_one, make_definition, own


def test_concurrent_edits_lose_nothing(store: Store) -> None:
    """C12: Concurrent edits by any number of processes lose nothing."""
    job = store.add_job(make_definition(), by="ada", now=START)
    editors = [f"editor {n}" for n in range(4)]

    def edit(editor: str) -> None:
        for number in range(5):
            while True:
                seen = store.job(job.id)
                tags = (*seen.definition.tags, f"{editor}.{number}")
                wanted = seen.definition.with_changes(tags=tags)
                try:
                    store.edit_job(job.id, seen.revision, wanted, by=editor, now=START)
                    break
                except Conflict:
                    continue

    threads = [threading.Thread(target=edit, args=(editor,)) for editor in editors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = store.job(job.id)
    assert found.revision == 21
    assert set(found.definition.tags) == {f"{e}.{n}" for e in editors for n in range(5)}
    assert [r.revision for r in store.revisions(job.id)] == list(range(1, 22))


@pytest.mark.parametrize("change", ["pause", "pause and resume", "remove", "revise", "claim"])
def test_a_claim_names_what_it_saw(store: Store, change: str) -> None:
    """C12: fails if the job is paused, removed or revised."""
    authority = own(store)
    job = store.add_job(make_definition(), by="ada", now=START)
    now = after(minutes=1)
    (due,) = store.due(now, ROOM)
    made = plan(due, now, OwnerCapabilities(authoritative=True), 1, CatchUpBudget())
    if change.startswith("pause"):
        store.set_job_state(job.id, JobState.PAUSED, by="bob", now=now)
    if change == "pause and resume":
        store.set_job_state(job.id, JobState.ACTIVE, by="bob", now=now)
    if change == "remove":
        store.set_job_state(job.id, JobState.REMOVED, by="bob", now=now)
    if change == "revise":
        store.edit_job(job.id, 1, make_definition(tags=("x",)), by="bob", now=now)
    if change == "claim":
        claim_one(store, authority, job, now)
    runs = len(store.runs(RunFilter())[0])
    changed = store.job(job.id)
    (claimed,) = store.claim(authority, [made], now)
    assert (claimed.outcome, claimed.runs) == (ClaimOutcome.CHANGED, ())
    assert len(store.runs(RunFilter())[0]) == runs
    assert store.job(job.id) == changed
