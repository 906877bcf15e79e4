"""48 hours of virtual time with all that can happen to clocks: every fire is accounted for."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from test_wrong_clocks import opened

from tenure.domain.event import EventKind

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
START = datetime(2026, 3, 28, 12, tzinfo=UTC)
"""Half a day before the clocks of Berlin go forward."""


def test_two_days_of_leaps_sleep_and_summer_time(tmp_path: Path) -> None:
    """The wall clock leaps an hour ahead and, later, an hour back; the machine sleeps for three;
    a night has no 02:30. No fire is doubled, none is without a run or a record."""
    with opened(tmp_path) as world:
        world.clock.set(START)
        first = world.carrier("first")
        first.look()
        often = world.add("*/10 * * * *", "often")
        interval = world.add("every 15m", "interval")
        nightly = world.add("30 2 * * *", "nightly", zone="Europe/Berlin")
        for hour in range(48):
            if hour == 8:
                world.clock.step(HOUR)
            if hour == 20:
                world.clock.step(-HOUR)
            if hour == 30:
                world.clock.suspend(3 * HOUR)
            world.pass_time(first, HOUR, 5 * MINUTE)
        assert world.clock.now() == START + timedelta(hours=48 + 3)
        changes = Counter(
            event.facts["kind"]
            for event in world.profile.store.events(limit=100_000)
            if event.kind is EventKind.CLOCK
        )
        assert changes.keys() >= {"step_forward", "step_backward", "suspended"}
        for job in (often, interval):
            fires = world.fires(job)
            assert len(fires) == len(set(fires))
            assert len(fires) >= 100
        assert [fire.isoformat() for fire in world.fires(nightly)] == [
            "2026-03-29T01:00:00+00:00",  # 02:30 is skipped: at once after the gap
            "2026-03-30T00:30:00+00:00",
        ]
        world.check()
