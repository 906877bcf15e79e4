"""Accounting for fires (C5): the records of what did not run, and where the watermark goes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from tenure.domain.job import Definition, Job, JobState, jitter_of
from tenure.domain.omission import FireRange, Omission, OmissionKind, resolution
from testkit.memory_store.ownership import OwnershipLayer

INSTANT = timedelta(microseconds=1)


class PendingLayer(OwnershipLayer):
    def _omit(
        self,
        job: Job,
        stretch: FireRange,
        *,
        by: str,
        term: int,
        now: datetime,
        merge: bool = False,
    ) -> None:
        """Record a stretch of one job's current revision."""
        older = self._mergeable(job, stretch) if merge else None
        if older is not None:
            self._tables.omissions[older.id] = replace(
                older,
                last=stretch.last,
                count=older.count + stretch.count,
                decided_at=now,
                decided_by=by,
                term=term,
            )
            return
        number = self._number("omission")
        self._tables.omissions[number] = Omission(
            id=number,
            job=job.id,
            job_name=job.name,
            revision=job.revision,
            kind=stretch.kind,
            first=stretch.first,
            last=stretch.last,
            count=stretch.count,
            reason=stretch.reason,
            decided_at=now,
            decided_by=by,
            term=term,
        )

    def _mergeable(self, job: Job, stretch: FireRange) -> Omission | None:
        """An older record that the stretch goes on from, without a fire between."""
        for old in self._tables.omissions.values():
            alike = (old.job, old.revision, old.kind, old.reason) == (
                job.id,
                job.revision,
                stretch.kind,
                stretch.reason,
            )
            whole = old.cut_at is None and (old.open or old.kind is not OmissionKind.HELD)
            schedule = job.definition.schedule
            if alike and whole and schedule.adjoin(old.last, stretch.first, job.watermark):
                return old
        return None

    def _account_pending(
        self, job: Job, until: datetime, kind: OmissionKind, reason: str, *, by: str, now: datetime
    ) -> datetime:
        """Record the fires in (watermark, until] as one stretch; the watermark they give."""
        schedule = job.definition.schedule
        first, last = (
            schedule.next_after(job.watermark),
            schedule.latest(job.watermark, until),
        )
        if first is not None and last is not None:
            count = schedule.count(job.watermark, until)
            stretch = FireRange(kind=kind, first=first, last=last, count=count, reason=reason)
            self._omit(job, stretch, by=by, term=0, now=now)
        return max(job.watermark, until)

    def _account_by_state(self, job: Job, reason: str, *, by: str, now: datetime) -> None:
        """As missed, for ``reason``, if it was active; as skipped if it was not to run."""
        if job.state is JobState.ACTIVE:
            self._account_pending(job, now, OmissionKind.MISSED, reason, by=by, now=now)
        else:
            self._account_pending(job, now, OmissionKind.SKIPPED, job.state.value, by=by, now=now)

    def _miss_holds(self, job: str, reason: str, now: datetime) -> None:
        """Close a job's open held stretches: their fires are missed."""
        for hold in list(self._tables.omissions.values()):
            if hold.job == job and hold.open:
                text = resolution(
                    claimed=hold.claimed, missed=hold.count - hold.claimed, reason=reason
                )
                self._tables.omissions[hold.id] = replace(hold, resolved_at=now, resolution=text)

    def _rescheduled(self, job: Job, now: datetime) -> Job:
        """``job`` with the due instant, and the done state, that its watermark gives."""
        job = replace(job, due_at=None, waiting=False, deferred=False)
        if job.state not in (JobState.ACTIVE, JobState.DONE):
            return job
        held = self._has_open_hold(job.id)
        due_at = first_due(job.id, job.definition, job.watermark)
        if job.definition.schedule.is_over(job.watermark) and not held:
            return replace(job, state=JobState.DONE)
        return replace(job, state=JobState.ACTIVE, due_at=now if held else due_at)


def first_due(job: str, definition: Definition, watermark: datetime) -> datetime | None:
    """When the first fire after the watermark is due."""
    fire = definition.schedule.next_after(watermark)
    return None if fire is None else fire + jitter_of(job, definition.jitter)
