"""``apply`` and ``export``: a profile's jobs as a TOML file.

::

    [[job]]
    name = "report"
    schedule = "0 3 * * *"
    tz = "Europe/Berlin"
    command = ["make", "report"]        # or shell = "make report | mail -s report me"
    protected = true
    catch_up = "latest:6h"
    env = { LANG = "C.UTF-8" }

The keys are those of :mod:`tenure.client.job_fields`, and ``paused``. A file describes the whole
job: a key that is left out has its default. Reading what was written gives the same definitions
again, to the millisecond; jobs that an app declares, or that another scheduler plans, are not
written.

An apply changes nothing that agrees with the file. Its plan is shown with ``--dry-run`` and is
carried out in one commit. ``prune`` removes only jobs that an earlier apply of the same file made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from tenure.client.definitions import build, fields_of, whole_definition
from tenure.client.documents import instant
from tenure.client.foreign_jobs import change_there, is_foreign
from tenure.client.job_fields import NAMES
from tenure.domain.errors import Conflict, InvalidInput
from tenure.domain.file_text import line_of, parse_toml
from tenure.domain.job import Command, Definition, Job, JobState
from tenure.domain.names import look_of
from tenure.store.contract import JobEditor, Page, Store


class Change(StrEnum):
    ADD = "add"
    EDIT = "edit"
    PAUSE = "pause"
    RESUME = "resume"
    REMOVE = "remove"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is to become of one job."""

    change: Change
    name: str
    job: Job | None = None
    definition: Definition | None = None
    paused: bool = False


def plan_apply(
    store: Store,
    entries: Sequence[Entry],
    *,
    path: str,
    prune: bool,
    timezone: str,
    grace: timedelta,
    now: datetime,
) -> tuple[Step, ...]:
    """What an apply of these entries would do. ``path``: the file's full path.

    Raises :class:`InvalidInput` for an entry that is wrong, naming the job, and
    :class:`Refused` for one of a job that another scheduler plans.
    """
    jobs = {job.name: job for job in all_jobs(store)}
    names = {look_of(name): name for name in jobs}
    steps: list[Step] = []
    for entry in entries:
        job = jobs.get(entry.name)
        alike = names.setdefault(look_of(entry.name), entry.name)
        if job is None and alike != entry.name:
            raise InvalidInput(
                f"it looks like the name of another job, {alike!r}",
                field=f"{entry.name}.name",
                remedy="give one of the two another name",
            )
        steps += _steps(entry, job, _definition(entry, job, timezone, grace, now))
    if prune:
        named = {entry.name for entry in entries}
        for name, job in jobs.items():
            if name not in named and not is_foreign(job):
                # Each revision names its editor: the first one of such a job names the file.
                revisions = store.revisions(job.id)
                if revisions and revisions[0].edited_by.endswith(f", apply {path}"):
                    steps.append(Step(change=Change.REMOVE, name=name, job=job))
    return tuple(steps)


def carry_out(store: Store, steps: Sequence[Step], *, by: str, now: datetime) -> None:
    """Do it, in one commit. Conflict, and nothing done, if a job was changed meanwhile."""
    changes = [step for step in steps if step.change is not Change.KEEP]
    try:
        store.change_jobs([partial(_do, step=step, by=by, now=now) for step in changes])
    except Conflict as error:
        raise Conflict(
            f"a job was changed meanwhile: {error.text}; nothing was applied",
            remedy="apply again",
            **error.facts,
        ) from None


def applier(by: str, path: str) -> str:
    """The editor's name under which a file's jobs are written."""
    return f"{by}, apply {path}"


def all_jobs(store: Store, states: frozenset[JobState] | None = None) -> list[Job]:
    """Every job, by name; those that are not removed unless ``states`` says otherwise."""
    jobs: list[Job] = []
    cursor: str | None = None
    while True:
        part, cursor = store.jobs(states=states, page=Page(limit=1000, cursor=cursor))
        jobs += part
        if cursor is None:
            return jobs


def _definition(
    entry: Entry, job: Job | None, timezone: str, grace: timedelta, now: datetime
) -> Definition:
    """As :func:`whole_definition`; what is wrong names the entry."""
    try:
        if job is None:
            return build(entry.fields, now=now, timezone=timezone, grace=grace)
        return whole_definition(entry.fields, job, timezone=timezone, grace=grace, now=now)
    except InvalidInput as error:
        field = f"{entry.name}.{error.field}" if error.field else entry.name
        raise InvalidInput(error.text, field=field, remedy=error.remedy) from None


def _steps(entry: Entry, job: Job | None, definition: Definition) -> list[Step]:
    if job is None:
        return [
            Step(change=Change.ADD, name=entry.name, definition=definition, paused=entry.paused)
        ]
    steps = []
    if definition != job.definition:
        steps.append(Step(change=Change.EDIT, name=entry.name, job=job, definition=definition))
    if entry.paused and job.state is JobState.ACTIVE:
        steps.append(Step(change=Change.PAUSE, name=entry.name, job=job))
    elif not entry.paused and job.state is JobState.PAUSED:
        steps.append(Step(change=Change.RESUME, name=entry.name, job=job))
    return steps or [Step(change=Change.KEEP, name=entry.name, job=job)]


_STATES = {
    Change.PAUSE: JobState.PAUSED,
    Change.RESUME: JobState.ACTIVE,
    Change.REMOVE: JobState.REMOVED,
}


def _do(editor: JobEditor, step: Step, by: str, now: datetime) -> Job:
    job, definition = step.job, step.definition
    if job is None:
        assert definition is not None
        job = editor.add_job(definition, by=by, now=now)
        state = JobState.PAUSED if step.paused else job.state
    elif definition is not None:
        return editor.edit_job(job.id, job.revision, definition, by=by, now=now)
    else:
        state = _STATES[step.change]
    return job if state is job.state else editor.set_job_state(job.id, state, by=by, now=now)


# -- the file --------------------------------------------------------------------------------------
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
        raise InvalidInput("expected a table", field=where, remedy="write [[job]] above it")
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
        raise InvalidInput("expected true or false", field=f"{where}.paused")
    fields = {key: value for key, value in table.items() if key != "paused"}
    return Entry(name=name, fields=fields, paused=paused)


_BARE = re.compile(r"[A-Za-z0-9_-]+")


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: object) -> str:
    if isinstance(value, str):
        # JSON's strings are TOML's, except for DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, datetime):
        return str(instant(value))
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{_key(key)} = {_value(item)}" for key, item in value.items())
        return "{ " + ", ".join(pairs) + " }"
    return json.dumps(value)
