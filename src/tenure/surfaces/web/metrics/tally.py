"""What has happened in one profile since it was first read, counted."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tenure.client.health import examine
from tenure.domain.event import EventKind
from tenure.domain.omission import Omission
from tenure.domain.run import ACTIVE, FINAL, Cause, Run
from tenure.host.clocks import Clock
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
STEP = 500
MOST_STEPS = 40
"""A scrape reads at most 20,000 new runs; the rest is left to the next."""
MOST_REMEMBERED = 50_000
OVERLAP = timedelta(seconds=5)
"""What was decided just before the last look may have been written after it."""


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
        total, found = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class Tally:
    """One thread at a time."""

    def __init__(self, profile: Profile, clock: Clock, before: Tally | None = None) -> None:
        """``before``: the tally before the profile was opened again; its counters continue."""
        self.profile = profile
        self._clock = clock
        self._mark = profile.store.mark()
        self._active = {run.id for run in self._now_active()}
        self._looked = clock.now()
        self._left_out: dict[int, int] = {}
        self.claims: Counter[str] = before.claims if before else Counter()
        self.ended: Counter[str] = before.ended if before else Counter()
        self.fires: Counter[str] = before.fires if before else Counter()
        self.answers: Counter[str] = before.answers if before else Counter()
        self.refused_claims: int = before.refused_claims if before else 0
        self.lag: Distribution = before.lag if before else Distribution(BUCKETS)

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
        if store.mark().run < number:  # another history: a backup was restored
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
                self.ended[str(run.state)] += 1
        self._active = {run.id for run in (*fresh, *watched) if run.state not in FINAL}
        self._mark = replace(self._mark, run=number)

    def _claimed(self, run: Run) -> None:
        self.claims[str(run.cause)] += 1
        if run.cause is not Cause.REQUEST:
            self.fires["claimed"] += 1
        if run.cause is Cause.SCHEDULE and run.attempt == 1:
            self.lag.add(max(0.0, (run.claimed_at - run.fire_time).total_seconds()))

    def _read_events(self) -> None:
        after = min(self._mark.event, self.profile.store.mark().event)
        for _ in range(MOST_STEPS):
            found = self.profile.store.events(after=after, limit=STEP)
            for event in found:
                after = event.seq
                if event.kind is EventKind.ANSWERED:
                    self.answers[str(event.facts.get("state"))] += 1
                elif event.kind is EventKind.CLAIM_REFUSED:
                    self.refused_claims += 1
            if len(found) < STEP:
                break
        self._mark = replace(self._mark, event=after)

    def _read_left_out(self) -> None:
        """Stretches that are new or have grown. Of one that was there before and is seen to grow
        for the first time, only what it grows by from then on is counted."""
        seen: dict[int, int] = {}
        for omission in self._decided_since(self._looked - OVERLAP):
            known = self._left_out.get(omission.id)
            if known is None:
                known = 0 if omission.id > self._mark.omission else omission.count
            self.fires[str(omission.kind)] += max(0, omission.count - known)
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
