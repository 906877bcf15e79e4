"""``apply``: bring a profile's jobs in line with a file, and change nothing that is in line.

A plan is made first and shown with ``--dry-run``; carrying it out is one commit. ``prune``
removes only jobs that an earlier apply of the same file made: each revision names its editor,
and the first one of such a job names the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from tenure.client.fields import build
from tenure.client.foreign_jobs import is_foreign, refuse_foreign
from tenure.client.jobfile import Entry
from tenure.client.schedules import PROFILE_ZONE
from tenure.domain.errors import Conflict, InvalidInput
from tenure.domain.job import Call, Definition, Job, JobState
from tenure.domain.names import look_of
from tenure.store.contract import JobEditor, Page, Store


class Change(StrEnum):
    ADD = "add"
    EDIT = "edit"
    PAUSE = "pause"
    RESUME = "resume"
    REMOVE = "remove"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is to become of one job."""

    change: Change
    name: str
    job: Job | None = None
    definition: Definition | None = None
    paused: bool = False


def plan_apply(
    store: Store,
    entries: Sequence[Entry],
    *,
    path: str,
    prune: bool,
    timezone: str,
    grace: timedelta,
    now: datetime,
) -> tuple[Step, ...]:
    """What an apply of these entries would do. ``path``: the file's full path.

    Raises :class:`InvalidInput` for an entry that is wrong, naming the job, and
    :class:`Refused` for one of a job that another scheduler plans.
    """
    standing = {job.name: job for job in all_jobs(store)}
    looks = {look_of(name): name for name in standing}
    steps: list[Step] = []
    for entry in entries:
        job = standing.get(entry.name)
        known = looks.setdefault(look_of(entry.name), entry.name)
        if job is None and known != entry.name:
            raise InvalidInput(
                f"it looks like the name of another job, {known!r}",
                field=f"{entry.name}.name",
                remedy="give one of the two another name",
            )
        steps += _steps(entry, job, _definition(entry, job, timezone, grace, now))
    if prune:
        wanted = {entry.name for entry in entries}
        for name, job in standing.items():
            if name not in wanted and not is_foreign(job) and _made_by(store, job, path):
                steps.append(Step(change=Change.REMOVE, name=name, job=job))
    return tuple(steps)


def carry_out(store: Store, steps: Sequence[Step], *, by: str, now: datetime) -> None:
    """Do it, in one commit. Conflict, and nothing done, if a job was changed meanwhile."""
    wanted = [step for step in steps if step.change is not Change.KEEP]
    try:
        store.change_jobs([partial(_do, step=step, by=by, now=now) for step in wanted])
    except Conflict as error:
        raise Conflict(
            f"a job was changed meanwhile: {error.text}; nothing was applied",
            remedy="apply again",
            **error.facts,
        ) from None


def applier(by: str, path: str) -> str:
    """The editor's name under which a file's jobs are written."""
    return f"{by}, apply {path}"


def all_jobs(store: Store, states: frozenset[JobState] | None = None) -> list[Job]:
    """Every job, by name; those that are not removed unless ``states`` says otherwise."""
    jobs: list[Job] = []
    cursor: str | None = None
    while True:
        part, cursor = store.jobs(states=states, page=Page(limit=1000, cursor=cursor))
        jobs += part
        if cursor is None:
            return jobs


def _definition(
    entry: Entry, job: Job | None, timezone: str, grace: timedelta, now: datetime
) -> Definition:
    """As :func:`whole_definition`; what is wrong names the entry."""
    try:
        if job is None:
            return build(entry.fields, now=now, timezone=timezone, grace=grace)
        return whole_definition(entry.fields, job, timezone=timezone, grace=grace, now=now)
    except InvalidInput as error:
        field = f"{entry.name}.{error.field}" if error.field else entry.name
        raise InvalidInput(error.text, field=field, remedy=error.remedy) from None


def whole_definition(
    fields: Mapping[str, Any], job: Job, *, timezone: str, grace: timedelta, now: datetime
) -> Definition:
    """A whole new definition; only a schedule in the same words, and masked values, are kept.

    Raises :class:`InvalidInput` naming the field, and :class:`Refused` for a job that another
    scheduler plans.
    """
    refuse_foreign([job], "edit")
    if isinstance(job.definition.action, Call):
        raise InvalidInput(
            f"{job.name} is declared by the code of an app", remedy="give this one another name"
        )
    left = {"tz": PROFILE_ZONE, "dst": "cron", **fields}
    over = build(
        {key: left.pop(key) for key in _KEPT if key in left},
        now=now,
        timezone=timezone,
        base=job.definition,
    )
    env = getattr(over.action, "env", {}) if "env" in fields else {}
    if "stdin" in fields:
        left["stdin"] = getattr(over.action, "stdin", None)
    fresh = build(
        {**left, "schedule": "@daily", "env": dict(env)},
        now=now,
        timezone=timezone,
        grace=grace,
    )
    return replace(fresh, schedule=over.schedule)


_KEPT = ("schedule", "tz", "dst", "at", "anchor", "interval", "cron", "env", "stdin")


def _steps(entry: Entry, job: Job | None, wanted: Definition) -> list[Step]:
    if job is None:
        return [Step(change=Change.ADD, name=entry.name, definition=wanted, paused=entry.paused)]
    steps = []
    if wanted != job.definition:
        steps.append(Step(change=Change.EDIT, name=entry.name, job=job, definition=wanted))
    if entry.paused and job.state is JobState.ACTIVE:
        steps.append(Step(change=Change.PAUSE, name=entry.name, job=job))
    elif not entry.paused and job.state is JobState.PAUSED:
        steps.append(Step(change=Change.RESUME, name=entry.name, job=job))
    return steps or [Step(change=Change.KEEP, name=entry.name, job=job)]


def _made_by(store: Store, job: Job, path: str) -> bool:
    revisions = store.revisions(job.id)
    return bool(revisions) and revisions[0].edited_by.endswith(f", apply {path}")


def _do(editor: JobEditor, step: Step, by: str, now: datetime) -> Job:
    if step.job is None:
        assert step.definition is not None
        job = editor.add_job(step.definition, by=by, now=now)
        if step.paused:
            job = editor.set_job_state(job.id, JobState.PAUSED, by=by, now=now)
        return job
    if step.change is Change.EDIT:
        assert step.definition is not None
        return editor.edit_job(step.job.id, step.job.revision, step.definition, by=by, now=now)
    state = {
        Change.PAUSE: JobState.PAUSED,
        Change.RESUME: JobState.ACTIVE,
        Change.REMOVE: JobState.REMOVED,
    }[step.change]
    return editor.set_job_state(step.job.id, state, by=by, now=now)
