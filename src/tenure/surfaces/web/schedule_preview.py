"""A schedule as it is being typed, and its next runs with the clock changes marked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tenure.client.definitions import schedule_from
from tenure.client.documents.jobs import PreviewFire, PreviewNote, PreviewReply, schedule_document
from tenure.domain.schedule.model import Schedule, ScheduleKind, parse_dst
from tenure.domain.schedule.parser import parse_schedule
from tenure.domain.schedule.zones import load_zone, stretches_from, to_instant, to_seconds
from tenure.surfaces.web.words import span

FIRES = 10
AHEAD = timedelta(days=366)
"""How far ahead the next change of clocks is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpcomingRun:
    """One scheduled run to come."""

    at: datetime
    """UTC."""
    local: datetime
    """On the schedule's wall clock, with its offset then."""
    change: timedelta
    """By how much clocks changed since the run before (the first: since now)."""
    twice: str | None
    """``first`` or ``second``, where this local time comes twice that day."""
    why: str
    """What the change of clocks means for it; empty if nothing, as for intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetChange:
    """The next change of clocks in a zone, and the scheduled runs around it."""

    at: datetime
    words: str
    fires: tuple[UpcomingRun, ...]


def read_schedule(
    text: str,
    *,
    now: datetime,
    timezone: str,
    dst: str | None = None,
    base: Schedule | None = None,
) -> Schedule:
    """Read a schedule as ``tenure add`` would, or, over ``base``, as ``tenure edit`` would.

    Raises InvalidInput naming the field (``schedule``, ``timezone``, ``dst``). Pure; any thread.
    """
    if base is None:
        rule = parse_dst(dst) if dst else None
        return parse_schedule(text, now=now, timezone=timezone, dst=rule)
    fields = {"schedule": text, "tz": timezone, "dst": dst or None}
    return schedule_from(fields, now=now, timezone=timezone, base=base)


def upcoming(schedule: Schedule, now: datetime, count: int = FIRES) -> tuple[UpcomingRun, ...]:
    """The next runs after ``now``, the earliest first."""
    fires: list[UpcomingRun] = []
    there = load_zone(schedule.timezone)
    before = now.astimezone(there)
    fire = schedule.next_after(now)
    while fire is not None and len(fires) < count:
        local = fire.astimezone(there)
        change = (local.utcoffset() or timedelta()) - (before.utcoffset() or timedelta())
        twice = _twice(local)
        why = "" if schedule.kind is ScheduleKind.EVERY else _why(fire, local, change, twice)
        fires.append(UpcomingRun(at=fire, local=local, change=change, twice=twice, why=why))
        before, fire = local, schedule.next_after(fire)
    return tuple(fires)


def _twice(local: datetime) -> str | None:
    other = local.replace(fold=1 - local.fold).utcoffset()
    if other == local.utcoffset():
        return None
    # In a gap the two also differ, but an instant's own local time never lies in one.
    return "second" if local.fold else "first"


def _why(at: datetime, local: datetime, change: timedelta, twice: str | None) -> str:
    second_before = (at - timedelta(seconds=1)).astimezone(local.tzinfo)
    # Clocks jump forward exactly then: its own time lies in the gap.
    if (local.utcoffset() or timedelta()) > (second_before.utcoffset() or timedelta()):
        return "moved: its usual time does not exist on this day"
    if twice is not None:
        return f"this time occurs twice; this is the {twice}"
    if change:
        way = "forward" if change > timedelta(0) else "back"
        return f"clocks went {way} by {span(change)} before it"
    return ""


def next_change(schedule: Schedule, now: datetime) -> OffsetChange | None:
    """The next change of clocks within a year, and what the schedule does around it."""
    if schedule.kind is not ScheduleKind.CRON:
        return None
    until = to_seconds(now + AHEAD)
    for stretch in stretches_from(schedule.timezone, to_seconds(now)):
        if stretch.start > until:
            return None
        at = to_instant(stretch.start)
        if stretch.offset != stretch.before and at > now:
            words = _change_words(at, schedule.timezone)
            return OffsetChange(at=at, words=words, fires=_around(schedule, at))
    return None


def _change_words(at: datetime, zone: str) -> str:
    there = load_zone(zone)
    after = at.astimezone(there)
    before = (at - timedelta(microseconds=1)).astimezone(there)
    was = before.replace(microsecond=0) + timedelta(seconds=1)
    return (
        f"{after:%A} {after.day} {after:%B %Y}, {was:%H:%M} {before.tzname()} "
        f"becomes {after:%H:%M} {after.tzname()}"
    )


def _around(schedule: Schedule, at: datetime) -> tuple[UpcomingRun, ...]:
    """The last run before the change and the few at and after it, where there are any near."""
    day = timedelta(hours=26)
    before = schedule.latest(at - day, at - timedelta(microseconds=1))
    begin = before - timedelta(microseconds=1) if before is not None else at - day
    return tuple(fire for fire in upcoming(schedule, begin, 4) if abs(fire.at - at) <= day)


def preview_document(schedule: Schedule, now: datetime) -> PreviewReply:
    note = schedule.either_day()
    return PreviewReply(
        schedule=schedule_document(schedule),
        words=schedule.describe(),
        note=None if note is None else PreviewNote(text=note[0], remedy=note[1]),
        fires=[
            PreviewFire(
                fire_time=fire.at,
                local=fire.local.isoformat(),
                offset=fire.local.isoformat()[-6:],
                abbreviation=fire.local.tzname(),
                clock_change=fire.change or None,
                twice=fire.twice,
            )
            for fire in upcoming(schedule, now)
        ],
    )
