"""Words are checked against fires: what a description claims is what fires, or it is not said."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from itertools import product

import pytest

from tenure.domain.errors import InvalidInput
from tenure.domain.schedule import words as schedule_words
from tenure.domain.schedule.cron import read_cron
from tenure.domain.schedule.model import Schedule, cron_schedule
from tenure.domain.schedule.words import cron_words
from tenure.domain.schedule.words_check import Claim, UnclearWords, is_true, read

START = datetime(2026, 2, 20, 11, 7, 31, tzinfo=UTC)
EXPRESSIONS = 2100
FIRES = 30


def random_field(draw: random.Random, low: int, high: int, special: tuple[str, ...] = ()) -> str:
    def number() -> int:
        return draw.randint(low, high)

    def item() -> str:
        kind = draw.random()
        if kind < 0.2:
            first, last = sorted((number(), number()))
            return f"{first}-{last}" + (f"/{draw.randint(1, 12)}" if kind < 0.1 else "")
        if kind < 0.35:
            return f"*/{draw.randint(1, high)}"
        if kind < 0.45 and special:
            return draw.choice(special)
        return str(number())

    if draw.random() < 0.35:
        return "*"
    return ",".join(item() for _ in range(draw.choice((1, 1, 1, 1, 2, 3))))


def random_expressions(seed: int, number: int) -> list[str]:
    draw = random.Random(seed)
    weekdays = tuple(f"{day}{end}" for day in range(7) for end in ("L", "#1", "#3", "#5"))
    found: list[str] = []
    while len(found) < number:
        fields = [
            random_field(draw, 0, 59),
            random_field(draw, 0, 23),
            random_field(draw, 1, 31, ("L", "LW")),
            random_field(draw, 1, 12),
            random_field(draw, 0, 7, weekdays),
        ]
        if draw.random() < 0.25:
            fields.insert(0, random_field(draw, 0, 59))
        expression = " ".join(fields)
        try:
            read_cron(expression)
        except InvalidInput:
            continue
        found.append(expression)
    return found


def claimed_after(claim: Claim, instant: datetime, until: date) -> list[datetime]:
    """The next fires that words claim, by going through the days: nothing of cron is asked."""
    times = claim.listed or frozenset(product(claim.hours, claim.minutes, claim.seconds))
    fires: list[datetime] = []
    day = instant.date()
    while len(fires) < FIRES and day <= until:
        if day.month in claim.months and claim.days(day):
            for hour, minute, second in sorted(times):
                fire = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=UTC)
                if fire > instant:
                    fires.append(fire)
        day += timedelta(days=1)
    return fires[:FIRES]


def real_fires(schedule: Schedule, until: date) -> list[datetime]:
    fires: list[datetime] = []
    fire = schedule.next_after(START)
    while fire is not None and fire.date() <= until and len(fires) < FIRES:
        fires.append(fire)
        fire = schedule.next_after(fire)
    return fires


def check(expression: str) -> bool:
    """Whether it is said in words; where it is, they claim the fires that come."""
    schedule = cron_schedule(expression, "UTC")
    words = schedule.describe()
    assert words.endswith(" (UTC)")
    words = words.removesuffix(" (UTC)")
    if words.startswith("cron "):
        assert words == f"cron {' '.join(expression.upper().split())}"
        return False
    until = date(START.year + 6, 12, 31)
    assert claimed_after(read(words), START, until) == real_fires(schedule, until), words
    return True


@pytest.mark.parametrize("seed", range(3))
def test_words_of_thousands_of_expressions_claim_the_fires_that_come(seed: int) -> None:
    said = sum(check(e) for e in random_expressions(seed, EXPRESSIONS // 3))
    assert said > EXPRESSIONS // 3 // 2  # and not because little is said


SAID = {
    "0 3 * * *": "at 03:00 every day",
    "*/5 * * * *": "every 5 minutes, from the full hour",
    "*/7 * * * *": "every 7 minutes, from the full hour",
    "*/10 * * * * *": "every 10th second of every minute",
    "0 */5 * * *": "at minute 0 past hours 0, 5, 10, 15, and 20",
    "0 */6 * * *": "at minute 0 past every sixth hour",
    "*/25 9 * * *": "at 09:00, 09:25, and 09:50 every day",
    "0 0 */2 * *": "at 00:00 on every second day of the month, from the 1st",
    "0 0 * */5 *": "at 00:00 every day in January, June, and November",
    "0 0 * * */2": "at 00:00 on Sunday, Tuesday, Thursday, and Saturday",
    "0 0 L * *": "at 00:00 on the last day of every month",
    "0 0 L,15 * *": "at 00:00 on the last and the 15th day of month",
    "0 0 LW 2 *": "at 00:00 on the last weekday of February",
    "0 0 * * 5L": "at 00:00 on the last Friday of the month",
    "0 9 * * TUE#1": "at 09:00 on the first Tuesday of the month",
    "30 9 * * MON-FRI": "at 09:30 on Monday through Friday",
    "*/15 9-17 * * MON-FRI": "every 15th minute from 09:00 through 17:59 on Monday through Friday",
    "5-10 11 * * *": "every minute from 11:05 through 11:10",
    "0 12 21,22,31 3 *": "at 12:00 on the 21st, the 22nd, and the 31st day of month in March",
    "0 0 1 1 *": "at 00:00 on January 1",
    "0 9 1-7 * TUE": "at 09:00 on every day of month from 1 through 7 or on Tuesday",
    "0 9 */2 * TUE": "at 09:00 on every second day of the month, from the 1st if it's on Tuesday",
    "0 0 7,*/26 * *": "cron 0 0 7,*/26 * *",
}


@pytest.mark.parametrize(("expression", "words"), SAID.items())
def test_what_people_write_is_said_in_words(expression: str, words: str) -> None:
    assert cron_words(expression) == words
    assert check(expression) is not words.startswith("cron ")


@pytest.mark.parametrize(
    "wrong",
    [
        "at 09:01 every day",
        "at 09:00 every day",
        "at 09:00 on every day of month from 1 through 7 if it's on Tuesday",
        "at 09:00 on the first Tuesday of the month",
        "at 09:00 on every day of month from 1 through 7 or on Wednesday",
        "at 09:00 on every day of month from 1 through 8 or on Tuesday",
        "at 09:00 on every day of month from 1 through 7 or on Tuesday in March",
        "every minute past hour 9 on every day of month from 1 through 7 or on Tuesday",
        "at nine, mostly",
        "",
    ],
)
def test_words_that_are_wrong_are_never_said(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = read_cron("0 9 1-7 * TUE")
    assert not is_true(wrong, fields)
    monkeypatch.setattr(schedule_words, "_explained", lambda expression: wrong)
    cron_words.cache_clear()
    try:
        assert cron_words("0 9 1-7 * TUE") == "cron 0 9 1-7 * TUE"
    finally:
        cron_words.cache_clear()


@pytest.mark.parametrize(
    "unclear",
    ["every seventh minute of every hour", "at minute 0 past every fifth hour",
     "at 00:00 on every second day of month", "at 00:00 in every fifth month"],
)  # fmt: skip
def test_a_step_that_does_not_go_on_evenly_can_be_read_in_two_ways(unclear: str) -> None:
    with pytest.raises(UnclearWords):
        read(unclear)


@pytest.mark.parametrize(
    ("expression", "both"),
    [
        ("0 9 1-7 * TUE", "0 9 * * TUE#1"),
        ("0 9 8-14 3,4 1,3", "0 9 * 3,4 1#2,3#2"),
        ("15 0 9 22-28 * fri", "15 0 9 * * FRI#4"),
        ("0 9 13 * FRI", None),
        ("0 9 1-8 * TUE", None),
        ("0 9 1-7 * TUE-THU", None),
    ],
)
def test_two_day_fields_of_which_either_suffices(expression: str, both: str | None) -> None:
    found = cron_schedule(expression, "UTC").either_day()
    assert found is not None
    text, remedy = found
    assert text.startswith("either day field is enough: ")
    assert remedy.endswith(f"write {both!r}") == (both is not None)
    if both is None:
        return
    # What it is told to be: only the fires of the first on which both hold.
    until = date(START.year + 2, 12, 31)
    day, weekday = (
        cron_schedule(" ".join(part), "UTC")
        for part in (_without(expression, -1), _without(expression, -3))
    )
    fires = day.fires(START, START.replace(year=START.year + 2))
    holds = [fire for fire in fires if weekday.is_fire(fire)][:FIRES]
    assert real_fires(cron_schedule(both, "UTC"), until)[: len(holds)] == holds


def _without(expression: str, field: int) -> list[str]:
    parts = expression.split()
    parts[field] = "*"
    return parts


@pytest.mark.parametrize("expression", ["0 9 1-7 * *", "0 9 * * TUE", "0 9 */2 * TUE", "@daily"])
def test_nothing_is_said_of_others(expression: str) -> None:
    if expression.startswith("@"):
        expression = "0 0 * * *"
    assert cron_schedule(expression, "UTC").either_day() is None
