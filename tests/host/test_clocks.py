"""Steps and suspend are noticed and reported (C13)."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tenure.host.clocks import Clock, ClockChangeKind, ClockWatch, SystemClock
from testkit.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def changes(watch: ClockWatch) -> list[tuple[str, float]]:
    seen = []
    while change := watch.look():
        seen.append((change.kind.value, round(change.amount, 3)))
    return seen


@pytest.mark.parametrize("seconds", [0, 0.001, 30, 86400 * 365])
def test_time_that_only_passes_is_no_change(clock: ManualClock, seconds: float) -> None:
    watch = ClockWatch(clock)
    clock.advance(seconds)
    assert changes(watch) == []


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0.9, []),
        (-0.9, []),
        (1.0, [("step_forward", 1.0)]),
        (-1.5, [("step_backward", 1.5)]),
        (3600 * 24 * 365 * 10, [("step_forward", 3600 * 24 * 365 * 10)]),
    ],
)
def test_a_step_of_the_wall_clock(clock: ManualClock, step: float, expected) -> None:
    watch = ClockWatch(clock)
    clock.step(step)
    assert changes(watch) == expected
    assert changes(watch) == [], "told once"


def test_a_suspend_is_no_step(clock: ManualClock) -> None:
    watch = ClockWatch(clock)
    clock.advance(10)
    clock.suspend(3600)
    change = watch.look()
    assert change is not None
    assert (change.kind, change.amount) == (ClockChangeKind.SUSPENDED, 3600)
    assert change.at == clock.now()
    assert watch.look() is None


def test_a_short_nap_is_not_worth_a_word(clock: ManualClock) -> None:
    watch = ClockWatch(clock)
    clock.suspend(4.9)
    assert changes(watch) == []
    clock.suspend(5)
    assert changes(watch) == [("suspended", 5)]


def test_a_step_during_sleep_is_told_after_the_sleep(clock: ManualClock) -> None:
    watch = ClockWatch(clock)
    clock.suspend(600)
    clock.step(-120)
    assert changes(watch) == [("suspended", 600), ("step_backward", 120)]


def test_slewing_never_adds_up_to_a_step(clock: ManualClock) -> None:
    watch = ClockWatch(clock)
    for _ in range(1000):
        clock.advance(60)
        clock.step(0.03)
        assert watch.look() is None
    clock.advance(86400)
    clock.step(43)  # 500 ppm for a day without a look
    assert watch.look() is None


def test_a_process_held_up_between_two_readings_sees_no_step() -> None:
    class Stuttering(ManualClock):
        stalls = 0

        def awake(self) -> float:
            if self.stalls:
                self.stalls -= 1
                self.advance(60)
            return super().awake()

    clock = Stuttering()
    watch = ClockWatch(clock)
    clock.stalls = 2
    assert changes(watch) == []


def test_the_settable_clock_refuses_to_run_backwards(clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="step"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="forwards"):
        clock.suspend(-1)
    assert (clock.awake(), clock.continuous()) == (0, 0)
    berlin = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    assert clock.set(berlin) == berlin
    assert clock.now().tzinfo is UTC
    assert ManualClock(berlin).now() == berlin
    assert clock.advance(timedelta(minutes=1)) == berlin + timedelta(minutes=1)


def test_the_machines_clocks() -> None:
    clock: Clock = SystemClock()
    assert clock.now().tzinfo is UTC
    awake = clock.awake()
    assert clock.continuous() >= awake >= 0
    assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 60
    assert ClockWatch(clock).look() is None


@pytest.mark.real
@pytest.mark.skipif(sys.platform != "linux", reason="time namespaces")
def test_continuous_is_the_clock_that_counts_suspend() -> None:
    """A time namespace moves the boot clock alone, as an hour of suspend would."""
    command = ["unshare", "--user", "--map-root-user", "--time", "--boottime", "3600", "--fork"]
    probe = subprocess.run([*command, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no time namespaces: {probe.stderr.decode().strip()}")
    # Between two readings a process may have to wait: the difference is at least the largest seen.
    source = (
        "from tenure.host.clocks import SystemClock as S; c = S();"
        "print(max(c.continuous() - c.awake() for _ in range(50)))"
    )
    inside = subprocess.run(
        [*command, sys.executable, "-c", source], capture_output=True, check=True, text=True
    )
    own = SystemClock()
    outside = max(own.continuous() - own.awake() for _ in range(50))
    assert float(inside.stdout) - outside == pytest.approx(3600, abs=1)
