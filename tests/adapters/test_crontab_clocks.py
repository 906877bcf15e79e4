"""When clocks change: the fires of a line, beside those that Debian's cron's main loop gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.adapters.crontab.times import Dialect, doubled_in_gaps, expression_of
from tenure.domain.schedule.cron import CronFields, read_cron
from tenure.domain.schedule.model import cron_schedule

ZONES = {
    "Europe/Berlin": (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "America/New_York": (
        datetime(2026, 3, 8, 7, tzinfo=UTC),
        datetime(2026, 11, 1, 6, tzinfo=UTC),
    ),
    "Australia/Lord_Howe": (
        datetime(2026, 4, 4, 15, tzinfo=UTC),
        datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    ),
    "Antarctica/Troll": (
        datetime(2026, 3, 29, 1, tzinfo=UTC),
        datetime(2026, 10, 25, 1, tzinfo=UTC),
    ),
}
"""When clocks change in 2026."""
MINUTE = timedelta(minutes=1)


def debian_cron(
    words: Sequence[str], zone: str, start: datetime, end: datetime
) -> Iterator[datetime]:
    """The runs that Debian's cron starts in ``(start, end]``, each at the instant it starts it.

    Its main loop: a minute counter on the wall clock, and what it does when that counter does
    not go up by one. Runs take no time here.
    """
    fields = read_cron(" ".join(words))
    wild = words[0].startswith("*") or words[1].startswith("*")
    tz = ZoneInfo(zone)

    def wall(at: datetime) -> int:
        offset = at.astimezone(tz).utcoffset()
        assert offset is not None
        return (at + offset - datetime(1970, 1, 1, tzinfo=UTC)) // MINUTE

    virtual, at = wall(start), start
    while at < end:
        at += MINUTE
        now = wall(at)
        jump = now - virtual
        if jump == 1:
            virtual = now
            yield from [at] * matches(fields, now)
        elif 0 < jump <= 5:
            while virtual < now:
                virtual += 1
                yield from [at] * matches(fields, virtual)
        elif 5 < jump <= 180:
            yield from [at] * (matches(fields, now) and wild)
            while virtual < now:
                virtual += 1
                yield from [at] * (matches(fields, virtual) and not wild)
        elif -180 < jump <= 0:
            yield from [at] * (matches(fields, now) and wild)
        else:
            virtual = now
            yield from [at] * matches(fields, now)


def matches(fields: CronFields, minute: int) -> bool:
    at = datetime(1970, 1, 1) + minute * MINUTE
    days = fields.days(at.year, at.month)
    return at.minute in fields.minutes and at.hour in fields.hours and at.day in days


def test_the_model_does_what_the_manual_says() -> None:
    gap, fold = ZONES["Europe/Berlin"]
    nightly = ("30", "2", "*", "*", "*")
    runs = list(debian_cron(nightly, "Europe/Berlin", gap - 99 * MINUTE, gap + 99 * MINUTE))
    assert runs == [gap]
    runs = list(debian_cron(nightly, "Europe/Berlin", fold - 99 * MINUTE, fold + 99 * MINUTE))
    assert runs == [fold - 30 * MINUTE]
    quarters = ("*/15", "*", "*", "*", "*")
    runs = list(debian_cron(quarters, "Europe/Berlin", fold - 60 * MINUTE, fold + 60 * MINUTE))
    assert len(runs) == 8


NUMBERS = st.lists(st.integers(0, 59), min_size=1, max_size=3)
MINUTES = st.sampled_from(["*", "*/15", "0", "30", "0,30", "5-55/10", "*/7"]) | NUMBERS.map(
    lambda found: ",".join(map(str, found))
)
HOURS = st.sampled_from(["*", "*/2", "1", "2", "3", "0-4", "1,2,3", "2-3", "*/3"])
DAYS = st.sampled_from(["*", "*/2", "29", "25", "1-7"])
WEEKDAYS = st.sampled_from(["*", "0", "sun", "1-5", "*/2", "7"])


@settings(max_examples=200, deadline=None)
@given(MINUTES, HOURS, DAYS, WEEKDAYS, st.sampled_from(sorted(ZONES)), st.booleans())
def test_around_a_change_of_clocks_it_fires_when_cron_does(
    minutes: str, hours: str, days: str, weekdays: str, zone: str, first: bool
) -> None:
    words = (minutes, hours, days, "*", weekdays)
    change = ZONES[zone][0 if first else 1]
    start, end = change - timedelta(hours=6), change + timedelta(hours=6)
    runs = list(debian_cron(words, zone, start, end))
    schedule = cron_schedule(expression_of(words, Dialect.DEBIAN), zone)
    assert list(schedule.fires(start, end)) == sorted(set(runs))
    # Where it does not, that is said: cron runs a job once for each of its times in the gap.
    said = doubled_in_gaps(schedule, start)
    at_once = runs.count(change)
    assert len(runs) == len(set(runs)) + max(at_once - 1, 0)
    assert (at_once if at_once > 1 else None) == (said[1] if said and said[0] == change else None)


@pytest.mark.parametrize(
    ("words", "count"),
    [("0,30 2 * * *", 2), ("0 2,3 * * *", 2), ("30 2 * * *", None), ("*/15 2 * * *", None)],
)
def test_several_times_in_one_gap_are_said(words: str, count: int | None) -> None:
    found = doubled_in_gaps(cron_schedule(words, "Europe/Berlin"), datetime(2026, 1, 1, tzinfo=UTC))
    assert found == (None if count is None else (ZONES["Europe/Berlin"][0], count))
