"""``export`` then ``apply`` gives the same definitions again, whatever they hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.client.apply import read_entries, write_entries
from tenure.client.definitions import build
from tenure.domain.errors import InvalidInput
from tenure.domain.job import (
    Call,
    CatchUp,
    Command,
    Definition,
    Job,
    JobState,
    Overlap,
)
from tenure.domain.schedule.model import (
    Schedule,
    at_schedule,
    cron_schedule,
    every_schedule,
    parse_dst,
)
from tenure.domain.schedule.parser import parse_schedule

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DST = st.sampled_from(["cron", "skip", "gap=shift,fold=both", "gap=skip,fold=second"])
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/Los_Angeles"])
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
NAME = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=20)


def spans(least_ms: int) -> st.SearchStrategy[timedelta]:
    return st.integers(least_ms, 10**9).map(lambda ms: timedelta(milliseconds=ms))


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    zone, dst = draw(ZONES), parse_dst(draw(DST))
    words = draw(
        st.sampled_from(
            ["0 3 * * *", "*/7 1-5 * * mon", "30 0 3 * * *", "@hourly", "every 90s",
             "every monday at 9am", "in 30m", "2026-05-01T09:30", "every 1h 30m"]
        )
    )  # fmt: skip
    instants = st.datetimes(datetime(2024, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
    made: list[Schedule] = [parse_schedule(words, now=NOW, timezone=zone, dst=dst)]
    made.append(every_schedule(draw(spans(1000)), draw(instants), zone, dst))
    made.append(every_schedule(draw(spans(1000)), draw(instants), zone, dst, text="my words"))
    made.append(at_schedule(draw(instants), zone, dst, text=draw(TEXT)))
    made.append(cron_schedule("1 2 3 * *", zone, dst, text="the third"))
    return draw(st.sampled_from(made))


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    shell = draw(st.booleans())
    word = TEXT.filter(bool)
    catch_up = draw(st.sampled_from([None, *CatchUp]))
    windowed = catch_up in (CatchUp.LATEST, CatchUp.ALL)
    return Definition(
        name=draw(NAME),
        schedule=draw(schedules()),
        action=Command(
            argv=(draw(word),) if shell else (draw(word), *draw(st.lists(TEXT, max_size=3))),
            shell=shell,
            env=draw(st.dictionaries(word.filter(lambda n: "=" not in n), TEXT, max_size=3)),
            cwd=draw(st.none() | TEXT.map(lambda t: "/" + t)),
            stdin=draw(st.none() | TEXT),
        ),
        protected=draw(st.booleans()),
        requires=tuple(draw(st.lists(NAME, max_size=2))),
        overlap=draw(st.sampled_from(Overlap)),
        catch_up=catch_up,
        window=draw(st.none() | spans(1000)) if windowed else None,
        grace=draw(spans(1000)),
        jitter=draw(spans(0)),
        timeout=draw(st.none() | spans(1)),
        retries=draw(st.integers(0, 100)),
        backoff=draw(spans(0)),
        retry_lost=draw(st.booleans()),
        tags=tuple(draw(st.lists(NAME, max_size=2))),
    )


def job(wants: Definition, state: JobState = JobState.ACTIVE) -> Job:
    return Job(
        id="j1", definition=wants, revision=1, state=state, created_at=NOW, edited_at=NOW,
        edited_by="me", watermark=NOW, due_at=None,
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(definitions())
def test_what_is_written_is_read_back_exactly(wants: Definition) -> None:
    (entry,) = read_entries(write_entries([job(wants)], show_secrets=True))
    later = NOW + timedelta(days=400)
    again = build(entry.fields, now=later, timezone="Asia/Tokyo", grace=timedelta(hours=9))
    assert again == wants
    assert not entry.paused


def test_secrets_are_masked_and_paused_jobs_stay_paused() -> None:
    wants = build(
        {"schedule": "@daily", "command": ["x"], "env": {"TOKEN": "s3cret", "LANG": "C"}},
        now=NOW, timezone="UTC",
    )  # fmt: skip
    text = write_entries([job(wants, JobState.PAUSED)])
    assert "s3cret" not in text
    assert 'LANG = "C"' in text
    assert read_entries(text)[0].paused


def test_declared_jobs_are_a_comment() -> None:
    wants = Definition(
        name="app:f", schedule=cron_schedule("0 0 * * *"), action=Call(target="app:f")
    )
    text = write_entries([job(wants)])
    assert text.startswith("# ")
    assert read_entries(text) == ()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("job = 1", "job"),
        ("[job]\nname = 'x'", "job"),
        ("[[owner]]\nuser = 'me'", "owner"),
        ("[[job]]\nschedule = '@daily'", "job[1].name"),
        ("[[job]]\nname = 'x'", "job[1].schedule"),
        ("[[job]]\nname = 'x'\nschedule = '@daily'\npaused = 1", "job[1].paused"),
        ("[[job]]\nname = 'x'\nschedule = '@daily'\ncolour = 1", "job[1].colour"),
        ("[[job", "file"),
    ],
)  # fmt: skip
def test_a_wrong_file_names_the_place(text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_entries(text)
    assert caught.value.field == field


def test_two_jobs_of_one_name_are_refused() -> None:
    entry: Any = "[[job]]\nname = 'x'\nschedule = '@daily'\ncommand = ['y']\n"
    with pytest.raises(InvalidInput, match="two jobs"):
        read_entries(entry * 2)
