"""Which ticker would run the job that is due next: the one whose tick comes first after it is due.

Every ticker sleeps 60 seconds between ticks, counted from its own start, so each has a phase of its
own and the order of the phases decides, job after job, until one of them restarts. A phase is
known to a fraction of a second from a run that the process executed; else from its start, to which
the time until its ticker began is added. Each tick takes some milliseconds itself, so phases
drift, by some ten seconds a day. So an estimate, never certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tenure.adapters.hermes.facts.jobs_file import HermesJob, Kind

PERIOD = timedelta(seconds=60)
_STARTING = timedelta(seconds=3)
"""From the start of a process to its first tick: two seconds on an idle machine, more on others."""
_STARTING_DOUBT = timedelta(seconds=3)
_RUN_DOUBT = timedelta(milliseconds=300)
_DRIFT = timedelta(milliseconds=8)
"""By which a tick comes later than 60 s after the one before; and by how much that may be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticker:
    """A process that ticks every 60 s. Instants are UTC."""

    pid: int
    started_at: datetime
    ticked_at: datetime | None = None
    """The last instant at which it is known to have ticked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Who is likely to run the job that is due next."""

    job: HermesJob
    winner: int | None
    """None: nobody, or too close to say."""
    at: datetime | None
    """About when: the first tick after it is due."""
    certain: bool
    rivals: tuple[int, ...]
    """Those whose ticks come so close that they may be first instead."""
    rotates: bool
    """An interval is counted from the end of a run, so that the next ticker is first next time."""
    why: str


def forecast(job: HermesJob, tickers: Sequence[Ticker], now: datetime) -> Forecast:
    """``job`` is enabled and has an instant at which it is due."""
    assert job.due is not None
    due, rotates = max(job.due, now), job.kind is Kind.INTERVAL and len(tickers) > 1
    ranked = sorted((*_first_tick(t, due), t.pid) for t in tickers)
    if not ranked:
        return Forecast(
            job=job, winner=None, at=None, certain=False, rivals=(), rotates=False,
            why="nothing ticks",
        )  # fmt: skip
    at, doubt, first = ranked[0]
    close = [
        pid
        for place, (tick, other, pid) in enumerate(ranked[1:], start=1)
        if tick - at < max(doubt, other)
        or due - (tick - PERIOD) < other  # expected just before it is due, perhaps just after
        or (place == 1 and at - due < doubt)  # the first is perhaps just before instead
    ]
    why = "its 60-second tick comes first after the job is due"
    if len(ranked) == 1:
        why = "no other process ticks"
    elif close:
        why = f"the ticks of {_pids((first, *close))} come too close to each other to say"
    return Forecast(
        job=job, winner=None if close else first, at=at, certain=False, rivals=tuple(close),
        rotates=rotates, why=why,
    )  # fmt: skip


def _first_tick(ticker: Ticker, due: datetime) -> tuple[datetime, timedelta]:
    """Its first tick at or after ``due``, and by how much that may be wrong."""
    known = ticker.ticked_at is not None
    anchor = ticker.ticked_at or ticker.started_at + _STARTING
    period = PERIOD + _DRIFT
    count = max(0, -((anchor - due) // period)) if anchor < due else 0
    tick = anchor + count * period
    return tick, (_RUN_DOUBT if known else _STARTING_DOUBT) + count * _DRIFT


def _pids(pids: Sequence[int]) -> str:
    return "pids " + ", ".join(map(str, pids))
