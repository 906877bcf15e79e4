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

from starlette.concurrency import run_in_threadpool

from tenure.surfaces.web.live.hub import HEARTBEAT_S, Hub, Subscription
from tenure.surfaces.web.live.updates import Update, beat, sse

MAX_PROFILES = 50
"""Profiles, the first by name. Of more than that, a page has to look for itself."""
CHANGED_INTERVAL_S = 1.0
"""Seconds between two ``changed`` that are about runs and jobs alone."""
NAMES_INTERVAL_S = 1.0
"""Seconds after which it is seen that a profile was made or removed."""
FIRST_UPDATES_TIMEOUT_S = 1.0
"""Seconds in which all watchers have looked once; of a profile that cannot be read none comes."""


def mark_of_all(marks: Mapping[str, str]) -> str:
    """How far they had all grown, from :func:`.changes.mark_text` of each ("" where
    it cannot be read)."""
    text = json.dumps(sorted(marks.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class AllProfilesFeed:
    """The subscriptions of one stream. Used on the event loop only."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._subscriptions: dict[str, _ProfileSubscription] = {}
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
            if name not in self._subscriptions:
                self._subscriptions[name] = _ProfileSubscription(self)
                self._hub.enter(name, self._subscriptions[name])
        for name in self._subscriptions.keys() - set(names):
            self._hub.leave(name, self._subscriptions.pop(name))
        return True

    def leave(self) -> None:
        for name, subscription in self._subscriptions.items():
            self._hub.leave(name, subscription)

    def end(self) -> None:
        self._over = True
        self.news.set()
        self.urgent.set()

    def is_over(self) -> bool:
        return self._over

    @property
    def heard_all(self) -> bool:
        return all(subscription.mark for subscription in self._subscriptions.values())

    def mark(self) -> str:
        return mark_of_all(
            {name: subscription.mark for name, subscription in self._subscriptions.items()}
        )


class _ProfileSubscription(Subscription):
    """The subscription to one profile."""

    def __init__(self, whole: AllProfilesFeed) -> None:
        self._whole = whole
        self.mark = ""
        self._owner = b""

    def tell(self, piece: Update | None) -> None:
        if piece is None:
            self._whole.end()
            return
        if piece.owner != self._owner:
            self._whole.urgent.set()
        self.mark, self._owner = piece.mark, piece.owner
        self._whole.news.set()


async def profiles_stream(hub: Hub, mark: str | None = None) -> AsyncIterator[bytes]:
    """``changed`` with ``profiles``, until the page goes or the site closes.

    It begins with one, unless ``mark`` is that of :func:`mark_of_all` as it still is.
    """
    yield b"retry: 1000\n\n"
    feed = AllProfilesFeed(hub)
    with hub.counted(feed):
        try:
            await _settle(feed)
            if feed.mark() != mark and not feed.is_over():
                yield _changed(feed)
            async for chunk in _tell(feed):
                yield chunk
        finally:
            feed.leave()


async def _settle(feed: AllProfilesFeed) -> None:
    """What the first pieces say is no news, only where each watch begins."""
    await feed.follow()
    until = asyncio.get_running_loop().time() + FIRST_UPDATES_TIMEOUT_S
    while not feed.heard_all and not feed.is_over():
        feed.news.clear()
        if not await _within(feed.news, until - asyncio.get_running_loop().time()):
            break
    feed.news.clear()
    feed.urgent.clear()


async def _tell(feed: AllProfilesFeed) -> AsyncIterator[bytes]:
    clock = asyncio.get_running_loop().time
    said = last_sent = looked = clock()
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
            said = last_sent = clock()
            feed.urgent.clear()
            feed.news.clear()
            yield _changed(feed)
        elif clock() - said >= HEARTBEAT_S:
            said = clock()
            yield beat()


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _changed(feed: AllProfilesFeed) -> bytes:
    return sse("changed", "profiles", feed.mark())
