"""Definitions (C7, C12): from any process, with or without an owner, by revision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches

from tenure.domain.errors import Conflict, InvalidInput, NotFound
from tenure.domain.event import EventKind
from tenure.domain.job import Definition, Job, JobState, Runner, check_state, jitter_of, looks_like
from tenure.domain.names import look_of
from tenure.domain.omission import OmissionKind
from tenure.domain.ownership import Authority
from tenure.domain.schedule.model import ScheduleKind
from tenure.domain.version import is_newer
from tenure.store.contract import Accounting, Declaration, JobEditor, Page, Reconciled, Revision
from testkit.memory_store.base import page_of, verb
from testkit.memory_store.pending import INSTANT, PendingLayer

REVISED = "the job was revised before they ran"


class JobLayer(PendingLayer):
    @verb
    def add_job(
        self, definition: Definition, *, by: str, now: datetime, since: datetime | None = None
    ) -> Job:
        self._require_free(definition.name)
        watermark = min(since or now, now)
        job_id = f"j{self._number('job')}"
        job = Job(
            id=job_id,
            definition=definition,
            revision=1,
            state=JobState.ACTIVE,
            created_at=now,
            edited_at=now,
            edited_by=by,
            watermark=watermark,
            due_at=None,
        )
        job = self._rescheduled(job, now)
        self._tables.jobs[job_id] = job
        self._tables.accounted_from[job_id] = watermark
        self._note_revision(job)
        facts = {"name": job.name, "by": by}
        self._say(EventKind.JOB_ADDED, now, job=job_id, facts=facts)
        return job

    def _require_free(self, name: str, but: str | None = None) -> None:
        for job in self._tables.jobs.values():
            if job.name == name and job.id != but and job.state is not JobState.REMOVED:
                raise Conflict(
                    f"a job named {name!r} already exists", remedy="edit it, or choose a name"
                )
        if but is not None and self._tables.jobs[but].name == name:
            return
        for job in self._tables.jobs.values():
            alike = look_of(job.name) == look_of(name) and job.state is not JobState.REMOVED
            if alike and job.id != but:
                raise looks_like(job.name, job.id)

    def _note_revision(self, job: Job) -> None:
        revision = Revision(
            job=job.id,
            revision=job.revision,
            definition=job.definition,
            edited_at=job.edited_at,
            edited_by=job.edited_by,
            valid_after=job.watermark,
        )
        older = self._tables.revisions.get(job.id, ())
        self._tables.revisions[job.id] = (*older, revision)

    @verb
    def edit_job(
        self, job: str, expected_revision: int, definition: Definition, *, by: str, now: datetime
    ) -> Job:
        old = self._get_present(job)
        if old.revision != expected_revision:
            raise Conflict(
                f"the job is at revision {old.revision}, not {expected_revision}",
                remedy="look at it again, then edit",
            )
        self._require_free(definition.name, but=job)
        if definition == old.definition:
            return old
        watermark = self._leave_revision(old, definition, by=by, now=now)
        new = replace(
            old,
            definition=definition,
            revision=old.revision + 1,
            edited_at=now,
            edited_by=by,
            watermark=watermark,
        )
        new = self._rescheduled(new, now)
        self._tables.jobs[job] = new
        self._note_revision(new)
        facts = {"name": new.name, "by": by, "revision": new.revision}
        self._say(EventKind.JOB_EDITED, now, job=job, facts=facts)
        return new

    def _leave_revision(self, old: Job, new: Definition, *, by: str, now: datetime) -> datetime:
        """Account for the old revision's pending fires; where the new one begins."""
        latest = old.definition.schedule.latest(old.watermark, now)
        if old.state is JobState.ACTIVE and latest is not None:
            late = now - jitter_of(old.id, old.definition.jitter) - latest
            if (
                late <= old.definition.grace
                and new.schedule.latest(latest - INSTANT, now) == latest
            ):
                before = latest - INSTANT
                return self._account_pending(
                    old, before, OmissionKind.MISSED, REVISED, by=by, now=now
                )
        self._account_by_state(old, REVISED, by=by, now=now)
        return old.watermark_after_change(new, now)

    @verb
    def set_job_state(self, job: str, state: JobState, *, by: str, now: datetime) -> Job:
        old = self._get_present(job)
        if state is old.state:
            return old
        check_state(old.state, state)
        words = {
            JobState.REMOVED: "removed",
            JobState.PAUSED: "paused",
            JobState.DORMANT: "made dormant",
        }
        reason = f"the job was {words.get(state, state)} before they ran"
        self._account_by_state(old, reason, by=by, now=now)
        watermark = old.watermark_after_change(old.definition, now)
        if state is JobState.REMOVED:
            self._miss_holds(job, "the job was removed", now)
        new = self._rescheduled(replace(old, state=state, watermark=watermark), now)
        self._tables.jobs[job] = new
        facts = {"from": old.state.value, "to": new.state.value, "by": by}
        self._say(EventKind.JOB_STATE, now, job=job, facts=facts)
        return new

    @verb
    def change_jobs(self, steps: Sequence[Callable[[JobEditor], Job]]) -> tuple[Job, ...]:
        return tuple(step(self) for step in steps)

    @verb
    def miss_held_fires(self, job: str, reason: str, *, now: datetime) -> None:
        found = self._get_job(job)
        self._miss_holds(found.id, reason, now)
        if found.definition.schedule.kind is ScheduleKind.FOREIGN:
            self._tables.jobs[job] = replace(found, watermark=max(found.watermark, now))

    @verb
    def approve_job(self, job: str, revision: int, *, by: str, now: datetime) -> Job:
        found = self._get_present(job)
        if found.revision != revision:
            raise Conflict(f"the job is at revision {found.revision}, not {revision}")
        if found.approved_revision == revision:
            return found
        self._tables.jobs[job] = replace(found, approved_revision=revision)
        if self._has_open_hold(job):
            self._make_due(job, now)
        facts = {"approved": revision, "by": by}
        self._say(EventKind.JOB_STATE, now, job=job, facts=facts)
        return self._tables.jobs[job]

    def _get_present(self, job: str) -> Job:
        found = self._get_job(job)
        if found.state is JobState.REMOVED:
            raise NotFound(f"the job {found.name!r} was removed", remedy="add it again")
        return found

    @verb
    def job(self, ref: str) -> Job:
        if ref in self._tables.jobs:
            return self._tables.jobs[ref]
        present = [j for j in self._tables.jobs.values() if j.state is not JobState.REMOVED]
        for job in present:
            if job.name == ref:
                return job
        near = get_close_matches(ref, [j.name for j in present])
        remedy = f"did you mean {', '.join(near)}?" if near else "`tenure list` shows them"
        raise NotFound(f"unknown job {ref!r}", remedy=remedy, near=near)

    def unreadable_jobs(self) -> tuple[Job, ...]:
        return ()  # objects are kept, and nothing is decoded

    @verb
    def find_job_without_code(self, app: str | None) -> str | None:
        for job in self._tables.jobs.values():
            if job.state is not JobState.ACTIVE or job.definition.runner is Runner.COMMAND:
                continue
            if app is None or job.app not in (None, app):
                return job.name
        return None

    @verb
    def jobs(
        self,
        *,
        states: frozenset[JobState] | None = None,
        text: str | None = None,
        tag: str | None = None,
        page: Page | None = None,
    ) -> tuple[tuple[Job, ...], str | None]:
        wanted = frozenset(JobState) - {JobState.REMOVED} if states is None else states
        found = [
            job
            for job in self._tables.jobs.values()
            if job.state in wanted
            and (text is None or _plain(text) in _plain(job.name))
            and (tag is None or tag in job.definition.tags)
        ]
        return page_of(sorted(found, key=lambda j: (j.name, j.id)), page)

    @verb
    def revisions(self, job: str) -> tuple[Revision, ...]:
        self._get_job(job)
        return self._tables.revisions[job]

    @verb
    def definition(self, job: str, revision: int) -> Definition:
        for found in self.revisions(job):
            if found.revision == revision:
                return found.definition
        raise NotFound(f"the job {job!r} has no revision {revision}")

    @verb
    def accounting(self, job: str) -> Accounting:
        watermark = self._get_job(job).watermark
        return Accounting(
            job=job, accounted_from=self._tables.accounted_from[job], watermark=watermark
        )

    @verb
    def reconcile(
        self,
        authority: Authority,
        app: str,
        version: str,
        declarations: Sequence[Declaration],
        now: datetime,
    ) -> Reconciled:
        self._require(authority)
        present = [j for j in self._tables.jobs.values() if j.state is not JobState.REMOVED]
        other = next((j.app for j in present if j.app not in (None, app)), None)
        if other is not None:
            raise Conflict(
                f"the profile belongs to the app {other!r}",
                remedy=f"give {app!r} a profile of its own",
            )
        mine = {j.name: j for j in present if j.app == app}
        did: dict[str, list[str]] = {name: [] for name in _OUTCOMES}
        for declared in declarations:
            definition = declared.definition
            if not definition.name.startswith(f"{app}:"):
                raise InvalidInput(f"{definition.name!r} is not named {app}:...", field="name")
            existing = mine.pop(definition.name, None)
            for outcome in self._declare(existing, declared, app, version, now):
                did[outcome].append(definition.name)
        for name, job in mine.items():
            if _is_of_newer(job, version):
                did["kept_newer"].append(name)
            elif job.state is JobState.ACTIVE:
                self.set_job_state(job.id, JobState.DORMANT, by=_editor(app, version), now=now)
                did["dormant"].append(name)
        return Reconciled(**{outcome: tuple(sorted(names)) for outcome, names in did.items()})

    def _declare(
        self, job: Job | None, declared: Declaration, app: str, version: str, now: datetime
    ) -> list[str]:
        """Bring one declared job in line; which outcomes that was."""
        by = _editor(app, version)
        did: list[str] = []
        if job is None:
            job = self.add_job(declared.definition, by=by, now=now, since=declared.since)
            did.append("added")
        elif _is_of_newer(job, version):
            return ["kept_newer"]
        if job.state is JobState.DORMANT:
            job = self.set_job_state(job.id, JobState.ACTIVE, by=by, now=now)
            did.append("woken")
        wanted = _with_anchor_of(declared.definition, job.definition)
        if wanted != job.definition:
            job = self.edit_job(job.id, job.revision, wanted, by=by, now=now)
            did.append("changed")
        self._tables.jobs[job.id] = replace(job, app=app, app_version=version)
        return did


_OUTCOMES = ("added", "changed", "woken", "dormant", "kept_newer")


def _editor(app: str, version: str) -> str:
    return f"app {app} {version}".rstrip()


def _is_of_newer(job: Job, version: str) -> bool:
    return job.app_version is not None and is_newer(job.app_version, version)


def _with_anchor_of(new: Definition, old: Definition) -> Definition:
    """``new``, on the old grid if it is an interval of the same length."""
    if new.schedule.kind is ScheduleKind.EVERY and old.schedule.kind is ScheduleKind.EVERY:
        moved = replace(new.schedule, anchor=old.schedule.anchor)
        if moved == old.schedule:
            return replace(new, schedule=moved)
    return new


def _plain(text: str) -> str:
    """Without regard to case, of the letters A to Z."""
    return "".join(c.lower() if c.isascii() else c for c in text)
