"""From matching local times to instants: where a cron schedule meets a zone and a DST policy.

Each stretch of constant offset is searched by itself, on the wall clock::

    fold   first    from where the previous stretch ended on the wall clock
           second   up to where the next stretch begins on it
           both     all of it: a repeated local time is met in both stretches
    gap    skip     the missing local times are in no stretch, so nothing is to be done
           shift    a stretch that begins after a gap begins with a fire if the gap held one

so that instants come out ascending and once each. All numbers are seconds (see ``zones``).
Ten years cost some hundred steps, however often the schedule fires.
"""

from __future__ import annotations

from tenure.domain.schedule.cron import CronFields
from tenure.domain.schedule.zones import (
    DAY,
    FLOOR,
    Dst,
    Fold,
    Gap,
    OffsetPeriod,
    stretches_back,
    stretches_from,
)

HORIZON = 50 * 366 * DAY
"""How far to look: 29 February on a given weekday can be 40 years away."""


def policy(fields: CronFields, dst: Dst) -> tuple[Gap, Fold]:
    """The rule that holds for this expression; Debian cron's depends on its form."""
    if not dst.cron:
        return dst.gap, dst.fold
    return (Gap.SHIFT, Fold.FIRST) if fields.fixed else (Gap.SKIP, Fold.BOTH)


def _window(stretch: OffsetPeriod, after: int, until: int, fold: Fold) -> tuple[int, int]:
    """The local seconds ``[low, high)`` of a stretch that fire within ``(after, until]``."""
    offset = stretch.offset
    low = max(stretch.start, after + 1) + offset
    high = min(stretch.end, until + 1) + offset
    if fold is Fold.FIRST:
        low = max(low, stretch.fresh)
    elif fold is Fold.SECOND:
        high = min(high, stretch.again)
    return low, high


def _shifted(fields: CronFields, stretch: OffsetPeriod, after: int, until: int, gap: Gap) -> bool:
    """Whether the stretch begins, within ``(after, until]``, with a fire out of a gap."""
    if gap is Gap.SKIP or stretch.before >= stretch.offset or not after < stretch.start <= until:
        return False
    low, high = stretch.start + stretch.before, stretch.start + stretch.offset
    return fields.first_in(low, high) is not None


def next_fire(fields: CronFields, zone: str, dst: Dst, after: int) -> int | None:
    """The first fire strictly after; ``None`` if there is none within :data:`HORIZON`."""
    gap, fold = policy(fields, dst)
    limit = max(after, FLOOR) + HORIZON
    for stretch in stretches_from(zone, after + 1):
        if stretch.start > limit:
            return None
        if _shifted(fields, stretch, after, stretch.start, gap):
            return stretch.start
        low, high = _window(stretch, after, stretch.end, fold)
        local = fields.first_in(low, high)
        if local is not None:
            return local - stretch.offset
    return None


def last_fire(fields: CronFields, zone: str, dst: Dst, after: int, until: int) -> int | None:
    """The last fire in ``(after, until]``."""
    gap, fold = policy(fields, dst)
    for stretch in stretches_back(zone, until):
        if stretch.end <= after + 1:
            return None
        low, high = _window(stretch, after, until, fold)
        local = fields.last_in(low, high)
        if local is not None:
            return local - stretch.offset
        if _shifted(fields, stretch, after, until, gap):
            return stretch.start
    return None


def count_fires(fields: CronFields, zone: str, dst: Dst, after: int, until: int) -> int:
    """The exact number of fires in ``(after, until]``."""
    gap, fold = policy(fields, dst)
    total = 0
    for stretch in stretches_from(zone, after + 1):
        if stretch.start > until:
            break
        low, high = _window(stretch, after, until, fold)
        total += fields.count_in(low, high)
        if _shifted(fields, stretch, after, until, gap):
            natural = stretch.start + stretch.offset
            total += fields.first_in(natural, natural + 1) is None
    return total
