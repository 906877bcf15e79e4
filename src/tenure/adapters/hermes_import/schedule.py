"""A schedule of Hermes as one of Tenure: what fires alike, and what has to be said beside it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tenure.adapters.hermes_import.croniter_rules import read_expression, tenure_expression
from tenure.adapters.hermes_import.grammar import HermesSchedule
from tenure.domain.durations import describe_duration
from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.model import Schedule, at_schedule, cron_schedule, every_schedule
from tenure.domain.schedule.zones import load_zone

TICK = timedelta(minutes=1)
"""How often a ticker of Hermes looks at its jobs."""


@dataclass(frozen=True, slots=True)
class TranslatedSchedule:
    """The schedule, and how it differs from Hermes', as text."""

    schedule: Schedule
    differs: tuple[str, ...] = ()


def translate(
    hermes: HermesSchedule, *, zone: str, planned: datetime | None, now: datetime
) -> TranslatedSchedule:
    """``zone``: an IANA name; ``planned``: Hermes' next run of it, if it has one.

    Raises InvalidInput for what cannot be had: years, random fields, what never fires, what is
    past, an interval that is too long.
    """
    if hermes.run_at is not None:
        return _once(hermes.run_at, zone, now)
    if hermes.minutes is not None:
        return _interval(hermes.minutes, zone, planned, now)
    return _cron(hermes.expression or "", zone)


def _once(at: datetime, zone: str, now: datetime) -> TranslatedSchedule:
    if at <= now:
        raise InvalidInput(f"its time, {_local(at, zone)}, is past", field="schedule")
    return TranslatedSchedule(at_schedule(at.replace(microsecond=0), zone))


def _interval(
    minutes: int, zone: str, planned: datetime | None, now: datetime
) -> TranslatedSchedule:
    try:
        span = timedelta(minutes=minutes)
    except OverflowError:
        raise InvalidInput(f"{minutes} minutes are too long", field="schedule") from None
    anchor = (planned or now).replace(microsecond=0)
    schedule = every_schedule(span, anchor, zone)
    note = (
        f"Hermes counts {describe_duration(span)} from the end of each run; here it fires at fixed"
        f" instants, {_local(anchor, zone)} being one"
    )
    return TranslatedSchedule(schedule, (note,))


def _cron(text: str, zone: str) -> TranslatedSchedule:
    expression = tenure_expression(read_expression(text))
    schedule = cron_schedule(expression, zone)
    differs = []
    plain = " ".join(text.split())
    if expression != plain:
        last = len(plain.split()) > 5 and len(expression.split()) > 5
        why = "seconds come first here" if last else "which says here what Hermes makes of it"
        differs.append(f"{plain!r} becomes {expression!r}: {why}")
    period = schedule.period()
    if period is not None and period < TICK:
        differs.append(
            "Hermes looks at its jobs once a minute, and so runs this at most once a minute;"
            " here it runs at each fire"
        )
    return TranslatedSchedule(schedule, tuple(differs))


def _local(at: datetime, zone: str) -> str:
    return f"{at.astimezone(load_zone(zone)):%Y-%m-%d %H:%M:%S %Z}"
