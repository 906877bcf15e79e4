"""Which fires of a Hermes schedule have passed, by Hermes' own arithmetic.

Hermes keeps one instant for a job, ``next_run_at``. When nobody looked for a while, later fires
passed that it never wrote down. Cron expressions go through the croniter that Hermes itself uses,
in Hermes' zone; intervals count from ``next_run_at``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from tenure.domain.announced import Announced

MOST = 100_000
"""So many fires are counted one by one; a job that was away for longer is counted short."""

Croniter = Callable[..., Any]


def announced(
    job: Mapping[str, Any], now: datetime, zone: tzinfo, croniter: Croniter | None
) -> Announced | None:
    """What a due job of Hermes announces: its latest fire, and what passed before it.

    None if it names no instant, or one that is yet to come. Times are UTC; ``zone`` is Hermes'.
    """
    start = instant_of(job.get("next_run_at"), zone)
    if start is None or start > now:
        return None
    schedule = job.get("schedule")
    schedule = schedule if isinstance(schedule, Mapping) else {}
    kind = schedule.get("kind")
    if kind == "interval":
        return _by_interval(start, schedule.get("minutes"), now)
    if kind == "cron" and croniter is not None:
        return _by_cron(start, str(schedule.get("expr")), now, zone, croniter)
    return Announced(fire=start)


def instant_of(text: object, zone: tzinfo) -> datetime | None:
    """An instant as Hermes writes it, in UTC; one without an offset is in Hermes' zone."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone)
    return found.astimezone(UTC)


def _by_interval(start: datetime, minutes: object, now: datetime) -> Announced:
    if not isinstance(minutes, (int, float)) or minutes <= 0:
        return Announced(fire=start)
    step = timedelta(minutes=minutes)
    more = (now - start) // step
    if not more:
        return Announced(fire=start)
    fire = start + more * step
    return Announced(fire=fire, passed=(start, fire - step, more))


def _by_cron(
    start: datetime, expression: str, now: datetime, zone: tzinfo, croniter: Croniter
) -> Announced:
    fires = [start, start]
    count = 1
    try:
        walk = croniter(expression, start.astimezone(zone))
        while count < MOST:
            following = walk.get_next(datetime).astimezone(UTC)
            if following > now or following <= fires[1]:
                break
            fires = [fires[1], following]
            count += 1
    except Exception:  # noqa: BLE001  whatever croniter makes of it, this fire is due
        return Announced(fire=start)
    if count == 1:
        return Announced(fire=start)
    return Announced(fire=fires[1], passed=(start, fires[0], count - 1))
