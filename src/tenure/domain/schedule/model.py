"""When a job fires: a schedule is a set of instants that can be asked about.

Three kinds. **Cron**: local times of a zone, with a DST rule (:mod:`.walk`). **Interval**:
``anchor + n * interval`` for every whole ``n``, also before the anchor, so that a clock set back
does not silence a job until it has caught up; elapsed time, which knows no zone. **At**: once.

And one that is not planned here: a **foreign** job's fires are announced by another scheduler (a
Hermes ticker) as they fall due. Such a schedule can name none of them, and is never over.

Fires are aware UTC datetimes, ascending, each once. Ranges are ``(after, until]`` throughout, so
that ranges that meet neither lose a fire nor count one twice. Nothing fires before 1970 or after
9900. A :class:`Schedule` is immutable, and every method safe to call from any thread; an instant
without a zone raises ``TypeError``. Text becomes a schedule in :mod:`.parser`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from tenure.domain.durations import describe_duration
from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.cron import CronFields, read_cron, smallest_gap
from tenure.domain.schedule.walk import count_fires, last_fire, next_fire
from tenure.domain.schedule.zones import (
    CRON_DST,
    FIRST_YEAR,
    LAST_YEAR,
    Dst,
    Fold,
    Gap,
    check_zone,
    is_zone,
    load_zone,
    parse_dst,
    to_instant,
    to_seconds,
)

__all__ = [
    "CRON_DST",
    "UNPLANNED",
    "Dst",
    "Fold",
    "Gap",
    "Schedule",
    "ScheduleKind",
    "at_schedule",
    "cron_schedule",
    "every_schedule",
    "foreign_schedule",
    "parse_dst",
    "unreadable_schedule",
]

SHORTEST = timedelta(seconds=1)
LONGEST = timedelta(days=3660)
"""Bounds of an interval; the longest is ten years."""
_NO_TIME = timedelta()


class ScheduleKind(StrEnum):
    CRON = "cron"
    EVERY = "every"
    AT = "at"
    FOREIGN = "foreign"
    """Planned by another scheduler, which announces each fire when it is due."""
    UNREADABLE = "unreadable"
    """Stored, and not readable here: its zone is not known to this machine, say. What can be read
    of it is kept, so that an edit can mend it."""


UNPLANNED = (ScheduleKind.FOREIGN, ScheduleKind.UNREADABLE)
"""Schedules that can name none of their fires, and are never over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One schedule. Made by the functions below or ``parse_schedule``, which check everything.

    ``text`` is what the user wrote; ``timezone`` an IANA key; ``anchor`` and ``at`` are UTC.
    """

    kind: ScheduleKind
    text: str
    expression: str | None = None
    interval: timedelta | None = None
    anchor: datetime | None = None
    at: datetime | None = None
    timezone: str = "UTC"
    dst: Dst = CRON_DST
    follows_profile: bool = False
    """Whether the user named no zone: ``timezone`` is then the profile's, and changes with it."""

    def next_after(self, instant: datetime) -> datetime | None:
        """The first fire strictly after an instant; ``None`` when there is none."""
        if self.kind is ScheduleKind.EVERY:
            return self._grid(instant, 1)
        if self.kind is ScheduleKind.AT:
            return self.at if self._at > instant else None
        if self.kind in UNPLANNED:
            return None
        seconds = next_fire(self._cron, self.timezone, self.dst, to_seconds(instant))
        return None if seconds is None else to_instant(seconds)

    def is_over(self, instant: datetime) -> bool:
        """Whether no fire can come after an instant."""
        return self.kind not in UNPLANNED and self.next_after(instant) is None

    def is_fire(self, instant: datetime) -> bool:
        """Whether an instant is a fire; of a foreign schedule any may be."""
        return self.kind in UNPLANNED or self.latest(instant - _TICK, instant) == instant

    def adjoin(self, last: datetime, first: datetime, accounted: datetime) -> bool:
        """Whether ``first`` is the very next fire after ``last``. Of a foreign schedule only the
        records tell: it is, if nothing later than ``last`` is ``accounted`` for yet."""
        if self.kind in UNPLANNED:
            return last == accounted < first
        return self.next_after(last) == first

    def left_of(
        self, first: datetime, last: datetime, count: int, until: datetime
    ) -> tuple[int, datetime]:
        """What lies at or before an instant of ``count`` fires from ``first`` to ``last``: how
        many (0 for none), and the last of them (``first`` for none). How the fires of a foreign
        schedule lie between its ends is not known: they all count, if the first one does."""
        if self.kind in UNPLANNED:
            return (count, min(last, until)) if first <= until else (0, first)
        before, end = first - _TICK, min(last, until)
        return self.count(before, end), self.latest(before, end) or first

    def fires(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """All fires in ``(after, until]``, ascending and lazily."""
        fire = self.next_after(after)
        while fire is not None and fire <= until:
            yield fire
            fire = self.next_after(fire)

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """The last fire in ``(after, until]``, found from its end."""
        if self.kind is ScheduleKind.CRON:
            low, high = to_seconds(after), to_seconds(until)
            seconds = last_fire(self._cron, self.timezone, self.dst, low, high)
            return None if seconds is None else to_instant(seconds)
        if self.kind in UNPLANNED:
            return None
        fire = self._grid(until, 0) if self.kind is ScheduleKind.EVERY else self._at
        return fire if fire is not None and after < fire <= until else None

    def count(self, after: datetime, until: datetime) -> int:
        """The exact number of fires in ``(after, until]``, without visiting them."""
        if until <= after or self.kind in UNPLANNED:
            return 0
        if self.kind is ScheduleKind.EVERY:
            low, high = max(after, _FIRST - _TICK), min(until, _LAST)
            return max(0, self._steps(high) - self._steps(low))
        if self.kind is ScheduleKind.AT:
            return int(after < self._at <= until)
        low_s, high_s = to_seconds(after), to_seconds(until)
        return count_fires(self._cron, self.timezone, self.dst, low_s, high_s)

    def period(self) -> timedelta | None:
        """About the smallest gap between fires, for defaults; ``None`` for a one-shot.

        For cron an estimate: the smallest gap among the first 64 local times of 2024 and later.
        """
        if self.kind is ScheduleKind.CRON:
            return timedelta(seconds=smallest_gap(self._cron.expression))
        return self.interval

    def describe(self) -> str:
        """The schedule in English words, with its zone."""
        return _describe(self)

    def either_day(self) -> tuple[str, str] | None:
        """A warning (text, remedy) if it is a cron schedule in which either day field suffices."""
        if self.kind is not ScheduleKind.CRON:
            return None
        from tenure.domain.schedule.words import either_day

        return either_day(self._cron.expression)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; instants are RFC 3339 in UTC, ``interval`` is in seconds."""
        follows = {"follows_profile": True} if self.follows_profile else {}
        return {
            "kind": self.kind.value,
            "text": self.text,
            "expression": self.expression,
            "interval": None if self.interval is None else _number(self.interval),
            "anchor": None if self.anchor is None else self.anchor.isoformat(),
            "at": None if self.at is None else self.at.isoformat(),
            "timezone": self.timezone,
            "dst": str(self.dst),
            **follows,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schedule:
        """The schedule that :meth:`to_json` wrote. Raises :class:`InvalidInput`."""
        schedule = cls._from_json(data)
        return replace(schedule, follows_profile=True) if data.get("follows_profile") else schedule

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> Schedule:
        try:
            kind, text = ScheduleKind(data["kind"]), str(data["text"])
            zone, dst = data["timezone"], parse_dst(data["dst"])
            if kind is ScheduleKind.CRON:
                return cron_schedule(data["expression"], zone, dst, text=text)
            if kind is ScheduleKind.AT:
                instant = datetime.fromisoformat(data["at"])
                return at_schedule(instant, zone, dst, text=text)
            if kind is ScheduleKind.FOREIGN:
                return foreign_schedule(text, zone)
            interval = timedelta(seconds=data["interval"])
            anchor = datetime.fromisoformat(data["anchor"])
            return every_schedule(interval, anchor, zone, dst, text=text)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise _malformed(error) from error
        except ValueError as error:
            if isinstance(error, InvalidInput):
                raise
            raise _malformed(error) from error

    @property
    def _cron(self) -> CronFields:
        return read_cron(self.expression or "")

    @property
    def _at(self) -> datetime:
        return self.at or _FIRST

    def _steps(self, instant: datetime) -> int:
        """The number of whole intervals from the anchor to an instant, rounded down."""
        return (instant - (self.anchor or _FIRST)) // (self.interval or SHORTEST)

    def _grid(self, instant: datetime, further: int) -> datetime | None:
        """The grid point at or before an instant, moved by a number of intervals."""
        interval, anchor = self.interval or SHORTEST, self.anchor or _FIRST
        past = min(max(instant, _FIRST - _TICK), _LAST)
        point = anchor + ((past - anchor) // interval + further) * interval
        return point if _FIRST <= point <= _LAST else None


_FIRST = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
_LAST = datetime(LAST_YEAR, 12, 31, 23, 59, 59, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


def cron_schedule(
    expression: str, timezone: str = "UTC", dst: Dst | None = None, *, text: str | None = None
) -> Schedule:
    """Five cron fields, or six with seconds first, on the wall clock of a zone.

    Raises :class:`InvalidInput` (``schedule``, ``timezone``), also if it would never fire.
    """
    if not isinstance(expression, str) or len(expression) > 200 or not expression.isascii():
        raise InvalidInput(
            "a cron expression is plain text of at most 200 characters",
            field="schedule",
            remedy="such as 0 3 * * *",
        )
    fields, zone = read_cron(expression), check_zone(timezone)
    schedule = Schedule(
        kind=ScheduleKind.CRON,
        text=expression if text is None else text,
        expression=fields.expression,
        timezone=zone,
        dst=dst or CRON_DST,
    )
    if schedule.next_after(datetime(2024, 1, 1, tzinfo=UTC)) is None:
        raise InvalidInput(
            f"{fields.expression!r} names only local times that do not exist in {zone},"
            " and the DST rule skips those, so it would never run",
            field="schedule",
            remedy="choose another time, or gap=shift",
        )
    return schedule


def every_schedule(
    interval: timedelta,
    anchor: datetime,
    timezone: str = "UTC",
    dst: Dst | None = None,
    *,
    text: str | None = None,
) -> Schedule:
    """Each ``interval`` of elapsed time, on the grid through ``anchor`` (aware).

    Raises :class:`InvalidInput` on ``schedule`` if it is below a second or above ten years.
    """
    if not SHORTEST <= interval <= LONGEST:
        raise InvalidInput(
            f"an interval is from 1 second to {LONGEST.days} days",
            field="schedule",
            remedy="such as every 1s or every 30d",
        )
    return Schedule(
        kind=ScheduleKind.EVERY,
        text=f"every {describe_duration(interval)}" if text is None else text,
        interval=interval,
        anchor=_utc(anchor),
        timezone=check_zone(timezone),
        dst=dst or CRON_DST,
    )


def at_schedule(
    instant: datetime, timezone: str = "UTC", dst: Dst | None = None, *, text: str | None = None
) -> Schedule:
    """Once, at an aware instant (which may be past); the zone is for showing it.

    Raises :class:`InvalidInput` on ``schedule``.
    """
    at = _utc(instant)
    return Schedule(
        kind=ScheduleKind.AT,
        text=at.isoformat() if text is None else text,
        at=at,
        timezone=check_zone(timezone),
        dst=dst or CRON_DST,
    )


def foreign_schedule(text: str, timezone: str = "UTC") -> Schedule:
    """One whose fires another scheduler announces. ``text`` is how that one writes it.

    Raises :class:`InvalidInput` on ``schedule``.
    """
    if not text.strip() or len(text) > 200 or not text.isprintable():
        raise InvalidInput("must have 1 to 200 printable characters", field="schedule")
    return Schedule(kind=ScheduleKind.FOREIGN, text=text, timezone=check_zone(timezone))


def unreadable_schedule(data: object) -> Schedule:
    """What is left of a stored schedule that cannot be read. Raises nothing."""
    kept: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
    text = str(kept.get("text") or kept.get("expression") or "unreadable")[:200]
    expression, zone = kept.get("expression"), kept.get("timezone")
    fields: dict[str, Any] = {}
    for key, read in _READ.items():
        with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError, AttributeError):
            fields[key] = read(kept[key]) if kept[key] is not None else None
    return Schedule(
        kind=ScheduleKind.UNREADABLE,
        text="".join(c if c.isprintable() else "?" for c in text),
        expression=expression if isinstance(expression, str) else None,
        timezone=zone if isinstance(zone, str) and is_zone(zone) else "UTC",
        **fields,
    )


_READ: dict[str, Callable[[Any], Any]] = {
    "interval": lambda seconds: timedelta(seconds=seconds),
    "anchor": lambda text: _utc(datetime.fromisoformat(text)),
    "at": lambda text: _utc(datetime.fromisoformat(text)),
    "dst": parse_dst,
}


def local_time(schedule: Schedule, instant: datetime) -> datetime:
    """An instant on the wall clock of the schedule's zone."""
    return instant.astimezone(load_zone(schedule.timezone))


@lru_cache(maxsize=4096)
def _describe(schedule: Schedule) -> str:
    """``every 30 seconds``, ``at 03:00 every day (Europe/Berlin)``, ``once at ... (UTC)``."""
    zone = schedule.timezone
    if schedule.kind is ScheduleKind.FOREIGN:
        return f"{schedule.text}, as another scheduler plans it"
    if schedule.kind is ScheduleKind.UNREADABLE:
        return f"{schedule.text}, which cannot be read here"
    if schedule.expression is not None:
        # Words need cronsim's explainer, which most processes never load.
        from tenure.domain.schedule.words import cron_words

        rule = "" if schedule.dst.cron else f", {schedule.dst}"
        return f"{cron_words(schedule.expression)} ({zone}{rule})"
    if schedule.at is not None:
        local = schedule.at.astimezone(load_zone(zone)).replace(tzinfo=None)
        exact = "seconds" if local.second or local.microsecond else "minutes"
        return f"once at {local.isoformat(' ', exact)} ({zone})"
    words = describe_duration(schedule.interval or timedelta())
    return "every " + (words[2:] if words in ("1 day", "1 hour", "1 minute", "1 second") else words)


def _utc(instant: datetime) -> datetime:
    if instant.utcoffset() is None:
        raise InvalidInput(
            f"the instant {instant.isoformat()} has no time zone",
            field="schedule",
            remedy="give it one, such as tzinfo=UTC",
        )
    if not FIRST_YEAR < instant.year < LAST_YEAR:
        raise InvalidInput(
            f"the year {instant.year} is out of range",
            field="schedule",
            remedy=f"use a year from {FIRST_YEAR + 1} to {LAST_YEAR - 1}",
        )
    return instant.astimezone(UTC)


def _number(span: timedelta) -> int | float:
    return span // SHORTEST if span % SHORTEST == _NO_TIME else span.total_seconds()


def _malformed(error: Exception) -> InvalidInput:
    return InvalidInput(f"not a stored schedule: {error!r}", field="schedule")
