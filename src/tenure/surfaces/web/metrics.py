"""Figures of every profile, for Prometheus: read in small steps, never a whole history.

Each scrape reads what is new since the one before: runs by their numbers, events by theirs, what
was left out by when it was decided; and asks again about the runs that were active then. Counters
begin with the first scrape. Takeover times are measured while a scraper is active.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tenure.client.health import examine
from tenure.domain.errors import TenureError
from tenure.domain.event import EventKind
from tenure.domain.job import JobState
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.process import ProcessStatus
from tenure.domain.request import RequestState
from tenure.domain.run import ACTIVE, FINAL, Cause, Run
from tenure.host.clocks import Clock
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from tenure.surfaces.web.live.hub import Hub, Update
from tenure.surfaces.web.reports import foreign_in, state_of
from tenure.surfaces.web.site import Site

WATCH_S = 120.0
"""Seconds after a scrape in which takeovers are watched."""
STATES = ("owned", "stopped", "frozen", "hung", "dead", "unverifiable", "nobody")
TAKEOVERS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
STEP = 500
MOST_STEPS = 40
"""A scrape reads at most 20,000 new runs; the rest is left to the next."""
MOST_REMEMBERED = 50_000
OVERLAP = timedelta(seconds=5)
"""What was decided just before the last look may have been written after it."""
log = logging.getLogger("tenure.web")


class Distribution:
    """A histogram that is only ever added to."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        total, buckets = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return buckets


@dataclass(slots=True)
class Counted:
    """What has happened since a profile was first read."""

    claims: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    fires: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    refused_claims: int = 0
    lag: Distribution = field(default_factory=lambda: Distribution(BUCKETS))


class Tally:
    """Counts what is new in one profile, one thread at a time."""

    def __init__(self, profile: Profile, clock: Clock, before: Tally | None = None) -> None:
        """``before``: the tally before the profile was opened again, whose counters continue."""
        self.profile = profile
        self._clock = clock
        self._mark = profile.store.mark()
        self._active = {run.id for run in self._now_active()}
        self._looked = clock.now()
        self._left_out: dict[int, int] = {}
        self.counted: Counted = before.counted if before else Counted()

    def read(self) -> None:
        """Count what is new. Raises what the store raises."""
        now = self._clock.now()
        self._read_runs()
        self._read_events()
        self._read_left_out()
        self._looked = now
        self.counts = self.profile.store.counts()
        self.health = examine(self.profile, now)

    def _now_active(self) -> Sequence[Run]:
        return self.profile.store.runs(RunFilter(states=ACTIVE), Page(limit=10_000))[0]

    def _read_runs(self) -> None:
        store, number = self.profile.store, self._mark.run
        # Another history: a backup was restored.
        if store.mark().run < number:
            number = store.mark().run
        watched = store.runs_by_id(self._active)
        fresh: list[Run] = []
        for _ in range(MOST_STEPS):
            found, number = store.runs_after(number, limit=STEP)
            fresh += found
            if len(found) < STEP:
                break
        for run in fresh:
            self._claimed(run)
        for run in (*fresh, *watched):
            if run.state in FINAL:
                self.counted.ended[str(run.state)] += 1
        self._active = {run.id for run in (*fresh, *watched) if run.state not in FINAL}
        self._mark = replace(self._mark, run=number)

    def _claimed(self, run: Run) -> None:
        self.counted.claims[str(run.cause)] += 1
        if run.cause is not Cause.REQUEST:
            self.counted.fires["claimed"] += 1
        if run.cause is Cause.SCHEDULE and run.attempt == 1:
            self.counted.lag.add(max(0.0, (run.claimed_at - run.fire_time).total_seconds()))

    def _read_events(self) -> None:
        after = min(self._mark.event, self.profile.store.mark().event)
        for _ in range(MOST_STEPS):
            events = self.profile.store.events(after=after, limit=STEP)
            for event in events:
                after = event.seq
                if event.kind is EventKind.ANSWERED:
                    self.counted.answers[str(event.facts.get("state"))] += 1
                elif event.kind is EventKind.CLAIM_REFUSED:
                    self.counted.refused_claims += 1
            if len(events) < STEP:
                break
        self._mark = replace(self._mark, event=after)

    def _read_left_out(self) -> None:
        # Ranges that are new or have grown. Of one that was there before and is seen to grow for
        # the first time, only what it grows by from then on is counted.
        seen: dict[int, int] = {}
        for omission in self._decided_since(self._looked - OVERLAP):
            known = self._left_out.get(omission.id)
            if known is None:
                known = 0 if omission.id > self._mark.omission else omission.count
            self.counted.fires[str(omission.kind)] += max(0, omission.count - known)
            seen[omission.id] = omission.count
        self._left_out = {**self._left_out, **seen}
        while len(self._left_out) > MOST_REMEMBERED:
            self._left_out.pop(next(iter(self._left_out)))

    def _decided_since(self, since: datetime) -> Iterator[Omission]:
        cursor: str | None = None
        for _ in range(MOST_STEPS):
            found, cursor = self.profile.store.omissions(
                since=since, page=Page(limit=STEP, cursor=cursor)
            )
            yield from found
            if cursor is None:
                return


# -- the metrics of all profiles -------------------------------------------------------------------

Values = float | Mapping[str, float]


def _by(counter: Counter[str], labels: Iterable[object]) -> Values:
    return {str(label): counter[str(label)] for label in labels}


def _standings(tally: Tally) -> Values:
    standings = Counter(str(present.process.standing) for present in tally.health.present)
    if foreign := len(foreign_in(tally.profile)):
        standings[str(ProcessStatus.FOREIGN)] += foreign
    return dict(sorted(standings.items()))


_COUNTERS: tuple[tuple[str, str, str | None, Callable[[Tally], Values]], ...] = (
    ("fires", "Due runs, by what became of them.", "outcome",
     lambda t: _by(t.counted.fires, ("claimed", *OmissionKind))),
    ("claims", "Runs that were claimed, by cause.", "cause",
     lambda t: _by(t.counted.claims, Cause)),
    ("runs_ended", "Runs that ended, by how.", "state",
     lambda t: _by(t.counted.ended, sorted(FINAL))),
    ("claims_refused", "Claims that the store refused.", None,
     lambda t: t.counted.refused_claims),
    ("requests_answered", "Requests, by the answer.", "state",
     lambda t: _by(t.counted.answers, (a for a in RequestState if a is not RequestState.PENDING))),
)  # fmt: skip
_GAUGES: tuple[tuple[str, str, str | None, Callable[[Tally], Values]], ...] = (
    ("owner_term", "The term that was begun last.", None, lambda t: t.health.ownership.term),
    ("owner_state", "1 for the state of the ownership.", "state",
     lambda t: {state: state == state_of(t.health) for state in STATES}),
    ("owner_authoritative", "1 if protected jobs may run.", None,
     lambda t: t.health.owned and t.health.ownership.authoritative),
    ("jobs", "Jobs by state.", "state",
     lambda t: {str(state): t.counts.jobs.get(state, 0) for state in JobState}),
    ("jobs_protected", "Jobs that only an authoritative owner may run.", None,
     lambda t: t.counts.protected),
    ("active_runs", "Runs that are claimed, running or between attempts.", None,
     lambda t: t.counts.active_runs),
    ("open_holds", "Ranges of scheduled runs that wait for an authoritative owner.", None,
     lambda t: t.counts.open_holds),
    ("requests_pending", "Requests that are not answered yet.", None,
     lambda t: t.counts.pending_requests),
    ("processes", "Running processes of the profile, by status.", "standing", _standings),
)  # fmt: skip


def families(
    tallies: Sequence[Tally], takeovers: Mapping[str, Distribution], listeners: int
) -> Iterator[Metric]:
    """Every metric, with each profile's values."""
    tables = ((CounterMetricFamily, _COUNTERS), (GaugeMetricFamily, _GAUGES))
    for kind, table in tables:
        for name, text, label, read in table:
            family = kind(f"tenure_{name}", text, labels=("profile", *([label] if label else ())))
            for tally in tallies:
                values = read(tally)
                labelled = values if isinstance(values, Mapping) else {None: values}
                for value, number in labelled.items():
                    labels = (tally.profile.name, *([value] if value is not None else ()))
                    family.add_metric(labels, float(number))
            yield family
    lag = HistogramMetricFamily(
        "tenure_claim_lag_seconds",
        "From the scheduled time to the claim, jitter included.",
        labels=("profile",),
    )
    takeover = HistogramMetricFamily(
        "tenure_takeover_seconds",
        "Without a living owner before a term began, at most; to a quarter second after a death.",
        labels=("profile",),
    )
    for tally in tallies:
        name, waited = tally.profile.name, tally.counted.lag
        lag.add_metric((name,), buckets=waited.buckets(), sum_value=waited.sum)
        took = takeovers.get(name) or Distribution(TAKEOVERS)
        takeover.add_metric((name,), buckets=took.buckets(), sum_value=took.sum)
    yield from (lag, takeover)
    yield GaugeMetricFamily(
        "tenure_web_listeners", "Streams that are open at this dashboard.", float(listeners)
    )


# -- one scrape ------------------------------------------------------------------------------------
class Figures(Collector):
    """One for the application. :meth:`text` may be called from any thread."""

    def __init__(self, site: Site, hub: Hub) -> None:
        self._site = site
        self._hub = hub
        self._tallies: dict[str, Tally] = {}
        self._lock = threading.Lock()
        self._takeovers: dict[str, Distribution] = {}
        self._listening: dict[str, asyncio.Task[None]] = {}
        self._until = 0.0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """The exposition. Blocks; one scrape at a time."""
        with self._lock:
            return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing: the metrics depend on the profiles."""
        return []

    def collect(self) -> Iterator[Metric]:
        """By the registry, under the lock."""
        read: list[Tally] = []
        for name in self._site.names():
            try:
                read.append(self._tally(name))
            except TenureError as error:
                log.debug("no figures of %s: %s", name, error)
        own = sum(not task.done() for task in self._listening.values())
        others = max(0, self._hub.listeners - own)
        yield from families(read, self._takeovers, others)

    def _tally(self, name: str) -> Tally:
        profile = self._site.profile(name)
        tally = self._tallies.get(name)
        if tally is None or tally.profile is not profile:
            tally = self._tallies[name] = Tally(profile, self._site.clock, tally)
        tally.read()
        return tally

    def listen(self) -> None:
        """Watch the owners of all profiles for a while. Call on the event loop."""
        self._until = self._site.clock.awake() + WATCH_S
        for name in self._site.names():
            task = self._listening.get(name)
            if task is None or task.done():
                self._listening[name] = asyncio.create_task(self._watch(name))

    async def _watch(self, name: str) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            async with contextlib.aclosing(self._hub.events(name)) as updates:
                async for update in updates:
                    if isinstance(update, Update) and update.takeover is not None:
                        took = self._takeovers.setdefault(name, Distribution(TAKEOVERS))
                        took.add(update.takeover)
                    if self._site.clock.awake() > self._until:
                        return

    def close(self) -> None:
        """Call on the event loop."""
        for task in self._listening.values():
            task.cancel()
