"""Durations: what is read, what is refused, and that writing and reading agree."""

import contextlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.domain.durations import LONGEST, format_duration, parse_duration
from tenure.domain.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("1h30m", timedelta(minutes=90)),
        (" 1h 30m ", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
        ("1w1ms", timedelta(days=7, milliseconds=1)),
        ("0s", timedelta(0)),
        ("500 ms", timedelta(milliseconds=500)),
    ],
)
def test_reads(text: str, expected: timedelta) -> None:
    assert parse_duration(text, "after") == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("90", "no unit"),
        ("-5m", "negative"),
        ("", "is not a valid duration"),
        ("5 minutes", "is not a valid duration"),
        ("1.5h", "is not a valid duration"),
        ("5M", "is not a valid duration"),
        ("٥m", "is not a valid duration"),
        ("5m5m", "repeats a unit"),
        ("5m1h", "smaller one first"),
        ("999999999999999w", "too long"),
        ("9" * 5000 + "s", "is not a valid duration"),
        (90, "text with a unit, not int"),
        (None, "not NoneType"),
        (True, "not bool"),
    ],
)
def test_refuses(value: object, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        parse_duration(value, "owner[1].after")
    assert caught.value.field == "owner[1].after"


def test_bounds_are_included_and_told() -> None:
    least, most = timedelta(seconds=1), timedelta(hours=1)
    assert parse_duration("1s", "f", minimum=least, maximum=most) == least
    assert parse_duration("1h", "f", minimum=least, maximum=most) == most
    with pytest.raises(InvalidInput, match="at least 1s"):
        parse_duration("999ms", "f", minimum=least)
    with pytest.raises(InvalidInput, match="at most 1h"):
        parse_duration("61m", "f", maximum=most)


def test_formats() -> None:
    assert format_duration(timedelta(0)) == "0s"
    assert format_duration(timedelta(hours=1, minutes=30)) == "1h30m"
    assert format_duration(timedelta(seconds=-5)) == "-5s"


@given(st.integers(0, int(LONGEST / timedelta(milliseconds=1))))
def test_writing_then_reading_is_exact(milliseconds: int) -> None:
    value = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(value), "f") == value


@given(st.one_of(st.text(), st.integers(), st.floats(), st.lists(st.text())))
def test_nothing_but_invalid_input_is_raised(value: object) -> None:
    with contextlib.suppress(InvalidInput):
        assert parse_duration(value, "f") >= timedelta(0)
