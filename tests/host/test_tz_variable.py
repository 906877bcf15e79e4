"""The forms of TZ, and when they say something else than the zone in use."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tenure.host.local_zone import other_zone

NOW = datetime(2026, 12, 1, tzinfo=UTC)
TOKYO = ["Asia/Tokyo", ":Asia/Tokyo", "JST-9", ":JST-9", "Japan", "/usr/share/zoneinfo/Asia/Tokyo"]
UTC_TOO = ["", ":", "UTC", "UTC0", "Etc/UTC", "GMT", "<+00>0"]
BERLIN = ["Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3", "Europe/Paris"]
SAME = [("Asia/Tokyo", TOKYO), ("UTC", UTC_TOO), ("Etc/UTC", UTC_TOO), ("Europe/Berlin", BERLIN)]


@pytest.mark.parametrize(("zone", "values"), SAME, ids=lambda v: str(v)[:20])
def test_each_form_of_the_zone_in_use_says_nothing(zone: str, values: list[str]) -> None:
    for value in values:
        assert other_zone(zone, {"TZ": value}, NOW) is None, value
    assert other_zone(zone, {}, NOW) is None
    assert other_zone(zone, {"TZ": ":/etc/localtime"}, NOW) is None


@pytest.mark.parametrize("value", [*TOKYO, *BERLIN, *UTC_TOO])
def test_each_form_of_another_zone_is_told(value: str) -> None:
    said = other_zone("America/New_York", {"TZ": value}, NOW)
    assert said is not None
    assert said.known
    assert (value or "empty") in said.text


def test_the_remedy_is_a_zone_that_can_be_given() -> None:
    for value, remedy in (
        (":Asia/Tokyo", "Asia/Tokyo"),
        ("/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo"),
        ("", "UTC"),
        ("JST-9", "an IANA name such as Europe/Berlin"),
        ("Asia/Tokio", "an IANA name such as Europe/Berlin"),
    ):
        said = other_zone("America/New_York", {"TZ": value}, NOW)
        assert said is not None
        assert said.remedy == remedy, value


@pytest.mark.parametrize("value", ["Europe/Berln", "nonsense", "5", "é1", "A" * 500, "/nowhere/x"])
def test_what_names_no_zone_is_told_even_where_it_means_the_zone_in_use(value: str) -> None:
    """Programs show UTC then, which is seldom what was meant."""
    said = other_zone("UTC", {"TZ": value}, NOW)
    assert said is not None
    assert not said.known
    assert "names no time zone" in said.text
    assert len(said.text) < 150


def test_a_rule_that_differs_in_summer_only_is_another_zone() -> None:
    assert other_zone("Europe/Berlin", {"TZ": "CET-1"}, NOW) is not None
