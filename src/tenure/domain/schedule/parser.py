"""From what a user types to a :class:`Schedule`.

::

    schedule = cron | macro | "every" duration | "every" days ["at" time] | "in" duration | instant
    cron     = 5 fields | 6 fields, seconds first
    macro    = @hourly @daily @midnight @weekly @monthly @yearly @annually
    duration = number unit ...                  90s, 1h30m, 30 seconds, 1 hour and 30 minutes
    days     = day | weekday | weekend | monday, tuesday and ...
    time     = 9am | 9:30 pm | 18:30 | noon | midnight       (midnight if not said)
    instant  = ["at"] 2030-01-31 [09:00[:00]] [Z | +01:00]   (without offset: the job's zone)

A duration is elapsed time, counted from ``now``; days are a cron expression on the job's wall
clock. Whatever is not understood is an :class:`InvalidInput` that names the field and says what to
type; nothing is guessed. Plain ASCII of at most 200 characters, read in linear time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.model import (
    LONGEST,
    Schedule,
    at_schedule,
    cron_schedule,
    every_schedule,
)
from tenure.domain.schedule.zones import (
    CRON_DST,
    LAST_YEAR,
    Dst,
    check_zone,
    resolve_local,
    to_instant,
    to_seconds,
)

MAX_LENGTH = 200

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_UNITS = {
    name: size
    for size, names in (
        (1, "s sec secs second seconds"),
        (60, "m min mins minute minutes"),
        (3600, "h hr hrs hour hours"),
        (86400, "d day days"),
        (604800, "w week weeks"),
    )
    for name in names.split()
}
_ALONE = {"second", "minute", "hour"}

_WEEKDAYS = {
    name: number
    for number, names in enumerate(
        (
            "sunday sundays sun",
            "monday mondays mon",
            "tuesday tuesdays tue tues",
            "wednesday wednesdays wed",
            "thursday thursdays thu thur thurs",
            "friday fridays fri",
            "saturday saturdays sat",
        )
    )
    for name in names.split()
}
_DAY_SETS = {"day": "*", "weekday": "1-5", "weekdays": "1-5", "weekend": "0,6", "weekends": "0,6"}

_PART = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?([a-z]+)(?: ?, ?(?:and )?| and | )?")
_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[t ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?))? ?(z|utc|[+-]\d\d:?\d\d)?"
)
_DAYS = re.compile(r"([a-z, &]+?)(?: ?,? at (.+)| (\d.*|noon|midnight))?")
_TIME = re.compile(r"(\d\d?)(?:[:.](\d\d))? ?(am|pm)?")

_CRON_START = re.compile(r"[\d*,/-]+(?: |$)")

_EXAMPLES = (
    "use a cron expression (0 3 * * *), @daily, every 5 min, every monday at 9am, in 30m"
    " or an instant (2030-01-31T09:00)"
)
_DURATIONS = "write a number and a unit, such as every 90s, every 5 min or every 1h30m"


def parse_schedule(
    text: str, *, now: datetime, timezone: str = "UTC", dst: Dst | None = None
) -> Schedule:
    """Read a schedule; ``now`` (aware) anchors intervals and tells what is past.

    Raises :class:`InvalidInput` on ``schedule`` or ``timezone``. Pure, safe from any thread.
    """
    _check_text(text)
    zone, now = check_zone(timezone), now.astimezone(UTC).replace(microsecond=0)
    low = " ".join(text.lower().split())
    if low.startswith("@"):
        return cron_schedule(_macro(low), zone, dst, text=text)
    verb, _, rest = low.partition(" ")
    if verb == "every":
        expression = _calendar(rest)
        if expression is not None:
            return cron_schedule(expression, zone, dst, text=text)
        return every_schedule(_interval(rest), now, zone, dst, text=text)
    if verb == "in":
        span = _duration(rest)
        if span is None or not span:
            raise _no(text, "write a number and a unit, such as in 30m")
        return at_schedule(now + span, zone, dst, text=text)
    if instant := _INSTANT.fullmatch(low.removeprefix("at ")):
        return _one_shot(instant, text, now, zone, dst or CRON_DST)
    return _cron(low, text, zone, dst)


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise InvalidInput(
            f"a schedule is text, not {type(text).__name__}", field="schedule", remedy=_EXAMPLES
        )
    if len(text) > MAX_LENGTH:
        raise InvalidInput(
            f"the schedule has {len(text)} characters; the limit is {MAX_LENGTH}",
            field="schedule",
            remedy="split it into several jobs",
        )
    if not text.isascii() or not text.replace("\t", " ").isprintable():
        raise _no(text, "use plain ASCII characters on one line")
    if not text.strip():
        raise InvalidInput("the schedule is empty", field="schedule", remedy=_EXAMPLES)


def _macro(low: str) -> str:
    if low in MACROS:
        return MACROS[low]
    if low == "@reboot":
        raise InvalidInput(
            "@reboot is not supported",
            field="schedule",
            remedy="use a systemd unit or a login item to run something at startup",
        )
    if low.startswith("@every "):
        remedy = f"write {low[1:]}"
    else:
        remedy = "the macros are " + " ".join(MACROS)
    raise _no(low, remedy)


def _duration(low: str) -> timedelta | None:
    """The sum of its parts; ``None`` if it is not a duration."""
    total, at = 0.0, 0
    while at < len(low):
        part = _PART.match(low, at)
        if part is None or part[2] not in _UNITS:
            return None
        total += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    if total > LONGEST.total_seconds():
        raise _no(low, f"the longest duration is {LONGEST.days} days")
    return timedelta(seconds=total)


def _interval(rest: str) -> timedelta:
    if rest in _ALONE:
        return timedelta(seconds=_UNITS[rest])
    span = _duration(rest)
    if span:
        return span
    if rest.isdecimal():
        raise _no(f"every {rest}", f"say of what: every {rest} min or every {rest}s")
    if rest.startswith("other "):
        raise _no(f"every {rest}", "write every 2d for every other day")
    if rest in ("week", "month", "year"):
        raise _no(f"every {rest}", f"write @{rest}ly, or every monday or every 7d")
    raise _no(f"every {rest}", f"{_DURATIONS}, or days, such as every monday and friday at 18:30")


def _calendar(rest: str) -> str | None:
    """The cron expression of days and a time; ``None`` if it names no days."""
    match = _DAYS.fullmatch(rest)
    names = [w for w in re.split(r"[ ,&]+", match[1]) if w and w != "and"] if match else []
    if match is None or not names or (names[0] not in _DAY_SETS and names[0] not in _WEEKDAYS):
        return None
    if len(names) == 1 and names[0] in _DAY_SETS:
        days = _DAY_SETS[names[0]]
    else:
        for name in names:
            if name not in _WEEKDAYS:
                raise _no(
                    f"every {rest}",
                    f"{name!r} is not a weekday; write for example monday, tue or fri",
                )
        days = ",".join(str(n) for n in sorted({_WEEKDAYS[name] for name in names}))
    hour, minute = _time(match[2] or match[3] or "midnight")
    return f"{minute} {hour} * * {days}"


def _time(low: str) -> tuple[int, int]:
    if low in ("noon", "midnight"):
        return (12 if low == "noon" else 0), 0
    match = _TIME.fullmatch(low)
    if match is not None and (match[2] or match[3]):
        hour, minute, half = int(match[1]), int(match[2] or 0), match[3]
        if half and 1 <= hour <= 12 and minute < 60:
            return hour % 12 + (12 if half == "pm" else 0), minute
        if not half and hour < 24 and minute < 60:
            return hour, minute
    raise _no(low, "write one time, such as 9am, 9:30pm, 18:30, noon or midnight", "time of day")


def _one_shot(match: re.Match[str], text: str, now: datetime, zone: str, dst: Dst) -> Schedule:
    day, time, offset = match[1], match[2] or "00:00", match[3]
    try:
        naive = datetime.fromisoformat(f"{day}T{time}")
        offset = "+00:00" if offset in ("z", "utc") else offset
        stated = datetime.fromisoformat(f"{day}T{time}{offset}") if offset else None
    except ValueError as error:
        raise _no(text, "write a date and time that exist, such as 2030-01-31T09:00") from error
    if not now.year - 1 <= naive.year < min(now.year + 101, LAST_YEAR):
        why = "is in the past" if naive.year < now.year else "is too far ahead"
        raise InvalidInput(
            f"{text.strip()!r} {why}",
            field="schedule",
            remedy="use a time from now on, within the next hundred years",
        )
    if stated is None:
        seconds = resolve_local(to_seconds(naive.replace(tzinfo=UTC)), zone, dst)
        if seconds is None:
            raise _no(text, f"clocks in {zone} jump over it; choose another time, or gap=shift")
        stated = to_instant(seconds).replace(microsecond=naive.microsecond)
    if stated <= now:
        raise InvalidInput(
            f"{text.strip()!r} is in the past: the time now is {now.isoformat()}",
            field="schedule",
            remedy="write a later time, or in 1m, or trigger the job",
        )
    return at_schedule(stated, zone, dst, text=text)


def _cron(low: str, text: str, zone: str, dst: Dst | None) -> Schedule:
    if _CRON_START.match(low) and not _duration(low):
        return cron_schedule(low, zone, dst, text=text)
    if _duration(low):
        remedy = f"write every {low} to repeat, or in {low} for once"
    elif f"@{low}" in MACROS:
        remedy = f"write @{low}"
    elif low.startswith(("tz=", "cron_tz=")):
        remedy = "give the zone as the job's time zone (--tz), and the cron fields alone"
    else:
        remedy = _EXAMPLES
    raise _no(text, remedy)


def _no(text: str, remedy: str, what: str = "schedule") -> InvalidInput:
    return InvalidInput(
        f"{text.strip()[:80]!r} is not a valid {what}", field="schedule", remedy=remedy
    )
