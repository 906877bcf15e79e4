"""Schedules given again: an edit or a second ``apply`` must not move what did not change.

``every 90s`` is anchored at the moment it was first said, and ``in 30m`` names an instant. Said
again in the same words they mean the schedule that stands, not a new one counted from now.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tenure.domain.durations import parse_duration
from tenure.domain.errors import InvalidInput
from tenure.domain.job import Job
from tenure.domain.schedule.model import (
    Schedule,
    ScheduleKind,
    at_schedule,
    cron_schedule,
    every_schedule,
    parse_dst,
)
from tenure.domain.schedule.parser import parse_schedule
from tenure.domain.schedule.zones import CRON_DST, Dst, check_zone

PROFILE_ZONE = "profile"
"""Said in place of a zone's name: the profile's zone, and what that becomes."""


def schedule_from(
    fields: Mapping[str, Any], *, now: datetime, timezone: str, base: Schedule | None
) -> Schedule:
    """The schedule that ``schedule``, ``tz`` and ``dst`` ask for (and the exact forms below).

    ``timezone`` is the profile's, for jobs that do not say, or that say ``profile``. ``base`` is
    the schedule that stands: what is not in ``fields`` is taken from it. Raises
    :class:`InvalidInput`.
    """
    zone, follows = _zone(fields, timezone, base)
    made = _schedule(fields, now, zone, base)
    # A one-shot names one instant, whatever zone the profile has later.
    return replace(
        made, follows_profile=follows and made.kind in (ScheduleKind.CRON, ScheduleKind.EVERY)
    )


def _schedule(
    fields: Mapping[str, Any], now: datetime, zone: str, base: Schedule | None
) -> Schedule:
    dst = _dst(fields, base)
    text = fields.get("schedule")
    if text is None:
        if base is None:
            raise InvalidInput(
                "a job needs a schedule",
                field="schedule",
                remedy="such as '0 3 * * *', 'every 5m' or 'in 30m'",
            )
        text = base.text
    exact = _exact(fields, str(text), zone, dst)
    if exact is not None:
        return exact
    if base is not None and base.text == text:
        return _same_words(base, zone, dst, now)
    return parse_schedule(text, now=now, timezone=zone, dst=dst)


def schedule_fields(schedule: Schedule) -> dict[str, Any]:
    """The fields from which :func:`schedule_from` makes exactly this schedule again."""
    fields: dict[str, Any] = {"schedule": schedule.text}
    if not schedule.follows_profile:
        fields["tz"] = schedule.timezone
    if schedule.dst != CRON_DST:
        fields["dst"] = str(schedule.dst)
    if schedule.kind is ScheduleKind.AT:
        fields["at"] = schedule.at
    elif schedule.kind is ScheduleKind.EVERY:
        fields["anchor"] = schedule.anchor
    if _again(fields, schedule) != schedule:
        if schedule.kind is ScheduleKind.CRON:
            fields["cron"] = schedule.expression
        elif schedule.interval is not None:
            fields["interval"] = schedule.interval.total_seconds()
    return fields


def next_fires(job: Job, after: datetime, count: int) -> list[datetime]:
    """The nominal fire times to come, as if the job were active."""
    fires: list[datetime] = []
    fire = job.definition.schedule.next_after(after)
    while fire is not None and len(fires) < count:
        fires.append(fire)
        fire = job.definition.schedule.next_after(fire)
    return fires


def _again(fields: Mapping[str, Any], schedule: Schedule) -> Schedule | None:
    try:
        return schedule_from(
            fields,
            now=schedule.anchor or datetime(2024, 1, 1, tzinfo=UTC),
            timezone=schedule.timezone,
            base=None,
        )
    except InvalidInput:
        return None


def _zone(fields: Mapping[str, Any], timezone: str, base: Schedule | None) -> tuple[str, bool]:
    """The zone, and whether it follows the profile's."""
    said = fields.get("tz")
    if said is not None and said != PROFILE_ZONE:
        return check_zone(said), False
    if said is None and base is not None:
        text = fields.get("schedule")
        if not base.follows_profile or text is None or text == base.text:
            return base.timezone, base.follows_profile
    return check_zone(timezone), True


def _dst(fields: Mapping[str, Any], base: Schedule | None) -> Dst | None:
    if fields.get("dst") is not None:
        return parse_dst(fields["dst"])
    return base.dst if base else None


def _exact(fields: Mapping[str, Any], text: str, zone: str, dst: Dst | None) -> Schedule | None:
    """``at``, ``anchor``, ``interval`` and ``cron``: written by an export, seldom by hand."""
    if fields.get("at") is not None:
        return at_schedule(_instant(fields["at"], "at"), zone, dst, text=text)
    if fields.get("cron") is not None:
        return cron_schedule(fields["cron"], zone, dst, text=text)
    if fields.get("anchor") is None:
        return None
    anchor = _instant(fields["anchor"], "anchor")
    if fields.get("interval") is not None:
        return every_schedule(_seconds(fields["interval"]), anchor, zone, dst, text=text)
    read = parse_schedule(text, now=anchor, timezone=zone, dst=dst)
    if read.interval is None:
        raise InvalidInput(
            "an anchor is for 'every ...' schedules", field="anchor", remedy="leave it out"
        )
    return every_schedule(read.interval, anchor, zone, dst, text=text)


def _same_words(base: Schedule, zone: str, dst: Dst | None, now: datetime) -> Schedule:
    dst = dst or CRON_DST
    if base.kind is ScheduleKind.UNREADABLE:
        return _reread(base, zone, dst, now)
    if (base.timezone, base.dst) == (zone, dst):
        return base
    if base.kind is ScheduleKind.CRON and base.expression is not None:
        return cron_schedule(base.expression, zone, dst, text=base.text)
    if base.kind is ScheduleKind.AT and base.text.lower().split()[:1] != ["in"]:
        return parse_schedule(base.text, now=now, timezone=zone, dst=dst)
    return replace(base, timezone=zone, dst=dst)


def _reread(base: Schedule, zone: str, dst: Dst, now: datetime) -> Schedule:
    """A stored schedule that could not be read, from what is left of it; as it is if that is not
    enough."""
    with contextlib.suppress(InvalidInput):
        if base.expression is not None:
            return cron_schedule(base.expression, zone, dst, text=base.text)
        if base.interval is not None and base.anchor is not None:
            return every_schedule(base.interval, base.anchor, zone, dst, text=base.text)
        if base.at is not None and base.text.lower().split()[:1] == ["in"]:
            return at_schedule(base.at, zone, dst, text=base.text)
        return parse_schedule(base.text, now=now, timezone=zone, dst=dst)
    return base


def _instant(value: object, field: str) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidInput(
            "an instant with its offset is expected",
            field=field,
            remedy="such as 2030-01-31T09:00:00Z",
        )
    return value.astimezone(UTC)


def _seconds(value: object) -> timedelta:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
        return timedelta(seconds=value)
    return parse_duration(value, "interval")
