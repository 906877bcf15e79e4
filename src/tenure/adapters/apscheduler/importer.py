"""``tenure import apscheduler``: what becomes of each job of a store, either way out.

*Declared*: the application goes on carrying the code, and ``tenure.job(...)`` says when it runs.
*As commands*: the profile runs ``python -c`` with a call of the function, in a process of its own.

How late and how often: a grace time is the grace, and coalesced fires run once, as here without
catch-up. APScheduler's default grace of one second, which nobody chose, becomes Tenure's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tenure.adapters.apscheduler.comparison import compare
from tenure.adapters.apscheduler.literals import call_arguments, is_json
from tenure.adapters.apscheduler.stored import IntervalTrigger, StoredJob, read_job
from tenure.adapters.apscheduler.stores import Row
from tenure.adapters.apscheduler.templates import Template
from tenure.adapters.apscheduler.triggers import translate
from tenure.adapters.importer import Action, Compared, Imported
from tenure.domain.errors import InvalidInput
from tenure.domain.job import (
    DEFAULT_GRACE,
    LONGEST,
    Call,
    CatchUp,
    Command,
    Definition,
    Overlap,
)
from tenure.domain.schedule.model import Schedule, ScheduleKind
from tenure.domain.schedule.zones import load_zone
from tenure.library import every

TAG = "apscheduler:"
DEFAULT_MISFIRE_GRACE = 1
"""Seconds: APScheduler's own, in jobs that did not say."""
_GENERATED = re.compile(r"[0-9a-f]{32}")
_SHORTEST = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Importing:
    """To where, when, and how. ``now``: UTC."""

    now: datetime
    app: str = "default"
    """Whose declarations they will be."""
    template: Template | None = None
    """The command of each job; None: they are declared."""
    grace: timedelta = DEFAULT_GRACE
    count: int = 20
    """Fires to compare, besides those around changes of the clocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A stored job, and what becomes of it."""

    job: Imported
    stored: StoredJob | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """How late and how often, as fields of a definition that are not their defaults."""
    compared: Compared | None = None
    sketch: Definition | None = None
    """Of a job that is not imported for its arguments alone: what else it would be."""


def plan_rows(rows: Sequence[Row], importing: Importing) -> tuple[Planned, ...]:
    """What an import would do, before it is compared with what the profile has."""
    return tuple(_judge(row, importing) for row in rows)


def _judge(row: Row, importing: Importing) -> Planned:
    found = Imported(id=_id(row.id), name=_printable(row.id), shown="", action=Action.SKIP)
    try:
        stored = read_job(row.state)
        name = stored.id if not _GENERATED.fullmatch(stored.id) else stored.name
        found = replace(
            found,
            name=_printable(name),
            shown=f"{stored.func}, {stored.trigger}",
            active=stored.next_run_time is not None,
        )
        return _added(stored, found, importing)
    except InvalidInput as error:
        return Planned(job=replace(found, why=error.text, remedy=error.remedy))


def _added(stored: StoredJob, found: Imported, importing: Importing) -> Planned:
    """Raises InvalidInput where it cannot be."""
    if stored.func.startswith("__main__:"):
        raise InvalidInput(
            "its function is in the script itself (__main__), which nobody else can import",
            remedy="move it into a module",
        )
    when = translate(stored.trigger, planned=stored.next_run_time, now=importing.now)
    schedule = when.schedule if importing.template is not None else _declared(when.schedule)
    options, differs = _late_and_often(stored)
    compared = _compared(stored, schedule, importing) if schedule == when.schedule else None
    if compared is None:
        differs.append(_other_beat(when.schedule, schedule, importing.now))
    if stored.next_run_time is not None and stored.next_run_time <= importing.now:
        differs.append(f"it is overdue in APScheduler since {stored.next_run_time:%F %T} UTC")
    definition = Definition(
        name=found.name,
        schedule=schedule,
        action=_action(stored, found.name, importing),
        tags=(TAG + found.id,) if importing.template is not None else (),
        **{"grace": importing.grace, **options},
    )
    planned = Planned(job=found, stored=stored, options=options, compared=compared)
    if importing.template is None and (why := _unwritten(stored)):
        left = replace(found, why=why, remedy="it is in the file as a comment")
        return replace(planned, job=left, sketch=definition)
    if importing.template is None and not found.active:
        differs.append("it is paused, and so written as a comment")
    added = replace(
        found,
        action=Action.ADD,
        definition=definition,
        paused=not found.active,
        lost=(*when.lost, *_lost(stored)),
        differs=tuple(differs),
    )
    return replace(planned, job=added)


def _unwritten(stored: StoredJob) -> str:
    """Why its arguments cannot stand in a Python file; nothing if they can."""
    try:
        call_arguments(stored.args, stored.kwargs)
    except InvalidInput as error:
        return error.text
    return ""


def _action(stored: StoredJob, name: str, importing: Importing) -> Command | Call:
    if importing.template is not None:
        return importing.template.command(stored)
    plain = is_json(stored.kwargs) and not stored.args
    return Call(target=f"{importing.app}:{name}", args=stored.kwargs if plain else {})


def _compared(stored: StoredJob, schedule: Schedule, importing: Importing) -> Compared:
    return compare(
        stored.trigger,
        schedule,
        planned=stored.next_run_time,
        now=importing.now,
        count=importing.count,
    )


def _declared(schedule: Schedule) -> Schedule:
    """As ``cron``, ``every`` and ``at`` of the library make it: an interval has no anchor there."""
    if schedule.kind is not ScheduleKind.EVERY or schedule.interval is None:
        return schedule
    return every(schedule.interval)(schedule.anchor or datetime.now(UTC), schedule.timezone)


def _other_beat(theirs: Schedule, ours: Schedule, now: datetime) -> str:
    zone = load_zone(theirs.timezone)
    there, here = theirs.next_after(now), ours.next_after(now)
    assert there is not None
    assert here is not None
    return (
        f"as often, but on another beat: next at {here.astimezone(zone):%F %T %Z}, in APScheduler"
        f" at {there.astimezone(zone):%F %T %Z}"
    )


def _late_and_often(stored: StoredJob) -> tuple[dict[str, Any], list[str]]:
    """Fields of the definition; and where it is otherwise, in words."""
    options: dict[str, Any] = {}
    differs: list[str] = []
    grace = stored.misfire_grace_time
    if grace is None:
        options["catch_up"] = CatchUp.LATEST if stored.coalesce else CatchUp.ALL
        if not stored.coalesce:
            options["window"] = LONGEST
    elif grace == DEFAULT_MISFIRE_GRACE:
        options["catch_up"] = CatchUp.NONE
    else:
        options["grace"] = max(_SHORTEST, timedelta(seconds=grace))
        options["catch_up"] = CatchUp.NONE if stored.coalesce else CatchUp.ALL
        if not stored.coalesce:
            options["window"] = options["grace"]
    if stored.max_instances > 1:
        options["overlap"] = Overlap.ALLOW
        differs.append(
            f"APScheduler runs at most {stored.max_instances} of it at once; here as many as there"
            " are slots"
        )
    if jitter := getattr(stored.trigger, "jitter", 0):
        options["jitter"] = timedelta(seconds=abs(jitter))
        drawn = "draws a delay for each fire" + (
            ", and counts on from it" if isinstance(stored.trigger, IntervalTrigger) else ""
        )
        differs.append(f"APScheduler {drawn}; here a job's delay is always the same")
    return options, differs


def _lost(stored: StoredJob) -> list[str]:
    if stored.executor == "default":
        return []
    return [f"it does not run in APScheduler's executor {stored.executor!r}"]


def _id(id: str) -> str:
    """For the tag, which takes no more."""
    if id.isprintable() and 0 < len(id) <= 80:
        return id
    return hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _printable(name: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in name)
    return " ".join(plain.split())[:120].strip() or "job"
