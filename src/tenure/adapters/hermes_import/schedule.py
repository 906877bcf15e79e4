"""A stored schedule of Hermes as a schedule of Tenure, and how the two differ.

Hermes leaves cron expressions to croniter, whose rules are its own: seconds come last, ``5/15`` is
``5-max/15``, ranges may wrap, a step such as ``*/2`` is not every day where day and weekday are
given. So Hermes' own croniter expands each expression (``simulation``). Without it only a plain
expression of five fields is read, which both read alike.

Pure; safe from any thread. Instants are aware.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from tenure.adapters.cron_format import (
    DAY,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    WEEKDAY,
    listed,
    read_values,
)
from tenure.domain.durations import describe_duration
from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.cron import read_cron
from tenure.domain.schedule.model import Schedule, at_schedule, cron_schedule, every_schedule
from tenure.domain.schedule.zones import load_zone

TICK = timedelta(minutes=1)
"""How often a ticker of Hermes looks at its jobs."""
_PLACES = (MINUTE, HOUR, DAY, MONTH, WEEKDAY, SECOND)
"""The order of the fields in croniter; years come behind them."""
_NUMBER = r"\d+(?:-\d+(?:/\d+)?)?"
_PLAIN = re.compile(rf"\*(?:/\d+)?|{_NUMBER}(?:,{_NUMBER})*", re.ASCII)

Expanded = Sequence[Sequence[int | str]]
"""The values of each field as croniter expands them; ``["*"]`` for every value."""


@dataclass(frozen=True, slots=True)
class TranslatedSchedule:
    """The schedule, and how it differs from Hermes', as text."""

    schedule: Schedule
    differs: tuple[str, ...] = ()


def translate(
    stored: object,
    *,
    zone: str,
    system: tzinfo,
    planned: datetime | None,
    now: datetime,
    fields: Expanded | None = None,
) -> TranslatedSchedule:
    """The schedule of a job in Hermes' file.

    ``zone``: an IANA name; ``system``: the zone of instants without an offset; ``planned``: Hermes'
    next run of it; ``fields``: Hermes' expansion of a cron expression, None if it is unknown.

    Raises InvalidInput for a schedule that Hermes would never run, or that Tenure cannot have:
    years, random fields, a date that does not exist, an interval that is too long.
    """
    if not isinstance(stored, Mapping):
        shown = "missing" if stored is None else f"{stored!r}, not a table"
        raise InvalidInput(
            f"its schedule is {shown}, so Hermes never runs it",
            field="schedule",
            remedy="give it a schedule in Hermes first: hermes cron edit ID --schedule ...",
        )
    kind = stored.get("kind")
    if kind == "once":
        return _once(stored.get("run_at"), zone, system, now)
    if kind == "interval":
        return _interval(stored.get("minutes"), zone, planned, now)
    if kind == "cron":
        return _cron(stored.get("expr"), zone, fields)
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


def _once(run_at: object, zone: str, system: tzinfo, now: datetime) -> TranslatedSchedule:
    at = instant_in(run_at, system)
    if at is None:
        raise InvalidInput(f"{run_at!r} is not an instant", field="schedule")
    if at <= now:
        raise InvalidInput(f"its time, {_local(at, zone)}, is past", field="schedule")
    return TranslatedSchedule(at_schedule(at.replace(microsecond=0), zone))


def _interval(
    minutes: object, zone: str, planned: datetime | None, now: datetime
) -> TranslatedSchedule:
    if not isinstance(minutes, int) or isinstance(minutes, bool) or minutes < 1:
        raise InvalidInput(f"its interval is {minutes!r} minutes", field="schedule")
    try:
        span = timedelta(minutes=minutes)
    except OverflowError:
        raise InvalidInput(f"{minutes} minutes are too long", field="schedule") from None
    # Both schedulers continue from the run that Hermes has planned.
    anchor = (planned or now).replace(microsecond=0)
    schedule = every_schedule(span, anchor, zone)
    note = (
        f"Hermes counts {describe_duration(span)} from the end of each run; here it fires at fixed"
        f" instants, {_local(anchor, zone)} being one"
    )
    return TranslatedSchedule(schedule, (note,))


def _cron(text: object, zone: str, fields: Expanded | None) -> TranslatedSchedule:
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput("its cron expression is missing", field="schedule")
    expression = tenure_expression(text, fields)
    schedule = cron_schedule(expression, zone)
    differs = []
    plain = " ".join(text.split())
    if expression != plain:
        last = len(plain.split()) > 5 and len(expression.split()) > 5
        why = "seconds come first here" if last else "the form of Tenure for what Hermes runs"
        differs.append(f"{plain!r} becomes {expression!r}: {why}")
    period = schedule.period()
    if period is not None and period < TICK:
        differs.append(
            "Hermes looks at its jobs once a minute, and so runs this at most once a minute;"
            " here it runs every time"
        )
    return TranslatedSchedule(schedule, tuple(differs))


def tenure_expression(text: str, fields: Expanded | None) -> str:
    """The expression, seconds first, that fires at the same local times in Tenure.

    Fields keep their spelling where both read it alike. Raises InvalidInput where none exists.
    """
    words = text.lower().split()
    if any(word.startswith("r") for word in words[5:]):
        raise InvalidInput(
            f"{text!r} has a random field, drawn again each time",
            field="schedule",
            remedy="write a fixed value, and --jitter for a spread",
        )
    if words[6:] not in ([], ["*"]):
        raise InvalidInput(
            f"{text!r} names years",
            field="schedule",
            remedy="leave the seventh field out, or use a one-shot for each year",
        )
    if fields is None:
        expression = _plain(text, words)
    else:
        values = [None if "*" in field else tuple(map(int, field)) for field in fields]
        both = values[2] is not None and values[4] is not None
        written = [_written(*field, both) for field in zip(_PLACES, words, values, strict=False)]
        seconds = written[5:] if values[5:6] not in ([], [(0,)]) else []
        expression = " ".join([*seconds, *written[:5]])
    read_cron(expression)
    return expression


def _plain(text: str, words: Sequence[str]) -> str:
    days = [words[2], words[4]] if len(words) == 5 else []
    starred = "*" not in days and any(word.startswith("*") for word in days)
    if not days or starred or not all(_PLAIN.fullmatch(word) for word in words):
        raise InvalidInput(
            f"{text!r} can be read by Hermes' own croniter only",
            field="schedule",
            remedy="name Hermes' Python: --hermes-python PATH",
        )
    for word in words:
        if any(int(a) >= int(b) for a, b in re.findall(r"(\d+)-(\d+)", word)):
            raise InvalidInput(
                f"{text!r} has a range that wraps, which Hermes' own croniter must read",
                field="schedule",
                remedy="name Hermes' Python: --hermes-python PATH",
            )
    return " ".join(words)


def _written(place: int, word: str, values: tuple[int, ...] | None, both: bool) -> str:
    """The field in Tenure's form. ``both``: day and weekday are given and either is enough, so
    neither may begin with a star."""
    if values is None:
        return "*"
    values = tuple(sorted(values))
    starred = both and place in (DAY, WEEKDAY) and word.startswith("*")
    if not starred and word.isascii() and read_values(place, word) == values:
        return word
    return listed(values)


def _local(at: datetime, zone: str) -> str:
    return f"{at.astimezone(load_zone(zone)):%Y-%m-%d %H:%M:%S %Z}"
