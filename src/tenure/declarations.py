"""A program's declarations of jobs: schedule, function, options. Checked where they are written.

A mistake is reported at the line that makes it, as :class:`InvalidInput` with the option at fault,
not by a run that fails at night.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tenure.client.job_fields import OPTIONS, read_flag
from tenure.domain.durations import parse_duration
from tenure.domain.errors import InvalidInput
from tenure.domain.job import Call, Command, Definition, Runner
from tenure.domain.schedule.model import (
    Dst,
    Schedule,
    ScheduleKind,
    at_schedule,
    cron_schedule,
    every_schedule,
)
from tenure.domain.schedule.parser import parse_schedule
from tenure.domain.schedule.zones import parse_dst

if TYPE_CHECKING:
    from tenure.store.contract import Declaration

_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_OPTIONS = {field.name: field for field in OPTIONS}
_LISTS = ("requires", "tags")
_SAY_WHEN = 'such as cron("0 3 * * *"), every("30s"), at(...) or a text: "every 30s"'


@dataclass(frozen=True, slots=True)
class When:
    """A schedule that needs the profile's zone: call it with ``now`` (UTC) and an IANA name."""

    make: Callable[[datetime, str], Schedule]

    def __call__(self, now: datetime, zone: str) -> Schedule:
        return self.make(now, zone)


def cron(expression: str, *, tz: str | None = None, dst: str | None = None) -> When:
    """A cron schedule: five fields, or six with seconds first. ``tz`` is an IANA name, by
    default the profile's zone; ``dst`` says what a change of the clocks does (docs/schedules.md).

    Raises InvalidInput when the job is declared.
    """
    chosen = _dst(dst)

    def when(now: datetime, zone: str) -> Schedule:
        if chosen is None:
            return cron_schedule(expression, tz or zone)
        return cron_schedule(expression, tz or zone, chosen)

    return When(when)


def every(interval: str | timedelta, *, anchor: datetime | None = None) -> When:
    """An interval: ``"30s"``, ``"2h"`` or a timedelta of at least a second. Its runs
    are on a grid that every process computes alike; ``anchor`` (aware) is a point of the grid."""
    length = _duration(interval, "schedule")
    return When(lambda now, zone: every_schedule(length, anchor or _EPOCH))


def at(instant: datetime) -> When:
    """Once, at an aware instant. Raises InvalidInput for a naive one."""
    if not isinstance(instant, datetime):
        raise InvalidInput(f"{instant!r} is not a datetime", field="schedule", remedy=_SAY_WHEN)
    if instant.tzinfo is None:
        raise InvalidInput(
            "the time has no zone", field="schedule", remedy="pass an aware datetime"
        )
    return When(lambda now, zone: at_schedule(instant.astimezone(UTC)))


@dataclass(frozen=True, slots=True)
class Declared:
    """A job as the code declares it."""

    name: str
    """``app:name``."""
    at: datetime
    """When it was declared (UTC). Times count from then on: ``in 5m`` is five minutes later,
    however long it takes until this process owns."""
    define: Callable[[datetime, str], Definition]
    """Makes the definition from ``at`` and the profile's zone (an IANA name)."""

    def declaration(self, zone: str) -> Declaration:
        """The declaration for the store of a profile with this zone."""
        from tenure.store.contract import Declaration

        definition = self.define(self.at, zone)
        once = definition.schedule.kind is ScheduleKind.AT
        return Declaration(definition=definition, since=self.at if once else None)

    def reads_the_profiles_zone(self) -> bool:
        """Whether the zone of the profile changes when it runs."""
        east, west = (self.define(self.at, zone).schedule for zone in ("Asia/Tokyo", "UTC"))
        return east.kind is ScheduleKind.CRON and east.timezone != west.timezone


def declared(
    app: str, schedule: object, function: Callable[..., Any], options: dict[str, Any]
) -> Declared:
    """The declaration that :meth:`tenure.Tenure.job` makes. Raises InvalidInput with the option."""
    # First, because what follows can take long enough for the schedule's instant to pass.
    now = datetime.now(UTC)
    when = check_schedule(schedule)
    target = f"{app}:{_name_of(function, options.pop('name', None))}"
    args = _args(options.pop("args", None))
    _check_callable(function, args)
    runner = Runner.ASYNC if is_async(function) else Runner.THREAD
    action: Call | Command = Call(target=target, runner=runner, args=args)
    if read_flag(options.pop("process", False), "process"):
        action = _in_a_process(function, args)
    fields = _fields(options)

    def define(now: datetime, zone: str) -> Definition:
        planned = (
            parse_schedule(when, now=now, timezone=zone)
            if isinstance(when, str)
            else when(now, zone)
        )
        return Definition(name=target, schedule=planned, action=action, **fields)

    # A mistake is reported at the line that makes it.
    define(now, "UTC")
    return Declared(target, now, define)


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a call makes a coroutine, as far as the function shows."""
    return _is(inspect.iscoroutinefunction, function)


# -- the schedule ------------------------------------------------------------------------------
def check_schedule(schedule: object) -> When | str:
    """``schedule``, if it is one. Raises InvalidInput."""
    if isinstance(schedule, When | str):
        return schedule
    if callable(schedule):
        text = "the schedule is missing; a function was passed"
        raise InvalidInput(text, field="schedule", remedy='@tenure.job(every("30s"))')
    raise InvalidInput(f"{schedule!r} is not a schedule", field="schedule", remedy=_SAY_WHEN)


def _dst(text: str | None) -> Dst | None:
    return parse_dst(text) if text is not None else None


# -- the function ------------------------------------------------------------------------------
def _name_of(function: Callable[..., Any], name: object) -> str:
    named = name or getattr(function, "__name__", None)
    if not callable(function):
        raise InvalidInput(
            f"{function!r} cannot be called",
            field="function",
            remedy="declare a method outside its class: tenure.job(schedule, Class.method)",
        )
    if not named:
        raise InvalidInput(
            f"{function!r} has no name of its own", field="name", remedy="pass name=..."
        )
    return str(named)


def _check_callable(function: Callable[..., Any], args: dict[str, Any]) -> None:
    if _is(inspect.isgeneratorfunction, function) or _is(inspect.isasyncgenfunction, function):
        raise InvalidInput(
            "it is a generator: calling it would not run it",
            field="function",
            remedy="declare a function that iterates over it: for _ in generator(): ...",
        )
    # A decorator can pass on other arguments than it shows.
    if hasattr(function, "__wrapped__") or hasattr(function, "__signature__"):
        return
    from tenure.runtime.run_context import context_parameter

    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # for example a builtin
        return
    parameter = context_parameter(function)
    given = args if parameter is None else {parameter: None, **args}
    try:
        signature.bind(**given)
    except TypeError as error:
        raise InvalidInput(
            f"the function does not accept them: {error}",
            field="args",
            remedy="pass keyword arguments as args={...}; declare a bound method: "
            "tenure.job(schedule, thing.method)",
        ) from None


def _is(kind: Callable[[Any], bool], function: Callable[..., Any]) -> bool:
    return kind(function) or kind(getattr(function, "__call__", None))  # noqa: B004


def _in_a_process(function: Callable[..., Any], args: dict[str, Any]) -> Command:
    from tenure.runtime.callables.child import describe
    from tenure.runtime.run_context import CHILD_ARGUMENTS

    # A frozen program's executable is the whole program, not a Python.
    if getattr(sys, "frozen", False):
        raise InvalidInput(
            "a frozen program does not have a Python to run a function in its own process",
            field="process",
            remedy="omit process=True, or declare a command that this program offers",
        )
    return Command(
        argv=(sys.executable, *CHILD_ARGUMENTS), stdin=describe(function, args), cwd=os.getcwd()
    )


# -- the options -------------------------------------------------------------------------------
def _args(args: object) -> dict[str, Any]:
    if args is None:
        return {}
    if not isinstance(args, dict) or not all(isinstance(name, str) for name in args):
        remedy = 'pass keyword arguments by name: args={"region": "eu"}'
        raise InvalidInput(
            f"{args!r} is not a dictionary of arguments", field="args", remedy=remedy
        )
    return args


def _fields(options: dict[str, Any]) -> dict[str, Any]:
    """Definition fields from the user's options; None means the default."""
    fields: dict[str, Any] = {}
    for name, value in options.items():
        if name not in _OPTIONS and name != "window":
            raise InvalidInput(
                f"unknown option {name!r}",
                field=name,
                remedy=f"use one of name, args, process, window, {', '.join(_OPTIONS)}",
            )
        if value is not None and name != "window":
            fields |= _OPTIONS[name].read(_listed(value) if name in _LISTS else value)
    if options.get("window") is not None:
        fields["window"] = _duration(options["window"], "window")
    return fields


def _listed(value: object) -> object:
    """A text is a list with one item; any iterable of texts is accepted."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, Iterable) else value


def _duration(value: object, name: str) -> timedelta:
    if isinstance(value, str):
        return parse_duration(value, name)
    if isinstance(value, timedelta):
        return value
    raise InvalidInput(
        f"{value!r} is not a valid duration", field=name, remedy='write "90s", "5m" or a timedelta'
    )
