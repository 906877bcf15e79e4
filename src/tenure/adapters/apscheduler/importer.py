"""``tenure import apscheduler``: what becomes of each job of a store, either way out.

*Declared*: the application goes on carrying the code, and ``tenure.job(...)`` says when it runs.
*As commands*: the profile runs ``python -c`` with a call of the function, in a process of its own.

How late and how often: a grace time is the grace, and coalesced fires run once, as here without
catch-up. APScheduler's default grace of one second becomes Tenure's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tenure.adapters.apscheduler.calls import CommandTemplate, call_arguments, is_json
from tenure.adapters.apscheduler.comparison import compare
from tenure.adapters.apscheduler.stored_job import IntervalTrigger, StoredJob, read_job
from tenure.adapters.apscheduler.stores import StoredRow, read_rows, shown
from tenure.adapters.apscheduler.triggers import translate
from tenure.adapters.importer import (
    Action,
    ExistingJobs,
    FireComparison,
    ImportedJob,
    Importer,
    ImportReport,
    count_jobs,
    rename,
    resolve_names,
    to_add,
)
from tenure.client.documents import instant
from tenure.domain.errors import InvalidInput
from tenure.domain.job import (
    DEFAULT_GRACE,
    LONGEST,
    Call,
    CatchUp,
    Command,
    Definition,
    Overlap,
)
from tenure.domain.schedule.model import Schedule, ScheduleKind
from tenure.domain.schedule.zones import load_zone
from tenure.library import every

TAG = "apscheduler:"
DEFAULT_MISFIRE_GRACE = 1
"""Seconds: APScheduler's own, in jobs that did not say."""
_PROCESS = "each command is a separate process, without the memory of the application"
_GENERATED = re.compile(r"[0-9a-f]{32}")
_SHORTEST = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApschedulerTarget:
    """To where, when, and how. ``now``: UTC."""

    now: datetime
    app: str = "default"
    """Whose declarations they will be."""
    template: CommandTemplate | None = None
    """The command of each job; None: they are declared."""
    grace: timedelta = DEFAULT_GRACE
    count: int = 20
    """Fires to compare, besides those around changes of the clocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApschedulerJob(ImportedJob):
    """A stored job, and what becomes of it."""

    stored: StoredJob | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """How late and how often, as fields of a definition that are not their defaults."""
    sketch: Definition | None = None
    """Of a job that is not imported for its arguments alone: what else it would be."""


def plan_rows(rows: Sequence[StoredRow], target: ApschedulerTarget) -> tuple[ApschedulerJob, ...]:
    """What an import would do, before it is compared with what the profile has."""
    return tuple(_judge(row, target) for row in rows)


class ApschedulerImporter(Importer):
    """A job store: read when this is made, planned with the jobs that the profile has."""

    name = "apscheduler"
    tag = TAG
    originals_text = (
        "APScheduler still runs the originals. So that nothing runs twice, take its\n"
        "scheduler out of the application, or these jobs out of its store:"
    )

    def __init__(
        self, url: str, tablename: str, target: ApschedulerTarget, *, prefix: str = ""
    ) -> None:
        """Raises what :func:`read_rows` raises."""
        self.url = shown(url)
        self.target = target
        self._prefix = prefix
        self._rows = read_rows(url, tablename)

    def plan(self, existing: ExistingJobs) -> Sequence[ApschedulerJob]:
        made = plan_rows(self._rows, replace(self.target, grace=existing.grace))
        declared = self.target.template is None
        renamed = (rename(job, prefix=self._prefix) for job in made)
        return resolve_names(renamed, ExistingJobs() if declared else existing)

    def heading(self, plan: Sequence[ImportedJob]) -> list[str]:
        return [f"{count_jobs(plan)} of APScheduler in {self.url}"]

    def title(self, job: ImportedJob) -> str:
        return f"{job.id}: {job.shown}" if job.shown else job.id

    def notes(self, plan: Sequence[ImportedJob]) -> list[str]:
        return [_PROCESS] if self.target.template is not None and to_add(plan) else []

    def originals(self, plan: Sequence[ImportedJob]) -> list[str]:
        """For the application."""
        return [
            f"scheduler.remove_job({job.stored.id!r})"
            for job in plan
            if isinstance(job, ApschedulerJob)
            and job.stored
            and job.active
            and job.action is not Action.SKIP
        ]

    def job_document(self, job: ImportedJob) -> dict[str, Any]:
        stored = job.stored if isinstance(job, ApschedulerJob) else None
        return {
            "apscheduler_id": stored.id if stored else job.id,
            "apscheduler_job": job.shown or None,
            "active_in_apscheduler": job.active,
        }

    def fires_document(self, job: ImportedJob) -> dict[str, Any] | None:
        compared = job.compared
        if compared is None:
            return None
        return {
            "compared_with": compared.who or None,
            "problem": compared.why_not or None,
            "theirs": [instant(at) for at in compared.theirs],
            "tenure": [instant(at) for at in compared.ours],
            "clock_changes": [instant(at) for at in compared.changes],
            "differences": [
                {
                    "at": instant(difference.at),
                    "theirs": difference.theirs,
                    "tenure": not difference.theirs,
                }
                for difference in compared.differences
            ],
        }

    def document(self, report: ImportReport) -> dict[str, Any]:
        return {
            "store": self.url,
            "profile": report.profile,
            "written": report.written,
            "jobs": report.jobs,
            "remove_in_apscheduler": self.originals(report.plan),
            "warnings": report.warnings,
        }


def _judge(row: StoredRow, target: ApschedulerTarget) -> ApschedulerJob:
    job = ApschedulerJob(id=_id(row.id), name=_printable(row.id), shown="", action=Action.SKIP)
    try:
        stored = read_job(row.state)
        name = stored.id if not _GENERATED.fullmatch(stored.id) else stored.name
        job = replace(
            job,
            name=_printable(name),
            shown=f"{stored.func}, {stored.trigger}",
            active=stored.next_run_time is not None,
        )
        return _added(stored, job, target)
    except InvalidInput as error:
        return replace(job, why=error.text, remedy=error.remedy)


def _added(stored: StoredJob, job: ApschedulerJob, target: ApschedulerTarget) -> ApschedulerJob:
    """Raises InvalidInput where it cannot be."""
    if stored.func.startswith("__main__:"):
        raise InvalidInput(
            "its function is in the script itself (__main__), which other processes cannot import",
            remedy="move it into a module",
        )
    when = translate(stored.trigger, planned=stored.next_run_time, now=target.now)
    schedule = when.schedule if target.template is not None else _declared(when.schedule)
    options, differs = _late_and_often(stored)
    compared = _compared(stored, schedule, target) if schedule == when.schedule else None
    if compared is None:
        differs.append(_other_beat(when.schedule, schedule, target.now))
    if stored.next_run_time is not None and stored.next_run_time <= target.now:
        differs.append(f"it is overdue in APScheduler since {stored.next_run_time:%F %T} UTC")
    definition = Definition(
        name=job.name,
        schedule=schedule,
        action=_action(stored, job.name, target),
        tags=(TAG + job.id,) if target.template is not None else (),
        **{"grace": target.grace, **options},
    )
    planned = replace(job, stored=stored, options=options, compared=compared)
    if target.template is None and (why := _unwritten(stored)):
        return replace(planned, why=why, remedy="the file has it as a comment", sketch=definition)
    if target.template is None and not job.active:
        differs.append("it is paused, so it is written as a comment")
    return replace(
        planned,
        action=Action.ADD,
        definition=definition,
        paused=not job.active,
        lost=(*when.lost, *_lost(stored)),
        differs=tuple(differs),
    )


def _unwritten(stored: StoredJob) -> str:
    """Why its arguments cannot stand in a Python file; nothing if they can."""
    try:
        call_arguments(stored.args, stored.kwargs)
    except InvalidInput as error:
        return error.text
    return ""


def _action(stored: StoredJob, name: str, target: ApschedulerTarget) -> Command | Call:
    if target.template is not None:
        return target.template.command(stored)
    plain = is_json(stored.kwargs) and not stored.args
    return Call(target=f"{target.app}:{name}", args=stored.kwargs if plain else {})


def _compared(stored: StoredJob, schedule: Schedule, target: ApschedulerTarget) -> FireComparison:
    return compare(
        stored.trigger,
        schedule,
        planned=stored.next_run_time,
        now=target.now,
        count=target.count,
    )


def _declared(schedule: Schedule) -> Schedule:
    """As ``cron``, ``every`` and ``at`` of the library make it: an interval has no anchor there."""
    if schedule.kind is not ScheduleKind.EVERY or schedule.interval is None:
        return schedule
    return every(schedule.interval)(schedule.anchor or datetime.now(UTC), schedule.timezone)


def _other_beat(theirs: Schedule, ours: Schedule, now: datetime) -> str:
    zone = load_zone(theirs.timezone)
    there, here = theirs.next_after(now), ours.next_after(now)
    assert there is not None
    assert here is not None
    return (
        f"the same interval with another start: next at {here.astimezone(zone):%F %T %Z}, in"
        f" APScheduler at {there.astimezone(zone):%F %T %Z}"
    )


def _late_and_often(stored: StoredJob) -> tuple[dict[str, Any], list[str]]:
    """Fields of the definition, and the differences as sentences."""
    options: dict[str, Any] = {}
    differs: list[str] = []
    grace = stored.misfire_grace_time
    if grace is None:
        options["catch_up"] = CatchUp.LATEST if stored.coalesce else CatchUp.ALL
        if not stored.coalesce:
            options["window"] = LONGEST
    elif grace == DEFAULT_MISFIRE_GRACE:
        options["catch_up"] = CatchUp.NONE
    else:
        options["grace"] = max(_SHORTEST, timedelta(seconds=grace))
        options["catch_up"] = CatchUp.NONE if stored.coalesce else CatchUp.ALL
        if not stored.coalesce:
            options["window"] = options["grace"]
    if stored.max_instances > 1:
        options["overlap"] = Overlap.ALLOW
        differs.append(
            f"APScheduler runs at most {stored.max_instances} at once; here the limit is the"
            " number of slots"
        )
    if jitter := getattr(stored.trigger, "jitter", 0):
        options["jitter"] = timedelta(seconds=abs(jitter))
        drawn = "chooses a random delay for each run" + (
            ", and counts on from it" if isinstance(stored.trigger, IntervalTrigger) else ""
        )
        differs.append(f"APScheduler {drawn}; here a job's delay is always the same")
    return options, differs


def _lost(stored: StoredJob) -> list[str]:
    if stored.executor == "default":
        return []
    return [f"APScheduler's executor {stored.executor!r} is not used"]


def _id(id: str) -> str:
    """For the tag, which takes no more."""
    if id.isprintable() and 0 < len(id) <= 80:
        return id
    return hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _printable(name: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in name)
    return " ".join(plain.split())[:120].strip() or "job"
