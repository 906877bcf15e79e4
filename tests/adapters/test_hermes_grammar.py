"""Stored schedules of Hermes; cron expressions as croniter reads and Tenure writes them.

What is expected here was seen with the real parsers; tests/hermes/test_grammar_real.py asks them.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tenure.adapters.hermes_import import grammar
from tenure.adapters.hermes_import.croniter_rules import read_expression, tenure_expression
from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.cron import read_cron

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "text",
    ["", "0 9 * *", "60 * * * *", "0 24 * * *", "0 9 0 * *", "0 9 * 13 *", "0 9 * * 8",
     "*/0 * * * *", "5- * * * *", "0 9 * * 7 0", "0 9 * * * * * *", "0 9 * * * h",
     "0 9 * * * ?", "0 9 * * * 0 1969", "1,, * * * *"],
)  # fmt: skip
def test_what_croniter_refuses_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_expression(text)
    assert caught.value.field == "schedule"


@pytest.mark.parametrize(
    ("text", "place", "values"),
    [
        ("5/15 * * * *", 0, (5, 20, 35, 50)),
        ("59/15 * * * *", 0, (0, 15, 30, 45)),  # 59-59 is the whole field
        ("7-7 * * * *", 0, None),
        ("0 22-2 * * *", 1, (0, 1, 2, 22, 23)),
        ("0 22-4/3 * * *", 1, (2, 22)),
        ("0 0 1-1 * *", 2, None),
        ("0 0 0 * * 0", 2, (1,)),  # only with seconds
        ("0 0 */2 * 1", 2, tuple(range(1, 32, 2))),
        ("0 0 * * 7", 4, (0,)),
        ("0 0 * * 5-7", 4, (0, 5, 6)),
        ("0 0 * * 0-7", 4, None),
        ("0 0 15 * 0-6", 4, tuple(range(7))),  # either suffices: every day
        ("0 0 */2 * 0-6", 4, None),  # a star somewhere in the other field
        ("0 0 *,5 * 1", 2, None),
        ("0-59/7 * * * *", 0, tuple(range(0, 60, 7))),
        ("0 0 * * * 0 2030-2032", 6, (2030, 2031, 2032)),
        ("0 0 * * * R", 5, ()),
    ],
)
def test_a_field_means_what_it_means_to_croniter(
    text: str, place: int, values: tuple[int, ...] | None
) -> None:
    assert read_expression(text).fields[place] == values


@pytest.mark.parametrize(
    ("hermes", "tenure"),
    [
        ("0 9 * * *", "0 9 * * *"),
        ("0  9\t* * 1-5", "0 9 * * 1-5"),
        ("30 9 * * * 15", "15 30 9 * * *"),
        ("30 9 * * * 0", "30 9 * * *"),
        ("0 9 * * * * *", "* 0 9 * * *"),
        ("* * * * * */10", "*/10 * * * * *"),
        ("0 9 */2 * 1", "0 9 1-31/2 * 1"),  # either suffices, so no leading star
        ("0 9 15 * */2", "0 9 15 * 0-6/2"),
        ("0 9 */2 * *", "0 9 */2 * *"),
        ("0 9 1 * 1", "0 9 1 * 1"),
        ("0 9 1-1 * *", "0 9 * * *"),
        ("0 9 * * 7", "0 9 * * 7"),
        ("0 9 * * 5-7", "0 9 * * 5-7"),
        ("0 22-2 * * *", "0 0,1,2,22,23 * * *"),
        ("59/15 * * * *", "0-45/15 * * * *"),
        ("5/15 * * * *", "5/15 * * * *"),
        ("0 0-23 * * *", "0 * * * *"),
        ("0 0 0 * * 0", "0 0 1 * *"),
    ],
)
def test_the_expression_that_says_the_same(hermes: str, tenure: str) -> None:
    assert tenure_expression(read_expression(hermes)) == tenure


@pytest.mark.parametrize(
    ("text", "word"),
    [("0 9 * * * 0 2030", "years"), ("0 9 * * * R", "random"), ("0 0 31 2 *", "must exist")],
)
def test_what_has_no_expression_here(text: str, word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        tenure_expression(read_expression(text))


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(str)
    span = st.one_of(st.just("*"), st.tuples(number, number).map("-".join))
    stepped = st.tuples(st.one_of(span, number), st.integers(1, 20).map(str)).map("/".join)
    term = st.one_of(st.just("*"), number, span, stepped)
    return st.lists(term, min_size=1, max_size=2).map(",".join)


_five = st.tuples(_field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12), _field(0, 6))
_six = st.tuples(_five.map(" ".join), _field(0, 59))


@given(st.one_of(_five, _six).map(" ".join))
def test_both_fire_on_the_same_days_at_the_same_times(text: str) -> None:
    """By the meaning of the fields, told independently: day or weekday, unless one is any."""
    try:
        reading = read_expression(text)
        fields = read_cron(tenure_expression(reading))
    except InvalidInput:
        assume(False)
    minute, hour, day, month, weekday = reading.fields[:5]
    second = reading.fields[5] if len(reading.fields) > 5 else (0,)
    assert fields.minutes == tuple(range(60) if minute is None else minute)
    assert fields.hours == tuple(range(24) if hour is None else hour)
    assert fields.seconds == tuple(range(60) if second is None else second)

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
        assert fields.days(2024, number) == expected


def test_what_is_stored_is_read() -> None:
    found = grammar.stored({"kind": "once", "run_at": "2031-05-01T09:00"}, timezone=BERLIN)
    assert found.run_at == datetime(2031, 5, 1, 9, tzinfo=BERLIN)
    found = grammar.stored({"kind": "cron", "expr": "0 9 * * *"}, timezone=UTC)
    assert found.expression == "0 9 * * *"
    assert grammar.stored({"kind": "interval", "minutes": 5}, timezone=UTC).minutes == 5


@pytest.mark.parametrize(
    "schedule",
    [None, "every 30m", {}, {"kind": "weekly"}, {"kind": "cron"}, {"kind": "cron", "expr": "x"},
     {"kind": "interval"}, {"kind": "interval", "minutes": 0},
     {"kind": "interval", "minutes": True}, {"kind": "once", "run_at": "tomorrow"},
     {"kind": "once"}],
)  # fmt: skip
def test_what_hermes_would_never_run_is_said(schedule: object) -> None:
    with pytest.raises(InvalidInput):
        grammar.stored(schedule, timezone=UTC)
