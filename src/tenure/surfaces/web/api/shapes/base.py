"""What the shapes share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Instant = Annotated[
    str,
    Field(
        description="RFC 3339 in UTC, ending in Z.",
        examples=["2026-03-29T01:00:00Z"],
        json_schema_extra={"format": "date-time"},
    ),
]
Seconds = Annotated[float, Field(description="Seconds.", examples=[60])]
Next = Annotated[
    str | None, Field(description="Give it as `cursor` for the page after this one; null: none.")
]


class Shape(BaseModel):
    """Exactly these fields."""

    model_config = ConfigDict(extra="forbid")


class Document(Shape):
    """The outermost object names the version of the shapes."""

    v: Literal[1] = Field(description="The version of the shapes.")


class WarningShape(Shape):
    """Something that a person should know."""

    code: str = Field(description="Stable.", examples=["no_owner"])
    text: str
    remedy: str = Field(description="What to do; empty where nothing helps.")


class FieldError(Shape):
    field: str
    text: str


class Problem(Document):
    """RFC 9457. `remedy` says what to do, `facts` the same as data."""

    type: str = Field(examples=["/api/v1/problems#no_owner"])
    title: str
    status: int
    detail: str = Field(description="What was asked, and what stands in the way.")
    code: str = Field(description="Stable; the types page explains each.")
    remedy: str
    field: str | None = Field(description="The input at fault.")
    facts: dict[str, Any]
    errors: list[FieldError] | None = Field(
        default=None, description="Where more than one field is wrong; else left out."
    )
