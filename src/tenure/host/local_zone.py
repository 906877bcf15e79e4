"""The machine's own time zone, as an IANA name."""

from __future__ import annotations

import contextlib
import os
import zoneinfo
from pathlib import Path

from tenure.domain.errors import PASSING, OutcomeUnknown

_MARK = "zoneinfo/"


def local_zone(localtime: Path = Path("/etc/localtime")) -> str:
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
    if _MARK in target:
        name = target.split(_MARK, 1)[1]
        names.append(name.removeprefix("posix/").removeprefix("right/"))
    with contextlib.suppress(OSError, ValueError):
        names.append(localtime.with_name("timezone").read_text(encoding="ascii").strip())
    return [name for name in names if name and name not in ("posixrules", "localtime")]
