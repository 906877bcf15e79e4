"""The settings of a profile, read from the top level of profile.toml.

A missing key has its default; a wrong one is an error that names it, and then the whole file
changes nothing. ``docs/profile.md`` explains each. The owner rules beside them are read by
:mod:`tenure.domain.policy.text`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from tenure.domain.errors import InvalidInput
from tenure.domain.job import DEFAULT_GRACE
from tenure.domain.schedule.zones import check_zone
from tenure.domain.tables import Table, kind_of

T = TypeVar("T")

_SIZES = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2}
_SIZES["GiB"] = 1024**3
_SIZE = re.compile(r"([0-9]{1,12}) ?([KMG]i?B|B)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_VALUE = 128 * 1024


class Hung(StrEnum):
    """What to do about an owner that makes no progress."""

    WARN = "warn"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """How many runs may be active at once. No more is claimed than has a free slot (C4)."""

    commands: int = 8
    callables: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What is kept of the past. Shortening it never makes a fire run twice."""

    runs: int = 1000
    """Finished runs kept for each job."""
    days: int = 90
    """Finished runs older than this go, however few there are."""
    log_size: int = 10_000_000
    """Bytes of output kept for each run."""
    events: int = 50_000
    """Events kept for the profile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything in profile.toml except the owner rules."""

    timezone: str | None = None
    """IANA name; None is the system's zone, which the caller determines."""
    hung: Hung | None = None
    """None: ``warn`` for a daemon, ``replace`` for an embedded scheduler."""
    start: str | None = None
    """What a person types to start the owner; remedies say it where no rule names a service."""
    approve_protected: bool = False
    """A changed protected job is held until it is approved (C14)."""
    grace: timedelta = DEFAULT_GRACE
    """How late a fire may start before it is a misfire, for jobs that do not say."""
    catch_up_rate: int = 20
    """The most catch-up runs that begin in one second, so that a machine wakes gently."""
    slots: Slots = field(default_factory=Slots)
    retention: Retention = field(default_factory=Retention)
    env: tuple[tuple[str, str], ...] = ()
    """Environment of every command, as pairs in the file's order; see :meth:`environment`."""

    def environment(self) -> dict[str, str]:
        """``env`` as a fresh dictionary."""
        return dict(self.env)


def read_settings(document: Mapping[str, object]) -> Settings:
    """The settings in a parsed profile.toml. Raises :class:`InvalidInput` naming the field."""
    default = Settings()
    table = Table(document)
    table.raw("owner")
    settings = Settings(
        timezone=_timezone(table),
        hung=table.choice("hung", Hung),
        start=table.text("start"),
        approve_protected=table.flag("approve_protected") or False,
        grace=_or(table.duration("grace"), default.grace),
        catch_up_rate=_or(
            table.number("catch_up_rate", least=1, most=10_000), default.catch_up_rate
        ),
        slots=_slots(table.table("slots")),
        retention=_retention(table.table("retention")),
        env=_env(table.table("env")),
    )
    table.done()
    return settings


def parse_size(value: object, field_name: str, *, least: int, most: int) -> int:
    """Bytes, from ``"10MB"``, ``"64KiB"`` or a whole number of bytes.

    Raises :class:`InvalidInput` naming ``field_name``.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        match = _SIZE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            given = f'"{value[:40]}"' if isinstance(value, str) else kind_of(value)
            raise InvalidInput(
                f"a size expected, not {given}", field=field_name, remedy='write for example "10MB"'
            )
        size = int(match[1]) * _SIZES[match[2]]
    if not least <= size <= most:
        raise InvalidInput(f"must be from {least} to {most} bytes", field=field_name)
    return size


def _timezone(table: Table) -> str | None:
    name = table.text("timezone")
    return None if name is None else check_zone(name)


def _slots(table: Table) -> Slots:
    default = Slots()
    slots = Slots(
        commands=_or(table.number("commands", least=0, most=10_000), default.commands),
        callables=_or(table.number("callables", least=0, most=10_000), default.callables),
    )
    table.done()
    return slots


def _retention(table: Table) -> Retention:
    default = Retention()
    size = table.raw("log_size")
    log_size = (
        default.log_size
        if size is None
        else parse_size(size, table.field("log_size"), least=1024, most=1024**4)
    )
    retention = Retention(
        runs=_or(table.number("runs", least=1, most=10_000_000), default.runs),
        days=_or(table.number("days", least=1, most=36_600), default.days),
        log_size=log_size,
        events=_or(table.number("events", least=100, most=100_000_000), default.events),
    )
    table.done()
    return retention


def _env(table: Table) -> tuple[tuple[str, str], ...]:
    pairs = []
    for name, value in table.items():
        where = table.field(name)
        if not _VARIABLE.fullmatch(name):
            raise InvalidInput("not a name of an environment variable", field=where)
        if not isinstance(value, str):
            raise InvalidInput(
                f"text expected, not {kind_of(value)}", field=where, remedy="put it in quotes"
            )
        if "\0" in value or len(value) > _LONGEST_VALUE:
            raise InvalidInput(
                f"holds a NUL or is longer than {_LONGEST_VALUE} characters", field=where
            )
        pairs.append((name, value))
    return tuple(pairs)


def _or(value: T | None, default: T) -> T:
    return default if value is None else value
