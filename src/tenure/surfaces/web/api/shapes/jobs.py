"""Jobs, their definitions and their schedules."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from tenure.domain.job import CatchUp, JobState, Overlap, Runner
from tenure.domain.run import RunState
from tenure.domain.schedule.model import ScheduleKind
from tenure.surfaces.web.api.shapes.base import (
    Document,
    Instant,
    Next,
    Seconds,
    Shape,
    WarningShape,
)

Duration = Annotated[
    str | None,
    Field(description="Whole numbers with their units, the larger first.", examples=["1h30m"]),
]


class JobFields(Shape):
    """A job as a file of `tenure apply` has it. What is not said, or null, has its default."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "name": "read-mail",
                "schedule": "0 7 * * *",
                "tz": "Europe/Berlin",
                "command": ["/usr/local/bin/read-mail", "--new"],
                "env": {"LANG": "C.UTF-8"},
                "protected": True,
                "timeout": "10m",
            }
        },
    )

    name: str | None = Field(
        default=None, max_length=200, description="From the command where it is not said."
    )
    schedule: str | None = Field(
        default=None,
        description="Cron with five or six fields (seconds first), `@daily`, `every 90s`, "
        "`every monday 9am`, `in 30m`, or an ISO instant.",
        examples=["0 7 * * *"],
    )
    tz: str | None = Field(
        default=None, description="An IANA zone, or `profile`; the profile's if not said."
    )
    dst: str | None = Field(
        default=None, description="What to do when clocks change: `cron`, `gap=skip,fold=both`..."
    )
    at: str | None = Field(default=None, description="Exactly this instant, with its offset.")
    anchor: str | None = Field(default=None, description="Where an interval's grid begins.")
    interval: float | str | None = Field(default=None, description="Seconds; with an anchor.")
    cron: str | None = Field(default=None, description="The expression, where `schedule` is words.")
    command: list[str] | None = Field(default=None, description="The program and its arguments.")
    shell: str | None = Field(default=None, description="Or one line for /bin/sh.")
    env: dict[str, str] | None = Field(
        default=None,
        description="Secrets are shown as `********`; sent back so, they stay what they are.",
    )
    cwd: str | None = Field(default=None, description="A full path; the home folder if not said.")
    stdin: str | None = Field(
        default=None,
        description="Shown as `********`; sent back so, it stays what it is.",
    )
    protected: bool | None = Field(
        default=None, description="Runs under an authoritative owner or not at all."
    )
    requires: list[str] | None = Field(
        default=None, description="Capabilities that the owner must not be denied."
    )
    overlap: Overlap | None = None
    catch_up: str | None = Field(
        default=None, description="`none`, `latest`, `all`, the last two with `:window`, `default`."
    )
    grace: Duration = None
    jitter: Duration = None
    timeout: Duration = None
    retries: int | None = Field(default=None, ge=0, le=100)
    backoff: Duration = None
    retry_lost: bool | None = None
    tags: list[str] | None = None
    paused: bool = False


class JobChanges(JobFields):
    """Only what is said changes (RFC 7396): null means the default, `env` is merged by name."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"schedule": "0 8 * * *", "timeout": None}}
    )
    env: dict[str, str | None] | None = None  # type: ignore[assignment]


class ScheduleShape(Shape):
    kind: ScheduleKind
    text: str = Field(description="As it was written.")
    expression: str | None
    interval: Seconds | None
    anchor: Instant | None
    at: Instant | None
    timezone: str
    dst: str
    follows_profile: bool = Field(
        default=False, description="No zone was named: a new `timezone` of the profile moves it."
    )
    words: str = Field(description="In English.")


class JobShape(Shape):
    """A command has `command`, `shell`, `env`, `cwd` and `stdin`; a call of an app's code has
    `target`, `runner` and `args` instead."""

    model_config = ConfigDict(extra="forbid")

    id: str
    name: str
    schedule: ScheduleShape
    command: list[str] | None = None
    shell: bool | None = None
    env: dict[str, str] | None = Field(default=None, description="Secrets are masked.")
    cwd: str | None = None
    stdin: str | None = Field(default=None, description="Masked: it may hold a secret.")
    target: str | None = None
    runner: Runner | None = None
    args: dict[str, Any] | None = None
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
    revision: int = Field(description="The ETag, without its quotes.")
    approved_revision: int
    state: JobState
    created_at: Instant
    edited_at: Instant
    edited_by: str
    watermark: Instant = Field(description="Every fire up to here is accounted for.")
    next_fire: Instant | None
    app: str | None
    unreadable: str | None = Field(
        default=None, description="Why its record cannot be read; it never fires until mended."
    )


class LastRun(Shape):
    id: str
    state: RunState
    fire_time: Instant
    claimed_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    exit_code: int | None
    reason: str | None


class ListedJob(JobShape):
    last_run: LastRun | None = Field(description="Of its latest fire.")


class JobList(Document):
    jobs: list[ListedJob]
    next: Next


class JobReply(Document):
    job: JobShape
    next: list[Instant] = Field(description="The next nominal fires, as if it were active.")
    warnings: list[WarningShape]


class RevisionShape(Shape):
    revision: int
    edited_at: Instant
    edited_by: str
    valid_after: Instant
    definition: dict[str, Any] = Field(description="As in a job; secrets are masked.")


class RevisionList(Document):
    revisions: list[RevisionShape]
    next: None


class CheckShape(Shape):
    check: str
    ok: bool | None = Field(description="null: could not be told, or does not stand in the way.")
    text: str
    remedy: str | None


class Under(Shape):
    process: str
    pid: int
    term: int | None


class PreviewAsked(Shape):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"text": "0 3 * * *", "timezone": "Europe/Berlin"}},
    )
    text: str = Field(max_length=1000, description="As a person types it.")
    timezone: str | None = Field(default=None, description="An IANA zone; else the machine's.")
    dst: str | None = None


class PreviewFire(Shape):
    fire_time: Instant
    local: str = Field(description="On the schedule's wall clock, with its offset.")
    offset: str
    abbreviation: str | None
    clock_change: Seconds | None = Field(
        description="By how much clocks changed since the fire before (since now for the first)."
    )
    twice: str | None = Field(
        description="`first` or `second` where this local time comes twice that day."
    )


class PreviewNote(Shape):
    text: str
    remedy: str


class PreviewReply(Document):
    schedule: ScheduleShape
    words: str
    note: PreviewNote | None = Field(
        default=None, description="What to know of it: of two day fields either suffices, say."
    )
    fires: list[PreviewFire]


class UpcomingFire(Shape):
    job: str
    job_name: str
    fire_time: Instant


class UpcomingList(Document):
    next_fires: list[UpcomingFire]
    next: None
