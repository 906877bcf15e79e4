"""From named fields, as people and files give them, to a valid definition, and back.

``add``, ``edit``, ``apply``, the API and the web page all read fields here, so that they accept the
same words and refuse the same mistakes. A value is text, a number, a flag, a list or a table as
TOML and JSON have them; durations are text (``"1h30m"``).

An edit or a second ``apply`` must not move a schedule that it repeats. ``every 90s`` is anchored at
the moment it was first given, and ``in 30m`` names an instant: the same words mean the same
schedule, not a new one counted from now.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tenure.client.foreign_jobs import refuse_foreign
from tenure.client.job_fields import (
    BY_NAME,
    COMMAND,
    MASK,
    NAMES,
    OPTIONS,
    RESETTABLE,
    Part,
    masked,
    masked_text,
    read_text,
    read_texts,
)
from tenure.domain.durations import parse_duration
from tenure.domain.errors import InvalidInput
from tenure.domain.job import DEFAULT_GRACE, Call, Command, Damage, Definition, Job
from tenure.domain.schedule.model import (
    Schedule,
    ScheduleKind,
    at_schedule,
    cron_schedule,
    every_schedule,
    parse_dst,
)
from tenure.domain.schedule.parser import parse_schedule
from tenure.domain.schedule.zones import CRON_DST, Dst, check_zone

PROFILE_ZONE = "profile"
"""Said in place of a zone's name: the profile's zone, and what that becomes."""


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
    changes = {"name": default_name(action), "grace": grace, **changes}
    return Definition(schedule=schedule, action=action, **changes)


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
        options = {"action": "-- COMMAND", "schedule": "--schedule", "name": "--rename"}
        option = options.get(field, "--" + field.replace("_", "-"))
        raise InvalidInput(damage.reason, field=field, remedy=f"give {option} as well")
    return replace(made, damage=None)


def whole_definition(
    fields: Mapping[str, Any], job: Job, *, timezone: str, grace: timedelta, now: datetime
) -> Definition:
    """A whole new definition; only a schedule in the same words, and masked values, are kept.

    Raises :class:`InvalidInput` naming the field, and :class:`Refused` for a job that another
    scheduler plans.
    """
    refuse_foreign([job], "edit")
    if isinstance(job.definition.action, Call):
        raise InvalidInput(
            f"{job.name} is declared by the code of an app", remedy="give this one another name"
        )
    given = {"tz": PROFILE_ZONE, "dst": "cron", **fields}
    kept = {key: given.pop(key) for key in _KEPT if key in given}
    over = build(kept, now=now, timezone=timezone, base=job.definition)
    for key in ("env", "stdin"):
        if key in fields:
            given[key] = getattr(over.action, key, None)
    # Any schedule will do: it is replaced.
    fresh = build({**given, "schedule": "@daily"}, now=now, timezone=timezone, grace=grace)
    return replace(fresh, schedule=over.schedule)


_KEPT = ("schedule", "tz", "dst", "at", "anchor", "interval", "cron", "env", "stdin")


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


def fields_of(definition: Definition, *, show_secrets: bool = False) -> dict[str, Any]:
    """The fields from which the same definition is built again. For commands only."""
    command = definition.action
    assert isinstance(command, Command)
    fields: dict[str, Any] = {"name": definition.name, **schedule_fields(definition.schedule)}
    if command.shell:
        fields["shell"] = command.argv[0]
    else:
        fields["command"] = list(command.argv)
    optional: dict[str, Any] = {
        "env": masked(command.env, show=show_secrets) or None,
        "cwd": command.cwd,
        "stdin": masked_text(command.stdin, show=show_secrets),
    } | {field.name: field.write(definition) for field in OPTIONS}
    return fields | {key: value for key, value in optional.items() if value is not None}


_EPOCH = datetime.fromisoformat("2024-01-01T00:00:00+00:00")


def _action(given: Mapping[str, Any], base: Definition | None) -> Command | Call:
    if base is not None and not any(key in given for key in COMMAND):
        return base.action
    if "command" in given and "shell" in given:
        raise InvalidInput("give a command or a shell line, not both", field="shell")
    if base is None and "command" not in given and "shell" not in given:
        raise InvalidInput(
            "no command given", field="command", remedy="put it after --: -- echo hello"
        )
    command = None if base is None else _command_of(base)
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


def _env(value: object, current: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidInput("expected a table of names and texts", field="env")
    names = {read_text(name, "env"): text for name, text in value.items()}
    return {name: _unmasked(text, f"env.{name}", current.get(name)) for name, text in names.items()}


def _unmasked(value: object, field: str, current: str | None) -> str:
    """A text; the current one where it is masked."""
    text = read_text(value, field)
    if text != MASK:
        return text
    if current is None:
        raise InvalidInput(
            "this is a masked value, not the secret itself",
            field=field,
            remedy="give the value; `tenure export --show-secrets` writes them out",
        )
    return current


# -- schedules -------------------------------------------------------------------------------------
def schedule_from(
    fields: Mapping[str, Any], *, now: datetime, timezone: str, base: Schedule | None
) -> Schedule:
    """The schedule that ``schedule``, ``tz`` and ``dst`` ask for, or one of the exact forms.

    ``timezone`` is the profile's, for jobs without a zone and for ``profile``. ``base`` is the
    current schedule: what is not in ``fields`` is taken from it. Raises :class:`InvalidInput`.
    """
    text = fields.get("schedule")
    if text is None:
        if base is None:
            raise InvalidInput(
                "a job needs a schedule",
                field="schedule",
                remedy="such as '0 3 * * *', 'every 5m' or 'in 30m'",
            )
        text = base.text
    zone, follows = _zone(fields, timezone, base)
    dst = base.dst if base else None
    if fields.get("dst") is not None:
        dst = parse_dst(fields["dst"])
    schedule = _exact(fields, str(text), zone, dst)
    if schedule is None and base is not None and base.text == text:
        schedule = _same_words(base, zone, dst or CRON_DST, now)
    elif schedule is None:
        schedule = parse_schedule(text, now=now, timezone=zone, dst=dst)
    # A one-shot names one instant, whatever zone the profile has later.
    repeats = schedule.kind in (ScheduleKind.CRON, ScheduleKind.EVERY)
    return replace(schedule, follows_profile=follows and repeats)


def schedule_fields(schedule: Schedule) -> dict[str, Any]:
    """The fields from which :func:`schedule_from` makes exactly this schedule again."""
    fields: dict[str, Any] = {"schedule": schedule.text}
    if not schedule.follows_profile:
        fields["tz"] = schedule.timezone
    if schedule.dst != CRON_DST:
        fields["dst"] = str(schedule.dst)
    if schedule.kind is ScheduleKind.AT:
        fields["at"] = schedule.at
    elif schedule.kind is ScheduleKind.EVERY:
        fields["anchor"] = schedule.anchor
    # Where its text does not say all of it, the exact form is added.
    again = None
    with contextlib.suppress(InvalidInput):
        again = schedule_from(
            fields, now=schedule.anchor or _EPOCH, timezone=schedule.timezone, base=None
        )
    if again != schedule:
        if schedule.kind is ScheduleKind.CRON:
            fields["cron"] = schedule.expression
        elif schedule.interval is not None:
            fields["interval"] = schedule.interval.total_seconds()
    return fields


def next_fires(job: Job, after: datetime, count: int) -> list[datetime]:
    """The nominal fire times to come, as if the job were active."""
    fires: list[datetime] = []
    fire = job.definition.schedule.next_after(after)
    while fire is not None and len(fires) < count:
        fires.append(fire)
        fire = job.definition.schedule.next_after(fire)
    return fires


def _zone(fields: Mapping[str, Any], timezone: str, base: Schedule | None) -> tuple[str, bool]:
    """The zone, and whether it follows the profile's."""
    named = fields.get("tz")
    if named is not None and named != PROFILE_ZONE:
        return check_zone(named), False
    if named is None and base is not None:
        text = fields.get("schedule")
        if not base.follows_profile or text is None or text == base.text:
            return base.timezone, base.follows_profile
    return check_zone(timezone), True


def _exact(fields: Mapping[str, Any], text: str, zone: str, dst: Dst | None) -> Schedule | None:
    """``at``, ``anchor``, ``interval`` and ``cron``: written by an export, seldom by hand."""
    if fields.get("at") is not None:
        return at_schedule(_instant(fields["at"], "at"), zone, dst, text=text)
    if fields.get("cron") is not None:
        return cron_schedule(fields["cron"], zone, dst, text=text)
    if fields.get("anchor") is None:
        return None
    anchor = _instant(fields["anchor"], "anchor")
    if fields.get("interval") is not None:
        return every_schedule(_seconds(fields["interval"]), anchor, zone, dst, text=text)
    interval = parse_schedule(text, now=anchor, timezone=zone, dst=dst).interval
    if interval is None:
        raise InvalidInput(
            "an anchor is for 'every ...' schedules", field="anchor", remedy="leave it out"
        )
    return every_schedule(interval, anchor, zone, dst, text=text)


def _same_words(base: Schedule, zone: str, dst: Dst, now: datetime) -> Schedule:
    if base.kind is ScheduleKind.UNREADABLE:
        return _reread(base, zone, dst, now)
    if (base.timezone, base.dst) == (zone, dst):
        return base
    if base.kind is ScheduleKind.CRON and base.expression is not None:
        return cron_schedule(base.expression, zone, dst, text=base.text)
    # 'in 30m' named an instant when it was first given, whatever zone is given now.
    if base.kind is ScheduleKind.AT and base.text.lower().split()[:1] != ["in"]:
        return parse_schedule(base.text, now=now, timezone=zone, dst=dst)
    return replace(base, timezone=zone, dst=dst)


def _reread(base: Schedule, zone: str, dst: Dst, now: datetime) -> Schedule:
    """A stored schedule that could not be read, from what is left of it; as it is if that is not
    enough."""
    with contextlib.suppress(InvalidInput):
        if base.expression is not None:
            return cron_schedule(base.expression, zone, dst, text=base.text)
        if base.interval is not None and base.anchor is not None:
            return every_schedule(base.interval, base.anchor, zone, dst, text=base.text)
        if base.at is not None and base.text.lower().split()[:1] == ["in"]:
            return at_schedule(base.at, zone, dst, text=base.text)
        return parse_schedule(base.text, now=now, timezone=zone, dst=dst)
    return base


def _instant(value: object, field: str) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidInput(
            "expected an instant with its offset",
            field=field,
            remedy="such as 2030-01-31T09:00:00Z",
        )
    return value.astimezone(UTC)


def _seconds(value: object) -> timedelta:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
        return timedelta(seconds=value)
    return parse_duration(value, "interval")
