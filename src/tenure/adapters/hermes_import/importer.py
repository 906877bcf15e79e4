"""``tenure import hermes``: the jobs of a Hermes profile as native jobs of a Tenure profile.

Hermes' files are read and never written; the originals run on until somebody pauses them. What a
job does in Hermes and a command cannot do is said for each job, in words (``lost``), and so is
where it fires otherwise (``differs``). A job is known again by its tag ``hermes:<id>``: a second
import adds nothing twice and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes_import.command import Means, carry
from tenure.adapters.hermes_import.grammar import instant_in, stored
from tenure.adapters.hermes_import.losses import losses
from tenure.adapters.hermes_import.schedule import translate
from tenure.adapters.hermes_import.source import HermesJob, called, job_name, job_schedule
from tenure.adapters.importer import Action, Imported, Standing, free_name
from tenure.domain.errors import InvalidInput
from tenure.domain.job import DEFAULT_GRACE, Call, CatchUp, Definition, Job, JobState
from tenure.domain.schedule.model import ScheduleKind

TAG = "hermes:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Importing:
    """From where, to where, when. ``zone``: Hermes', an IANA name; ``now``: aware."""

    home: HermesHome
    means: Means
    zone: str
    now: datetime
    standing: Standing = field(default_factory=Standing)
    mirrored: Mapping[str, str] = field(default_factory=dict)
    """Jobs that Hermes' gateway runs under this profile since it was adopted: name by id."""
    prefix: str = ""
    grace: timedelta = DEFAULT_GRACE


def mirrored_in(jobs: Iterable[Job]) -> dict[str, str]:
    """Jobs that mirror Hermes' own, which its gateway runs: name by Hermes' id."""
    found = {}
    for job in jobs:
        action = job.definition.action
        if isinstance(action, Call) and action.target.startswith(TAG):
            found[action.target.removeprefix(TAG)] = job.name
    return found


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
        paused = there.state is not JobState.ACTIVE
        return replace(found, name=there.name, action=Action.PRESENT, paused=paused)
    if id in importing.mirrored:
        return replace(
            found,
            why=f"Hermes' gateway runs it under this profile, as {importing.mirrored[id]}",
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
    return replace(
        found,
        action=Action.ADD,
        definition=Definition(
            name=found.name,
            schedule=when.schedule,
            action=what.command,
            timeout=what.timeout,
            grace=importing.grace,
            catch_up=CatchUp.LATEST if when.schedule.kind is ScheduleKind.EVERY else None,
            tags=(TAG + found.id,),
        ),
        paused=not found.active or what.incomplete,
        lost=(*what.lost, *losses(job, importing.home)),
        differs=(*when.differs, *(_standing_in_hermes(job, planned, now) if found.active else ())),
    )


def _standing_in_hermes(job: HermesJob, planned: datetime | None, now: datetime) -> Iterator[str]:
    if job.get("state") == "error":
        yield f"Hermes gave up planning it: {job.get('last_error') or 'it does not say why'}"
    elif planned is not None and planned <= now:
        yield f"it is overdue in Hermes since {planned}"


def _free(wanted: str, id: str, taken: set[str]) -> str:
    """``wanted``, with the id behind it where that name is taken."""
    return free_name(wanted, taken, lambda n: f" ({id})" if n == 2 else f" ({id} {n})")


def doubled(plan: Sequence[Imported], home: HermesHome) -> list[str]:
    """What to type so that no job runs in both."""
    return [
        f"{called(home)} cron pause {job.id}"
        for job in plan
        if job.active and not job.paused and job.action is not Action.SKIP
    ]
