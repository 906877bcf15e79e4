"""Jobs, their definitions and their schedules as JSON."""

from __future__ import annotations

from typing import Annotated, Any

from tenure.client.documents import (
    Document,
    Instant,
    Json,
    Next,
    Reply,
    Schema,
    Seconds,
    WarningDocument,
    optional,
)
from tenure.client.job_fields import masked, masked_text
from tenure.domain.job import Call, CatchUp, Definition, Job, JobState, Overlap, Runner
from tenure.domain.run import RunState
from tenure.domain.schedule.model import Schedule, ScheduleKind

Interval = Annotated[float, Schema(type="number", description="Seconds.", examples=[60])]


class ScheduleDocument(Document):
    kind: ScheduleKind
    text: str
    """As it was written."""
    expression: str | None
    interval: Interval | None
    anchor: Instant | None
    at: Instant | None
    timezone: str
    dst: str
    follows_profile: bool = optional()
    """No time zone was given: a new `timezone` of the profile applies to this schedule."""
    words: str
    """In English."""


class DefinitionDocument(Document):
    """A command has `command`, `shell`, `env`, `cwd` and `stdin`; a call of an app's code has
    `target`, `runner` and `args` instead."""

    name: str
    schedule: ScheduleDocument
    command: list[str] | None = optional()
    shell: bool | None = optional()
    env: dict[str, str] | None = optional()
    """Secrets are masked."""
    cwd: str | None = optional()
    stdin: str | None = optional()
    """Masked: it may hold a secret."""
    target: str | None = optional()
    runner: Runner | None = optional()
    args: dict[str, Any] | None = optional()
    protected: bool
    requires: list[str]
    overlap: Overlap
    catch_up: CatchUp
    catch_up_window: Seconds | None
    grace: Seconds
    jitter: Seconds
    timeout: Seconds | None
    retries: int
    backoff: Seconds
    retry_lost: bool
    tags: list[str]


class _Identified(Document):
    """The field before a definition's own: fields of a base class come first."""

    id: str


class JobDocument(DefinitionDocument, _Identified):
    """A command has `command`, `shell`, `env`, `cwd` and `stdin`; a call of an app's code has
    `target`, `runner` and `args` instead."""

    revision: int
    """The ETag, without its quotes."""
    approved_revision: int
    state: JobState
    created_at: Instant
    edited_at: Instant
    edited_by: str
    watermark: Instant
    """Every scheduled run up to here is accounted for."""
    next_fire: Instant | None
    app: str | None
    unreadable: str | None
    """Why the stored job cannot be read; it does not run until it is repaired."""


class LastRun(Document):
    id: str
    state: RunState
    fire_time: Instant
    claimed_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    exit_code: int | None
    reason: str | None


class ListedJob(JobDocument):
    last_run: LastRun | None
    """The run of its latest fire time."""


class JobList(Reply):
    jobs: list[ListedJob]
    next: Next


class JobReply(Reply):
    job: JobDocument
    next: list[Instant]
    """The next fire times, as if the job were active."""
    warnings: list[WarningDocument]


class RevisionDocument(Document):
    revision: int
    edited_at: Instant
    edited_by: str
    valid_after: Instant
    definition: DefinitionDocument


class RevisionList(Reply):
    revisions: list[RevisionDocument]
    next: None


class PreviewFire(Document):
    fire_time: Instant
    local: str
    """On the schedule's wall clock, with its offset."""
    offset: str
    abbreviation: str | None
    clock_change: Seconds | None
    """How far clocks moved since the previous fire time (for the first, since now)."""
    twice: str | None
    """`first` or `second` if this local time occurs twice that day."""


class PreviewNote(Document):
    text: str
    remedy: str


class PreviewReply(Reply):
    schedule: ScheduleDocument
    words: str
    note: PreviewNote | None
    """A property of the schedule that is easy to overlook, such as two day fields."""
    fires: list[PreviewFire]


class UpcomingFire(Document):
    job: str
    job_name: str
    fire_time: Instant


class UpcomingList(Reply):
    next_fires: list[UpcomingFire]
    next: None


def schedule_document(schedule: Schedule, **more: Any) -> ScheduleDocument:
    stored = {**schedule.to_json(), "anchor": schedule.anchor, "at": schedule.at, **more}
    return ScheduleDocument(**stored, words=schedule.describe())


def definition_document(
    definition: Definition, *, show_secrets: bool = False
) -> DefinitionDocument:
    """A definition; secrets in its environment, and its standard input, are masked."""
    action, schedule = definition.action, definition.schedule
    if isinstance(action, Call):
        given: Json = {"target": action.target, "runner": action.runner, "args": action.args}
    else:
        given = {
            "command": action.argv,
            "shell": action.shell,
            "env": masked(action.env, show=show_secrets),
            "cwd": action.cwd,
            "stdin": masked_text(action.stdin, show=show_secrets),
        }
    return DefinitionDocument.read(
        definition,
        **given,
        schedule=schedule_document(schedule, follows_profile=schedule.follows_profile),
        catch_up=definition.catching_up,
        catch_up_window=definition.window,
    )


def job_document(job: Job, *, show_secrets: bool = False) -> JobDocument:
    definition = definition_document(job.definition, show_secrets=show_secrets)
    unreadable = None if job.damage is None else job.damage.reason
    return JobDocument.read(job, **vars(definition), unreadable=unreadable)
