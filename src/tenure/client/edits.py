"""Create, edit, pause, resume, remove, restore a job by named fields (C7, C12).

An edit names the revision that its editor saw. It is refused when that is not the current one
(the HTTP API), or merged where the two edits touched different fields (the page, the library, the
command line). Every change is one transaction of the store; the owner is only notified. A job that
another scheduler plans is changed there only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields as fields_of
from dataclasses import replace as replaced
from datetime import datetime
from typing import Any

from tenure.client.definitions import build, reset, whole_definition
from tenure.client.foreign_jobs import refuse_foreign
from tenure.client.presence import editor, nudge_owner
from tenure.domain.errors import Conflict, InvalidInput, NotFound, Refused
from tenure.domain.job import Definition, Job, JobState
from tenure.runtime.profile import Profile
from tenure.store.contract import JobEditor, Store

_VERBS = {JobState.PAUSED: "pause", JobState.ACTIVE: "resume", JobState.REMOVED: "remove"}


class Overtaken(Conflict):
    """The job was changed since it was read. Facts: ``expected``, ``current``."""

    code = "overtaken"


def create(profile: Profile, fields: Mapping[str, Any], *, via: str, now: datetime) -> Job:
    """A new job. ``fields`` are those of :mod:`tenure.client.definitions`, and ``paused``."""
    given, paused = _without_state(fields)
    wants = build(given, now=now, timezone=profile.timezone(), grace=profile.settings().grace)
    by = editor(via)
    with profile.store.batch():
        job = profile.store.add_job(wants, by=by, now=now)
        if paused:
            job = profile.store.set_job_state(job.id, JobState.PAUSED, by=by, now=now)
    nudge_owner(profile, "jobs")
    return job


def replace(
    profile: Profile,
    ref: str,
    fields: Mapping[str, Any],
    *,
    revision: int,
    via: str,
    now: datetime,
) -> Job:
    """Replace the whole definition: what ``fields`` do not say has its default.

    Masked values of the environment stay as they are. Raises Conflict, with both revisions among
    its facts, unless ``revision`` is the current one.
    """
    given, paused = _without_state(fields)
    job = _current(profile, ref, revision)
    wants = whole_definition(
        given, job, timezone=profile.timezone(), grace=profile.settings().grace, now=now
    )
    return _write(profile, job, wants, paused, via, now)


def edit(
    profile: Profile,
    ref: str,
    fields: Mapping[str, Any],
    *,
    revision: int | None,
    via: str,
    now: datetime,
    merge: bool = False,
    resets: Sequence[str] = (),
) -> Job:
    """Only what ``fields`` say; ``resets`` names fields that get their default again.

    ``revision`` is the one that the editor saw.

    Without ``merge`` Conflict is raised unless it is the current one; with it, what others changed
    since is kept, and Conflict is raised where both changed the same part.
    """
    given, paused = _without_state(fields)
    job = profile.store.job(ref)
    if not merge:
        job = _current(profile, ref, revision)
    seen = job.definition
    if merge and revision is not None and revision != job.revision:
        seen = profile.store.definition(job.id, revision)
    refuse_foreign([job], "edit")
    plain = reset(seen, resets, grace=profile.settings().grace)
    wants = build(given, now=now, timezone=profile.timezone(), base=plain)
    if seen is not job.definition:
        wants = _merged(job, seen, wants)
    return _write(profile, job, wants, paused if "paused" in fields else None, via, now)


def set_state(
    profile: Profile,
    ref: str,
    state: JobState,
    *,
    via: str,
    now: datetime,
    revision: int | None = None,
) -> Job:
    """Pause, resume or remove. With ``revision``: Conflict unless it is the current one."""
    with profile.store.batch():
        job = profile.store.job(ref) if revision is None else _current(profile, ref, revision)
        refuse_foreign([job], _VERBS[state])
        found = profile.store.set_job_state(job.id, state, by=editor(via), now=now)
    nudge_owner(profile, "jobs")
    return found


def restore(profile: Profile, ref: str, *, via: str, now: datetime) -> Job:
    """A removed job again, as a new one with its last definition: the undo of a removal.

    Fires between removal and now stay what they were recorded as. Raises NotFound; Conflict if it
    was not removed, or its name is taken.
    """
    job = profile.store.job(ref)
    if job.state is not JobState.REMOVED:
        raise Conflict(
            f"{job.name} was not removed", remedy="reload: it is in the list", job=job.id
        )
    refuse_foreign([job], "edit")
    if job.app is not None:
        raise Refused(
            f"{job.name} is declared by the code of the app {job.app!r}",
            remedy="start a version that declares it",
            job=job.id,
        )
    found = profile.store.add_job(job.definition, by=editor(via), now=now)
    nudge_owner(profile, "jobs")
    return found


def approve(profile: Profile, ref: str, revision: int, *, via: str, now: datetime) -> Job:
    """Approve a revision for protected runs. Raises Conflict if it is not the current one."""
    job = _current(profile, ref, revision)
    found = profile.store.approve_job(job.id, revision, by=editor(via), now=now)
    nudge_owner(profile, "jobs")
    return found


def _current(profile: Profile, ref: str, revision: int | None) -> Job:
    job = profile.store.job(ref)
    if job.state is JobState.REMOVED:
        raise NotFound(f"the job {job.name!r} was removed", remedy="restore it, or add a new one")
    if revision is not None and job.revision != revision:
        raise _overtaken(job, revision)
    return job


def _overtaken(job: Job, seen: int) -> Overtaken:
    return Overtaken(
        f"{job.name} is at revision {job.revision} by {job.edited_by}, and revision {seen} was "
        "read",
        remedy="read it again, and make the change on what is there now",
        job=job.id,
        expected=seen,
        current=job.revision,
        edited_by=job.edited_by,
        edited_at=job.edited_at,
    )


def _write(
    profile: Profile, job: Job, wants: Definition, paused: bool | None, via: str, now: datetime
) -> Job:
    by, store = editor(via), profile.store
    with store.batch():
        refuse_foreign([job], "edit")
        try:
            found = store.edit_job(job.id, job.revision, wants, by=by, now=now)
        except Conflict:
            current = store.job(job.id)
            if current.revision != job.revision:
                raise _overtaken(current, job.revision) from None
            raise
        if paused is True and found.state is JobState.ACTIVE:
            found = store.set_job_state(job.id, JobState.PAUSED, by=by, now=now)
        elif paused is False and found.state is JobState.PAUSED:
            found = store.set_job_state(job.id, JobState.ACTIVE, by=by, now=now)
    nudge_owner(profile, "jobs")
    return found


def _merged(job: Job, seen: Definition, wants: Definition) -> Definition:
    """What ``wants`` changed of ``seen``, on what the job is now."""
    mine, theirs = differing(seen, wants), differing(seen, job.definition)
    both = {f for f in mine & theirs if getattr(wants, f) != getattr(job.definition, f)}
    if both:
        raise Conflict(
            f"{job.edited_by} changed {', '.join(sorted(both))} of {job.name} meanwhile, and so "
            "does this edit",
            remedy="look at what is there now, and decide",
            job=job.id,
            current=job.revision,
            fields=sorted(both),
            edited_by=job.edited_by,
        )
    return replaced(job.definition, **{f: getattr(wants, f) for f in mine})


def _without_state(fields: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    paused = fields.get("paused", False)
    if not isinstance(paused, bool):
        raise InvalidInput("true or false is expected", field="paused")
    return {key: value for key, value in fields.items() if key != "paused"}, paused


# -- an edit that is repeated ----------------------------------------------------------------------
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
