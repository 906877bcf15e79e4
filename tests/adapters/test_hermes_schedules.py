"""Stored schedules of Hermes, and its cron expressions as Tenure writes them.

The expansions here are croniter's; tests/hermes/test_expressions_real.py asks the real one.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tenure.adapters.hermes_import.schedule import Expanded, tenure_expression, translate
from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.cron import read_cron

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 20, 10, 0, 7, tzinfo=UTC)
EVERY = ["*"]


def expanded(*fields: list[int] | str) -> list[list[int | str]]:
    return [["*"] if field == "*" else list(field) for field in fields]


@pytest.mark.parametrize(
    ("text", "fields", "tenure"),
    [
        ("0 9 * * *", expanded([0], [9], "*", "*", "*"), "0 9 * * *"),
        ("0  9\t* * 1-5", expanded([0], [9], "*", "*", [1, 2, 3, 4, 5]), "0 9 * * 1-5"),
        ("30 9 * * * 15", expanded([30], [9], "*", "*", "*", [15]), "15 30 9 * * *"),
        ("30 9 * * * 0", expanded([30], [9], "*", "*", "*", [0]), "30 9 * * *"),
        ("0 9 * * * * *", expanded([0], [9], "*", "*", "*", "*", "*"), "* 0 9 * * *"),
        ("* * * * * */10", expanded("*", "*", "*", "*", "*", [0, 10, 20, 30, 40, 50]),
         "*/10 * * * * *"),
        # Either is enough, so no leading star.
        ("0 9 */2 * 1", expanded([0], [9], list(range(1, 32, 2)), "*", [1]), "0 9 1-31/2 * 1"),
        ("0 9 15 * */2", expanded([0], [9], [15], "*", [0, 2, 4, 6]), "0 9 15 * 0-6/2"),
        ("0 9 */2 * *", expanded([0], [9], list(range(1, 32, 2)), "*", "*"), "0 9 */2 * *"),
        ("0 9 1-1 * *", expanded([0], [9], "*", "*", "*"), "0 9 * * *"),
        ("0 9 * * 7", expanded([0], [9], "*", "*", [0]), "0 9 * * 7"),
        ("0 9 * * 5-7", expanded([0], [9], "*", "*", [0, 5, 6]), "0 9 * * 5-7"),
        ("0 22-2 * * *", expanded([0], [0, 1, 2, 22, 23], "*", "*", "*"),
         "0 0,1,2,22,23 * * *"),
        ("59/15 * * * *", expanded([0, 15, 30, 45], "*", "*", "*", "*"), "0-45/15 * * * *"),
        ("5/15 * * * *", expanded([5, 20, 35, 50], "*", "*", "*", "*"), "5/15 * * * *"),
        ("0 0-23 * * *", expanded([0], "*", "*", "*", "*"), "0 * * * *"),
        ("0 0 0 * * 0", expanded([0], [0], [1], "*", "*", [0]), "0 0 1 * *"),
    ],
)  # fmt: skip
def test_the_expression_that_says_the_same(text: str, fields: Expanded, tenure: str) -> None:
    assert tenure_expression(text, fields) == tenure


@pytest.mark.parametrize(
    "text",
    ["0 9 * * *", "*/15 9-17 * * 1-5", "0 9 1,15 * *", "0 9 1 * 1", "0 9 * * 5-7",
     "0-30/10 * * * *", "0 9 */2 * *"],
)  # fmt: skip
def test_without_hermes_a_plain_expression_is_taken(text: str) -> None:
    assert tenure_expression(text, None) == text


@pytest.mark.parametrize(
    "text",
    ["5/15 * * * *", "0 22-2 * * *", "0 0 1-1 * *", "0 9 */2 * 1", "0 9 15 * */2",
     "30 9 * * * 15", "0 9 * * MON", "1,, * * * *"],
)  # fmt: skip
def test_without_hermes_any_other_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        tenure_expression(text, None)
    assert "--hermes-python" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "word"),
    [("0 9 * * * 0 2030", "years"), ("0 9 * * * R", "random"), ("0 0 31 2 *", "must exist")],
)
def test_what_has_no_expression_here(text: str, word: str) -> None:
    fields = expanded([0], [9], [31], [2], "*", [0]) if word == "must exist" else None
    for known in (fields, None):
        with pytest.raises(InvalidInput, match=word):
            tenure_expression(text, known)


def _field(place: int, low: int, high: int) -> st.SearchStrategy[list[int | str]]:
    values = st.sets(st.integers(low, high), min_size=1, max_size=high - low)
    return st.one_of(st.just(["*"]), values.map(lambda found: sorted(found)))


_LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6), (0, 59))
_words = st.sampled_from(["*", "*/2", "5", "1-5", "3/4", "0-6", "7", "22-2"])


@given(
    st.tuples(*[_field(place, *limits) for place, limits in enumerate(_LIMITS)]),
    st.tuples(*[_words] * 6),
)
def test_both_fire_on_the_same_days_at_the_same_times(
    fields: tuple[list[int | str], ...], words: tuple[str, ...]
) -> None:
    """By the values of the fields: day or weekday, unless one of them is every day."""
    try:
        rule = read_cron(tenure_expression(" ".join(words), fields))
    except InvalidInput:
        assume(False)
    known = [None if "*" in field else tuple(map(int, field)) for field in fields]
    minute, hour, day, month, weekday, second = known
    assert rule.minutes == tuple(range(60) if minute is None else minute)
    assert rule.hours == tuple(range(24) if hour is None else hour)
    assert rule.seconds == tuple(range(60) if second is None else second)

    def fires(at: date) -> bool:
        if month is not None and at.month not in month:
            return False
        on_day = day is None or at.day in day
        on_weekday = weekday is None or at.isoweekday() % 7 in weekday
        either = day is not None and weekday is not None
        return on_day or on_weekday if either else on_day and on_weekday

    for number in range(1, 13):
        days = range(1, monthrange(2024, number)[1] + 1)
        expected = tuple(d for d in days if fires(date(2024, number, d)))
        assert rule.days(2024, number) == expected


@pytest.mark.parametrize(
    "schedule",
    [None, "every 30m", {}, {"kind": "weekly"}, {"kind": "cron"}, {"kind": "cron", "expr": "x"},
     {"kind": "interval"}, {"kind": "interval", "minutes": 0},
     {"kind": "interval", "minutes": True}, {"kind": "once", "run_at": "tomorrow"},
     {"kind": "once"}],
)  # fmt: skip
def test_what_hermes_would_never_run_is_said(schedule: object) -> None:
    with pytest.raises(InvalidInput):
        translate(schedule, zone="Europe/Berlin", system=BERLIN, planned=None, now=NOW)
