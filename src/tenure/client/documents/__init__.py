"""The stable JSON of the command line and the API: one frozen dataclass per document.

A document's fields are its JSON fields, in their order; the string below a field is its
description in OpenAPI, which is generated from these classes. Instants are written as RFC 3339 in
UTC with a ``Z``, durations as seconds; an absent value is null, and ``evidence.unknown`` lists what
could not be read. The outermost object carries ``"v": 1``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Annotated, Any, ClassVar, Final, Literal, Self, dataclass_transform

from tenure.domain.errors import TenureError

VERSION: Final = 1
Json = dict[str, Any]
ABSENT: Any = object()
"""The value of an optional field that the document leaves out."""


class Schema:
    """The JSON schema of an annotated type, for pydantic, which the core does not import."""

    def __init__(self, **keywords: Any) -> None:
        self._keywords = keywords

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> Json:
        return dict(self._keywords)


Instant = Annotated[
    datetime,
    Schema(
        type="string",
        format="date-time",
        description="RFC 3339 in UTC, ending in Z.",
        examples=["2026-03-29T01:00:00Z"],
    ),
]
Seconds = Annotated[timedelta, Schema(type="number", description="Seconds.", examples=[60])]
Next = Annotated[
    str | None,
    Schema(
        anyOf=[{"type": "string"}, {"type": "null"}],
        description="Pass it as `cursor` to get the next page; null on the last page.",
    ),
]


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Document:
    """A JSON object with exactly the fields of its class; each subclass is a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    __pydantic_config__: ClassVar[Json] = {"extra": "forbid", "use_attribute_docstrings": True}

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def read(cls, source: object, **given: Any) -> Self:
        """A document of ``source``: fields not ``given`` are its attributes of the same name.

        A field with a default keeps it unless it is given.
        """
        for name, spec in cls.__dataclass_fields__.items():
            if name not in given and spec.default is MISSING and spec.default_factory is MISSING:
                given[name] = getattr(source, name)
        return cls(**given)


def optional() -> Any:
    """The default of a field that the document leaves out unless it is given."""
    return field(default_factory=lambda: ABSENT)


class Reply(Document):
    """The outermost object of an answer."""

    v: Literal[1] = VERSION
    """The version of the documents."""


class WarningDocument(Document):
    """A condition that needs the user's attention."""

    code: Annotated[str, Schema(type="string", examples=["no_owner"])]
    """Stable."""
    text: str
    remedy: str
    """What to do; empty if there is no remedy."""


def instant(value: datetime | None) -> str | None:
    """RFC 3339 in UTC; microseconds only if they are not zero."""
    if value is None:
        return None
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def seconds(value: timedelta | None) -> float | int | None:
    """A duration in seconds; an integer where it is whole."""
    if value is None:
        return None
    total = value.total_seconds()
    return int(total) if total == int(total) else total


def to_json(value: Any) -> Any:
    """``value`` as :mod:`json` takes it: documents, instants, durations, enums and collections."""
    if isinstance(value, Document):
        fields = ((name, getattr(value, name)) for name in value.__dataclass_fields__)
        return {name: to_json(item) for name, item in fields if item is not ABSENT}
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, timedelta):
        return seconds(value)
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(item) for item in value]
    return str(value)


def error_document(error: TenureError) -> Json:
    """What ``--json`` prints for an error; the API has problems instead (RFC 9457)."""
    return {
        "v": VERSION,
        "error": {
            "code": error.code,
            "text": error.text,
            "remedy": error.remedy,
            "field": error.field,
            "facts": to_json(error.facts),
        },
    }
