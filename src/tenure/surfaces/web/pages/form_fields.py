"""A job as a form has it, text by text, and back to the fields that ``tenure add`` takes.

A form holds what was typed, right or wrong, so that nothing typed is lost when it is shown again.
What was not touched is never read back from its text: a value that a form cannot hold exactly (a
secret, a line break within a variable) stays what it is.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any

from tenure.client.definitions import fields_of
from tenure.client.job_fields import (
    CAPABILITIES,
    DURATION,
    FIELDS,
    FLAG,
    MASK,
    NUMBER,
    OPTIONS,
    WORDS,
    FieldType,
    Input,
    masked,
    masked_text,
)
from tenure.domain.durations import format_duration
from tenure.domain.errors import InvalidInput
from tenure.domain.job import CatchUp, Command, Definition, Overlap
from tenure.store.folder.user_home import expand

Form = dict[str, str]

PARTS = {field.name: field for field in FIELDS if field.inputs}
"""The parts that are compared, and merged, each by itself."""
LABELS = {name: field.label for name, field in PARTS.items()}
_INPUTS = {name: tuple(i.id or name for i in field.inputs) for name, field in PARTS.items()}
_AT_FAULT = {"timezone": "tz", "shell": "command", "window": "catch_up"}


def rows(section: str) -> list[list[tuple[str, Input]]]:
    """The inputs of a section of the form, row by row, each with its id."""
    inputs = [(i.id or name, i) for name, part in PARTS.items() for i in part.inputs]
    ordered = sorted(
        (each for each in inputs if each[1].section == section),
        key=lambda each: (each[1].row, each[1].last),
    )
    return [list(row) for _, row in groupby(ordered, key=lambda each: each[1].row)]


def blank(timezone: str) -> Form:
    """The form of a new job: what ``tenure add`` would take by default."""
    form = dict.fromkeys((key for part in PARTS for key in _INPUTS[part]), "")
    return {**form, "tz": timezone, "dst": "cron", "overlap": str(Overlap.SKIP), "paused": ""}


def of_definition(definition: Definition) -> Form:
    """What the form of a standing job shows. For commands only."""
    assert isinstance(definition.action, Command)
    command = definition.action
    form = {
        "name": definition.name,
        "shell": "on" if command.shell else "",
        "command": command.argv[0] if command.shell else shlex.join(command.argv),
        "cwd": command.cwd or "",
        "stdin": masked_text(command.stdin) or "",
        "env": _env_lines(command),
        "schedule": definition.schedule.text,
        "tz": definition.schedule.timezone,
        "dst": str(definition.schedule.dst),
        "catch_up": str(definition.catch_up) if definition.catch_up else "",
        "window": format_duration(definition.window) if definition.window else "",
    }
    return form | {
        field.name: _TEXTS.get(field.type, str)(getattr(definition, field.name) or "")
        for field in OPTIONS
        if field.name not in form
    }


def of_posted(given: Mapping[str, Any]) -> Form:
    """What was sent."""
    form = blank("")
    for key in form:
        value = given.get(key, "")
        # Browsers send line ends of their own.
        text = value if isinstance(value, str) else ""
        form[key] = text.replace("\r\n", "\n").replace("\r", "\n")
    return form


def differing(a: Form, b: Form) -> set[str]:
    """The parts in which two forms differ."""
    return {part for part in PARTS if any(a[k] != b[k] for k in _INPUTS[part])}


def with_parts(form: Form, other: Form, parts: Iterable[str]) -> Form:
    """``form`` with some parts taken from ``other``."""
    return {**form, **{key: other[key] for part in parts for key in _INPUTS[part]}}


def to_fields(form: Form) -> dict[str, Any]:
    """The fields of a new job. Raises InvalidInput naming the field."""
    fields: dict[str, Any] = {}
    for part in PARTS:
        fields |= _read(part, form)
    return {key: value for key, value in fields.items() if value is not None}


def over(form: Form, shown: Form, definition: Definition) -> dict[str, Any]:
    """The fields of a job, changed where ``form`` differs from what is ``shown`` of it."""
    fields = fields_of(definition, show_secrets=True)
    for part in differing(form, shown):
        if part in ("schedule", "tz", "dst"):
            fields = {k: v for k, v in fields.items() if k not in _EXACT}
        if part == "command":
            fields.pop("command", None)
            fields.pop("shell", None)
        changed = _read(part, form)
        fields = {k: v for k, v in fields.items() if k not in changed} | {
            key: value for key, value in changed.items() if value is not None
        }
    return fields


_EXACT = ("at", "anchor", "interval", "cron")


def at_fault(error: InvalidInput) -> str:
    """The input of the form that an error is about; empty if it is about none."""
    name = (error.field or "").partition(".")[0]
    name = _AT_FAULT.get(name, name)
    return name if name in PARTS else ""


def _read(part: str, form: Form) -> dict[str, Any]:
    """One part as fields; None means that the field is left out."""
    text = form[part].strip()
    if part == "command":
        return _command(form)
    if part == "catch_up":
        window = form["window"].strip()
        if window and not text:
            raise InvalidInput("needs a choice of what is caught up", field="catch_up",
                               remedy="choose 'latest' or 'all'")  # fmt: skip
        bounded = window and text != CatchUp.NONE
        return {"catch_up": (f"{text}:{window}" if bounded else text) or None}
    if part == "stdin":
        return {"stdin": form["stdin"] or None}
    if part == "env":
        return {"env": _variables(form["env"])}
    if part == "cwd":
        return {"cwd": _folder(text)}
    read = _VALUES.get(PARTS[part].type)
    return {part: read(text) if read else text or None}


def _command(form: Form) -> dict[str, Any]:
    text = form["command"]
    if not text.strip():
        raise InvalidInput("no command given", field="command",
                           remedy="such as /usr/bin/backup --all")  # fmt: skip
    if form["shell"]:
        return {"shell": text}
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidInput(f"a quote is not closed ({error})", field="command",
                           remedy="close it, or run it in a shell") from None  # fmt: skip
    return {"command": words}


def _variables(text: str) -> dict[str, str] | None:
    env = {}
    for line in text.split("\n"):
        name, sign, value = line.partition("=")
        if not line.strip():
            continue
        if not sign or not name.strip():
            text = f"{name.strip()[:40]!r} has no value" if name.strip() else "a value has no name"
            raise InvalidInput(text, field="env", remedy="write one NAME=VALUE per line")
        env[name.strip()] = value
    return env or None


def _requirements(text: str) -> list[str] | None:
    from tenure.host.capabilities import check_requirement

    requirements = [line.strip() for line in text.split("\n") if line.strip()]
    for requirement in requirements:
        check_requirement(requirement)
    return requirements or None


def _words(text: str) -> list[str] | None:
    return [tag for each in text.split(",") if (tag := each.strip())] or None


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        text = f"{text[:20]!r} is not a whole number"
        raise InvalidInput(text, field="retries", remedy="such as 3")
    return int(text)


def _folder(text: str) -> str | None:
    if text == "~" or text.startswith("~/"):
        return expand(text, "cwd")
    return text or None


def _env_lines(command: Command) -> str:
    # A value of several lines is masked: it has no place in a line of the form.
    pairs = masked(command.env).items()
    lines = {name: MASK if re.search(r"[\r\n]", value) else value for name, value in pairs}
    return "\n".join(f"{name}={value}" for name, value in lines.items())


_TEXTS: dict[FieldType, Callable[[Any], str]] = {
    FLAG: lambda value: "on" if value else "",
    CAPABILITIES: "\n".join,
    WORDS: ", ".join,
    DURATION: lambda value: format_duration(value) if value else "",
}
"""A value that is not its type's empty one, as an input shows it."""
_VALUES: dict[FieldType, Callable[[str], Any]] = {
    FLAG: lambda text: True if text else None,
    CAPABILITIES: _requirements,
    WORDS: _words,
    NUMBER: _number,
}
"""The text of an input as a field's value; None for an empty one."""
