"""The status of a profile: who owns, who is there and why, what is wrong, what comes next (C9).

Any process builds it from the store and the kernel. It needs no owner and changes nothing. A
profile whose folder and ``profile.toml`` are there, and whose database is not yet, has a status
too: the rules in the file say which process may own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice

from tenure.client.definitions import next_fires
from tenure.client.documents import WarningDocument
from tenure.client.documents.processes import (
    OwnerDocument,
    ProcessDocument,
    owner_document,
    process_document,
)
from tenure.client.documents.reports import PolicySummary, StatusReply, UpcomingJob
from tenure.client.health import Health, examine
from tenure.client.presence import Present
from tenure.client.warnings import find_warnings, warnings_of_policy
from tenure.domain.errors import NotFound
from tenure.domain.job import Job, JobState, Runner
from tenure.domain.ownership import HolderLife, Ownership
from tenure.domain.policy.admission import OPEN, Policy
from tenure.domain.policy.change import PolicyFile, PolicyProblem, ProblemKind, policy_in_force
from tenure.domain.process import Process
from tenure.domain.warnings import ProfileWarning
from tenure.runtime.profile import Profile
from tenure.store.contract import Counts
from tenure.store.folder.layout import ProfileFolder
from tenure.store.folder.layout import home as home_folder
from tenure.store.folder.policy_file import read_policy_file

UPCOMING = 5
_FAR = timedelta(days=36500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One look at a profile. Instants are UTC."""

    profile: str
    folder: str
    at: datetime
    health: Health
    warnings: tuple[ProfileWarning, ...]
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
    jobs = [due.job for due in profile.store.due(now + _FAR, room) if due.job.damage is None]
    return tuple(sorted(jobs, key=lambda job: (job.due_at or now, job.name))[:count])


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


def status_document(status: Status) -> StatusReply:
    health, counts = status.health, status.counts
    policy = health.policy
    present = [
        *health.present,
        *(Present(process=p, life=HolderLife.ALIVE) for p in status.foreign),
    ]
    return StatusReply.read(
        status,
        owner=owner_of(health),
        policy=PolicySummary(version=policy.version, open=policy.open, rules=len(policy.rules)),
        processes=[present_document(p) for p in present],
        warnings=[WarningDocument.read(warning) for warning in status.warnings],
        jobs={
            **{str(state): number for state, number in counts.jobs.items()},
            "protected": counts.protected,
            "active_runs": counts.active_runs,
            "open_holds": counts.open_holds,
            "pending_requests": counts.pending_requests,
        },
        next=[_next(job) for job in status.upcoming],
    )


def present_document(present: Present) -> ProcessDocument:
    """A process with what the kernel reports about it."""
    stored = vars(process_document(present.process))
    return ProcessDocument(**stored, life=present.life, activity=present.activity)


def _next(job: Job) -> UpcomingJob:
    return UpcomingJob.read(
        job, job=job.id, protected=job.definition.needs_authority, fire_time=job.next_fire
    )


def owner_of(health: Health) -> OwnerDocument | None:
    """The owner with what the kernel reports about it; None also where the database belongs to
    another folder or another time."""
    if health.problem is not None:
        return None
    owner = health.owner
    if owner is None:
        return owner_document(health.ownership)
    return owner_document(health.ownership, owner.life, owner.activity)


# -- a profile without a database ------------------------------------------------------------------
class NewProfile:
    """A profile that has a ``profile.toml`` and no database yet. Reads the file once."""

    def __init__(self, folder: ProfileFolder, file: PolicyFile | PolicyProblem) -> None:
        self.folder = folder
        self.name = folder.name
        self.file = file
        self.policy: Policy = policy_in_force(OPEN, file)

    @classmethod
    def find(
        cls,
        name: str,
        *,
        home: str | os.PathLike[str] | None,
        environ: Mapping[str, str] | None = None,
    ) -> NewProfile | None:
        """None if there is no such folder or file, or if the profile has a database. Raises
        InvalidInput and Refused, as opening it does."""
        try:
            where = home_folder(home, os.environ if environ is None else environ)
            folder = ProfileFolder.open(name, where)
        except NotFound:
            return None
        if folder.database.exists():
            return None
        file = read_policy_file(folder.toml)
        if isinstance(file, PolicyProblem) and file.kind is ProblemKind.MISSING:
            return None
        return cls(folder, file)

    def text(self) -> str:
        """What there is, in one sentence."""
        return (
            f"profile {self.name} has {self.folder.toml} and no database yet; "
            "`tenure add` or `tenure serve` creates it"
        )

    def warnings(self) -> tuple[ProfileWarning, ...]:
        warnings = warnings_of_policy(self.file, self.policy, self.name)
        # The rules are accepted when there is something to keep them in.
        return tuple(w for w in warnings if w.code != "policy_not_accepted")

    def health(self) -> Health:
        start = self.file.settings.start if isinstance(self.file, PolicyFile) else None
        return Health(
            ownership=Ownership(), policy=self.policy, present=(), owner=None, start=start
        )

    def status(self, now: datetime) -> Status:
        """The same report as of a profile that has a database, with nothing in it."""
        return Status(
            profile=self.name,
            folder=str(self.folder.path),
            at=now,
            health=self.health(),
            warnings=self.warnings(),
            counts=Counts(),
            upcoming=(),
        )
