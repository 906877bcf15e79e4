"""A foreign schedule: another scheduler announces its fires, and no arithmetic names one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.model import Schedule, ScheduleKind, every_schedule, foreign_schedule
from tenure.domain.schedule.parser import parse_schedule

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
INSTANTS = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
SCHEDULE = foreign_schedule("every 5m", "Europe/Berlin")


@given(INSTANTS, st.timedeltas(-timedelta(days=1), timedelta(days=9000)))
def test_it_names_no_fire_is_never_over_and_any_instant_may_be_one(
    at: datetime, span: timedelta
) -> None:
    assert SCHEDULE.next_after(at) is None
    assert SCHEDULE.latest(at, at + span) is None
    assert SCHEDULE.count(at, at + span) == 0
    assert list(SCHEDULE.fires(at, at + span)) == []
    assert not SCHEDULE.is_over(at)
    assert SCHEDULE.is_fire(at)


def test_planned_schedules_are_over_with_their_last_fire_and_know_their_fires() -> None:
    once = parse_schedule("in 5m", now=NOW, timezone="UTC")
    assert not once.is_over(NOW)
    assert once.is_over(NOW + 5 * MINUTE)
    each = every_schedule(MINUTE, NOW)
    assert not each.is_over(NOW)
    assert each.is_fire(NOW + MINUTE)
    assert not each.is_fire(NOW + MINUTE / 2)


def test_it_has_no_period_and_is_described_as_the_other_scheduler_writes_it() -> None:
    assert SCHEDULE.period() is None
    assert SCHEDULE.describe() == "every 5m, as another scheduler plans it"
    assert (SCHEDULE.kind, SCHEDULE.timezone) == (ScheduleKind.FOREIGN, "Europe/Berlin")


def test_json_round_trip() -> None:
    document = json.loads(json.dumps(SCHEDULE.to_json()))
    assert (document["kind"], document["text"]) == ("foreign", "every 5m")
    assert Schedule.from_json(document) == SCHEDULE


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "x" * 201])
def test_a_text_that_cannot_be_shown_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        foreign_schedule(text)
    assert caught.value.field == "schedule"
    with pytest.raises(InvalidInput):
        Schedule.from_json(SCHEDULE.to_json() | {"text": text})
    with pytest.raises(InvalidInput, match="timezone"):
        foreign_schedule("every 5m", "Nowhere/City")


@given(
    st.text(max_size=40) | st.sampled_from(["foreign", "foreign every 5m", "every 5m", "@daily"])
)
def test_no_text_that_a_user_types_makes_one(text: str) -> None:
    try:
        made = parse_schedule(text, now=NOW, timezone="UTC")
    except InvalidInput:
        return
    assert made.kind is not ScheduleKind.FOREIGN


def test_neighbours_are_told_by_what_is_accounted_for() -> None:
    """Only what was announced is known, so nothing lay between what was announced in turn."""
    first, second, third = NOW, NOW + MINUTE, NOW + 9 * MINUTE
    assert SCHEDULE.adjoin(first, third, accounted=first)
    assert not SCHEDULE.adjoin(first, third, accounted=second), "second became a run, say"
    assert not SCHEDULE.adjoin(first, first, accounted=first)
    each = every_schedule(MINUTE, NOW)
    assert each.adjoin(first, second, accounted=third)
    assert not each.adjoin(first, third, accounted=first)


def test_what_is_left_of_a_stretch_at_an_instant() -> None:
    first, last = NOW, NOW + 10 * MINUTE
    assert SCHEDULE.left_of(first, last, 7, NOW + 3 * MINUTE) == (7, NOW + 3 * MINUTE)
    assert SCHEDULE.left_of(first, last, 7, last + MINUTE) == (7, last)
    assert SCHEDULE.left_of(first, last, 7, first) == (7, first)
    assert SCHEDULE.left_of(first, last, 7, first - MINUTE) == (0, first)
    each = every_schedule(MINUTE, NOW)
    assert each.left_of(first, last, 11, NOW + 3.5 * MINUTE) == (4, NOW + 3 * MINUTE)
    assert each.left_of(first, last, 11, last + MINUTE) == (11, last)
    assert each.left_of(first, last, 11, first - MINUTE / 2) == (0, first)
