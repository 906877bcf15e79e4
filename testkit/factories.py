"""Small valid values for tests: a process, a job, an owner, a round of planning.

Everything is fixed unless said otherwise, so that a test names only what it is about. Instants
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
SOMEBODY = Requester(pid=4242, uid=1000, user="ada", via="cli")


def after(**span: float) -> datetime:
    """START and so much more: ``after(minutes=5)``."""
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
    """A command each minute, on the minute, unless said otherwise."""
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
    """Join, if it has not, and begin a term; by force where somebody owns."""
    if process not in {p.id for p in store.processes(gone=True)}:
        store.join(make_process(process, joined_at=now))
    current = store.ownership()
    default = (
        OwnershipAction.TAKE
        if current.hold is OwnershipState.VACANT
        else OwnershipAction.TAKE_BY_FORCE
    )
    return store.take_ownership(
        process=process,
        act=act or default,
        expected_term=current.term,
        new_term=current.term + 1,
        rule=0,
        authoritative=authoritative,
        policy_version=store.policy().version,
        boot_id="boot-1",
        awake=(now - START).total_seconds(),
        now=now,
    )


def plan_round(
    store: Store,
    authority: Authority,
    now: datetime,
    *,
    slots: int = 100,
    standing: OwnerCapabilities | None = None,
    budget: CatchUpBudget | None = None,
) -> tuple[Claimed, ...]:
    """What an owner does once: look at what is due, plan each, claim all in one commit."""
    rights = standing or OwnerCapabilities(authoritative=store.ownership().authoritative)
    places = budget or CatchUpBudget(rate=1000, burst=1000)
    plans = [plan(due, now, rights, slots, places) for due in store.due(now, ROOM)]
    return store.claim(authority, plans, now)


def claim_one(store: Store, authority: Authority, job: Job, now: datetime) -> Run:
    """Plan once, and the one run of ``job`` that came of it."""
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
