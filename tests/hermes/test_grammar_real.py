"""Hermes' schedule grammar against the real parsers of 0.16, 0.18 and 0.19."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from importkit import BERLIN, Shell

from tenure.adapters.hermes_import import grammar
from tenure.adapters.hermes_import.croniter_rules import read_expression
from tenure.domain.errors import InvalidInput

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
    """As many strings that are, or nearly are, schedules; the same at each run."""
    units = "m min mins minutes h hrs hour d day days s sec w M D Days MINUTES"
    unit = st.sampled_from(units.split(" "))
    lead = st.sampled_from(["", "every ", "EVERY ", "every  ", "every\t", "in "])
    odd = st.sampled_from(["1.5", "-1", "٣", "9" * 40])
    amount = st.one_of(st.integers(0, 10**5).map(str), odd)
    duration = st.tuples(lead, amount, st.sampled_from(["", " ", "\t"]), unit).map("".join)
    clock = st.sampled_from(
        ["", " 09:00", "T09:00", "t09:00", "T25:00", "T09:00Z", "T09", "T0900", "T09:00+02:00"]
    )
    days = st.dates(datetime(1990, 1, 1).date(), datetime(2090, 1, 1).date()).map(str)
    instant = st.tuples(days, clock).map("".join)
    found: list[str] = []

    @settings(
        max_examples=number, database=None, derandomize=True, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.one_of(cron_texts(), cron_texts(), duration, instant, st.text(max_size=10)))
    def collect(text: str) -> None:
        found.append(text)

    collect()
    return [*CORPUS, *dict.fromkeys(found)]


PARSE = """
import sys, json
import cron.jobs as jobs
from croniter import croniter
said = []
for text in json.load(sys.stdin):
    try:
        found = jobs.parse_schedule(text)
        if found["kind"] == "cron":
            found["fields"] = croniter(found["expr"]).expanded
    except Exception as error:
        found = None
    said.append(found)
json.dump(said, sys.stdout)
"""


def test_the_grammar_is_that_of_the_real_parser(shell: Shell) -> None:
    asked = texts(600)
    accepted = 0
    for text, real in zip(asked, shell.python(PARSE, asked), strict=True):
        try:
            ours = grammar.parse(text, now=datetime.now(UTC), timezone=BERLIN)
        except InvalidInput:
            assert real is None, (text, real)
            continue
        assert real is not None, (text, ours)
        accepted += 1
        assert ours.kind == real["kind"], text
        assert ours.minutes == real.get("minutes"), text
        if ours.run_at is not None:
            apart = ours.run_at - datetime.fromisoformat(real["run_at"])
            assert abs(apart.total_seconds()) < 60, text
        if ours.expression is not None:
            assert ours.expression == real["expr"]
            reading = read_expression(text)
            for place, theirs in enumerate(real["fields"]):
                means = None if "*" in theirs else tuple(theirs)
                assert reading.fields[place] == means, (text, place)
    assert accepted > 150  # else it would be a test of refusals only
