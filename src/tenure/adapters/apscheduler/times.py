"""Dates, spans and time zones out of a pickle's description. Raises InvalidInput throughout."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from tenure.adapters.apscheduler.pickles import Made
from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.zones import check_zone, load_zone

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
        unpacked: Any = datetime  # which takes its own packed form, and checks it
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
