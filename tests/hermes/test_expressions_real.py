"""Cron expressions against the croniter of real Hermes Agents 0.16, 0.18 and 0.19."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from importkit import Shell

from tenure.adapters.hermes_import.schedule import Expanded, tenure_expression
from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.model import cron_schedule

pytestmark = pytest.mark.hermes


@pytest.fixture(params=["hermes_19", "hermes_18", "hermes_16"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shell]:
    opened = Shell(tmp_path, request.getfixturevalue(request.param))
    yield opened
    opened.end()


CORPUS = [
    "30m", "2h", "1d", "90 minutes", "1D", "30 MINUTES", "every 30m", "Every 2 Hours", "every 45s",
    "every 0m", "every  1d", "every\t1d", "every", "in 5m", "at 9", "@daily", "MON", "mon-fri",
    "0 9 * * *", "0 9 * * MON", "0 9 * * 7", "0 9 * * 7 0", "0 9 0 * * 0", "0 9 0 * *",
    "*/0 * * * *", "5/15 * * * *", "59/15 * * * *", "0 22-2 * * *", "0 22-4/3 * * *",
    "1-1 2-2 3-3 4-4 5-5", "0 9 * * * h", "0 9 * * * ?", "0 9 * * * 0 2030", "0 9 * * * 0 1969",
    "0 9 * * * x y z", "0 0 31 2 *", "0 0 15 * 0-6", "0 0 */2 * 0-6", "0 0 *,5 * 1", "2026-12-24",
    "2026-12-24T09:00", "2026-12-24 09:00Z", "20261224T0900", "2026-W52-4",
    "2026-W52-4T09", "2026-13-01", "T", "", " ", "٣m", "٣ * * * *",
    "-5 * * * *", "5- * * * *", "1,,2 * * * *",
]  # fmt: skip


def cron_texts() -> st.SearchStrategy[str]:
    number = st.integers(0, 65).map(str)
    near = st.integers(0, 12).map(str)
    span = st.one_of(*(st.tuples(n, n).map("-".join) for n in (number, near)), st.just("*"))
    stepped = st.tuples(st.one_of(span, near), number).map("/".join)
    noise = st.text("0123456789*,-/", min_size=1, max_size=5)
    term = st.one_of(st.just("*"), near, near, span, stepped, number, noise)
    field = st.one_of(st.just("*"), st.lists(term, min_size=1, max_size=2).map(",".join))
    more = st.sampled_from(["0", "*/10", "h", "?", "MON", "2030", "1969", "2026-2030", "*", "5-1"])
    return st.tuples(*[field] * 5, st.lists(st.one_of(field, more), max_size=3).map(" ".join)).map(
        lambda words: " ".join(words).strip()
    )


def texts(number: int) -> list[str]:
    """As many strings that are, or nearly are, cron expressions; the same at each run."""
    found: list[str] = []

    @settings(
        max_examples=number, database=None, derandomize=True, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(cron_texts())
    def collect(text: str) -> None:
        found.append(text)

    collect()
    return [text for text in [*CORPUS, *dict.fromkeys(found)] if is_numeric(text)]


def is_numeric(text: str) -> bool:
    """Whether Hermes takes it for a cron expression: names are not."""
    words = text.split()
    return len(words) >= 5 and all(re.fullmatch(r"[\d*,/-]+", word) for word in words[:5])


PARSE = """
import sys, json
from datetime import datetime, timezone
from croniter import croniter
said = []
for text in json.load(sys.stdin):
    try:
        walk = croniter(text, datetime(2026, 1, 1, tzinfo=timezone.utc))
        fires = [walk.get_next(datetime).timestamp() for _ in range(20)]
        said.append({"fields": croniter(text).expanded, "fires": fires})
    except Exception as error:
        said.append(None)
json.dump(said, sys.stdout)
"""


def test_an_expression_fires_as_croniter_fires_it(shell: Shell) -> None:
    asked = texts(400)
    compared = 0
    for text, real in zip(asked, shell.python(PARSE, asked), strict=True):
        if real is None:
            continue
        known = fires(text, real["fields"])
        if known is not None:
            compared += 1
            assert known == real["fires"], text
            plain = fires(text, None)  # as without a Hermes: the same, or refused
            assert plain in (None, known), text
    assert compared > 100  # else it would be a test of refusals only


def fires(text: str, fields: Expanded | None) -> list[float] | None:
    """The first 20 of 2026, by Tenure; None if it has no such schedule."""
    try:
        schedule = cron_schedule(tenure_expression(text, fields), "UTC")
    except InvalidInput:
        return None
    start = datetime(2026, 1, 1, tzinfo=UTC)
    found = islice(schedule.fires(start, datetime(2100, 1, 1, tzinfo=UTC)), 20)
    return [at.timestamp() for at in found]
