"""``tenure import hermes``: the jobs of a Hermes profile as native jobs of a Tenure profile.

Hermes' files are read and never written; the originals run until a person pauses them. For each
job the plan says what a command cannot do (``lost``) and where it fires at other times
(``differs``). A job is recognised by its tag ``hermes:<id>``: a second
import adds nothing twice and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes_import.command import HermesRuntime, command_of, losses, notes
from tenure.adapters.hermes_import.comparison import SimulationResult, compare
from tenure.adapters.hermes_import.schedule import instant_in, translate
from tenure.adapters.hermes_import.source import HermesJob, hermes_command, job_name, job_schedule
from tenure.adapters.importer import (
    Action,
    ExistingJobs,
    ImportedJob,
    Importer,
    ImportReport,
    count_jobs,
    free_name,
    to_add,
)
from tenure.client.documents import instant
from tenure.domain.errors import InvalidInput
from tenure.domain.job import Call, CatchUp, Definition, Job, JobState
from tenure.domain.schedule.model import ScheduleKind

TAG = "hermes:"


@dataclass(frozen=True, slots=True, kw_only=True)
class HermesTarget:
    """From where, to where, when. ``zone``: Hermes', an IANA name; ``now``: aware."""

    home: HermesHome
    means: HermesRuntime
    zone: str
    now: datetime
    existing: ExistingJobs = field(default_factory=ExistingJobs)
    mirrored: Mapping[str, str] = field(default_factory=dict)
    """Jobs that Hermes' gateway runs under this profile since it was adopted: name by id."""
    prefix: str = ""
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What Hermes' own code says of a job, by id; see ``simulation``."""


def mirrored_in(jobs: Iterable[Job]) -> dict[str, str]:
    """Jobs that mirror Hermes' own, which its gateway runs: name by Hermes' id."""
    names = {}
    for job in jobs:
        action = job.definition.action
        if isinstance(action, Call) and action.target.startswith(TAG):
            names[action.target.removeprefix(TAG)] = job.name
    return names


def plan_import(jobs: Sequence[HermesJob], target: HermesTarget) -> tuple[ImportedJob, ...]:
    """What an import would do, and why not where it would not. Nothing is raised for a job."""
    taken = set(target.existing.names)
    plan = []
    for job in jobs:
        planned = _judge(job, target)
        if planned.definition is not None:
            name = _free(target.prefix + planned.name, planned.id, taken)
            taken.add(name)
            definition = planned.definition.with_changes(name=name)
            planned = replace(planned, name=name, definition=definition)
        plan.append(planned)
    return tuple(plan)


def _judge(job: HermesJob, target: HermesTarget) -> ImportedJob:
    id, existing = job["id"], target.existing
    stopped = not job.get("enabled", True) or job.get("state") in ("paused", "completed")
    planned = ImportedJob(
        id=id, name=job_name(job), shown=job_schedule(job), active=not stopped, action=Action.SKIP
    )
    if id in existing.imported:
        imported = existing.imported[id]
        paused = imported.state is not JobState.ACTIVE
        return replace(planned, name=imported.name, action=Action.PRESENT, paused=paused)
    if id in target.mirrored:
        return replace(
            planned,
            why=f"Hermes' gateway runs it under this profile, as {target.mirrored[id]}",
            remedy="import into another --profile",
        )
    if job.get("state") == "completed":
        return replace(planned, why="it has completed")
    try:
        return _added(job, planned, target)
    except InvalidInput as error:
        return replace(planned, why=error.text, remedy=error.remedy)


def _added(job: HermesJob, imported: ImportedJob, target: HermesTarget) -> ImportedJob:
    """Raises InvalidInput where it cannot be."""
    now = target.now
    system = now.astimezone().tzinfo or UTC
    planned = instant_in(job.get("next_run_at"), system)
    when = translate(
        job.get("schedule"),
        zone=target.zone,
        system=system,
        planned=planned,
        now=now,
        fields=target.answers.get(job["id"], {}).get("fields"),
    )
    carried = command_of(job, target.home, target.means)
    return replace(
        imported,
        action=Action.ADD,
        definition=Definition(
            name=imported.name,
            schedule=when.schedule,
            action=carried.command,
            timeout=carried.timeout,
            grace=target.existing.grace,
            # Hermes, too, runs an overdue interval job once.
            catch_up=CatchUp.LATEST if when.schedule.kind is ScheduleKind.EVERY else None,
            tags=(TAG + imported.id,),
        ),
        paused=not imported.active or carried.incomplete,
        lost=(*carried.lost, *losses(job, target.home)),
        differs=(*when.differs, *(_state_in_hermes(job, planned, now) if imported.active else ())),
    )


def _state_in_hermes(job: HermesJob, planned: datetime | None, now: datetime) -> Iterator[str]:
    if job.get("state") == "error":
        yield f"Hermes gave up planning it: {job.get('last_error') or 'it does not say why'}"
    elif planned is not None and planned <= now:
        yield f"it is overdue in Hermes since {planned}"


def _free(wanted: str, id: str, taken: set[str]) -> str:
    """``wanted``, with the id behind it where that name is taken."""
    return free_name(wanted, taken, lambda n: f" ({id})" if n == 2 else f" ({id} {n})")


def pause_commands(plan: Sequence[ImportedJob], home: HermesHome) -> list[str]:
    """What to type so that no job runs in both."""
    return [
        f"{hermes_command(home)} cron pause {job.id}"
        for job in plan
        if job.active and not job.paused and job.action is not Action.SKIP
    ]


class HermesImporter(Importer):
    """A Hermes profile: its jobs read when this is made, planned with those of the profile."""

    name = "hermes"
    tag = TAG
    originals_text = (
        "Hermes still runs the originals. So that nothing runs twice, pause them there:"
    )

    def __init__(
        self,
        home: HermesHome,
        jobs: Sequence[HermesJob],
        simulated: SimulationResult,
        *,
        now: datetime,
        count: int,
        prefix: str = "",
        uncompared: bool = False,
    ) -> None:
        """``count``: of the fires to compare. ``uncompared``: add also what was not compared."""
        self.home, self._jobs, self.simulated = home, jobs, simulated
        self._now, self._count, self._prefix = now, count, prefix
        self._uncompared = uncompared

    def plan(self, existing: ExistingJobs) -> Sequence[ImportedJob]:
        target = HermesTarget(
            home=self.home,
            means=self.simulated.means,
            zone=self.simulated.zone,
            now=self._now,
            existing=existing,
            mirrored=mirrored_in(existing.jobs),
            prefix=self._prefix,
            answers=self.simulated.jobs,
        )
        return [self._compare(job) for job in plan_import(self._jobs, target)]

    def _compare(self, job: ImportedJob) -> ImportedJob:
        if job.definition is None:
            return job
        schedule, simulated = job.definition.schedule, self.simulated
        compared = compare(schedule, simulated.jobs.get(job.id), self._now, self._count)
        if schedule.kind is not ScheduleKind.AT:
            compared = replace(compared, changes=simulated.changes)
        return replace(job, compared=compared)

    def heading(self, plan: Sequence[ImportedJob]) -> list[str]:
        simulated = self.simulated
        how = f"not compared: {simulated.why_not}"
        if simulated.by is not None:
            how = f"compared with what {simulated.by} computes"
        return [f"{count_jobs(plan)} of Hermes in {self.home.path}, times in {simulated.zone}", how]

    def warnings(self) -> list[tuple[str, str]]:
        simulated, warnings = self.simulated, []
        if simulated.doubt:
            remedy = "run this with TZ=ZONE, or set `timezone:` in Hermes' config.yaml"
            warnings.append((simulated.doubt, remedy))
        if simulated.unknown:
            warnings.append((f"how Hermes runs scripts is unknown: {simulated.unknown}", ""))
        return warnings

    def title(self, job: ImportedJob) -> str:
        return f"{job.name} ({job.id}): {job.shown}"

    def notes(self, plan: Sequence[ImportedJob]) -> list[str]:
        return notes([job.definition for job in plan if job.definition], self.home)

    def originals(self, plan: Sequence[ImportedJob]) -> list[str]:
        return pause_commands(plan, self.home)

    def question(self, plan: Sequence[ImportedJob], *, yes: bool) -> str:
        adding = to_add(plan)
        blind = [job for job in adding if job.compared and job.compared.why_not]
        if not blind or self._uncompared:
            return ""
        if yes:
            raise InvalidInput(
                f"the fires of {len(blind)} of {len(adding)} were not compared with Hermes'",
                field="yes",
                remedy="name Hermes' Python with --hermes-python PATH, or add --uncompared",
            )
        return f"{len(blind)} of {len(adding)} could not be compared. "

    def job_document(self, job: ImportedJob) -> dict[str, Any]:
        return {
            "hermes_id": job.id,
            "hermes_schedule": job.shown,
            "active_in_hermes": job.active,
        }

    def fires_document(self, job: ImportedJob) -> dict[str, Any] | None:
        compared = job.compared
        if compared is None:
            return None
        done = not compared.why_not
        differences = [
            {
                "at": instant(difference.at),
                "hermes": difference.theirs,
                "tenure": not difference.theirs,
            }
            for difference in compared.differences
        ]
        return {
            "compared": done,
            "problem": compared.why_not or None,
            "hermes": [instant(at) for at in compared.theirs] if done else None,
            "tenure": [instant(at) for at in compared.ours],
            "differences": differences if done else None,
        }

    def document(self, report: ImportReport) -> dict[str, Any]:
        simulated = self.simulated
        return {
            "hermes": {
                "home": str(self.home.path),
                "profile": self.home.profile,
                "python": simulated.means.python,
                "version": simulated.means.version,
                "timezone": simulated.zone,
                "timezone_doubt": simulated.doubt or None,
                "unknown": simulated.unknown or None,
            },
            "profile": report.profile,
            "compared_by": simulated.by,
            "not_compared_because": simulated.why_not or None,
            "clock_changes": [instant(at) for at in simulated.changes],
            "written": report.written,
            "jobs": report.jobs,
            "notes": self.notes(report.plan),
            "pause_in_hermes": self.originals(report.plan),
            "warnings": report.warnings,
        }
