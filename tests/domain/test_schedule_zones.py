"""Zones, policies, and the assumptions about the zone database that the tables stand on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest

from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.model import cron_schedule
from tenure.domain.schedule.zones import (
    CRON_DST,
    DAY,
    Dst,
    Fold,
    Gap,
    check_zone,
    load_zone,
    parse_dst,
    resolve_local,
    stretches_back,
    stretches_from,
    to_instant,
    to_seconds,
)


@pytest.mark.parametrize(
    ("text", "dst"),
    [
        ("cron", CRON_DST),
        (" CRON ", CRON_DST),
        ("skip", Dst(gap=Gap.SKIP)),
        ("shift", Dst(gap=Gap.SHIFT)),
        ("both", Dst(fold=Fold.BOTH)),
        ("fold=second", Dst(fold=Fold.SECOND)),
        ("gap=skip,fold=both", Dst(gap=Gap.SKIP, fold=Fold.BOTH)),
        ("second, skip", Dst(gap=Gap.SKIP, fold=Fold.SECOND)),
    ],
)
def test_policies_are_read_and_written(text: str, dst: Dst) -> None:
    assert parse_dst(text) == dst
    assert parse_dst(str(dst)) == dst


@pytest.mark.parametrize(
    "text",
    ["", "never", "gap=both", "fold=skip", "skip,shift", "first,both", "cron,skip", "gap=", "a=b"],
)
def test_other_policies_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_dst(text)
    assert caught.value.field == "dst"
    assert "gap=skip,fold=both" in caught.value.remedy


@pytest.mark.parametrize("text", ["x" * 65, None, 5])
def test_a_policy_is_a_short_text(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_dst(text)
    assert caught.value.field == "dst"
    assert "gap=skip,fold=both" in caught.value.remedy


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("Berlin", "Europe/Berlin"),
        ("berlin", "Europe/Berlin"),
        ("Europe/Berln", "Europe/Berlin"),
        ("new york", "America/New_York"),
        ("Amerika/New_York", "America/New_York"),
        ("Tokio", "Asia/Tokyo"),
        ("", "such as Europe/Berlin"),
        ("zzzzzz", "such as Europe/Berlin"),
        ("America", "America/"),
        ("../../../etc/passwd", "such as"),
        ("/etc/localtime", "such as"),
        ("localtime", ""),
        ("right/UTC", ""),
        ("Europe/Berlin\0", "Europe/Berlin"),
        ("E" * 5000, "such as"),
        ("Europe/../Europe/Berlin", ""),
        (None, "such as Europe/Berlin"),
        (UTC, "such as Europe/Berlin"),
    ],
)
def test_unknown_zones_name_near_ones(key: str, remedy: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_zone(key)
    assert caught.value.field == "timezone"
    assert remedy in caught.value.remedy
    assert caught.value.remedy


def test_known_zones() -> None:
    assert check_zone("Europe/Berlin") == "Europe/Berlin"
    assert check_zone("utc") == check_zone("Z") == "UTC"
    assert load_zone("UTC") is UTC
    assert load_zone("Etc/GMT+5").utcoffset(None) is not None


@pytest.mark.parametrize(
    "key", ["UTC", "Europe/Berlin", "Africa/Casablanca", "Pacific/Apia", "America/Boa_Vista"]
)
def test_stretches_tile_time_and_agree_with_zoneinfo(key: str) -> None:
    zone, start = ZoneInfo(key), to_seconds(datetime(1998, 6, 1, tzinfo=UTC))
    end = start + 20 * 366 * DAY
    forward = []
    for stretch in stretches_from(key, start):
        forward.append(stretch)
        if stretch.end > end:
            break
    assert forward[0].start <= start < forward[0].end
    assert all(a.end == b.start and b.before == a.offset for a, b in pairwise(forward))
    for stretch in forward:
        for at in (max(stretch.start, start), min(stretch.end, end) - 1):
            assert to_instant(at).astimezone(zone).utcoffset() == timedelta(seconds=stretch.offset)
    back = []
    for stretch in stretches_back(key, forward[-1].start):
        back.append(stretch)
        if stretch == forward[0]:
            break
    assert back == forward[::-1]


def test_a_change_at_the_turn_of_the_year_is_a_change() -> None:
    key = "Pacific/Kiritimati"  # jumped a day over 31 December 1994, at 10:00 UTC
    change = to_seconds(datetime(1994, 12, 31, 10, 40, tzinfo=UTC))
    nearby = list(islice(stretches_from(key, change - DAY), 3))
    assert [s.offset - s.before for s in nearby].count(DAY) == 1
    skipped = to_seconds(datetime(1994, 12, 31, 12, tzinfo=UTC))
    shifted = resolve_local(skipped, key, CRON_DST)
    assert shifted is not None
    assert to_instant(shifted).astimezone(ZoneInfo(key)).replace(tzinfo=None) == datetime(
        1995, 1, 1
    )
    assert resolve_local(skipped, key, Dst(gap=Gap.SKIP)) is None


def test_a_fold_that_ends_the_year_comes_twice() -> None:
    """Casablanca put its clocks back at 00:00 on 1 January 1986, which was 23:00 UTC."""
    span = datetime(1985, 12, 31, 12, tzinfo=UTC), datetime(1986, 1, 1, 12, tzinfo=UTC)
    half_past = [
        datetime(1985, 12, 31, 22, 30, tzinfo=UTC),
        datetime(1985, 12, 31, 23, 30, tzinfo=UTC),
    ]
    for fold, expected in zip(Fold, ([0], [1], [0, 1]), strict=True):
        schedule = cron_schedule("30 23 * * *", "Africa/Casablanca", Dst(fold=fold))
        assert list(schedule.fires(*span)) == [half_past[n] for n in expected]


def test_no_zone_changes_twice_within_the_sampling_step() -> None:
    """The tables sample every three days; walk all zones daily for the years most in use."""
    start = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
    days = range(start, start + 8 * 366 * DAY, DAY)
    instants = [datetime.fromtimestamp(day, UTC) for day in days]
    for key in sorted(available_timezones()):
        zone = ZoneInfo(key)
        last_change, previous = -10, None
        for n, instant in enumerate(instants):
            offset = instant.astimezone(zone).utcoffset()
            if previous is not None and offset != previous:
                assert n - last_change > 5, key
                last_change = n
            previous = offset
