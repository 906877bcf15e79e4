"""Request bodies, for their OpenAPI description; Tenure's own rules read them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from tenure.client import job_fields
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
