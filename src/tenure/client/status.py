"""The status of a profile: who owns, who is there and why, what is wrong, what comes next (C9).

Built from the store and the kernel by whoever asks; no owner is needed for it, and nothing is
changed by it, but that a changed profile.toml is noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice
from typing import Any

from tenure.client.advice import Warning
from tenure.client.documents import instant, owner_document, process_document
from tenure.client.health import Health, Present, examine
from tenure.client.schedules import next_fires
from tenure.client.warnings import find_warnings
from tenure.domain.job import Job, JobState, Runner
from tenure.domain.ownership import HolderLife
from tenure.domain.process import Process
from tenure.runtime.profile import Profile
from tenure.store.contract import Counts

UPCOMING = 5
_FAR = timedelta(days=36500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One look at a profile. Instants are UTC."""

    profile: str
    folder: str
    at: datetime
    health: Health
    warnings: tuple[Warning, ...]
    counts: Counts
    upcoming: tuple[Job, ...]
    """Active jobs, those that are due first first."""
    foreign: tuple[Process, ...] = ()
    """Schedulers of the same jobs that have not joined the profile."""


def read_status(
    profile: Profile, now: datetime, *, foreign: Sequence[Process] = (), upcoming: int = UPCOMING
) -> Status:
    """Look at the profile. ``foreign``: schedulers that do not speak Tenure, if any were found."""
    health = examine(profile, now)
    counts = profile.store.counts()
    return Status(
        profile=profile.name,
        folder=str(profile.folder.path),
        at=now,
        health=health,
        warnings=tuple(find_warnings(profile, health, counts, foreign, now)),
        counts=counts,
        upcoming=soonest(profile, now, upcoming),
        foreign=tuple(foreign),
    )


def soonest(profile: Profile, now: datetime, count: int) -> tuple[Job, ...]:
    """The active jobs that the owner looks at next, the earliest first."""
    room = dict.fromkeys(Runner, count)
    found = sorted(
        (due.job for due in profile.store.due(now + _FAR, room) if due.job.damage is None),
        key=lambda job: (job.due_at or now, job.name),
    )
    return tuple(found[:count])


def next_runs(
    profile: Profile, now: datetime, count: int, job: Job | None = None
) -> list[tuple[datetime, Job]]:
    """The runs to come, the earliest first, of one job or of all that are active."""
    jobs = [job] if job is not None else soonest(profile, now, count)
    fires = (
        [(fire, each.name, each) for fire in next_fires(each, now, count)]
        for each in jobs
        if each.state is JobState.ACTIVE
    )
    return [(fire, each) for fire, _, each in islice(merge(*fires, key=lambda f: f[:2]), count)]


def status_document(status: Status) -> dict[str, Any]:
    """The stable JSON (without its version). ``life`` is the kernel's word on each process."""
    counts = status.counts
    return {
        "profile": status.profile,
        "folder": status.folder,
        "at": instant(status.at),
        "owner": _owner(status.health),
        "policy": {
            "version": status.health.policy.version,
            "open": status.health.policy.open,
            "rules": len(status.health.policy.rules),
        },
        "processes": [
            *(present_document(p) for p in status.health.present),
            *(present_document(_foreign(p)) for p in status.foreign),
        ],
        "warnings": [{"code": w.code, "text": w.text, "remedy": w.remedy} for w in status.warnings],
        "jobs": {
            **{str(state): number for state, number in counts.jobs.items()},
            "protected": counts.protected,
            "active_runs": counts.active_runs,
            "open_holds": counts.open_holds,
            "pending_requests": counts.pending_requests,
        },
        "next": [
            {
                "job": job.id,
                "name": job.name,
                "fire_time": instant(job.next_fire),
                "due_at": instant(job.due_at),
                "protected": job.definition.needs_authority,
            }
            for job in status.upcoming
        ],
    }


def present_document(present: Present) -> dict[str, Any]:
    """A process, and the kernel's word on it."""
    return {
        **process_document(present.process),
        "life": str(present.life),
        "activity": str(present.activity),
    }


def _foreign(process: Process) -> Present:
    return Present(process=process, life=HolderLife.ALIVE)


def _owner(health: Health) -> dict[str, Any] | None:
    if health.problem is not None:
        return None
    document = owner_document(health.ownership)
    if document is not None and health.owner is not None:
        document["life"] = str(health.owner.life)
        document["activity"] = str(health.owner.activity)
    return document
