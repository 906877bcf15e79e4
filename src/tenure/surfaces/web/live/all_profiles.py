"""Changes of all profiles, for the page that has a row for each.

One stream counts as one listener. It subscribes to every profile, so that each is polled only while
a stream is open, and to profiles that are added meanwhile. A page reads all profiles for every
``changed``, so at most one is sent per second, but at once if the state of an owner changed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from functools import partial

from starlette.concurrency import run_in_threadpool

from tenure.surfaces.web.live.hub import BEAT, HEARTBEAT_S, Hub, Tell, Update, sse

MAX_PROFILES = 50
"""Profiles, the first by name. Of more than that, a page has to look for itself."""
CHANGED_INTERVAL_S = 1.0
"""Seconds between two ``changed`` that are about runs and jobs alone."""
NAMES_INTERVAL_S = 1.0
"""Seconds after which it is seen that a profile was made or removed."""
FIRST_UPDATES_TIMEOUT_S = 1.0
"""Seconds in which all watchers have looked once; of a profile that cannot be read none comes."""


def mark_of_all(marks: Mapping[str, str]) -> str:
    """How far they had all grown, from :func:`.reports.mark_text` of each ("" where
    it cannot be read)."""
    text = json.dumps(sorted(marks.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class AllProfilesFeed:
    """The subscriptions of one stream. Used on the event loop only."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._tells: dict[str, Tell] = {}
        self._latest: dict[str, Update] = {}
        self.names: tuple[str, ...] = ()
        self.news = asyncio.Event()
        self.urgent = asyncio.Event()
        self._over = False

    async def follow(self) -> bool:
        """Whether profiles have come or gone since the last time."""
        names = tuple(await run_in_threadpool(self._hub.site.names))
        if names == self.names:
            return False
        self.names = names
        for name in names[:MAX_PROFILES]:
            if name not in self._tells:
                self._tells[name] = partial(self._tell, name)
                self._hub.enter(name, self._tells[name])
        for name in self._tells.keys() - set(names):
            self._hub.leave(name, self._tells.pop(name))
            self._latest.pop(name, None)
        return True

    def _tell(self, name: str, update: Update | None) -> None:
        if update is None:
            self._over = True
            self.urgent.set()
        else:
            before = self._latest.get(name)
            if before is None or before.owner != update.owner:
                self.urgent.set()
            self._latest[name] = update
        self.news.set()

    def is_over(self) -> bool:
        return self._over

    def leave(self) -> None:
        for name, tell in self._tells.items():
            self._hub.leave(name, tell)

    def marks(self) -> dict[str, str]:
        """How far each profile has grown; "" where that is not known yet."""
        latest = {name: self._latest.get(name) for name in self._tells}
        return {name: update.mark if update else "" for name, update in latest.items()}


async def profiles_stream(hub: Hub, mark: str | None = None) -> AsyncIterator[bytes]:
    """``changed`` with ``profiles``, until the page goes or the site closes.

    It begins with one, unless ``mark`` is that of :func:`mark_of_all` as it still is.
    """
    yield b"retry: 1000\n\n"
    feed = AllProfilesFeed(hub)
    with hub.counted(feed):
        try:
            await _settle(feed)
            if mark_of_all(feed.marks()) != mark and not feed.is_over():
                yield _changed(feed)
            async for chunk in _tell(feed):
                yield chunk
        finally:
            feed.leave()


async def _settle(feed: AllProfilesFeed) -> None:
    """Wait for the first update of each profile, which only says where its watch begins."""
    await feed.follow()
    until = asyncio.get_running_loop().time() + FIRST_UPDATES_TIMEOUT_S
    while not all(feed.marks().values()) and not feed.is_over():
        feed.news.clear()
        if not await _within(feed.news, until - asyncio.get_running_loop().time()):
            break
    feed.news.clear()
    feed.urgent.clear()


async def _tell(feed: AllProfilesFeed) -> AsyncIterator[bytes]:
    clock = asyncio.get_running_loop().time
    last_any = last_sent = looked = clock()
    while not feed.is_over():
        heard = await _within(feed.news, NAMES_INTERVAL_S)
        if heard:
            await _within(feed.urgent, last_sent + CHANGED_INTERVAL_S - clock())
        if clock() - looked >= NAMES_INTERVAL_S:
            looked = clock()
            heard |= await feed.follow()
        if feed.is_over():
            return
        if heard:
            last_any = last_sent = clock()
            feed.urgent.clear()
            feed.news.clear()
            yield _changed(feed)
        elif clock() - last_any >= HEARTBEAT_S:
            last_any = clock()
            yield BEAT


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _changed(feed: AllProfilesFeed) -> bytes:
    return sse("changed", "profiles", mark_of_all(feed.marks()))
