"""Zone files that are replaced under a running process."""

from __future__ import annotations

import os
import shutil
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tenure.domain.schedule import zones
from tenure.domain.schedule.model import cron_schedule
from tenure.domain.schedule.zones import load_zone
from tenure.host.zone_data import ZoneData

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
ZONE = "Test/Town"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of zone files that is searched first."""
    monkeypatch.setattr(zones, "_loaded", {})
    folder = tmp_path / "zoneinfo"
    (folder / "Test").mkdir(parents=True)
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([str(folder), *before])
    yield folder
    zoneinfo.reset_tzpath(before)
    zones._stretches.cache_clear()


def write(folder: Path, hours: int) -> None:
    """The rules of the zone: so many hours ahead of UTC. Replaced as a package manager does."""
    places = [Path(place, f"Etc/GMT-{hours}") for place in zoneinfo.TZPATH[1:]]
    new = folder / "new"
    shutil.copyfile(next(p for p in places if p.exists()), new)
    new.rename(folder / ZONE)


def hours_ahead() -> float:
    offset = NOON.astimezone(load_zone(ZONE)).utcoffset()
    assert offset is not None
    return offset.total_seconds() / 3600


def test_new_rules_are_noticed_and_then_gone_by(files: Path) -> None:
    write(files, 2)
    daily = cron_schedule("0 9 * * *", ZONE)
    assert daily.next_after(NOON) == datetime(2026, 6, 2, 7, tzinfo=UTC)
    data = ZoneData()
    assert not data.replaced()
    write(files, 3)
    assert hours_ahead() == 2, "nothing changes until it is said"
    assert data.replaced() == {ZONE}
    assert data.replaced() == {ZONE}, "a look does not accept them"
    data.reload(frozenset({ZONE}))
    assert not data.replaced()
    assert hours_ahead() == 3
    assert daily.next_after(NOON) == datetime(2026, 6, 2, 6, tzinfo=UTC)


def test_rules_written_over_the_old_ones_are_noticed(files: Path) -> None:
    write(files, 2)
    load_zone(ZONE)
    data = ZoneData()
    data.replaced()
    content = Path(files / ZONE).read_bytes()
    os.utime(files / ZONE, ns=(1, 1))
    assert data.replaced() == {ZONE}
    data.refresh()
    (files / ZONE).write_bytes(content[: len(content) // 2])
    assert not data.replaced(), "half a file is looked at again"
    (files / ZONE).write_bytes(content)
    assert data.replaced() == {ZONE}


def test_the_old_rules_hold_while_the_file_is_gone(files: Path) -> None:
    write(files, 2)
    load_zone(ZONE)
    data = ZoneData()
    data.replaced()
    (files / ZONE).unlink()
    assert not data.replaced()
    assert hours_ahead() == 2
    write(files, 3)
    assert data.replaced() == {ZONE}


def test_two_watchers_of_one_process_both_notice(files: Path) -> None:
    """An application may embed several profiles: each plans its own jobs again."""
    write(files, 2)
    load_zone(ZONE)
    first, second = ZoneData(), ZoneData()
    first.replaced(), second.replaced()
    write(files, 3)
    first.refresh()
    assert second.replaced() == {ZONE}
