"""The schedule of a job as Hermes stores it.

Pure; safe from any thread. Instants are aware.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from tenure.adapters.hermes_import.croniter_rules import read_expression
from tenure.domain.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class HermesSchedule:
    """When Hermes runs a job: one of the three. ``minutes``: from the end of each run."""

    run_at: datetime | None = None
    minutes: int | None = None
    expression: str | None = None


def stored(schedule: object, *, timezone: tzinfo) -> HermesSchedule:
    """The schedule of a job in Hermes' file.

    ``timezone``: that of instants without an offset, the system's. Raises InvalidInput for one
    that Hermes would never run.
    """
    if not isinstance(schedule, Mapping):
        raise InvalidInput(
            f"its schedule is {_kind_of(schedule)}, which Hermes reads as none at all",
            field="schedule",
            remedy="give it a schedule in Hermes first: hermes cron edit ID --schedule ...",
        )
    kind = schedule.get("kind")
    if kind == "once":
        at = _stored_instant(schedule.get("run_at"), timezone)
        return HermesSchedule(run_at=at)
    if kind == "interval":
        minutes = schedule.get("minutes")
        if not isinstance(minutes, int) or isinstance(minutes, bool) or minutes < 1:
            raise InvalidInput(f"its interval is {minutes!r} minutes", field="schedule")
        return HermesSchedule(minutes=minutes)
    if kind == "cron":
        expression = schedule.get("expr")
        if not isinstance(expression, str) or not expression.strip():
            raise InvalidInput("its cron expression is missing", field="schedule")
        read_expression(expression)
        return HermesSchedule(expression=expression)
    raise InvalidInput(f"{kind!r} is not a kind of schedule that Hermes has", field="schedule")


def instant_in(text: object, timezone: tzinfo) -> datetime | None:
    """An instant of Hermes' file, aware; None for another text."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
        return at if at.utcoffset() is not None else at.replace(tzinfo=timezone)
    except (ValueError, OverflowError):
        return None


def _stored_instant(text: object, timezone: tzinfo) -> datetime:
    at = instant_in(text, timezone)
    if at is None:
        raise InvalidInput(f"{text!r} is not an instant", field="schedule")
    return at


def _kind_of(value: object) -> str:
    return "missing" if value is None else f"{value!r}, not a table"
