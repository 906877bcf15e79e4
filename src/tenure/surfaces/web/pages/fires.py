"""Fires to come, one a line, with what the change of clocks does to them said beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tenure.domain.schedule.model import Schedule, ScheduleKind
from tenure.domain.schedule.zones import load_zone, stretches_from, to_instant, to_seconds
from tenure.surfaces.web.schedule_preview import UpcomingRun, upcoming
from tenure.surfaces.web.words import span

AHEAD = timedelta(days=366)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedFire:
    """A fire and, where clocks have changed, what that means for it."""

    at: datetime
    local: datetime
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetChange:
    """The next change of clocks in a zone, and the fires around it."""

    at: datetime
    words: str
    fires: tuple[AnnotatedFire, ...]


def annotate_fires(fires: Iterable[UpcomingRun], schedule: Schedule) -> list[AnnotatedFire]:
    """Each fire with its remark; intervals are elapsed time, and take no notice of clocks."""
    return [AnnotatedFire(at=f.at, local=f.local, why=_why(f, schedule)) for f in fires]


def _why(fire: UpcomingRun, schedule: Schedule) -> str:
    if schedule.kind is ScheduleKind.EVERY:
        return ""
    if fire.at == _change_before(fire.at, schedule.timezone):
        return "moved: its usual time does not exist on this day"
    if fire.twice is not None:
        return f"this time occurs twice; this is the {fire.twice}"
    if fire.change:
        way = "forward" if fire.change > timedelta(0) else "back"
        return f"clocks went {way} by {span(fire.change)} before it"
    return ""


def _change_before(at: datetime, zone: str) -> datetime | None:
    """The instant itself, if clocks jump forward exactly then."""
    there = load_zone(zone)
    now, before = at.astimezone(there), (at - timedelta(seconds=1)).astimezone(there)
    jumped = (now.utcoffset() or timedelta()) > (before.utcoffset() or timedelta())
    return at if jumped else None


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
            return OffsetChange(
                at=at,
                words=_change_words(at, schedule.timezone),
                fires=tuple(_around(schedule, at)),
            )
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


def _around(schedule: Schedule, at: datetime) -> list[AnnotatedFire]:
    """The last fire before the change and the few at and after it, where there are any near."""
    day = timedelta(hours=26)
    before = schedule.latest(at - day, at - timedelta(microseconds=1))
    begin = before - timedelta(microseconds=1) if before is not None else at - day
    found = annotate_fires(upcoming(schedule, begin, 4), schedule)
    return [fire for fire in found if abs(fire.at - at) <= day]
