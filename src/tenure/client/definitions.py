"""Definitions from any process, so that concurrent edits lose nothing (C7, C12).

An edit is read, changed, written by revision. After a concurrent edit it is repeated on the
new definition, if the two changed different fields; otherwise the second editor gets a Conflict.
Jobs that another scheduler plans are changed there only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields as fields_of
from datetime import datetime

from tenure.client.foreign_jobs import refuse_foreign
from tenure.domain.errors import Conflict
from tenure.domain.job import Definition, Job, JobState
from tenure.store.contract import JobEditor, Store

TRIES = 20


def edit_job(
    store: Store,
    ref: str,
    change: Callable[[Definition], Definition],
    *,
    by: str,
    now: datetime,
) -> tuple[Job, Job]:
    """Apply ``change`` to a job's definition; the job before and after.

    Raises NotFound; Refused for a job that another scheduler plans; InvalidInput from ``change``;
    Conflict where another edit changed the same field meanwhile, or where the new name is taken.
    Nothing is changed then.
    """
    job = first = store.job(ref)
    refuse_foreign([job], "edit")
    wanted = change(first.definition)
    touched = differing(first.definition, wanted)
    for _ in range(TRIES):
        try:
            return job, store.edit_job(job.id, job.revision, wanted, by=by, now=now)
        except Conflict:
            current = store.job(first.id)
            if current.revision == job.revision:
                raise
            both = touched & differing(first.definition, current.definition)
            theirs = {f for f in both if getattr(current.definition, f) != getattr(wanted, f)}
            if theirs:
                raise Conflict(
                    f"{current.edited_by} changed {', '.join(sorted(theirs))} of "
                    f"{current.name} meanwhile, and so does this edit",
                    remedy=f"look at `tenure show {current.name}` and edit again",
                    job=current.id,
                    revision=current.revision,
                ) from None
            job, wanted = current, change(current.definition)
    raise Conflict(
        f"{first.name} is being edited concurrently: {TRIES} attempts failed",
        remedy="try again",
        job=first.id,
    )


def set_states(
    store: Store, jobs: Sequence[Job], state: JobState, *, by: str, now: datetime
) -> list[tuple[Job, Job]]:
    """Pause, resume or remove jobs; each before and after.

    Raises, and nothing is changed: Refused if one of them is planned by another scheduler; what
    ``set_job_state`` raises.
    """
    verb = {JobState.PAUSED: "pause", JobState.ACTIVE: "resume", JobState.REMOVED: "remove"}[state]
    refuse_foreign(jobs, verb)

    def step(job: Job) -> Callable[[JobEditor], Job]:
        return lambda editor: editor.set_job_state(job.id, state, by=by, now=now)

    return list(zip(jobs, store.change_jobs([step(job) for job in jobs]), strict=True))


def differing(a: Definition, b: Definition) -> set[str]:
    """The names of the fields in which two definitions differ."""
    return {f.name for f in fields_of(a) if getattr(a, f.name) != getattr(b, f.name)}
