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
from collections.abc import Iterator

from prometheus_client.core import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tenure.domain.errors import TenureError
from tenure.surfaces.web.live.hub import Hub
from tenure.surfaces.web.live.updates import Update
from tenure.surfaces.web.metrics.exposition import TAKEOVERS, families
from tenure.surfaces.web.metrics.tally import Distribution, Tally
from tenure.surfaces.web.site import Site

WATCH_S = 120.0
"""Seconds after a scrape in which takeovers are watched."""
log = logging.getLogger("tenure.web")


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
        """Nothing: what there is depends on the profiles."""
        return []

    def collect(self) -> Iterator[Metric]:
        """By the registry, under the lock."""
        read: list[Tally] = []
        for name in self._site.names():
            try:
                read.append(self._tally(name))
            except TenureError as error:
                log.debug("no figures of %s: %s", name, error)
        yield from families(read, self._takeovers, max(0, self._hub.listeners - self._own()))

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
        events = self._hub.events(name)
        with contextlib.suppress(asyncio.CancelledError):
            try:
                async for piece in events:
                    if isinstance(piece, Update) and piece.takeover is not None:
                        took = self._takeovers.setdefault(name, Distribution(TAKEOVERS))
                        took.add(piece.takeover)
                    if self._site.clock.awake() > self._until:
                        return
            finally:
                await events.aclose()

    def _own(self) -> int:
        """How many of the hub's listeners are these."""
        return sum(not task.done() for task in self._listening.values())

    def close(self) -> None:
        """Call on the event loop."""
        for task in self._listening.values():
            task.cancel()
