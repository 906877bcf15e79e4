"""A schedule as it is being typed: its words and its next fires, with the clock changes marked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tenure.client.definitions import schedule_from
from tenure.client.documents.jobs import PreviewFire, PreviewNote, PreviewReply, schedule_document
from tenure.domain.schedule.model import Schedule, local_time, parse_dst
from tenure.domain.schedule.parser import parse_schedule

FIRES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class UpcomingRun:
    """One fire to come."""

    at: datetime
    """UTC."""
    local: datetime
    """On the schedule's wall clock, with its offset then."""
    change: timedelta
    """By how much clocks changed since the fire before (the first: since now)."""
    twice: str | None
    """``first`` or ``second``, where this local time comes twice that day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    schedule: Schedule
    words: str
    fires: tuple[UpcomingRun, ...]
    note: tuple[str, str] | None = None
    """What to know of it, and what to write instead."""


def preview(
    text: str,
    *,
    now: datetime,
    timezone: str,
    dst: str | None = None,
    base: Schedule | None = None,
    count: int = FIRES,
) -> Preview:
    """Read a schedule as ``tenure add`` would, or, over ``base``, as ``tenure edit`` would.

    Raises InvalidInput naming the field (``schedule``, ``timezone``, ``dst``). Pure; any thread.
    """
    if base is None:
        rule = parse_dst(dst) if dst else None
        schedule = parse_schedule(text, now=now, timezone=timezone, dst=rule)
    else:
        fields = {"schedule": text, "tz": timezone, "dst": dst or None}
        schedule = schedule_from(fields, now=now, timezone=timezone, base=base)
    return Preview(
        schedule=schedule,
        words=schedule.describe(),
        fires=upcoming(schedule, now, count),
        note=schedule.either_day(),
    )


def upcoming(schedule: Schedule, now: datetime, count: int = FIRES) -> tuple[UpcomingRun, ...]:
    """The next fires after ``now``, the earliest first."""
    fires: list[UpcomingRun] = []
    before = local_time(schedule, now)
    fire = schedule.next_after(now)
    while fire is not None and len(fires) < count:
        local = local_time(schedule, fire)
        change = (local.utcoffset() or timedelta()) - (before.utcoffset() or timedelta())
        fires.append(UpcomingRun(at=fire, local=local, change=change, twice=_twice(local)))
        before, fire = local, schedule.next_after(fire)
    return tuple(fires)


def _twice(local: datetime) -> str | None:
    other = local.replace(fold=1 - local.fold).utcoffset()
    if other == local.utcoffset():
        return None
    # In a gap the two also differ, but an instant's own local time never lies in one.
    return "second" if local.fold else "first"


def preview_document(found: Preview) -> PreviewReply:
    note = found.note
    return PreviewReply(
        schedule=schedule_document(found.schedule),
        words=found.words,
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
            for fire in found.fires
        ],
    )
