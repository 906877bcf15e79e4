"""A job of APScheduler 3 as its store has it: checked, and in plain values.

Authority: ``Job.__getstate__`` of APScheduler 3.0 to 3.11, and that of its triggers.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from tenure.adapters.apscheduler.pickles import Made, read_pickle
from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.zones import check_zone, load_zone

FIELDS = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second")
_MODULE = "apscheduler.triggers."
_POSITIONS = ("1st", "2nd", "3rd", "4th", "5th", "last")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Expression:
    """One element of a field, as APScheduler writes it."""

    text: str
    first: int | None = None
    """None: from the least value of the field."""
    last: int | None = None
    """None: to the greatest."""
    step: int = 1
    position: tuple[int, int] | None = None
    """``2nd mon``: which of the month (5: the last), and the weekday, Monday being 0."""
    last_day: bool = False

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class CronTrigger:
    fields: Mapping[str, tuple[Expression, ...]]
    """All of :data:`FIELDS`."""
    said: frozenset[str]
    """Those that were given when it was made."""
    timezone: str
    """An IANA name."""
    start: datetime | None = None
    end: datetime | None = None
    jitter: float = 0

    def word(self, name: str) -> str:
        """A field as APScheduler writes it."""
        return ",".join(map(str, self.fields[name]))

    def __str__(self) -> str:
        words = [f"{name}='{self.word(name)}'" for name in FIELDS if name in self.said]
        return f"cron[{', '.join(words)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalTrigger:
    seconds: float
    timezone: str
    start: datetime
    end: datetime | None = None
    jitter: float = 0

    def __str__(self) -> str:
        return f"interval[{timedelta(seconds=self.seconds)}]"


@dataclass(frozen=True, slots=True)
class DateTrigger:
    at: datetime

    def __str__(self) -> str:
        return f"date[{self.at.isoformat(' ')}]"


Trigger = CronTrigger | IntervalTrigger | DateTrigger


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJob:
    """One job. ``func`` is ``module:name``, checked to be nothing else."""

    id: str
    func: str
    name: str
    trigger: Trigger
    args: tuple[Any, ...]
    """Plain values, and :class:`Made` for dates and the like."""
    kwargs: Mapping[str, Any]
    executor: str
    misfire_grace_time: float | None
    """Seconds; None: however late."""
    coalesce: bool
    max_instances: int
    next_run_time: datetime | None
    """None: paused."""


def read_job(content: bytes) -> StoredJob:
    """The job of a ``job_state``. Raises InvalidInput for whatever is not one of APScheduler 3."""
    state = read_pickle(content)
    if not isinstance(state, dict) or state.get("version") != 1:
        raise InvalidInput("its state is not that of an APScheduler 3 job")
    try:
        return _job(state)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"its state is incomplete or invalid: {error!r}") from None


def _job(state: Mapping[Any, Any]) -> StoredJob:
    grace = state["misfire_grace_time"]
    next_run = state["next_run_time"]
    kwargs = state["kwargs"]
    if not isinstance(kwargs, dict) or not all(isinstance(key, str) for key in kwargs):
        raise InvalidInput("its keyword arguments are not a dictionary")
    return StoredJob(
        id=_text(state["id"]),
        func=function_name(state["func"]),
        name=_text(state["name"]),
        trigger=_trigger(state["trigger"]),
        args=tuple(state["args"]),
        kwargs=kwargs,
        executor=_text(state["executor"]),
        misfire_grace_time=None if grace is None else seconds_of(grace),
        coalesce=bool(state["coalesce"]),
        max_instances=int(state["max_instances"]),
        next_run_time=None if next_run is None else instant_of(next_run),
    )


def function_name(value: Any) -> str:
    """``package.module:name``, and nothing that could be anything else as code."""
    module, colon, name = _text(value).partition(":")
    words = [*module.split("."), *name.split(".")]
    if not colon or not all(w.isidentifier() and not keyword.iskeyword(w) for w in words):
        raise InvalidInput(f"{str(value)[:80]!r} is not a function of a module")
    return str(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"expected text, not {type(value).__name__}")
    return value


def _trigger(made: Any) -> Trigger:
    kind = made.of.removeprefix(_MODULE) if isinstance(made, Made) else type(made).__name__
    if kind in ("combining.AndTrigger", "combining.OrTrigger"):
        word = "and" if "And" in kind else "or"
        remedy = "make a job of each" if word == "or" else "write its times as one cron trigger"
        raise InvalidInput(f"it combines triggers with {word!r}, which no schedule can express",
                           remedy=remedy)  # fmt: skip
    if kind == "calendarinterval.CalendarIntervalTrigger":
        raise InvalidInput(
            "it counts calendar months or days from a date, which no schedule can express",
            remedy="write its times as a cron trigger",
        )
    if kind not in _READERS:
        raise InvalidInput(f"its trigger is {kind}, which is not a trigger of APScheduler")
    return _READERS[kind](made.state[1] if isinstance(made.state, tuple) else made.state)


def _cron(state: Mapping[str, Any]) -> CronTrigger:
    fields: dict[str, tuple[Expression, ...]] = {}
    said = set()
    for made in state["fields"]:
        name = _text(made.state["name"])
        fields[name] = tuple(_expression(e) for e in made.state["expressions"])
        if not made.state.get("is_default"):
            said.add(name)
    if set(fields) != set(FIELDS) or not all(fields.values()):
        raise InvalidInput("its cron trigger lacks fields of APScheduler's cron trigger")
    return CronTrigger(
        fields=fields,
        said=frozenset(said),
        timezone=zone_of(state["timezone"]),
        start=_maybe(state["start_date"]),
        end=_maybe(state["end_date"]),
        jitter=seconds_of(state.get("jitter") or 0),
    )


def _expression(made: Made) -> Expression:
    kind, state = made.of.rpartition(".")[2], made.state or {}
    step = state.get("step")
    behind = f"/{int(step)}" if step else ""
    if kind == "LastDayOfMonthExpression":
        return Expression("last", last_day=True)
    if kind == "WeekdayPositionExpression":
        option, weekday = int(state["option_num"]), int(state["weekday"])
        if option < 0 or weekday < 0:
            raise InvalidInput("its cron trigger has an invalid weekday")
        text = f"{_POSITIONS[option]} {WEEKDAYS[weekday]}"
        return Expression(text, position=(option, weekday))
    if kind == "AllExpression":
        return Expression(f"*{behind}", step=int(step or 1))
    if not kind.endswith("RangeExpression"):
        raise InvalidInput(f"its cron trigger contains a {kind}")
    first, last = int(state["first"]), state["last"]
    last = None if last is None else int(last)
    names = {"MonthRangeExpression": MONTHS, "WeekdayRangeExpression": WEEKDAYS}.get(kind)
    low = 1 if names is MONTHS else 0
    words = [names[n - low] if names else str(n) for n in (first, first if last is None else last)]
    span = words[0] if last is None or last == first else "-".join(words)
    return Expression(span + behind, first=first, last=last, step=int(step or 1))


def _interval(state: Mapping[str, Any]) -> IntervalTrigger:
    return IntervalTrigger(
        seconds=span_of(state["interval"]).total_seconds(),
        timezone=zone_of(state["timezone"]),
        start=instant_of(state["start_date"]),
        end=_maybe(state["end_date"]),
        jitter=seconds_of(state.get("jitter") or 0),
    )


def _date(state: Mapping[str, Any]) -> DateTrigger:
    return DateTrigger(instant_of(state["run_date"]))


_READERS: dict[str, Callable[[Mapping[str, Any]], Trigger]] = {
    "cron.CronTrigger": _cron,
    "interval.IntervalTrigger": _interval,
    "date.DateTrigger": _date,
}


def _maybe(made: Any) -> datetime | None:
    return None if made is None else instant_of(made)


# -- dates, durations and time zones of a pickle; InvalidInput throughout ------------------------
_ZONEINFO = ("zoneinfo.ZoneInfo", "backports.zoneinfo.ZoneInfo")


def zone_of(value: Any) -> str:
    """The IANA name of a pickled time zone; of a whole-hour offset, that of ``Etc``."""
    if isinstance(value, str):
        return check_zone(value)
    if not isinstance(value, Made):
        raise InvalidInput(f"its time zone is a {type(value).__name__}")
    if value.of.removesuffix("._unpickle") in _ZONEINFO or value.of == "pytz._p":
        if not value.args or not isinstance(value.args[0], str):
            raise InvalidInput("its time zone has no name")
        return check_zone(value.args[0])
    if value.of == "pytz._UTC":
        return "UTC"
    offset = _fixed(value)
    hours, rest = divmod(offset, timedelta(hours=1))
    if rest or not -12 <= hours <= 14:
        raise InvalidInput(
            f"its time zone is the offset {offset}, without a name",
            remedy="give the trigger an IANA zone",
        )
    return f"Etc/GMT{-hours:+d}" if hours else "UTC"


def instant_of(value: Any) -> datetime:
    """A pickled datetime, in UTC."""
    if not isinstance(value, Made) or value.of != "datetime.datetime" or not value.args:
        raise InvalidInput("expected a date with a time")
    packed, zone = value.args[0], value.args[1] if len(value.args) > 1 else None
    if isinstance(packed, str):
        packed = packed.encode("latin-1")
    if not isinstance(packed, bytes) or len(packed) != 10 or zone is None:
        raise InvalidInput("expected a date with a time and a zone")
    try:
        # Which takes its own packed form, and checks it.
        unpacked: Any = datetime
        found: datetime = unpacked(packed, _tzinfo(zone))
        return found.astimezone(UTC)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput(f"it does not contain a valid date: {error}") from None


def span_of(value: Any) -> timedelta:
    if not isinstance(value, Made) or value.of != "datetime.timedelta":
        raise InvalidInput("expected a duration")
    try:
        return timedelta(*(int(part) for part in value.args))
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput(f"it does not contain a valid duration: {error}") from None


def seconds_of(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInput("expected a number of seconds")
    return value


def _tzinfo(value: Any) -> tzinfo:
    """Of a datetime: pytz keeps there the offset of just that instant."""
    if isinstance(value, Made) and value.of == "pytz._p" and len(value.args) > 1:
        return timezone(timedelta(seconds=seconds_of(value.args[1])))
    if isinstance(value, Made) and value.of in ("datetime.timezone", "pytz.FixedOffset"):
        return timezone(_fixed(value))
    return load_zone(zone_of(value))


def _fixed(value: Made) -> timedelta:
    if value.of == "datetime.timezone" and value.args:
        return span_of(value.args[0])
    if value.of == "pytz.FixedOffset" and value.args:
        return timedelta(minutes=seconds_of(value.args[0]))
    raise InvalidInput(f"its time zone is a {value.of}", remedy="give the trigger an IANA zone")
