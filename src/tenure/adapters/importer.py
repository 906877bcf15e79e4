"""What every importer has: a plan that can be shown, and jobs that go in all at once or not at all.

A tag, ``crontab:...`` or ``apscheduler:...``, marks an imported job: a second import adds nothing
twice and changes nothing. The other scheduler's own files are only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from tenure.client.apply import all_jobs
from tenure.client.documents import WarningDocument
from tenure.domain.errors import Conflict
from tenure.domain.job import DEFAULT_GRACE, MAX_NAME, Definition, Job, JobState
from tenure.store.contract import JobEditor, Store


class Action(StrEnum):
    """What becomes of a job of the other scheduler."""

    ADD = "add"
    PRESENT = "already there"
    SKIP = "not imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedJob:
    """One job of the other scheduler, and what it becomes. ``name`` is the native job's."""

    id: str
    """What the tag says behind its prefix: the same at each import."""
    name: str
    shown: str
    """The job as the other scheduler writes it."""
    active: bool = True
    """It runs there."""
    action: Action = Action.ADD
    why: str = ""
    remedy: str = ""
    definition: Definition | None = None
    paused: bool = False
    lost: tuple[str, ...] = ()
    """What it does there and not here, as sentences."""
    differs: tuple[str, ...] = ()
    """Where it does otherwise here."""
    fires: tuple[datetime, ...] = ()
    """The next ones here, where they are shown and not compared."""
    compared: FireComparison | None = None


J = TypeVar("J", bound=ImportedJob)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingJobs:
    """The jobs of the profile: all, their names, and those of earlier imports by their id."""

    jobs: tuple[Job, ...] = ()
    names: frozenset[str] = frozenset()
    imported: Mapping[str, Job] = field(default_factory=dict)
    grace: timedelta = DEFAULT_GRACE
    """The profile's, for jobs that do not say."""


@dataclass(frozen=True, slots=True)
class FireDifference:
    """An instant at which only one of them fires."""

    at: datetime
    theirs: bool
    """The other scheduler, not Tenure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FireComparison:
    """The next fires of both, and where they differ, in order."""

    who: str = ""
    """Who computed the other side's."""
    theirs: tuple[datetime, ...] = ()
    ours: tuple[datetime, ...] = ()
    differences: tuple[FireDifference, ...] = ()
    changes: tuple[datetime, ...] = ()
    """The changes of clocks around which they were compared."""
    why_not: str = ""
    """Nothing was compared, for this reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidLine:
    """A line that cannot be imported."""

    number: int
    text: str
    why: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did, for the document that it prints."""

    profile: str
    plan: Sequence[ImportedJob]
    written: bool
    jobs: Sequence[Mapping[str, Any]]
    """The documents of the planned jobs, in order."""
    warnings: Sequence[WarningDocument]


class Importer(Protocol):
    """Another scheduler whose jobs can become Tenure's. Its files are read and never changed."""

    name: str
    """The verb: ``tenure import NAME``."""
    tag: str
    """The prefix of the tags of its jobs."""
    originals_text: str
    """What introduces :meth:`originals`."""

    def plan(self, existing: ExistingJobs) -> Sequence[ImportedJob]:
        """What an import would do. Nothing is raised for a single job."""
        ...

    def heading(self, plan: Sequence[ImportedJob]) -> list[str]:
        """The lines above the plan."""
        ...

    def title(self, job: ImportedJob) -> str: ...

    def notes(self, plan: Sequence[ImportedJob]) -> list[str]:
        """What holds for all jobs that are to be added."""
        ...

    def originals(self, plan: Sequence[ImportedJob]) -> list[str]:
        """What to type so that no job runs in both schedulers."""
        ...

    def job_document(self, job: ImportedJob) -> dict[str, Any]:
        """The keys of a job that are this importer's own."""
        ...

    def fires_document(self, job: ImportedJob) -> Any: ...

    def document(self, report: ImportReport) -> dict[str, Any]: ...

    def warnings(self) -> list[tuple[str, str]]:
        """Text and remedy of what makes the plan doubtful."""
        return []

    def invalid_lines(self) -> Sequence[InvalidLine]:
        return ()

    def check(self) -> None:
        """Raises InvalidInput, after the plan is shown, where nothing may be imported."""
        return

    def question(self, plan: Sequence[ImportedJob], *, yes: bool) -> str:
        """What precedes the question whether to add the jobs. Raises InvalidInput if ``yes`` does
        not suffice."""
        return ""


def to_add(plan: Iterable[J]) -> list[J]:
    return [job for job in plan if job.definition is not None]


def count_jobs(jobs: Sequence[object]) -> str:
    return "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"


def read_existing(jobs: Iterable[Job], tag: str, grace: timedelta = DEFAULT_GRACE) -> ExistingJobs:
    """``tag``: the prefix of this importer's tags."""
    jobs = tuple(jobs)
    names: set[str] = set()
    imported: dict[str, Job] = {}
    for job in jobs:
        names.add(job.name)
        for word in job.definition.tags:
            if word.startswith(tag):
                imported[word.removeprefix(tag)] = job
    return ExistingJobs(jobs=jobs, names=frozenset(names), imported=imported, grace=grace)


def rename(job: J, *, prefix: str, paused: bool = False) -> J:
    """The job as the options of an import ask for it."""
    if job.definition is None:
        return job
    return replace(job, name=prefix + job.name, paused=paused or job.paused)


def resolve_names(plan: Iterable[J], existing: ExistingJobs) -> tuple[J, ...]:
    """The plan without what is there already, and each new job under a name of its own."""
    taken = set(existing.names)
    settled = []
    for job in plan:
        there = existing.imported.get(job.id)
        if there is not None:
            job = replace(
                job,
                name=there.name,
                action=Action.PRESENT,
                definition=None,
                paused=there.state is JobState.PAUSED,
            )
        elif job.definition is not None:
            name = free_name(job.name, taken, lambda number: f"-{number}")
            taken.add(name)
            job = replace(job, name=name, definition=job.definition.with_changes(name=name))
        settled.append(job)
    return tuple(settled)


def free_name(wanted: str, taken: Iterable[str], end: Callable[[int], str]) -> str:
    """``wanted``, cut to fit; where it is taken, with ``end(2)``, ``end(3)``... behind it."""
    wanted = wanted.strip()
    name, number = wanted[:MAX_NAME].strip(), 1
    while name in taken:
        number += 1
        name = wanted[: MAX_NAME - len(end(number))].strip() + end(number)
    return name


def add_jobs(
    store: Store, plan: Sequence[ImportedJob], *, tag: str, by: str, now: datetime
) -> list[Job]:
    """Add what is to be added, all or nothing. What was imported meanwhile is left out.

    Raises Conflict, and adds nothing, if a name was taken meanwhile.
    """

    def step(job: ImportedJob, definition: Definition) -> Callable[[JobEditor], Job]:
        def add(editor: JobEditor) -> Job:
            made = editor.add_job(definition, by=by, now=now)
            return (
                editor.set_job_state(made.id, JobState.PAUSED, by=by, now=now)
                if job.paused
                else made
            )

        return add

    there = read_existing(all_jobs(store), tag).imported
    new = [
        step(job, job.definition)
        for job in plan
        if job.definition is not None and job.id not in there
    ]
    try:
        # What another import adds at this moment has the same names: they are in conflict.
        return list(store.change_jobs(new))
    except Conflict as error:
        text = f"{error.text}; nothing was imported"
        raise Conflict(text, remedy="import again", **error.facts) from None
