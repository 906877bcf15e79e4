"""Whose tick comes first: the measured phases, what is uncertain about them, and who rotates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tenure.adapters.hermes.facts.jobs_file import HermesJob, Kind
from tenure.adapters.hermes.look.next_tick import Forecast, Ticker, forecast

NOW = datetime(2030, 1, 1, 12, 0, 10, tzinfo=UTC)
DUE = datetime(2030, 1, 1, 12, 1, tzinfo=UTC)


def job(due: datetime = DUE, kind: Kind = Kind.CRON) -> HermesJob:
    return HermesJob(id="j", name="job", enabled=True, kind=kind, schedule="", due=due)


def started(pid: int, ago: float) -> Ticker:
    return Ticker(pid=pid, started_at=NOW - timedelta(seconds=ago))


def ticked(pid: int, ago: float) -> Ticker:
    at = NOW - timedelta(seconds=ago)
    return Ticker(pid=pid, started_at=at - timedelta(days=1), ticked_at=at)


def ahead(*tickers: Ticker, **of: object) -> Forecast:
    return forecast(job(**of), tickers, NOW)  # type: ignore[arg-type]


def test_the_first_tick_after_the_job_is_due() -> None:
    # They tick 20, 35 and 50 seconds after each full minute: 20 is first.
    found = ahead(ticked(1, 10 - 35 + 60), ticked(2, 10 - 20 + 60), ticked(3, 10 - 50 + 60))
    assert (found.winner, found.rivals, found.certain) == (2, (), False)
    assert found.at is not None
    assert abs((found.at - DUE).total_seconds() - 20) < 0.1


def test_it_follows_the_instant_not_the_present() -> None:
    """The same tickers; the job is due at :30, so the one that ticks at :35 is first."""
    tickers = (ticked(1, 35), ticked(2, 50), ticked(3, 20))
    assert ahead(*tickers, due=DUE + timedelta(seconds=30)).winner == 1
    assert ahead(*tickers, due=DUE + timedelta(seconds=45)).winner == 3


def test_by_their_starts() -> None:
    found = ahead(started(1, 600 - 20), started(2, 600 - 40))
    # A start plus some three seconds: ticks at about :33 and :53.
    assert found.winner == 1
    assert found.at is not None
    assert abs((found.at - DUE).total_seconds() - 33) < 1


def test_a_job_that_is_overdue_goes_to_the_next_tick() -> None:
    found = ahead(ticked(1, 30), ticked(2, 55), due=NOW - timedelta(hours=1))
    assert found.winner == 2
    assert found.at is not None
    assert found.at - NOW < timedelta(seconds=6)


def test_too_close_to_say() -> None:
    found = ahead(started(1, 600), started(2, 598))
    assert (found.winner, found.rivals) == (None, (2,))
    assert "too close" in found.why


def test_runs_tell_apart_what_starts_do_not() -> None:
    found = ahead(ticked(1, 42), ticked(2, 40))
    assert (found.winner, found.rivals) == (1, ())


def test_one_that_may_just_come_too_late_instead() -> None:
    """Its tick is expected a second after the due instant; it may be a second before."""
    found = ahead(started(1, 600 - 49), started(2, 600 - 20))
    assert found.winner is None
    assert ahead(started(1, 600 - 54), started(2, 600 - 20)).winner == 1


def test_one_that_may_just_come_in_time_after_all() -> None:
    """Its tick is expected a second before the due instant; it may be a second after."""
    found = ahead(started(1, 600 - 20), started(2, 600 - 46))
    assert (found.winner, found.rivals) == (None, (2,))


def test_phases_drift_in_days() -> None:
    tickers = started(1, 3 * 86400 + 20), started(2, 3 * 86400 + 40)
    assert ahead(*tickers).winner is None
    assert ahead(started(1, 620), started(2, 640)).winner is not None


def test_the_only_one() -> None:
    found = ahead(started(1, 86400 * 30))
    assert (found.winner, found.certain, found.why) == (1, False, "no other process ticks")


def test_nobody() -> None:
    found = ahead()
    assert (found.winner, found.at, found.why) == (None, None, "nothing ticks")


def test_intervals_rotate() -> None:
    tickers = (ticked(1, 30), ticked(2, 50))
    assert ahead(*tickers, kind=Kind.INTERVAL).rotates
    assert not ahead(*tickers).rotates
    assert not ahead(ticked(1, 30), kind=Kind.INTERVAL).rotates
