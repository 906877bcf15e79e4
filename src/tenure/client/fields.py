"""From named fields, as people and files give them, to a valid definition, and back.

``add``, ``edit``, ``apply``, the API and the web page all come here, so that each of them reads
the same words and refuses the same mistakes. A value is text, a number, a flag, a list or a table
as TOML and JSON have them; durations are text (``"1h30m"``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tenure.client.job_fields import (
    BY_NAME,
    COMMAND,
    NAMES,
    OPTIONS,
    RESETTABLE,
    Part,
    read_text,
    read_texts,
)
from tenure.client.schedules import schedule_fields, schedule_from
from tenure.client.secrets import MASK, masked, masked_text
from tenure.domain.errors import InvalidInput
from tenure.domain.job import DEFAULT_GRACE, Call, Command, Damage, Definition
from tenure.domain.schedule.model import ScheduleKind


def build(
    fields: Mapping[str, Any],
    *,
    now: datetime,
    timezone: str,
    grace: timedelta = DEFAULT_GRACE,
    base: Definition | None = None,
) -> Definition:
    """The definition that ``fields`` describe, over ``base`` where they say nothing.

    A field that is None was not given. ``timezone`` and ``grace`` are for jobs that do not say.
    Raises :class:`InvalidInput` naming the field.
    """
    for key in fields:
        if key not in NAMES:
            raise InvalidInput(
                f"unknown field {key!r}",
                field=key,
                remedy="the fields are " + ", ".join(NAMES),
            )
    given = {key: value for key, value in fields.items() if value is not None}
    damage = None if base is None else base.damage
    if damage is not None and "timezone" in damage.fields and "tz" not in given:
        raise InvalidInput(damage.reason, field="tz", remedy="give --tz ZONE as well")
    schedule = schedule_from(
        given, now=now, timezone=timezone, base=base.schedule if base else None
    )
    action = _action(given, base)
    changes: dict[str, Any] = {}
    if "name" in given:
        changes["name"] = read_text(given["name"], "name")
    for field in OPTIONS:
        if field.name in given:
            changes |= field.read(given[field.name])
    if base is not None:
        made = replace(base, schedule=schedule, action=action, **changes)
        return made if made.damage is None else _mended(made, made.damage, given)
    changes.setdefault("grace", grace)
    name = changes.pop("name", None)
    if name is None:
        name = default_name(action)
    return Definition(name=name, schedule=schedule, action=action, **changes)


def _mended(made: Definition, damage: Damage, given: Mapping[str, Any]) -> Definition:
    """``made`` without damage. Raises InvalidInput for a field that still cannot be read."""
    new = {name for key in given for name in (key, *BY_NAME[key].names)}
    if made.schedule.kind is not ScheduleKind.UNREADABLE:
        new |= {"schedule", "timezone"}
    if new & {"command", "shell"}:
        new.add("action")
    left = [name for name in damage.fields if name not in new]
    if left or made.schedule.kind is ScheduleKind.UNREADABLE:
        field = left[0] if left else "schedule"
        option = {"action": "-- COMMAND", "schedule": "--schedule", "name": "--rename"}
        said = option.get(field, "--" + field.replace("_", "-"))
        raise InvalidInput(damage.reason, field=field, remedy=f"give {said} as well")
    return replace(made, damage=None)


def default_name(action: Command | Call) -> str:
    """A name from the command: the program's, without its folder; the first word of a line."""
    words = action.describe().split() if isinstance(action, Call) else list(action.argv)
    if isinstance(action, Command) and action.shell:
        words = action.argv[0].split()
    name = (words[0] if words else "").rstrip("/").rsplit("/", 1)[-1]
    name = "".join(c for c in name if c.isalnum() or c in "._-")[:60].strip("._-")
    return name or "job"


def reset(definition: Definition, names: Sequence[str], *, grace: timedelta) -> Definition:
    """``definition`` with these fields as if they had never been given."""
    for name in names:
        name = name.replace("-", "_")
        if name not in RESETTABLE:
            raise InvalidInput(
                f"{name!r} cannot be reset",
                field="reset",
                remedy="one of " + ", ".join(RESETTABLE),
            )
        if definition.damage is not None:
            left = tuple(field for field in definition.damage.fields if field != name)
            definition = replace(definition, damage=replace(definition.damage, fields=left))
        field = BY_NAME[name]
        if field.part is Part.SCHEDULE:
            schedule = schedule_from(
                {"dst": "cron"}, now=definition.schedule.at or _EPOCH,
                timezone="UTC", base=definition.schedule,
            )  # fmt: skip
            definition = replace(definition, schedule=schedule)
        elif field.part is Part.COMMAND:
            command = replace(_command_of(definition), **field.defaults)
            definition = replace(definition, action=command)
        else:
            plain = {**field.defaults, "grace": grace} if name == "grace" else field.defaults
            definition = replace(definition, **plain)
    return definition


def fields_of(wants: Definition, *, show_secrets: bool = False) -> dict[str, Any]:
    """The fields from which the same definition is built again. For commands only."""
    assert isinstance(wants.action, Command)
    command = wants.action
    fields: dict[str, Any] = {"name": wants.name, **schedule_fields(wants.schedule)}
    if command.shell:
        fields["shell"] = command.argv[0]
    else:
        fields["command"] = list(command.argv)
    optional: dict[str, Any] = {
        "env": masked(command.env, show=show_secrets) or None,
        "cwd": command.cwd,
        "stdin": masked_text(command.stdin, show=show_secrets),
    } | {field.name: field.write(wants) for field in OPTIONS}
    return fields | {key: value for key, value in optional.items() if value is not None}


_EPOCH = datetime.fromisoformat("2024-01-01T00:00:00+00:00")


def _action(given: Mapping[str, Any], base: Definition | None) -> Command | Call:
    asked = [key for key in COMMAND if key in given]
    if base is not None and not asked:
        return base.action
    if "command" in given and "shell" in given:
        raise InvalidInput("give a command or a shell line, not both", field="shell")
    if base is not None:
        command = _command_of(base)
    elif "command" in given or "shell" in given:
        command = None
    else:
        raise InvalidInput(
            "no command given", field="command", remedy="put it after --: -- echo hello"
        )
    changes: dict[str, Any] = {}
    if "command" in given:
        changes.update(argv=read_texts(given["command"], "command"), shell=False)
    elif "shell" in given:
        changes.update(argv=(read_text(given["shell"], "shell"),), shell=True)
    if "env" in given:
        changes["env"] = _env(given["env"], command.env if command else {})
    if "cwd" in given:
        changes["cwd"] = read_text(given["cwd"], "cwd")
    if "stdin" in given:
        changes["stdin"] = _unmasked(given["stdin"], "stdin", command.stdin if command else None)
    return replace(command, **changes) if command else Command(**changes)


def _command_of(definition: Definition) -> Command:
    if isinstance(definition.action, Command):
        return definition.action
    raise InvalidInput(
        f"{definition.name} is declared by the code of the app {definition.action.app!r}",
        field="command",
        remedy="change it there",
    )


def _env(value: object, standing: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidInput("a table of names and texts is expected", field="env")
    env = {}
    for name, text in value.items():
        name = read_text(name, "env")
        env[name] = _unmasked(text, f"env.{name}", standing.get(name))
    return env


def _unmasked(value: object, field: str, standing: str | None) -> str:
    """A text; what stands, where it is masked."""
    text = read_text(value, field)
    if text != MASK:
        return text
    if standing is None:
        raise InvalidInput(
            "this is a masked value, not the secret itself",
            field=field,
            remedy="give the value; `tenure export --show-secrets` writes them out",
        )
    return standing
