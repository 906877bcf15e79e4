"""The news of all profiles at once, for the page that has a row of each.

One stream counts as one listener; it is an ear in the room of every profile (so that each is
looked at only while somebody listens), and hears a profile that is made meanwhile. A page reads
all profiles for every ``changed``, so there is at most one a second, but at once where an owner
stands otherwise.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping

from starlette.concurrency import run_in_threadpool

from tenure.surfaces.web.live.hub import HEARTBEAT_S, Hub, Subscription
from tenure.surfaces.web.live.news import Update, beat, sse

MAX_PROFILES = 50
"""Profiles, the first by name. Of more than that, a page has to look for itself."""
CHANGED_INTERVAL_S = 1.0
"""Seconds between two ``changed`` that are about runs and jobs alone."""
NAMES_INTERVAL_S = 1.0
"""Seconds after which it is seen that a profile was made or removed."""
FIRST_UPDATES_TIMEOUT_S = 1.0
"""Seconds in which all watchers have looked once; of a profile that cannot be read none comes."""


def mark_of_all(marks: Mapping[str, str]) -> str:
    """How far they had all grown, from :func:`.hub.mark_of` of each ("" where
    it cannot be read)."""
    text = json.dumps(sorted(marks.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class AllProfilesFeed:
    """One stream's ears. Used on the event loop only."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._ears: dict[str, _OfProfile] = {}
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
            if name not in self._ears:
                self._ears[name] = _OfProfile(self)
                self._hub.enter(name, self._ears[name])
        for name in self._ears.keys() - set(names):
            self._hub.leave(name, self._ears.pop(name))
        return True

    def leave(self) -> None:
        for name, ear in self._ears.items():
            self._hub.leave(name, ear)

    def end(self) -> None:
        self._over = True
        self.news.set()
        self.urgent.set()

    def is_over(self) -> bool:
        return self._over

    @property
    def heard_all(self) -> bool:
        return all(ear.mark for ear in self._ears.values())

    def mark(self) -> str:
        return mark_of_all({name: ear.mark for name, ear in self._ears.items()})


class _OfProfile(Subscription):
    """Where one profile's watcher tells what it saw."""

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
    ears = AllProfilesFeed(hub)
    with hub.counted(ears):
        try:
            await _settle(ears)
            if ears.mark() != mark and not ears.is_over():
                yield _changed(ears)
            async for chunk in _tell(ears):
                yield chunk
        finally:
            ears.leave()


async def _settle(ears: AllProfilesFeed) -> None:
    """What the first pieces say is no news, only where each watch begins."""
    await ears.follow()
    until = asyncio.get_running_loop().time() + FIRST_UPDATES_TIMEOUT_S
    while not ears.heard_all and not ears.is_over():
        ears.news.clear()
        if not await _within(ears.news, until - asyncio.get_running_loop().time()):
            break
    ears.news.clear()
    ears.urgent.clear()


async def _tell(ears: AllProfilesFeed) -> AsyncIterator[bytes]:
    clock = asyncio.get_running_loop().time
    said = told = looked = clock()
    while not ears.is_over():
        heard = await _within(ears.news, NAMES_INTERVAL_S)
        if heard:
            await _within(ears.urgent, told + CHANGED_INTERVAL_S - clock())
        if clock() - looked >= NAMES_INTERVAL_S:
            looked = clock()
            heard |= await ears.follow()
        if ears.is_over():
            return
        if heard:
            said = told = clock()
            ears.urgent.clear()
            ears.news.clear()
            yield _changed(ears)
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


def _changed(ears: AllProfilesFeed) -> bytes:
    return sse("changed", "profiles", ears.mark())
