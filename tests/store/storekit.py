"""What other processes do to a store, for tests: run as ``python storekit.py VERB PATH ...``.

Each prints a line when it is where the test wants it, and then waits for a line on its input.
"""

from __future__ import annotations

import sys
import threading
from datetime import timedelta
from pathlib import Path

from tenure.domain.ownership import Authority
from tenure.domain.planning.catch_up import CatchUpBudget
from tenure.domain.planning.plan import Fire, OwnerCapabilities, Plan
from tenure.domain.run import Cause
from tenure.store.sqlite import SqliteStore
from testkit.factories import START, after, make_definition, plan_round

MINUTES = 200


def stand(word: str = "ready") -> None:
    print(word, flush=True)
    sys.stdin.readline()


def claim(store: SqliteStore) -> None:
    """Claim one minute after the other, as other processes do too; print the fires claimed here."""
    standing, budget = OwnerCapabilities(authoritative=True), CatchUpBudget(rate=1000, burst=1000)
    authority = Authority(term=1, process="gateway", policy_version=0)
    stand()
    for minute in range(1, MINUTES + 1):
        claimed = plan_round(
            store, authority, after(minutes=minute), standing=standing, budget=budget
        )
        for answer in claimed:
            for run in answer.runs:
                print(run.id, flush=True)


def claim_same(store: SqliteStore) -> None:
    """Claim each fire from a plan made here, so that only C4 prevents it."""
    authority = Authority(term=1, process="gateway", policy_version=0)
    (job,) = store.jobs()[0]
    stand()
    for minute in range(1, MINUTES + 1):
        fire = after(minutes=minute)
        was = store.job(job.id).watermark
        plan = Plan(
            job=job.id,
            revision=1,
            was=was,
            watermark=max(was, fire),
            due_at=fire + timedelta(minutes=1),
            claims=(Fire(at=fire, cause=Cause.SCHEDULE),),
        )
        for run in store.claim(authority, [plan], fire)[0].runs:
            print(run.id, flush=True)


def stop_in_batch(store: SqliteStore) -> None:
    """Stand inside a batch that has written much, and in its middle."""
    with store.batch():
        for number in range(800):
            store.add_job(make_definition(f"half {number}"), by="other", now=START)
        stand()


def write_on(store: SqliteStore) -> None:
    """Write pairs, each one commit, until the input ends."""
    print("ready", flush=True)
    number = 0
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        with store.batch():
            store.add_job(make_definition(f"{number} a"), by="other", now=START)
            store.add_job(make_definition(f"{number} b"), by="other", now=START)
        number += 1


if __name__ == "__main__":
    with SqliteStore.open(Path(sys.argv[2])) as opened:
        globals()[sys.argv[1]](opened)
