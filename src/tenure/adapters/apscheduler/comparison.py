"""The fires to come of a trigger, as APScheduler itself computes them, beside Tenure's.

APScheduler is asked where it can be imported; the trigger is rebuilt from what was read, and
nothing of the store is unpickled. Compared are the next fires and those around changes of the
clocks, where the two part; jitter is left out on both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from tenure.adapters.apscheduler.stored_job import CronTrigger, IntervalTrigger, Trigger
from tenure.adapters.importer import FireComparison, FireDifference
from tenure.domain.schedule.model import Schedule
from tenure.domain.schedule.zones import load_zone, stretches_from, to_instant, to_seconds

AHEAD = timedelta(days=400)
"""How far ahead changes of the clocks are looked for."""
AROUND = timedelta(hours=4)
MOST = 1000
"""Fires that are compared in one stretch."""
_TICK = timedelta(microseconds=1)
_END = datetime(9000, 1, 1, tzinfo=UTC)


def compare(
    trigger: Trigger, schedule: Schedule, *, planned: datetime | None, now: datetime, count: int
) -> FireComparison:
    """The next ``count`` fires of both, and whatever differs. Raises nothing."""
    ours = tuple(islice(schedule.fires(now, _END), count))
    if getattr(trigger, "jitter", 0):
        # It has its delay in it.
        planned = None
    try:
        theirs = list(islice(fires_of(trigger, now, first=planned), count))
        changes = _changes(schedule, now) if isinstance(trigger, CronTrigger) else ()
        until = theirs[-1] if theirs and len(theirs) == count else _END
        if isinstance(trigger, CronTrigger | IntervalTrigger) and trigger.end is not None:
            until = min(until, trigger.end)
        differing = _differing(theirs, schedule.fires(now, until))
        for change in changes:
            differing |= _around(trigger, schedule, change, max(now, change - AROUND))
    except ImportError:
        return FireComparison(ours=ours, why_not="APScheduler is not installed here")
    except Exception as error:  # noqa: BLE001 - whatever it is, it stops the job there too
        return FireComparison(ours=ours, why_not=f"APScheduler: {type(error).__name__}: {error}")
    return FireComparison(
        who=who(),
        theirs=tuple(theirs),
        ours=ours,
        differences=tuple(FireDifference(at, differing[at]) for at in sorted(differing)),
        changes=changes,
    )


def who() -> str:
    """APScheduler and its version. Raises ImportError without it."""
    from apscheduler import version

    return f"APScheduler {version}"


def fires_of(
    trigger: Trigger, after: datetime, *, first: datetime | None = None
) -> Iterator[datetime]:
    """The fires after an instant, as APScheduler's scheduler would step through them, in UTC.

    ``first``: what its store has planned. Raises ImportError without APScheduler.
    """
    built = _built(trigger)
    if first is None or first <= after:
        fire = built.get_next_fire_time(None, after + _TICK)
    else:
        fire = first
    last = None
    while fire is not None:
        at = fire.astimezone(UTC)
        if last is not None and at <= last:
            raise ValueError(f"its next run after {last} is {at}")
        if at > after:
            yield at
        last, fire = at, built.get_next_fire_time(fire, fire)


def _built(trigger: Trigger) -> Any:
    if isinstance(trigger, CronTrigger):
        from apscheduler.triggers.cron import CronTrigger as Cron

        words = {name: trigger.word(name) for name in trigger.fields}
        zone = load_zone(trigger.timezone)
        return Cron(**words, timezone=zone, start_date=trigger.start, end_date=trigger.end)
    if isinstance(trigger, IntervalTrigger):
        from apscheduler.triggers.interval import IntervalTrigger as Interval

        return Interval(
            seconds=trigger.seconds,
            timezone=load_zone(trigger.timezone),
            start_date=trigger.start,
            end_date=trigger.end,
        )
    from apscheduler.triggers.date import DateTrigger as Date

    return Date(trigger.at, timezone=UTC)


def _around(
    trigger: Trigger, schedule: Schedule, change: datetime, start: datetime
) -> dict[datetime, bool]:
    end = change + AROUND
    if isinstance(trigger, CronTrigger) and trigger.end is not None:
        end = min(end, trigger.end)
    theirs = []
    for at in islice(fires_of(trigger, start), MOST):
        if at > end:
            break
        theirs.append(at)
    if len(theirs) == MOST:
        end = theirs[-1]
    return _differing(theirs, schedule.fires(start, end))


def _differing(theirs: Iterable[datetime], ours: Iterable[datetime]) -> dict[datetime, bool]:
    """Instants of one side only; True: theirs."""
    mine, other = set(ours), set(theirs)
    return dict.fromkeys(other - mine, True) | dict.fromkeys(mine - other, False)


def _changes(schedule: Schedule, now: datetime) -> tuple[datetime, ...]:
    start = to_seconds(now)
    changes = []
    for stretch in islice(stretches_from(schedule.timezone, start), 12):
        if stretch.start > start and stretch.before != stretch.offset:
            changes.append(to_instant(stretch.start))
    return tuple(at for at in changes if at <= now + AHEAD)[:2]
