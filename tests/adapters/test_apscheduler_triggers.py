"""Triggers of APScheduler, pickled by it, read as data, and fired beside it."""

from __future__ import annotations

import contextlib
import pickle
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tenure.adapters.apscheduler import stored_job
from tenure.adapters.apscheduler.comparison import AROUND, compare, fires_of
from tenure.adapters.apscheduler.triggers import expression_of, translate
from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.model import ScheduleKind
from tenure.domain.schedule.zones import stretches_from, to_seconds

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def read(trigger: Any, **state: Any) -> stored_job.StoredJob:
    """As a store has it."""
    return stored_job.read_job(
        pickle.dumps(
            {
                "version": 1, "id": "j", "func": "m:f", "trigger": trigger, "executor": "default",
                "args": (), "kwargs": {}, "name": "f", "misfire_grace_time": 1, "coalesce": True,
                "max_instances": 1, "next_run_time": NOW, **state,
            },
            pickle.HIGHEST_PROTOCOL,
        )
    )  # fmt: skip


def cron(**fields: Any) -> stored_job.CronTrigger:
    trigger = read(CronTrigger(timezone=BERLIN, **fields)).trigger
    assert isinstance(trigger, stored_job.CronTrigger)
    return trigger


@pytest.mark.parametrize(
    ("fields", "expression"),
    [
        ({"hour": 3}, "0 3 * * *"),
        ({"minute": "*/15"}, "*/15 * * * *"),
        ({"second": "*/10"}, "*/10 * * * * *"),
        ({"second": 30}, "30 * * * * *"),
        ({"minute": "5/20"}, "5/20 * * * *"),
        ({"hour": "8-18/2", "minute": 30}, "30 8-18/2 * * *"),
        ({"day_of_week": "mon-fri", "hour": 9}, "0 9 * * mon-fri"),
        ({"day_of_week": 0, "hour": 9}, "0 9 * * mon"),
        ({"day_of_week": 6, "hour": 9}, "0 9 * * sun"),
        ({"day_of_week": "5,6"}, "0 0 * * sat,sun"),
        ({"month": "jan-mar", "day": 1}, "0 0 1 jan-mar *"),
        ({"day": "last"}, "0 0 L * *"),
        ({"day": "2nd mon"}, "0 0 * * mon#2"),
        ({"day": "last fri"}, "0 0 * * 5L"),
        ({"day": "last sun"}, "0 0 * * 0L"),
        ({"day": "1,15,last"}, "0 0 1,15,L * *"),
        ({"day": "1,2nd mon"}, "0 0 1 * mon#2"),
        ({"day": "*/2"}, "0 0 */2 * *"),
        ({"day": "*/2,2nd mon"}, "0 0 1-31/2 * mon#2"),
        ({"day": "1-7", "day_of_week": "mon"}, "0 0 * * mon#1"),
        ({"day": "8-21", "day_of_week": "mon,sun"}, "0 0 * * mon#2,mon#3,sun#2,sun#3"),
        ({"day": "*/2", "day_of_week": "mon"}, "0 0 */2 * mon"),
        ({"day": "2nd mon,1st tue", "day_of_week": "mon"}, "0 0 * * mon#2"),
        ({"day": "5th wed"}, "0 0 * * wed#5"),
        ({"year": "*", "week": "*", "minute": 0}, "0 * * * *"),
        ({"minute": "0-59", "hour": "*"}, "* * * * *"),
    ],
)
def test_cron(fields: dict[str, Any], expression: str) -> None:
    assert expression_of(cron(**fields)) == expression


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"year": 2027}, "years"),
        ({"week": 5}, "weeks"),
        ({"week": "*/2"}, "weeks"),
        ({"day": 13, "day_of_week": "fri"}, "both"),
        ({"day": "last", "day_of_week": "fri"}, "both"),
        ({"day": "2nd mon", "day_of_week": "tue"}, "both"),
        ({"day": "3,2nd mon", "day_of_week": "mon"}, "both"),
    ],
)
def test_what_cron_cannot_say_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        expression_of(cron(**fields))


def test_interval_keeps_its_beat() -> None:
    start = datetime(2026, 1, 1, 0, 0, 17, 250000, tzinfo=UTC)
    trigger = read(IntervalTrigger(minutes=7, start_date=start, timezone=BERLIN)).trigger
    made = translate(trigger, planned=None, now=NOW).schedule
    assert (made.kind, made.interval, made.anchor) == (
        ScheduleKind.EVERY,
        timedelta(minutes=7),
        start,
    )
    planned = NOW + timedelta(seconds=3)
    assert translate(trigger, planned=planned, now=NOW).schedule.anchor == planned


def test_date_is_once() -> None:
    at = datetime(2026, 7, 1, 9, 0, tzinfo=BERLIN)
    made = translate(read(DateTrigger(at)).trigger, planned=None, now=NOW).schedule
    assert (made.kind, made.at) == (ScheduleKind.AT, at)
    with pytest.raises(InvalidInput, match="past"):
        translate(read(DateTrigger(NOW - timedelta(1))).trigger, planned=None, now=NOW)


def test_what_has_not_begun_or_has_ended_is_refused_and_an_end_is_said() -> None:
    def of(**bounds: Any) -> tuple[str, ...]:
        return translate(cron(hour=3, **bounds), planned=None, now=NOW).lost

    assert of(start_date="2020-01-01") == of(start_date=NOW + timedelta(hours=1)) == ()
    with pytest.raises(InvalidInput, match="begins on 2026-03-01"):
        of(start_date="2026-03-01")
    with pytest.raises(InvalidInput, match="ended on 2026-01-15"):
        of(end_date="2026-01-15")
    assert "ends on 2026-12-31" in of(end_date="2026-12-31")[0]


@pytest.mark.parametrize(
    ("trigger", "why"),
    [
        (AndTrigger([CronTrigger(hour=1, timezone=UTC), CronTrigger(minute=2, timezone=UTC)]),
         "'and'"),
        (OrTrigger([CronTrigger(hour=1, timezone=UTC), IntervalTrigger(days=2, timezone=UTC)]),
         "'or'"),
        (CalendarIntervalTrigger(months=1, timezone=BERLIN), "calendar"),
        ({"no": "trigger"}, "not a trigger of APScheduler"),
    ],
)  # fmt: skip
def test_other_triggers_are_refused_with_the_reason(trigger: Any, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        read(trigger)


# -- beside APScheduler ------------------------------------------------------------------------
def values(low: int, high: int) -> st.SearchStrategy[str]:
    """A field as APScheduler takes it."""
    number = st.integers(low, high).map(str)
    span = st.tuples(st.integers(low, high), st.integers(low, high)).map(
        lambda pair: f"{min(pair)}-{max(pair)}"
    )
    step = st.integers(2, max(2, (high - low) // 2)).map("*/{}".format)
    part = st.one_of(number, number, span, step)
    return st.lists(part, min_size=1, max_size=3).map(",".join)


POSITIONS = st.tuples(
    st.sampled_from(["1st", "2nd", "3rd", "4th", "5th", "last"]),
    st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]),
).map(" ".join)
MONTH_DAYS = st.lists(
    st.one_of(values(1, 31), POSITIONS, st.just("last")), min_size=1, max_size=2
).map(",".join)
WEEKDAYS = st.one_of(values(0, 6), st.sampled_from(["mon-fri", "sat,sun", "sun", "tue-thu"]))
PLAIN = st.fixed_dictionaries(
    {},
    optional={
        "month": values(1, 12), "day": MONTH_DAYS, "hour": values(0, 23),
        "minute": values(0, 59), "second": values(0, 59),
    },
)  # fmt: skip
RARE = st.fixed_dictionaries(
    {},
    optional={
        "day_of_week": WEEKDAYS,
        "week": values(1, 53),
        "year": st.sampled_from(["*", "2027", "*/2"]),
    },
)
FIELDS = st.one_of(
    PLAIN,
    st.tuples(PLAIN, WEEKDAYS).map(lambda p: {**p[0], "day_of_week": p[1], "day": "*"}),
    st.tuples(PLAIN, RARE).map(lambda p: {**p[0], **p[1]}),
)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])


@settings(max_examples=80, deadline=None)
@given(FIELDS, ZONES, st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)))
def test_a_translated_cron_trigger_agrees_for_200_fires_away_from_changes_of_clocks(
    fields: dict[str, str], zone: str, begin: datetime
) -> None:
    now = begin.replace(tzinfo=UTC, microsecond=0)
    try:
        native = CronTrigger(timezone=ZoneInfo(zone), **fields)
    except ValueError:
        assume(False)
    trigger = read(native).trigger
    with contextlib.suppress(InvalidInput):  # refused
        schedule = translate(trigger, planned=None, now=now).schedule
        try:
            theirs = list(islice(fires_of(trigger, now), 200))
        except ValueError:  # APScheduler stands still at a change of clocks: nothing to compare
            assume(False)
        assert theirs
        ours = list(schedule.fires(now, theirs[-1]))
        lost = lost_in_spring(ours, theirs, zone)
        assert quiet(ours, zone) == sorted([*quiet(theirs, zone), *quiet(lost, zone)])


def lost_in_spring(ours: list[datetime], theirs: list[datetime], zone: str) -> list[datetime]:
    """What APScheduler leaves out: it adds up 24-hour days, and so enters the first day that it
    looks at behind a change to summer time at one o'clock; midnight's fires are lost."""
    found = []
    for at in sorted(set(ours) - set(theirs)):
        before = max((fire for fire in theirs if fire < at), default=at - timedelta(days=400))
        if jumps(zone, before, at) and at.astimezone(ZoneInfo(zone)).hour == 0:
            found.append(at)
    return found


def jumps(zone: str, after: datetime, until: datetime) -> bool:
    """Whether clocks are put forward in between."""
    for stretch in stretches_from(zone, to_seconds(after)):
        if stretch.start >= to_seconds(until):
            return False
        if stretch.start > to_seconds(after) and stretch.before < stretch.offset:
            return True
    return False


def quiet(fires: list[datetime], zone: str) -> list[datetime]:
    """Without those near a change of the zone's clocks."""
    edges: list[int] = []
    if not fires:
        return []
    for stretch in stretches_from(zone, to_seconds(fires[0] - timedelta(days=2))):
        if stretch.start > to_seconds(fires[-1]) + 86400:
            break
        if stretch.before != stretch.offset:
            edges.append(stretch.start)
    near = AROUND.total_seconds()
    return [at for at in fires if all(abs(to_seconds(at) - edge) > near for edge in edges)]


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 10_000), st.datetimes(datetime(2025, 1, 1), datetime(2026, 1, 14)),
    st.integers(0, 999_999),
)  # fmt: skip
def test_an_interval_agrees_for_200_fires(seconds: int, start: datetime, micros: int) -> None:
    begin = start.replace(tzinfo=UTC, microsecond=micros)
    native = IntervalTrigger(seconds=seconds, start_date=begin, timezone=BERLIN)
    planned = native.get_next_fire_time(None, NOW)
    trigger = read(native).trigger
    schedule = translate(trigger, planned=planned.astimezone(UTC), now=NOW).schedule
    before = NOW - timedelta(microseconds=1)
    found = compare(trigger, schedule, planned=planned, now=before, count=200)
    assert found.why_not == ""
    assert found.differences == ()
    assert found.theirs == found.ours


def test_where_clocks_change_the_differences_are_those_that_the_docs_name() -> None:
    """What docs/from-apscheduler.md says of a nightly job in Berlin."""
    trigger = cron(hour=2, minute=30)
    schedule = translate(trigger, planned=None, now=NOW).schedule
    found = compare(trigger, schedule, planned=None, now=NOW, count=20)
    said = [(f"{d.at.astimezone(BERLIN):%m-%d %H:%M %z}", d.theirs) for d in found.differences]
    assert said == [
        ("03-29 03:00 +0200", False),
        ("03-29 03:30 +0200", True),
        ("10-25 02:30 +0100", True),
    ]
    quarters = cron(minute="*/15")
    schedule = translate(quarters, planned=None, now=NOW).schedule
    assert compare(quarters, schedule, planned=None, now=NOW, count=20).differences == ()
    monthly = cron(day=1)
    schedule = translate(monthly, planned=None, now=NOW).schedule
    found = compare(monthly, schedule, planned=None, now=NOW, count=6)
    said = [(f"{d.at.astimezone(BERLIN):%m-%d %H:%M %z}", d.theirs) for d in found.differences]
    assert said == [("04-01 00:00 +0200", False)]
    even = cron(hour="*/2")
    schedule = translate(even, planned=None, now=NOW).schedule
    found = compare(even, schedule, planned=None, now=NOW, count=20)
    said = [(f"{d.at.astimezone(BERLIN):%m-%d %H:%M %z}", d.theirs) for d in found.differences]
    assert said == [("03-29 03:00 +0200", True)]
