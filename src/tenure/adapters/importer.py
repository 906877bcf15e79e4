"""What every importer has: a plan that can be shown, and jobs that go in all at once or not at all.

A job that was imported is known again by a tag, ``crontab:...`` or ``apscheduler:...``: a second
import adds nothing twice and changes nothing. The other scheduler's own files are only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from tenure.client.apply import all_jobs
from tenure.domain.errors import Conflict
from tenure.domain.job import MAX_NAME, Definition, Job, JobState
from tenure.store.contract import JobEditor, Store


class Action(StrEnum):
    """What becomes of a job of the other scheduler."""

    ADD = "add"
    PRESENT = "already there"
    SKIP = "not imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
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
    """What it does there and not here, in words."""
    differs: tuple[str, ...] = ()
    """Where it does otherwise here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the profile has already: names, and the jobs of earlier imports by their id."""

    names: frozenset[str] = frozenset()
    imported: Mapping[str, Job] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """An instant at which only one of them fires."""

    at: datetime
    theirs: bool
    """The other scheduler, not Tenure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The next fires of both, and where they differ, in order."""

    who: str = ""
    """Who computed the other side's."""
    theirs: tuple[datetime, ...] = ()
    ours: tuple[datetime, ...] = ()
    differences: tuple[Difference, ...] = ()
    changes: tuple[datetime, ...] = ()
    """The changes of clocks around which they were compared."""
    why_not: str = ""
    """Nothing was compared, for this reason."""


def standing_of(jobs: Iterable[Job], tag: str) -> Standing:
    """``tag``: the prefix of this importer's tags."""
    names: set[str] = set()
    imported: dict[str, Job] = {}
    for job in jobs:
        names.add(job.name)
        for word in job.definition.tags:
            if word.startswith(tag):
                imported[word.removeprefix(tag)] = job
    return Standing(names=frozenset(names), imported=imported)


def settle(plan: Iterable[Imported], standing: Standing) -> tuple[Imported, ...]:
    """The plan with what is there already left alone, and each new job under a name of its own."""
    taken = set(standing.names)
    settled = []
    for job in plan:
        there = standing.imported.get(job.id)
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


def carry_out(
    store: Store, plan: Sequence[Imported], *, tag: str, by: str, now: datetime
) -> list[Job]:
    """Add what is to be added, all or nothing. What was imported meanwhile is left out.

    Raises Conflict, and adds nothing, if a name was taken meanwhile.
    """

    def step(job: Imported, definition: Definition) -> Callable[[JobEditor], Job]:
        def add(editor: JobEditor) -> Job:
            made = editor.add_job(definition, by=by, now=now)
            return (
                editor.set_job_state(made.id, JobState.PAUSED, by=by, now=now)
                if job.paused
                else made
            )

        return add

    there = standing_of(all_jobs(store), tag).imported
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
