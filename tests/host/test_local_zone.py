"""The machine's zone, from a link, from a file, or UTC."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenure.host.local_zone import local_zone


def test_from_the_link(tmp_path: Path) -> None:
    zone = tmp_path / "usr" / "zoneinfo" / "Europe" / "Berlin"
    zone.parent.mkdir(parents=True)
    zone.touch()
    (tmp_path / "localtime").symlink_to(zone)
    assert local_zone(tmp_path / "localtime") == "Europe/Berlin"


@pytest.mark.parametrize("tree", ["posix", "right"])
def test_a_link_into_a_tree_of_the_same_zones(tmp_path: Path, tree: str) -> None:
    """Debian links there too; schedules know the zone by its plain name only."""
    zone = tmp_path / "zoneinfo" / tree / "Europe" / "Berlin"
    zone.parent.mkdir(parents=True)
    zone.touch()
    (tmp_path / "localtime").symlink_to(zone)
    assert local_zone(tmp_path / "localtime") == "Europe/Berlin"


def test_from_the_timezone_file_where_localtime_is_a_copy(tmp_path: Path) -> None:
    (tmp_path / "localtime").touch()
    (tmp_path / "timezone").write_text("America/Los_Angeles\n")
    assert local_zone(tmp_path / "localtime") == "America/Los_Angeles"


def test_utc_where_nothing_tells(tmp_path: Path) -> None:
    assert local_zone(tmp_path / "localtime") == "UTC"


def test_a_name_that_is_no_zone_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "timezone").write_text("../../etc/passwd\n")
    assert local_zone(tmp_path / "localtime") == "UTC"
