"""What the Python API returns: frozen values, each a copy of the record at one moment.

Instants are aware datetimes in UTC; durations are timedeltas. A value never changes: ask again for
a newer one. States are string enumerations, so that ``run.state == "succeeded"`` holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from tenure.client.explain import Check, Explanation
from tenure.client.job_fields import masked
from tenure.client.status import Status
from tenure.domain.job import CatchUp, Command, Job, JobState, Overlap
from tenure.domain.omission import OmissionKind
from tenure.domain.ownership import HolderLife
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.request import Request, RequestKind, RequestState
from tenure.domain.run import FINAL, Cause, Run, RunState
from tenure.domain.warnings import ProfileWarning

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "CatchUp",
    "Cause",
    "Check",
    "Duration",
    "JobExplanation",
    "JobFields",
    "JobInfo",
    "JobState",
    "NotRun",
    "OmissionKind",
    "Overlap",
    "OwnerInfo",
    "ProcessInfo",
    "ProcessStatus",
    "ProfileStatus",
    "ProfileWarning",
    "RequestInfo",
    "RequestKind",
    "RequestOptions",
    "RequestState",
    "RunInfo",
    "RunState",
    "ScheduledRun",
]


T = TypeVar("T", bound="DataclassInstance")
Duration = timedelta | str
"""A timedelta, or text such as ``"90s"`` or ``"1h30m"``."""


class JobFields(TypedDict, total=False):
    """The optional fields of a job. A field that is left out has its default (``add``) or keeps
    its value (``edit``)."""

    tz: str
    """IANA zone in which the schedule is read; the profile's zone if left out."""
    dst: str
    """What a change of the clocks does: see docs/schedules.md."""
    env: Mapping[str, str]
    cwd: str
    stdin: str
    protected: bool
    requires: Sequence[str]
    overlap: Literal["skip", "queue", "allow", "cancel"]
    catch_up: str
    """``"none"``, ``"latest"``, ``"all"``; with a window ``"latest:2h"``."""
    grace: Duration
    jitter: Duration
    timeout: Duration
    retries: int
    backoff: Duration
    retry_lost: bool
    tags: Sequence[str]


class RequestOptions(TypedDict, total=False):
    """How a request to the owner is made."""

    queue: bool
    """Where no process owns the profile: leave the request for the owner, for 24 hours."""
    key: str | None
    """Repeated calls with the same key make one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInfo:
    """A job's definition and state."""

    id: str
    name: str
    state: JobState
    schedule: str
    """As its author wrote it: ``"0 3 * * *"``, ``"every 5m"``."""
    schedule_description: str
    """The schedule as a phrase, with its time zone."""
    timezone: str
    """IANA name of the zone in which the schedule is read."""
    next_run_at: datetime | None
    """The next scheduled run, without jitter; None if the job is not active, or has none left."""
    command: tuple[str, ...]
    """The argument vector, or one line for the shell; empty for a Python function."""
    shell: bool
    """Whether ``command`` is one line for ``/bin/sh``."""
    function: str | None
    """``app:name`` of a job that an app declares; None for a command."""
    args: Mapping[str, Any]
    """Keyword arguments of the function."""
    env: Mapping[str, str]
    """Environment variables of the command; secrets are masked."""
    cwd: str | None
    """The command's folder; None: the user's home folder."""
    protected: bool
    """Whether it runs only under an authoritative owner."""
    requires: tuple[str, ...]
    """Capabilities that the owner needs."""
    overlap: Overlap
    catch_up: CatchUp
    """The rule in force, also where the job does not set one."""
    catch_up_window: timedelta | None
    grace: timedelta
    jitter: timedelta
    timeout: timedelta | None
    retries: int
    backoff: timedelta
    retry_lost: bool
    tags: tuple[str, ...]
    revision: int
    """Grows by one with each edit."""
    created_at: datetime
    edited_at: datetime
    edited_by: str
    app: str | None
    """The app that declares it; None for a job that was added."""
    problem: str | None
    """Why the stored definition cannot be read, so that it does not run; None if it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """One execution of a job."""

    id: str
    job_id: str
    job_name: str
    revision: int
    """The job's revision that it executes."""
    fire_time: datetime
    """When it was scheduled, or requested."""
    cause: Cause
    state: RunState
    reason: str
    """Why it failed, timed out, was cancelled or lost; empty for a success."""
    attempt: int
    """1 for the first; retries count up."""
    term: int
    process_id: str
    """The process that claimed the attempt: see :attr:`ProfileStatus.processes`."""
    pid: int | None
    """Of the command; None for a Python function, or before the start."""
    protected: bool
    claimed_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    retry_at: datetime | None
    exit_code: int | None
    """128 + the signal's number for a command that a signal ended."""
    signal: int | None
    request_id: str | None
    """The request that asked for it."""

    @property
    def ended(self) -> bool:
        """Whether ``state`` is final."""
        return self.state in FINAL

    @property
    def succeeded(self) -> bool:
        return self.state is RunState.SUCCEEDED

    @property
    def duration(self) -> timedelta | None:
        """From start to end; None while it runs, or if it never started."""
        if self.started_at is None or self.finished_at is None:
            return None
        return self.finished_at - self.started_at


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestInfo:
    """A request to the owner: trigger, cancel, retry or hand-over."""

    id: str
    kind: RequestKind
    state: RequestState
    key: str
    """The idempotency key: a request with the same key is the same request."""
    job_id: str | None
    run_id: str | None
    """The run to cancel; of an accepted trigger or retry, the new run."""
    to_process: str | None
    queued: bool
    requested_at: datetime
    requested_by: str
    deadline: datetime
    """After this it can no longer be accepted."""
    answered_at: datetime | None
    term: int | None
    """The term of the owner that answered."""
    answer: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessInfo:
    """A process that joined the profile."""

    id: str
    pid: int
    host: str | None
    role: str | None
    standing: ProcessStatus
    why: str
    """Why it has this standing."""
    executes: bool
    """False for an observer."""
    alive: bool | None
    """What the kernel says; None if it cannot be verified from here."""
    app: str | None
    executable: str | None
    joined_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerInfo:
    """The process that owns the profile, and its term."""

    process: ProcessInfo
    term: int
    since: datetime | None
    authoritative: bool
    """Whether it may run protected jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledRun:
    """A run to come."""

    job_id: str
    job_name: str
    at: datetime
    """The nominal instant; the job's jitter comes on top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRun:
    """A range of scheduled runs that did not happen, and why."""

    job_id: str
    job_name: str
    kind: OmissionKind
    first: datetime
    last: datetime
    count: int
    reason: str
    open: bool
    """Held runs that an authoritative owner will still decide about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileStatus:
    """One look at a profile."""

    profile: str
    folder: str
    at: datetime
    owner: OwnerInfo | None
    """None if no process owns the profile; the warnings say why."""
    processes: tuple[ProcessInfo, ...]
    warnings: tuple[ProfileWarning, ...]
    """The gravest first."""
    jobs: Mapping[JobState, int]
    """How many jobs are in each state."""
    protected_jobs: int
    active_runs: int
    open_holds: int
    """Ranges of held runs."""
    pending_requests: int
    next: tuple[ScheduledRun, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no warnings."""
        return not self.warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class JobExplanation:
    """Would a job run now, under which process, and if not, why not."""

    job: JobInfo
    at: datetime
    would_run: bool
    checks: tuple[Check, ...]
    """Each condition, with the remedy where it prevents the run."""
    owner: ProcessInfo | None
    term: int | None
    not_run: tuple[NotRun, ...]
    """The latest scheduled runs that did not happen, newest first."""


# -- from the records of the store -----------------------------------------------------------------
def _copy(kind: type[T], record: object, **given: Any) -> T:
    """A ``kind`` whose fields are ``given``, or else attributes of ``record`` of the same name."""
    names = (field.name for field in fields(kind) if field.name not in given)
    return kind(**given, **{name: getattr(record, name) for name in names})


def job_info(job: Job) -> JobInfo:
    """A copy for callers; secrets are masked."""
    definition, action = job.definition, job.definition.action
    command = action if isinstance(action, Command) else None
    return _copy(
        JobInfo,
        job,
        schedule=definition.schedule.text,
        schedule_description=definition.schedule.describe(),
        timezone=definition.schedule.timezone,
        next_run_at=job.next_fire,
        command=command.argv if command else (),
        shell=command.shell if command else False,
        function=None if isinstance(action, Command) else action.target,
        args={} if isinstance(action, Command) else dict(action.args),
        env=masked(command.env) if command else {},
        cwd=command.cwd if command else None,
        catch_up=definition.catching_up,
        catch_up_window=definition.window,
        problem=None if job.damage is None else job.damage.reason,
        **{name: getattr(definition, name) for name in _DEFINED},
    )


_DEFINED = (
    "protected", "requires", "overlap", "grace", "jitter", "timeout", "retries", "backoff",
    "retry_lost", "tags",
)  # fmt: skip
"""Fields of a job that its definition has under the same name."""


def run_info(run: Run) -> RunInfo:
    return _copy(
        RunInfo,
        run,
        job_id=run.job,
        process_id=run.process,
        pid=run.identity.pid if run.identity else None,
        request_id=run.request,
    )


def request_info(request: Request) -> RequestInfo:
    return _copy(
        RequestInfo,
        request,
        job_id=request.job,
        run_id=request.run,
        requested_at=request.asked_at,
        requested_by=request.requester.describe(),
    )


_ALIVE = {HolderLife.ALIVE: True, HolderLife.DEAD: False}


def process_info(process: Process, life: HolderLife = HolderLife.ALIVE) -> ProcessInfo:
    evidence = process.evidence
    return _copy(
        ProcessInfo,
        process,
        pid=evidence.identity.pid,
        host=evidence.hostname or evidence.host or None,
        alive=_ALIVE.get(life),
        executable=evidence.executable,
    )


def scheduled_run(job: Job, at: datetime) -> ScheduledRun:
    return ScheduledRun(job_id=job.id, job_name=job.name, at=at)


def profile_status(status: Status) -> ProfileStatus:
    health, counts = status.health, status.counts
    owner = None
    if health.owned and health.owner is not None:
        owner = OwnerInfo(
            process=process_info(health.owner.process, health.owner.life),
            term=health.ownership.term,
            since=health.ownership.since,
            authoritative=health.ownership.authoritative,
        )
    return _copy(
        ProfileStatus,
        status,
        owner=owner,
        processes=(
            *(process_info(present.process, present.life) for present in health.present),
            *(process_info(process) for process in status.foreign),
        ),
        jobs=dict(counts.jobs),
        protected_jobs=counts.protected,
        active_runs=counts.active_runs,
        open_holds=counts.open_holds,
        pending_requests=counts.pending_requests,
        next=tuple(
            scheduled_run(job, job.next_fire)
            for job in status.upcoming
            if job.next_fire is not None
        ),
    )


def job_explanation(explanation: Explanation) -> JobExplanation:
    owner = explanation.owner
    return _copy(
        JobExplanation,
        explanation,
        job=job_info(explanation.job),
        owner=None if owner is None else process_info(owner),
        not_run=tuple(_copy(NotRun, o, job_id=o.job) for o in explanation.omissions),
    )
