"""Jobs in a TOML file: what ``apply`` reads and ``export`` writes.

::

    [[job]]
    name = "report"
    schedule = "0 3 * * *"
    tz = "Europe/Berlin"
    command = ["make", "report"]        # or shell = "make report | mail -s report me"
    protected = true
    catch_up = "latest:6h"
    env = { LANG = "C.UTF-8" }

The keys are those of :mod:`tenure.client.job_fields` with ``paused`` beside them. What is
not said has its default: a file describes the whole job. Reading what was written gives the same
definitions again, to the millisecond; jobs that an app's code declares, or that another scheduler
plans, are not written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tenure.client.documents import instant
from tenure.client.fields import fields_of
from tenure.client.foreign_jobs import change_there, is_foreign
from tenure.client.job_fields import NAMES
from tenure.domain.errors import InvalidInput
from tenure.domain.file_text import line_of, parse_toml
from tenure.domain.job import Command, Job, JobState

LARGEST = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One ``[[job]]`` of a file: its fields as written, not yet checked against a profile."""

    name: str
    fields: Mapping[str, Any]
    paused: bool


def read_entries(content: bytes | str) -> tuple[Entry, ...]:
    """The jobs of a file. Raises :class:`InvalidInput`, naming the line, the entry and its
    field."""
    try:
        document, text = parse_toml(content)
    except InvalidInput as error:
        raise InvalidInput(error.text, field="file", remedy=error.remedy) from None
    try:
        return _entries(document)
    except InvalidInput as error:
        line = line_of(text, error.field)
        if line is None:
            raise
        raise InvalidInput(
            f"line {line}: {error.text}", field=error.field, remedy=error.remedy
        ) from None


def _entries(document: Mapping[str, Any]) -> tuple[Entry, ...]:
    unknown = [key for key in document if key != "job"]
    if unknown:
        raise InvalidInput(
            f"only [[job]] tables are expected, not {unknown[0]!r}",
            field=unknown[0],
            remedy="a profile's own settings belong in its profile.toml",
        )
    tables = document.get("job", [])
    if not isinstance(tables, list):
        raise InvalidInput("write [[job]], with two brackets, above each job", field="job")
    entries = tuple(_entry(number, table) for number, table in enumerate(tables, 1))
    seen: set[str] = set()
    for number, entry in enumerate(entries, 1):
        if entry.name in seen:
            raise InvalidInput(
                f"two jobs are named {entry.name!r}",
                field=f"job[{number}].name",
                remedy="give each its own",
            )
        seen.add(entry.name)
    return entries


def write_entries(jobs: Iterable[Job], *, show_secrets: bool = False) -> str:
    """The file of these jobs. Those that are defined elsewhere become a comment that says so."""
    parts = []
    for job in jobs:
        if job.damage is not None:
            parts.append(f"# {_value(job.name)} cannot be read: {_comment(job.damage.reason)}\n")
        elif isinstance(job.definition.action, Command):
            fields = fields_of(job.definition, show_secrets=show_secrets)
            if job.state is JobState.PAUSED:
                fields["paused"] = True
            lines = [f"{_key(key)} = {_value(value)}" for key, value in fields.items()]
            parts.append("\n".join(["[[job]]", *lines]) + "\n")
        else:
            name = json.dumps(job.name, ensure_ascii=False)
            whose = "declared by the code of its app"
            if is_foreign(job):
                whose = f"planned by another scheduler ({change_there(job, 'edit')})"
            parts.append(f"# {name} is {whose}, and is not exported.\n")
    return "\n".join(parts)


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _entry(number: int, table: object) -> Entry:
    where = f"job[{number}]"
    if not isinstance(table, dict):
        raise InvalidInput("a table is expected", field=where, remedy="write [[job]] above it")
    name = table.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInput("each job of a file needs a name", field=f"{where}.name")
    if "schedule" not in table:
        raise InvalidInput("each job of a file needs a schedule", field=f"{where}.schedule")
    for key in table:
        if key not in NAMES and key != "paused":
            raise InvalidInput(
                f"unknown field {key!r}",
                field=f"{where}.{key}",
                remedy="the fields are " + ", ".join((*NAMES, "paused")),
            )
    paused = table.get("paused", False)
    if not isinstance(paused, bool):
        raise InvalidInput("true or false is expected", field=f"{where}.paused")
    fields = {key: value for key, value in table.items() if key != "paused"}
    return Entry(name=name, fields=fields, paused=paused)


_BARE = re.compile(r"[A-Za-z0-9_-]+")


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: object) -> str:
    """A TOML value. JSON's strings are TOML's, but for DEL."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, datetime):
        return str(instant(value))
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{_key(key)} = {_value(item)}" for key, item in value.items())
        return "{ " + ", ".join(pairs) + " }"
    return json.dumps(value)
