"""Times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tenure.surfaces.cli.output import local, relative, span, when

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (0.0004, "0 s"), (0.25, "250 ms"), (1.25, "1.2 s"), (59, "59 s"),
        (60, "1 min"), (240, "4 min"), (3599, "59 min"), (3600, "1 h"), (5400, "1 h 30 min"),
        (36000, "10 h"), (86400, "1 d"), (864000, "10 d"),
    ],
)  # fmt: skip
def test_a_span_is_about_right(seconds: float, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words


def test_relative_to_now() -> None:
    assert relative(NOW + timedelta(minutes=4), NOW) == "in 4 min"
    assert relative(NOW - timedelta(hours=2), NOW) == "2 h ago"
    assert relative(NOW + timedelta(milliseconds=300), NOW) == "now"


def test_in_the_zone_of_the_job() -> None:
    assert local(NOW, "America/Los_Angeles") == "2026-03-01 04:00:00 PST"
    assert when(NOW, "Europe/Berlin", NOW) == "2026-03-01 13:00:00 CET (now)"
    assert when(None, "UTC", NOW) == "-"
