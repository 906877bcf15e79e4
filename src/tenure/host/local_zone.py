"""The machine's own time zone, and the one that this process's ``TZ`` variable names.

``TZ`` decides nothing in Tenure: a service, a shell and a container's entry point of one user often
have different ones, and a job must fire at one time whichever of them reads it. A person who set it
expects it to count, so there is a warning where it does not.

Authority for its forms: POSIX.1-2017, 8.3, and tzset(3): ``Europe/Berlin``, ``:Europe/Berlin``, a
path, a rule such as ``CET-1CEST,M3.5.0,M10.5.0/3``; empty, or what cannot be read, means UTC.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from io import BytesIO
from pathlib import Path

from tenure.domain.errors import PASSING, InvalidInput, OutcomeUnknown
from tenure.domain.schedule.zones import load_zone

_FOLDER = "zoneinfo/"
_MACHINE = "/etc/localtime"
_WEEKS = 54
"""Two zones are one if their offsets agree on a day of each week for a year."""


def local_zone(localtime: Path = Path(_MACHINE)) -> str:
    """The zone that /etc/localtime points to, else the one in /etc/timezone, else ``"UTC"``.

    The TZ variable is not consulted: a service and a shell of the same user must agree. Raises
    OutcomeUnknown where no descriptor is free to look.
    """
    for name in _guesses(localtime):
        try:
            zoneinfo.ZoneInfo(name)
        except OSError as error:
            if error.errno in PASSING:  # not known is not UTC
                raise OutcomeUnknown(f"the rules of {name} cannot be read now: {error}") from error
            continue
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            continue
        return name
    return "UTC"


def _guesses(localtime: Path) -> list[str]:
    names = []
    target = os.path.realpath(localtime)
    if _FOLDER in target:
        name = target.split(_FOLDER, 1)[1]
        names.append(name.removeprefix("posix/").removeprefix("right/"))
    with contextlib.suppress(OSError, ValueError):
        names.append(localtime.with_name("timezone").read_text(encoding="ascii").strip())
    return [name for name in names if name and name not in ("posixrules", "localtime")]


@dataclass(frozen=True, slots=True, kw_only=True)
class TzVariable:
    """A ``TZ`` that names another zone than the one in use."""

    value: str
    name: str | None
    """The IANA name in it; None for a rule, and for what names no zone."""
    known: bool
    """False if it names no zone: programs then show UTC."""

    @property
    def text(self) -> str:
        """Its value as a person wrote it, and whether it means anything."""
        if not self.value:
            return "TZ is empty, which means UTC"
        return f"TZ is {self.value[:64]!r}" + ("" if self.known else ", which names no time zone")

    @property
    def remedy(self) -> str:
        """The zone to give instead of it."""
        return self.name or "an IANA name such as Europe/Berlin"


def other_zone(zone: str, environ: Mapping[str, str], now: datetime) -> TzVariable | None:
    """The value of ``TZ``, if its clock differs from ``zone``'s within a year from ``now``, or if
    it names no zone.

    None where it is not set, means the same, or names the machine's own zone file. Thread-safe.
    """
    value = environ.get("TZ")
    if value is None:
        return None
    spec = value.removeprefix(":")
    if spec == _MACHINE:
        return None
    name = _name_in(spec)
    named_zone = _zone_of(name) if name is not None else _rule(spec)
    if named_zone is not None and _agree(named_zone, load_zone(zone), now):
        return None
    return TzVariable(
        value=value, name=name if named_zone is not None else None, known=named_zone is not None
    )


def _name_in(spec: str) -> str | None:
    """The IANA name that it could be; None for what can only be a rule."""
    if spec.startswith("/"):
        return spec.split(_FOLDER, 1)[1] if _FOLDER in spec else None
    return (spec or "UTC") if _zone_of(spec or "UTC") is not None else None


def _zone_of(name: str) -> tzinfo | None:
    try:
        return load_zone(name)
    except InvalidInput:
        return None


def _rule(spec: str) -> tzinfo | None:
    """The zone of a POSIX rule: a file of no transitions, whose last line is the rule."""
    if not spec.isascii() or not any(c.isdigit() for c in spec) or "\n" in spec:
        return None
    header = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    block = header + struct.pack(">lbb", 0, 0, 0) + b"UTC\0"
    try:
        return zoneinfo.ZoneInfo.from_file(BytesIO(block + block + b"\n" + spec.encode() + b"\n"))
    except (ValueError, OverflowError):
        return None


def _agree(a: tzinfo, b: tzinfo, now: datetime) -> bool:
    days = (now + timedelta(weeks=week) for week in range(_WEEKS))
    return all(at.astimezone(a).utcoffset() == at.astimezone(b).utcoffset() for at in days)
