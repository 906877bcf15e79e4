"""What may be typed for a schedule, what may not, and what is said then."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.domain.durations import describe_duration
from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.model import Schedule, ScheduleKind, cron_schedule, every_schedule
from tenure.domain.schedule.parser import MACROS, parse_schedule
from tenure.domain.schedule.zones import Dst, Fold, Gap

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def parse(text: str, zone: str = "Europe/Berlin", dst: Dst | None = None) -> Schedule:
    return parse_schedule(text, now=NOW, timezone=zone, dst=dst)


@pytest.mark.parametrize(
    ("text", "expression", "words"),
    [
        ("0 3 * * *", "0 3 * * *", "at 03:00 every day"),
        ("  30  9 * * mon-fri ", "30 9 * * MON-FRI", "at 09:30 on Monday through Friday"),
        ("15 0 3 * * *", "15 0 3 * * *", "at 03:00:15 every day"),
        ("@hourly", "0 * * * *", "at the start of every hour"),
        ("@Daily", "0 0 * * *", "at 00:00 every day"),
        ("@midnight", "0 0 * * *", "at 00:00 every day"),
        ("@weekly", "0 0 * * 0", "at 00:00 on Sunday"),
        ("@monthly", "0 0 1 * *", "at 00:00 on the first day of every month"),
        ("@yearly", "0 0 1 1 *", "at 00:00 on January 1"),
        ("@annually", "0 0 1 1 *", "at 00:00 on January 1"),
        ("every day", "0 0 * * *", "at 00:00 every day"),
        ("every day at 7am", "0 7 * * *", "at 07:00 every day"),
        ("every day 7:30 AM", "30 7 * * *", "at 07:30 every day"),
        ("every monday 9am", "0 9 * * 1", "at 09:00 on Monday"),
        ("Every Monday and Thursday at 18:30", "30 18 * * 1,4", "at 18:30 on Monday and Thursday"),
        ("every sat, sun at 12am", "0 0 * * 0,6", "at 00:00 on Sunday and Saturday"),
        ("every weekday at 18:00", "0 18 * * 1-5", "at 18:00 on Monday through Friday"),
        ("every weekend at noon", "0 12 * * 0,6", "at 12:00 on Sunday and Saturday"),
        ("every fri midnight", "0 0 * * 5", "at 00:00 on Friday"),
        ("every tuesday at 12.15pm", "15 12 * * 2", "at 12:15 on Tuesday"),
    ],
)
def test_calendar_schedules(text: str, expression: str, words: str) -> None:
    schedule = parse(text)
    assert (schedule.kind, schedule.expression) == (ScheduleKind.CRON, expression)
    assert schedule.text == text
    assert schedule.describe() == f"{words} (Europe/Berlin)"
    assert schedule.dst.cron


@pytest.mark.parametrize(
    ("text", "seconds", "words"),
    [
        ("every 90s", 90, "every 1 minute 30 seconds"),
        ("every 2h", 7200, "every 2 hours"),
        ("every 1h30m", 5400, "every 1 hour 30 minutes"),
        ("every 30 seconds", 30, "every 30 seconds"),
        ("every 1 hour and 30 minutes", 5400, "every 1 hour 30 minutes"),
        ("every 1 day, 2 hrs, and 3 mins", 93780, "every 1 day 2 hours 3 minutes"),
        ("EVERY 5 MIN", 300, "every 5 minutes"),
        ("every 1.5s", 1.5, "every 1.5 seconds"),
        ("every second", 1, "every second"),
        ("every minute", 60, "every minute"),
        ("every hour", 3600, "every hour"),
        ("every 1 day", 86400, "every day"),
        ("every 2w", 1209600, "every 14 days"),
    ],
)
def test_intervals(text: str, seconds: float, words: str) -> None:
    schedule = parse(text)
    assert (schedule.kind, schedule.interval) == (ScheduleKind.EVERY, timedelta(seconds=seconds))
    assert schedule.anchor == NOW.replace(microsecond=0)
    assert schedule.describe() == words


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("in 30m", "2026-03-01T12:30:00", "once at 2026-03-01 13:30"),
        ("in 1 hour 5 sec", "2026-03-01T13:00:05", "once at 2026-03-01 14:00:05"),
        ("2026-07-01T09:00", "2026-07-01T07:00:00", "once at 2026-07-01 09:00"),
        ("at 2026-07-01 09:00:30", "2026-07-01T07:00:30", "once at 2026-07-01 09:00:30"),
        ("2026-07-01T09:00Z", "2026-07-01T09:00:00", "once at 2026-07-01 11:00"),
        ("2026-07-01 09:00 UTC", "2026-07-01T09:00:00", "once at 2026-07-01 11:00"),
        ("2026-07-01T09:00:00.5+01:00", "2026-07-01T08:00:00.5", "once at 2026-07-01 10:00:00"),
        ("2026-07-01T09:00+0100", "2026-07-01T08:00:00", "once at 2026-07-01 10:00"),
        ("2026-07-01", "2026-06-30T22:00:00", "once at 2026-07-01 00:00"),
        ("2026-03-29T02:30", "2026-03-29T01:00:00", "once at 2026-03-29 03:00"),
        ("2026-10-25T02:30", "2026-10-25T00:30:00", "once at 2026-10-25 02:30"),
    ],
)
def test_one_shots(text: str, at: str, words: str) -> None:
    schedule = parse(text)
    assert schedule.kind is ScheduleKind.AT
    assert schedule.at == datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert schedule.describe() == f"{words} (Europe/Berlin)"


def test_one_shots_follow_the_policy() -> None:
    second = parse("2026-10-25T02:30", dst=Dst(fold=Fold.SECOND))
    assert second.at == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    both = parse("2026-10-25T02:30", dst=Dst(fold=Fold.BOTH))
    assert both.at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    with pytest.raises(InvalidInput, match=r"jump over it.*gap=shift"):
        parse("2026-03-29T02:30", dst=Dst(gap=Gap.SKIP))
    assert parse("2026-03-29T02:30", zone="utc").timezone == "UTC"


def test_a_policy_of_ones_own_is_said() -> None:
    schedule = parse("0 3 * * *", dst=Dst(gap=Gap.SKIP, fold=Fold.BOTH))
    assert schedule.describe() == "at 03:00 every day (Europe/Berlin, gap=skip,fold=both)"


REJECTED = [
    ("", "empty", "every 5 min"),
    ("   ", "empty", "0 3 * * *"),
    ("soon", "is not a valid schedule", "every 5 min"),
    ("x" * 201, "201 characters", "split"),
    ("0 3 * * *\n", "is not a valid schedule", "one line"),
    ("0 3\0* * *", "is not a valid schedule", "ASCII"),
    ("\u0660 3 * * *", "is not a valid schedule", "ASCII"),
    ("@reboot", "is not supported", "systemd unit"),
    ("@every 5m", "is not a valid schedule", "write every 5m"),
    ("@dayly", "is not a valid schedule", "@daily"),
    ("daily", "is not a valid schedule", "write @daily"),
    ("5 min", "is not a valid schedule", "write every 5 min to repeat, or in 5 min for once"),
    ("90s", "is not a valid schedule", "every 90s"),
    ("every", "is not a valid schedule", "every 5 min"),
    ("every 5", "is not a valid schedule", "every 5 min or every 5s"),
    ("every 5 lightyears", "is not a valid schedule", "every 90s"),
    ("every 0s", "is not a valid schedule", "a number and a unit"),
    ("every 0.5s", "from 1 second", "every 1s"),
    ("every 3661d", "is not a valid schedule", "3660 days"),
    ("every " + "9" * 12 + "w", "is not a valid schedule", "3660 days"),
    ("every other day", "is not a valid schedule", "every 2d"),
    ("every week", "is not a valid schedule", "@weekly"),
    ("every month", "is not a valid schedule", "@monthly"),
    ("every monday at", "is not a valid schedule", "'at' is not a weekday"),
    ("every monday and day", "is not a valid schedule", "'day' is not a weekday"),
    ("every day at 9", "is not a valid time of day", "9am"),
    ("every day at 25:00", "is not a valid time of day", "18:30"),
    ("every day at 13pm", "is not a valid time of day", "noon"),
    ("every day at 9:75am", "is not a valid time of day", "9am"),
    ("every day at teatime", "is not a valid time of day", "midnight"),
    ("in", "is not a valid schedule", "in 30m"),
    ("in a while", "is not a valid schedule", "in 30m"),
    ("in 0s", "is not a valid schedule", "in 30m"),
    ("in 99999d", "is not a valid schedule", "3660 days"),
    ("2026-02-30T09:00", "is not a valid schedule", "exist"),
    ("2026-04-01T25:00", "is not a valid schedule", "exist"),
    ("2026-04-01T09:00+99:00", "is not a valid schedule", "exist"),
    ("2026-03-01T12:00Z", "is in the past", "later"),
    ("2025-03-01T12:00", "is in the past", "in 1m"),
    ("1990-01-01T09:00", "is in the past", "hundred years"),
    ("9999-12-31T23:59", "is too far ahead", "hundred years"),
    ("* * *", "has 3", "minute hour day month weekday"),
    ("*/5", "has 1", "minute hour day month weekday"),
    ("0 0 12 * * * 2026", "has 7", "a year field is not supported"),
    ("0 0 12 * * ?", "day-of-week", "write * for ?"),
    ("60 * * * *", "minute field", "0-59"),
    ("0 24 * * *", "hour field", "0-23"),
    ("0 0 32 * *", "day-of-month field", "1-31"),
    ("0 0 30 2 *", "day-of-month field", "must exist"),
    ("0 0 1 13 *", "month field", "JAN-DEC"),
    ("0 0 * * 8", "day-of-week field", "SUN-SAT"),
    ("* * * * * 70", "day-of-week field", "seconds first"),
    ("99 * * * * *", "second field", "seconds first"),
    ("*/0 * * * *", "minute field", "0-59"),
    ("0 0 LW * */7", "no day of any year", "last day of a month"),
    ("TZ=Europe/Berlin 0 3 * * *", "is not a valid schedule", "--tz"),
]


@pytest.mark.parametrize(("text", "said", "remedy"), REJECTED)
def test_rejected_with_field_and_remedy(text: str, said: str, remedy: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert caught.value.field == "schedule"
    assert said in caught.value.text
    assert remedy in caught.value.remedy
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("text", [None, 5, b"0 3 * * *", ["every 5m"]])
def test_other_types_are_refused(text: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_schedule(text, now=NOW)  # type: ignore[arg-type]
    assert caught.value.field == "schedule"


HOSTILE = [
    "x" * 10_000_000,
    "every " + "1h" * 97,
    "every " + "monday " * 27,
    "every " + "a, " * 64,
    "every " + "monday at " * 19,
    "every " + "9" * 190 + "s",
    "0/" + "9" * 180 + " * * * *",
    "*/1," * 40 + "1 * * * *",
    ",".join(["*"] * 95) + " * * * *",
    "1-" * 90 + " * * * *",
    "* * * * " + "MON#5," * 30 + "MON",
    "@" * 200,
    "\u0661" * 200,
    "in " + "1s and " * 28 + "x",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.timeout(60)
def test_hostile_text_is_answered(text: str) -> None:
    """What backtracks goes on for ever, and the timeout ends it."""
    with suppress(InvalidInput):
        parse(text).next_after(NOW)


WORDS = st.sampled_from(
    [
        *"0123456789*/-,#L@:",
        "every ",
        "in ",
        "at ",
        "monday",
        "day",
        "5",
        "m",
        " ",
        " * * * *",
        "am",
    ]
)


@settings(max_examples=600, deadline=None)
@given(st.one_of(st.text(max_size=40), st.lists(WORDS, max_size=14).map("".join)))
def test_any_text_is_a_schedule_or_invalid_input(text: str) -> None:
    try:
        schedule = parse(text)
    except InvalidInput as error:
        refused = (error.field, bool(error.remedy))
    else:
        refused = None
    if refused is not None:
        assert refused == ("schedule", True)
        return
    assert schedule.next_after(NOW.replace(microsecond=0)) is not None
    assert schedule.describe()
    assert parse(text) == schedule == Schedule.from_json(schedule.to_json())


@given(st.timedeltas(timedelta(seconds=1), timedelta(days=3660)))
def test_durations_are_read_back_from_their_words(span: timedelta) -> None:
    assert parse(f"every {describe_duration(span)}").interval == span
    assert every_schedule(span, NOW).text == f"every {describe_duration(span)}"


def test_macros_are_what_cron_says() -> None:
    for macro, expression in MACROS.items():
        assert parse(macro).expression == cron_schedule(expression).expression
