"""``tenure import hermes``: the jobs of a Hermes profile as native jobs of a Tenure profile.

Hermes' files are read and never written; the originals run on until somebody pauses them. What a
job does in Hermes and a command cannot do is said for each job, in words (``lost``), and so is
where it fires otherwise (``differs``). A job is known again by its tag ``hermes:<id>``: a second
import adds nothing twice and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from tenure.adapters.hermes.grammar import instant_in, stored
from tenure.adapters.hermes.home import HermesHome
from tenure.adapters.hermes.import_command import Means, carry
from tenure.adapters.hermes.import_losses import losses
from tenure.adapters.hermes.import_schedule import translate
from tenure.adapters.hermes.import_source import HermesJob, called, job_name, job_schedule
from tenure.domain.errors import Conflict, InvalidInput
from tenure.domain.job import (
    DEFAULT_GRACE,
    MAX_NAME,
    Call,
    CatchUp,
    Definition,
    Job,
    State,
)
from tenure.domain.schedule import Kind
from tenure.runtime.client.applying import all_jobs
from tenure.store.contract import Store

TAG = "hermes:"


class Action(StrEnum):
    """What becomes of a Hermes job."""

    ADD = "add"
    PRESENT = "already there"
    SKIP = "not imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One Hermes job, and what it becomes. ``name`` is the native job's."""

    id: str
    name: str
    shown: str
    """The schedule, as Hermes shows it."""
    active: bool
    """It runs in Hermes."""
    action: Action
    why: str = ""
    remedy: str = ""
    definition: Definition | None = None
    paused: bool = False
    lost: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the Tenure profile has already: names, and the jobs that came from Hermes, by id."""

    names: frozenset[str] = frozenset()
    imported: Mapping[str, Job] = field(default_factory=dict)
    mirrored: Mapping[str, str] = field(default_factory=dict)
    """Jobs that Hermes' gateway runs under this profile since it was adopted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Importing:
    """From where, to where, when. ``zone``: Hermes', an IANA name; ``now``: aware."""

    home: HermesHome
    means: Means
    zone: str
    now: datetime
    standing: Standing = field(default_factory=Standing)
    prefix: str = ""
    grace: timedelta = DEFAULT_GRACE


def standing_of(jobs: Iterable[Job]) -> Standing:
    names: set[str] = set()
    imported: dict[str, Job] = {}
    mirrored: dict[str, str] = {}
    for job in jobs:
        names.add(job.name)
        action = job.definition.action
        if isinstance(action, Call) and action.target.startswith(TAG):
            mirrored[action.target.removeprefix(TAG)] = job.name
        for tag in job.definition.tags:
            if tag.startswith(TAG):
                imported[tag.removeprefix(TAG)] = job
    return Standing(names=frozenset(names), imported=imported, mirrored=mirrored)


def plan_import(jobs: Sequence[HermesJob], importing: Importing) -> tuple[Imported, ...]:
    """What an import would do, and why not where it would not. Nothing is raised for a job."""
    taken = set(importing.standing.names)
    plan = []
    for job in jobs:
        found = _judge(job, importing)
        if found.definition is not None:
            name = _free(importing.prefix + found.name, found.id, taken)
            taken.add(name)
            definition = found.definition.with_changes(name=name)
            found = replace(found, name=name, definition=definition)
        plan.append(found)
    return tuple(plan)


def _judge(job: HermesJob, importing: Importing) -> Imported:
    id, standing = job["id"], importing.standing
    stopped = not job.get("enabled", True) or job.get("state") in ("paused", "completed")
    found = Imported(
        id=id, name=job_name(job), shown=job_schedule(job), active=not stopped, action=Action.SKIP
    )
    if id in standing.imported:
        there = standing.imported[id]
        paused = there.state is not State.ACTIVE
        return replace(found, name=there.name, action=Action.PRESENT, paused=paused)
    if id in standing.mirrored:
        return replace(
            found,
            why=f"Hermes' gateway runs it under this profile, as {standing.mirrored[id]}",
            remedy="import into another --profile",
        )
    if job.get("state") == "completed":
        return replace(found, why="it has completed")
    try:
        return _added(job, found, importing)
    except InvalidInput as error:
        return replace(found, why=error.text, remedy=error.remedy)


def _added(job: HermesJob, found: Imported, importing: Importing) -> Imported:
    """Raises InvalidInput where it cannot be."""
    now = importing.now
    system = now.astimezone().tzinfo or UTC
    planned = instant_in(job.get("next_run_at"), system)
    schedule = stored(job.get("schedule"), timezone=system)
    when = translate(schedule, zone=importing.zone, planned=planned, now=now)
    what = carry(job, importing.home, importing.means)
    overdue = found.active and planned is not None and planned <= now
    return replace(
        found,
        action=Action.ADD,
        definition=Definition(
            name=found.name,
            schedule=when.schedule,
            action=what.command,
            timeout=what.timeout,
            grace=importing.grace,
            catch_up=CatchUp.LATEST if when.schedule.kind is Kind.EVERY else None,
            tags=(TAG + found.id,),
        ),
        paused=not found.active or what.incomplete,
        lost=(*what.lost, *losses(job, importing.home)),
        differs=(*when.differs, *([f"it is overdue in Hermes since {planned}"] if overdue else [])),
    )


def _free(wanted: str, id: str, taken: set[str]) -> str:
    """``wanted``, with the id behind it where that name is taken."""
    name, number = wanted.strip()[:MAX_NAME].strip(), 1
    while name in taken:
        end = f" ({id})" if number == 1 else f" ({id} {number})"
        name, number = wanted.strip()[: MAX_NAME - len(end)].strip() + end, number + 1
    return name


def doubled(plan: Sequence[Imported], home: HermesHome) -> list[str]:
    """What to type so that no job runs in both."""
    return [
        f"{called(home)} cron pause {job.id}"
        for job in plan
        if job.active and not job.paused and job.action is not Action.SKIP
    ]


def carry_out(store: Store, plan: Sequence[Imported], *, by: str, now: datetime) -> list[Job]:
    """Add what is to be added, all or nothing. What was imported meanwhile is left out.

    Raises Conflict, and adds nothing, if a name was taken meanwhile.
    """
    added: list[Job] = []
    try:
        with store.batch():
            there = standing_of(all_jobs(store)).imported
            for job in plan:
                if job.definition is None or job.id in there:
                    continue
                made = store.add_job(job.definition, by=by, now=now)
                if job.paused:
                    made = store.set_job_state(made.id, State.PAUSED, by=by, now=now)
                added.append(made)
    except Conflict as error:
        text = f"{error.text}; nothing was imported"
        raise Conflict(text, remedy="import again", **error.facts) from None
    return added
