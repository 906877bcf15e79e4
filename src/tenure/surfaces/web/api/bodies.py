"""Request bodies and examples, for the OpenAPI description alone: other rules read the bodies."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from tenure.client import job_fields
from tenure.client.documents import Document
from tenure.client.documents.jobs import JobReply, PreviewReply, UpcomingList
from tenure.client.documents.processes import OwnerReply, PolicyReply, TermList
from tenure.client.documents.reports import AuditReply, EventList, ProfileList
from tenure.client.documents.runs import RequestReply, RunReply
from tenure.client.job_fields import FieldType
from tenure.domain.job import MAX_RETRIES, Overlap

Duration = Annotated[
    str | None,
    Field(description="Whole numbers with their units, the larger first.", examples=["1h30m"]),
]


_TYPES: dict[FieldType, tuple[Any, dict[str, Any]]] = {
    job_fields.FLAG: (bool | None, {}),
    job_fields.NUMBER: (int | None, {"ge": 0, "le": MAX_RETRIES}),
    job_fields.DURATION: (Duration, {}),
    job_fields.WORDS: (list[str] | None, {}),
    job_fields.CAPABILITIES: (list[str] | None, {}),
    job_fields.OVERLAP: (Overlap | None, {}),
    job_fields.CATCH_UP: (str | None, {}),
}
"""The JSON type of an option of a job, and its limits."""


def _with_options(name: str, base: type[BaseModel], description: str) -> type[BaseModel]:
    """``base`` with the options of a job, from the table of its fields."""
    options: dict[str, Any] = {}
    for field in job_fields.FIELDS:
        if field.part is job_fields.Part.OPTION:
            kind, limits = _TYPES[field.type]
            about = field.api_help or None
            options[field.name] = (kind, Field(default=None, description=about, **limits))
    return create_model(
        name,
        __base__=base,
        __doc__=description,
        __module__=__name__,
        **options,
        paused=(bool, False),
    )


class _Definition(BaseModel):
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


class _Changes(_Definition):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"schedule": "0 8 * * *", "timeout": None}}
    )
    env: dict[str, str | None] | None = None  # type: ignore[assignment]


JobBody = _with_options(
    "JobBody",
    _Definition,
    "A job as a file of `tenure apply` has it. What is not said, or null, has its default.",
)
JobPatch = _with_options(
    "JobPatch",
    _Changes,
    "Only what is said changes (RFC 7396): null means the default, `env` is merged by name.",
)


class PreviewAsked(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"text": "0 3 * * *", "timezone": "Europe/Berlin"}},
    )
    text: str = Field(max_length=1000, description="As a person types it.")
    timezone: str | None = Field(default=None, description="An IANA zone; else the machine's.")
    dst: str | None = None


class HandOverAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")
    to: str | None = Field(default=None, description="A candidate's process id; else the best.")


# -- examples; a test holds each to its shape ------------------------------------------------------
_JOB, _RUN, _REQUEST = "j1m81w3jvwcfrf3qgk4", "r1m81w3k8p561c641j1", "q1m81wshezfz0d6yfrk"
_GATEWAY = "p1m81x3a19p4dd7rw8e"
_SCHEDULE = {
    "kind": "cron", "text": "0 7 * * *", "expression": "0 7 * * *", "interval": None,
    "anchor": None, "at": None, "timezone": "Europe/Berlin", "dst": "cron",
    "words": "at 07:00 every day (Europe/Berlin)",
}  # fmt: skip
_TERM = {
    "term": 7, "process": _GATEWAY, "rule": 1, "authoritative": True, "policy_version": 2,
    "taken_at": "2026-03-27T18:00:04.117Z", "how": "take", "ended_at": None, "ended_why": None,
}  # fmt: skip
_OWNER = {
    "term": 7, "process": _GATEWAY, "rule": 1, "authoritative": True, "policy_version": 2,
    "since": "2026-03-27T18:00:04.117Z", "progress_at": "2026-03-29T05:00:00.004Z",
}  # fmt: skip
_RULE = {
    "number": 1, "words": "rule 1 admits the service ai.hermes.gateway-la (authoritative)",
    "refuse": False, "authoritative": True, "after": 0,
}  # fmt: skip

EXAMPLES: dict[type[Document], dict[str, Any]] = {
    JobReply: {
        "v": 1,
        "job": {
            "id": _JOB, "name": "read-mail", "schedule": _SCHEDULE,
            "command": ["/usr/local/bin/read-mail", "--new"], "shell": False,
            "env": {"LANG": "C.UTF-8", "API_KEY": "********"}, "cwd": None, "stdin": None,
            "protected": True, "requires": [], "overlap": "skip", "catch_up": "latest",
            "catch_up_window": None, "grace": 60, "jitter": 0, "timeout": 600, "retries": 0,
            "backoff": 10, "retry_lost": False, "tags": ["mail"], "revision": 3,
            "approved_revision": 0, "state": "active", "created_at": "2026-03-01T09:12:44Z",
            "edited_at": "2026-03-20T15:03:02Z", "edited_by": "ada, pid 4242, tenure edit",
            "watermark": "2026-03-28T06:00:00Z", "next_fire": "2026-03-29T05:00:00Z", "app": None,
            "unreadable": None,
        },
        "next": ["2026-03-29T05:00:00Z", "2026-03-30T05:00:00Z", "2026-03-31T05:00:00Z"],
        "warnings": [],
    },
    PreviewReply: {
        "v": 1,
        "schedule": _SCHEDULE,
        "words": "at 07:00 every day (Europe/Berlin)",
        "note": None,
        "fires": [
            {
                "fire_time": "2026-03-29T05:00:00Z", "local": "2026-03-29T07:00:00+02:00",
                "offset": "+02:00", "abbreviation": "CEST", "clock_change": 3600, "twice": None,
            }
        ],
    },
    UpcomingList: {
        "v": 1,
        "next_fires": [
            {"job": _JOB, "job_name": "read-mail", "fire_time": "2026-03-29T05:00:00Z"}
        ],
        "next": None,
    },
    RunReply: {
        "v": 1,
        "run": {
            "id": _RUN, "job": _JOB, "job_name": "read-mail", "revision": 3,
            "fire_time": "2026-03-28T06:00:00Z", "cause": "schedule", "state": "succeeded",
            "reason": None, "protected": True, "term": 7, "process": _GATEWAY,
            "holder": _GATEWAY, "pid": 51234, "claimed_at": "2026-03-28T06:00:00.003Z",
            "started_at": "2026-03-28T06:00:00.009Z", "finished_at": "2026-03-28T06:00:04.870Z",
            "retry_at": None, "exit_code": 0, "signal": None, "attempts": [], "late": None,
            "request": None, "requested_by": None, "cancel_requested_at": None, "log": "1.log",
            "evidence": None,
        },
    },
    RequestReply: {
        "v": 1,
        "request": {
            "id": _REQUEST, "kind": "trigger", "key": "5a0c1f", "state": "accepted", "job": _JOB,
            "run": _RUN, "to_process": None, "queued": False,
            "asked_at": "2026-03-28T09:00:00Z", "deadline": "2026-03-28T09:00:30Z",
            "answered_at": "2026-03-28T09:00:00.005Z", "term": 7,
            "answer": f"claimed as run {_RUN}", "remedy": None,
            "requester": {
                "pid": 6998, "uid": 1000, "user": "ada", "executable": "/usr/bin/python3.11",
                "via": "tenure dashboard, API", "observed": True,
            },
        },
    },
    OwnerReply: {
        "v": 1, "owner": _OWNER, "life": "alive", "process": None, "terms": [_TERM],
        "why_nobody": None, "who_should": _RULE["words"],
    },
    TermList: {"v": 1, "terms": [_TERM], "next": None},
    PolicyReply: {
        "v": 1, "version": 2, "open": False,
        "text": '[[owner]]\nservice = "ai.hermes.gateway-la"\n', "hash": "9f2c...",
        "rules": [_RULE], "warnings": [],
    },
    EventList: {
        "v": 1,
        "events": [
            {
                "number": 7, "kind": "job_edited", "at": "2026-03-20T15:03:02Z", "term": None,
                "process": None, "job": _JOB, "run": None,
                "facts": {"revision": 3, "by": "ada, pid 4242, tenure edit"},
            }
        ],
        "next": 7,
    },
    ProfileList: {
        "v": 1,
        "profiles": [
            {
                "name": "default", "folder": "/home/ada/.tenure/profiles/default",
                "owner": {**_OWNER, "life": "alive"}, "state": "owned", "warnings": [],
                "jobs": {"active": 12, "paused": 1, "protected": 3, "active_runs": 0,
                         "open_holds": 0, "pending_requests": 0},
                "error": None,
            }
        ],
        "next": None,
    },
    AuditReply: {
        "v": 1, "at": "2026-03-28T09:00:00Z", "clean": True, "findings": [],
        "checked": {"runs": 812, "fires": 815, "terms": 7}, "not_checked": {}, "notes": [],
    },
}  # fmt: skip


def add_examples(schemas: dict[str, Any]) -> None:
    """Give each shape of a description its example."""
    for shape, example in EXAMPLES.items():
        if shape.__name__ in schemas:
            schemas[shape.__name__]["example"] = example
