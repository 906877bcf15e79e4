"""Small valid values for tests: a process, a job, an owner, a round of planning.

Every value is fixed unless a test changes it, so that a test names only what it is about. Instants
are UTC and count from :data:`START`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tenure.domain.job import Command, Definition, Job, Runner
from tenure.domain.ownership import Authority, OwnershipAction, OwnershipState
from tenure.domain.planning.catch_up import CatchUpBudget
from tenure.domain.planning.plan import OwnerCapabilities
from tenure.domain.planning.planner import plan
from tenure.domain.policy.evidence import Evidence, Identity
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.request import Requester
from tenure.domain.run import Result, Run, RunState
from tenure.domain.schedule.model import Schedule, at_schedule, cron_schedule, every_schedule
from tenure.store.contract import Claimed, Store

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
ROOM: Mapping[Runner, int] = dict.fromkeys(Runner, 1000)
REQUESTER = Requester(pid=4242, uid=1000, user="ada", via="cli")


def after(**span: float) -> datetime:
    """An instant after START: ``after(minutes=5)``."""
    return START + timedelta(**span)


def make_process(name: str, *, pid: int = 100, joined_at: datetime = START) -> Process:
    """A candidate with plain evidence."""
    identity = Identity(boot_id="boot-1", pid=pid, start=pid * 10)
    return Process(
        id=name,
        evidence=Evidence(identity=identity, observed_at=joined_at, uid=1000, user="ada"),
        joined_at=joined_at,
        executes=True,
        standing=ProcessStatus.CANDIDATE,
        why="for a test",
    )


def each(**span: float) -> Schedule:
    """An interval on the grid through START."""
    return every_schedule(timedelta(**span), START)


def once(instant: datetime) -> Schedule:
    return at_schedule(instant)


def cron(expression: str, zone: str = "UTC") -> Schedule:
    return cron_schedule(expression, zone)


def make_definition(
    name: str = "report", schedule: Schedule | None = None, **changes: Any
) -> Definition:
    """A command each minute, on the minute, by default."""
    return Definition(
        name=name,
        schedule=schedule or each(minutes=1),
        action=changes.pop("action", Command(argv=("true",))),
        **changes,
    )


def own(
    store: Store,
    process: str = "gateway",
    *,
    now: datetime = START,
    authoritative: bool = True,
    act: OwnershipAction | None = None,
) -> Authority:
    """Join, unless it has, and begin a term; by force if another process owns."""
    if process not in {p.id for p in store.processes(gone=True)}:
        store.join(make_process(process, joined_at=now))
    changes: dict[str, Any] = {} if act is None else {"act": act}
    awake = (now - START).total_seconds()
    return take(store, process, authoritative=authoritative, awake=awake, now=now, **changes)


def take(store: Store, process: str, **changes: Any) -> Authority:
    """Begin the next term, for a process that has joined; by force if another process owns."""
    current = store.ownership()
    vacant = current.hold is OwnershipState.VACANT
    values: dict[str, Any] = {
        "process": process,
        "act": OwnershipAction.TAKE if vacant else OwnershipAction.TAKE_BY_FORCE,
        "expected_term": current.term,
        "new_term": current.term + 1,
        "rule": 0,
        "authoritative": True,
        "policy_version": store.policy().version,
        "boot_id": "boot-1",
        "awake": 0.0,
        "now": START,
    }
    return store.take_ownership(**(values | changes))


def plan_round(
    store: Store,
    authority: Authority,
    now: datetime,
    *,
    slots: int = 100,
    standing: OwnerCapabilities | None = None,
    budget: CatchUpBudget | None = None,
) -> tuple[Claimed, ...]:
    """One turn of an owner: read what is due, plan each job, claim all in one commit."""
    rights = standing or OwnerCapabilities(authoritative=store.ownership().authoritative)
    places = budget or CatchUpBudget(rate=1000, burst=1000)
    plans = [plan(due, now, rights, slots, places) for due in store.due(now, ROOM)]
    return store.claim(authority, plans, now)


def claim_one(store: Store, authority: Authority, job: Job, now: datetime) -> Run:
    """Plan once, and return the only run of ``job`` that was claimed."""
    claimed = plan_round(store, authority, now)
    (run,) = (run for each in claimed if each.job == job.id for run in each.runs)
    return run


def ended(run: Run, state: RunState = RunState.SUCCEEDED, **changes: Any) -> Result:
    """A result as the run's holder would report it, a second after the claim."""
    values: dict[str, Any] = {
        "run": run.id,
        "attempt": run.attempt,
        "process": run.holder,
        "state": state,
        "at": run.claimed_at + timedelta(seconds=1),
        "exit_code": 0 if state is RunState.SUCCEEDED else None,
    }
    return Result(**(values | changes))
