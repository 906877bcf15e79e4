"""From named fields, as people and files give them, to a valid definition.

One table of fields serves ``add``, ``edit``, ``apply`` and the web page, so that each of them
reads the same words and refuses the same mistakes. A value is text, a number, a flag, a list or
a table as TOML and JSON have them; durations are text (``"1h30m"``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from tenure.client.schedules import schedule_from
from tenure.client.secrets import MASK
from tenure.domain.durations import parse_duration
from tenure.domain.errors import InvalidInput
from tenure.domain.job import (
    DEFAULT_BACKOFF,
    DEFAULT_GRACE,
    Call,
    CatchUp,
    Command,
    Damage,
    Definition,
    Overlap,
)
from tenure.domain.schedule.model import Kind

E = TypeVar("E", bound=StrEnum)

SCHEDULE = ("schedule", "tz", "dst", "at", "anchor", "interval", "cron")
COMMAND = ("command", "shell", "env", "cwd", "stdin")
FIELDS = (
    "name",
    *SCHEDULE,
    *COMMAND,
    "protected",
    "requires",
    "overlap",
    "catch_up",
    "grace",
    "jitter",
    "timeout",
    "retries",
    "backoff",
    "retry_lost",
    "tags",
)
"""Every field. ``paused`` is not among them: it is a job's state, not its definition."""

RESETTABLE = (
    "requires", "overlap", "catch_up", "grace", "jitter", "timeout", "retries", "backoff",
    "env", "cwd", "stdin", "tags", "dst",
)  # fmt: skip


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
        if key not in FIELDS:
            raise InvalidInput(
                f"there is no field {key!r}",
                field=key,
                remedy="the fields are " + ", ".join(FIELDS),
            )
    given = {key: value for key, value in fields.items() if value is not None}
    damage = None if base is None else base.damage
    if damage is not None and "timezone" in damage.fields and "tz" not in given:
        raise InvalidInput(damage.reason, field="tz", remedy="give --tz ZONE as well")
    schedule = schedule_from(
        given, now=now, timezone=timezone, base=base.schedule if base else None
    )
    action = _action(given, base)
    changes = _rest(given)
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
    new = set(given)
    if made.schedule.kind is not Kind.UNREADABLE:
        new |= {"schedule", "timezone"}
    if new & {"command", "shell"}:
        new.add("action")
    if "catch_up" in new:
        new.add("window")
    left = [name for name in damage.fields if name not in new]
    if left or made.schedule.kind is Kind.UNREADABLE:
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
    plain: dict[str, Any] = {
        "requires": (), "overlap": Overlap.SKIP, "grace": grace, "jitter": timedelta(0),
        "timeout": None, "retries": 0, "backoff": DEFAULT_BACKOFF, "tags": (),
    }  # fmt: skip
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
        if name == "catch_up":
            definition = replace(definition, catch_up=None, window=None)
        elif name == "dst":
            schedule = schedule_from(
                {"dst": "cron"}, now=definition.schedule.at or _EPOCH,
                timezone="UTC", base=definition.schedule,
            )  # fmt: skip
            definition = replace(definition, schedule=schedule)
        elif name in ("env", "cwd", "stdin"):
            command = _command_of(definition)
            empty: Any = {} if name == "env" else None
            definition = replace(definition, action=replace(command, **{name: empty}))
        else:
            definition = replace(definition, **{name: plain[name]})
    return definition


_EPOCH = datetime.fromisoformat("2024-01-01T00:00:00+00:00")


def read_catch_up(text: object) -> tuple[CatchUp | None, timedelta | None]:
    """``none``, ``latest``, ``all``, the last two with ``:window``; ``default`` is by schedule."""
    word, _, window = str(text).partition(":")
    if word == "default" and not window:
        return None, None
    mode = _choice(word, CatchUp, "catch_up")
    if not window:
        return mode, None
    if mode is CatchUp.NONE:
        raise InvalidInput("'none' has no window", field="catch_up", remedy="latest:2h or all:2h")
    return mode, parse_duration(window, "catch_up", minimum=timedelta(seconds=1))


def _rest(given: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but schedule and command, as keywords of Definition."""
    changes: dict[str, Any] = {}
    if "name" in given:
        changes["name"] = _text(given["name"], "name")
    for key in ("protected", "retry_lost"):
        if key in given:
            if not isinstance(given[key], bool):
                raise InvalidInput("true or false is expected", field=key)
            changes[key] = given[key]
    for key in ("requires", "tags"):
        if key in given:
            changes[key] = _texts(given[key], key)
    for key in ("grace", "jitter", "timeout", "backoff"):
        if key in given:
            value = given[key]
            changes[key] = value if isinstance(value, timedelta) else parse_duration(value, key)
    if "overlap" in given:
        changes["overlap"] = _choice(given["overlap"], Overlap, "overlap")
    if "catch_up" in given:
        changes["catch_up"], changes["window"] = read_catch_up(given["catch_up"])
    if "retries" in given:
        if not isinstance(given["retries"], int) or isinstance(given["retries"], bool):
            raise InvalidInput("a whole number is expected", field="retries")
        changes["retries"] = given["retries"]
    return changes


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
            "there is no command", field="command", remedy="put it after --: -- echo hello"
        )
    changes: dict[str, Any] = {}
    if "command" in given:
        changes.update(argv=_texts(given["command"], "command"), shell=False)
    elif "shell" in given:
        changes.update(argv=(_text(given["shell"], "shell"),), shell=True)
    if "env" in given:
        changes["env"] = _env(given["env"], command.env if command else {})
    if "cwd" in given:
        changes["cwd"] = _text(given["cwd"], "cwd")
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
        name = _text(name, "env")
        env[name] = _unmasked(text, f"env.{name}", standing.get(name))
    return env


def _unmasked(value: object, field: str, standing: str | None) -> str:
    """A text; what stands, where it is masked."""
    text = _text(value, field)
    if text != MASK:
        return text
    if standing is None:
        raise InvalidInput(
            "this is a masked value, not the secret itself",
            field=field,
            remedy="give the value; `tenure export --show-secrets` writes them out",
        )
    return standing


def _choice(value: object, kind: type[E], field: str) -> E:
    try:
        return kind(str(value))
    except ValueError:
        words = ", ".join(str(word) for word in kind)
        raise InvalidInput(
            f"{str(value)[:40]!r} is not one of {words}", field=field, remedy=f"use {words}"
        ) from None


def _texts(value: object, field: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidInput("a list of texts is expected", field=field)
    return tuple(_text(item, field) for item in value)


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"a text is expected, not {type(value).__name__}", field=field)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            "holds bytes that are not UTF-8", field=field, remedy="write it in UTF-8"
        ) from None
    return value
