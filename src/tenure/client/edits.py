"""Create, edit, pause, resume, remove, restore a job by named fields (C7, C12).

An edit names the revision that its editor saw. It is refused when that is not the current one
(the HTTP API), or merged where the two edits touched different fields (the library, the command
line). Every change is one transaction of the store; the owner is only notified. A job that another
scheduler plans is changed there only.
"""

from __future__ import annotations

import shlex
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
from tenure.store.contract import JobEditor

_VERBS = {JobState.PAUSED: "pause", JobState.ACTIVE: "resume", JobState.REMOVED: "remove"}


class Overtaken(Conflict):
    """The job was changed since it was read. Facts: ``expected``, ``current``."""

    code = "overtaken"


def create(profile: Profile, fields: Mapping[str, Any], *, via: str, now: datetime) -> Job:
    """A new job. ``fields`` are those of :mod:`tenure.client.definitions`, and ``paused``.
    Raises InvalidInput naming the field; Conflict if the name is taken."""
    given, paused = _without_state(fields)
    definition = build(given, now=now, timezone=profile.timezone(), grace=profile.settings().grace)
    by = editor(via)
    with profile.store.batch():
        job = profile.store.add_job(definition, by=by, now=now)
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
    """Replace the whole definition: a field that is not in ``fields`` has its default. Masked
    values of the environment stay as they are.

    Raises :class:`Overtaken` unless ``revision`` is the current one.
    """
    given, paused = _without_state(fields)
    job = _current(profile, ref, revision)
    definition = whole_definition(
        given, job, timezone=profile.timezone(), grace=profile.settings().grace, now=now
    )
    return _write(profile, job, definition, paused=paused, via=via, now=now)


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
    """Change only what is in ``fields``; ``resets`` names fields that get their default again.

    ``revision`` is the one that the editor saw; None: the current one. Without ``merge`` Overtaken
    is raised unless it is the current one. With ``merge``, what others changed since is kept, and
    Conflict is raised where both changed the same part.
    """
    given, paused = _without_state(fields)
    job = profile.store.job(ref) if merge else _current(profile, ref, revision)
    seen = job.definition
    if revision is not None and revision != job.revision:
        seen = profile.store.definition(job.id, revision)
    refuse_foreign([job], "edit")
    base = reset(seen, resets, grace=profile.settings().grace)
    definition = build(given, now=now, timezone=profile.timezone(), base=base)
    return _write(
        profile,
        job,
        definition,
        seen=seen if merge else None,
        paused=paused if "paused" in fields else None,
        via=via,
        now=now,
    )


def set_state(
    profile: Profile,
    ref: str,
    state: JobState,
    *,
    via: str,
    now: datetime,
    revision: int | None = None,
) -> Job:
    """Pause, resume or remove. With ``revision``: Overtaken unless it is the current one."""
    with profile.store.batch():
        job = profile.store.job(ref) if revision is None else _current(profile, ref, revision)
        refuse_foreign([job], _VERBS[state])
        after = profile.store.set_job_state(job.id, state, by=editor(via), now=now)
    nudge_owner(profile, "jobs")
    return after


def set_states(
    profile: Profile, jobs: Sequence[Job], state: JobState, *, via: str, now: datetime
) -> list[tuple[Job, Job]]:
    """Pause, resume or remove jobs, all or none; each before and after. Raises Refused if one of
    them is planned by another scheduler; what ``set_job_state`` raises."""
    refuse_foreign(jobs, _VERBS[state])
    by = editor(via)

    def change(job: Job) -> Callable[[JobEditor], Job]:
        return lambda store: store.set_job_state(job.id, state, by=by, now=now)

    # Not in a batch: thousands of jobs would hold the write lock for seconds.
    changed = profile.store.change_jobs([change(job) for job in jobs])
    nudge_owner(profile, "jobs")
    return list(zip(jobs, changed, strict=True))


def restore(profile: Profile, ref: str, *, via: str, now: datetime) -> Job:
    """Add a removed job again, as a new one with its last definition: the undo of a removal.

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
    added = profile.store.add_job(job.definition, by=editor(via), now=now)
    nudge_owner(profile, "jobs")
    return added


def approve(profile: Profile, ref: str, revision: int, *, via: str, now: datetime) -> Job:
    """Approve a revision for protected runs. Raises Overtaken if it is not the current one."""
    job = _current(profile, ref, revision)
    approved = profile.store.approve_job(job.id, revision, by=editor(via), now=now)
    nudge_owner(profile, "jobs")
    return approved


def _current(profile: Profile, ref: str, revision: int | None) -> Job:
    job = profile.store.job(ref)
    if job.state is JobState.REMOVED:
        raise NotFound(f"the job {job.name!r} was removed", remedy="restore it, or add a new one")
    _check_revision(job, revision)
    return job


def _check_revision(job: Job, seen: int | None) -> None:
    if seen in (None, job.revision):
        return
    raise Overtaken(
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
    profile: Profile,
    job: Job,
    definition: Definition,
    *,
    seen: Definition | None = None,
    paused: bool | None,
    via: str,
    now: datetime,
) -> Job:
    """Write ``definition``, which was made of ``job``; with ``seen``, of that, and merged."""
    by, store = editor(via), profile.store
    with store.batch():
        # The job may have changed since it was read; in this transaction it cannot.
        current = store.job(job.id)
        refuse_foreign([current], "edit")
        if seen is None:
            _check_revision(current, job.revision)
        else:
            definition = _merged(current, seen, definition)
        after = store.edit_job(current.id, current.revision, definition, by=by, now=now)
        if paused is True and after.state is JobState.ACTIVE:
            after = store.set_job_state(job.id, JobState.PAUSED, by=by, now=now)
        elif paused is False and after.state is JobState.PAUSED:
            after = store.set_job_state(job.id, JobState.ACTIVE, by=by, now=now)
    nudge_owner(profile, "jobs")
    return after


def _merged(job: Job, seen: Definition, mine: Definition) -> Definition:
    """What ``mine`` changed of ``seen``, on what the job is now."""
    changed = _differing(seen, mine)
    theirs = _differing(seen, job.definition)
    both = sorted(changed & theirs & _differing(mine, job.definition))
    if both:
        raise Conflict(
            f"{job.edited_by} changed {', '.join(both)} of {job.name} meanwhile, and so does this "
            "edit",
            remedy=f"see `tenure show {shlex.quote(job.name)}`, and edit again",
            job=job.id,
            revision=job.revision,
            current=job.revision,
            fields=both,
            edited_by=job.edited_by,
        )
    return replaced(job.definition, **{name: getattr(mine, name) for name in changed})


def _differing(a: Definition, b: Definition) -> set[str]:
    return {f.name for f in fields_of(a) if getattr(a, f.name) != getattr(b, f.name)}


def _without_state(fields: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    paused = fields.get("paused", False)
    if not isinstance(paused, bool):
        raise InvalidInput("expected true or false", field="paused")
    return {key: value for key, value in fields.items() if key != "paused"}, paused
