"""Which fires of a Hermes schedule have passed, by Hermes' own arithmetic.

Hermes keeps one instant for a job, ``next_run_at``. When no ticker looked for a while, later fires
passed that it never recorded. Cron expressions go through the croniter that Hermes itself uses,
in Hermes' zone; intervals count from ``next_run_at``.

Hermes starts croniter again for each fire. Within one offset of the zone that is the same as going
on from fire to fire. Across a change of the offset it is not, so it is restarted there too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from tenure.adapters.hermes.facts.jobs_file import instant_of
from tenure.domain.planning.external import Announced

MOST = 10_000
"""The most fires that are counted one by one, in about half a second. Beyond, the first and the
last two are still exact, and the count is too low."""
_MINUTE = timedelta(minutes=1)
_LONGEST_FOLD = 24 * 60
"""In minutes: a zone that changed the date has repeated a day."""

Croniter = Callable[..., Any]


def announced(
    job: Mapping[str, Any], now: datetime, zone: tzinfo, croniter: Croniter | None
) -> Announced | None:
    """What a due job of Hermes announces: its latest fire, and what passed before it.

    None if it names no instant, or one that is yet to come. Times are UTC; ``zone`` is Hermes'.
    """
    start = instant_of(job.get("next_run_at"))
    if start is None or start > now:
        return None
    schedule = job.get("schedule")
    schedule = schedule if isinstance(schedule, Mapping) else {}
    kind, expression = schedule.get("kind"), schedule.get("expr")
    if kind == "interval":
        return _by_interval(start, schedule.get("minutes"), now)
    if kind == "cron" and croniter is not None and isinstance(expression, str):
        try:
            return _by_cron(start, now, lambda at: _fires(expression, at, zone, croniter))
        except Exception:  # noqa: BLE001  whatever croniter makes of it, this fire is due
            return Announced(fire=start)
    return Announced(fire=start)


def due_at(jobs: Iterable[Mapping[str, Any]], now: datetime) -> dict[str, Mapping[str, Any]]:
    """The jobs of Hermes that are due at an instant (UTC), by id."""
    return {
        str(job.get("id")): job
        for job in jobs
        if job.get("enabled", True)
        and (at := instant_of(job.get("next_run_at"))) is not None
        and at <= now
    }


def _by_interval(start: datetime, minutes: object, now: datetime) -> Announced:
    try:
        step = timedelta(minutes=minutes) if isinstance(minutes, (int, float)) else timedelta(0)
    except (ValueError, OverflowError):
        step = timedelta(0)
    more = (now - start) // step if step > timedelta(0) else 0
    if not more:
        return Announced(fire=start)
    fire = start + more * step
    return Announced(fire=fire, passed=(start, fire - step, more))


def _by_cron(
    start: datetime, now: datetime, fires: Callable[[datetime], Iterator[datetime]]
) -> Announced:
    before, latest, count = start, start, 0
    for fire in fires(start):
        if fire > now:
            break
        if count == MOST:
            before, latest = _last_two(latest, now, fires)
            break
        before, latest, count = latest, fire, count + 1
    if not count:
        return Announced(fire=start)
    return Announced(fire=latest, passed=(start, before, count))


def _last_two(
    low: datetime, now: datetime, fires: Callable[[datetime], Iterator[datetime]]
) -> tuple[datetime, datetime]:
    """The last two fires up to ``now``: looked for from a minute ago on, then from further back.
    ``low`` is one that is known, and more than one comes after it."""
    back = _MINUTE
    while True:
        last: list[datetime] = [low] if now - back <= low else []
        for fire in fires(max(low, now - back)):
            if fire > now:
                break
            last = [*last[-1:], fire]
        if len(last) == 2:
            return last[0], last[1]
        back *= 4


def _fires(
    expression: str, after: datetime, zone: tzinfo, croniter: Croniter
) -> Iterator[datetime]:
    """The fires after an instant, in UTC, in order."""
    at, walk, offset = after, None, None
    while True:
        restarted = walk is None
        if walk is None:
            base = at.astimezone(zone)
            walk, offset = croniter(expression, base), base.utcoffset()
        next_fire = walk.get_next(datetime)
        fire, crossed = next_fire.astimezone(UTC), next_fire.utcoffset() != offset
        if not restarted and (crossed or fire <= at):
            walk = None
            continue
        at = fire if fire > at else _past_the_fold(expression, at, zone, croniter)
        yield at


def _past_the_fold(expression: str, at: datetime, zone: tzinfo, croniter: Croniter) -> datetime:
    # In an hour that the clock repeats, croniter goes back. Hermes looks again at its next tick,
    # until that brings it on.
    for minutes in range(1, _LONGEST_FOLD):
        base = (at + minutes * _MINUTE).astimezone(zone)
        next_fire: datetime = croniter(expression, base).get_next(datetime)
        if next_fire.astimezone(UTC) > at:
            return next_fire.astimezone(UTC)
    raise ValueError(f"croniter does not get past {at}")
