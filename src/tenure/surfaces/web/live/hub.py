"""What changes, as it changes: one watcher a profile, any number of listeners.

::

    the store's change mark --\\
                               +-- watcher, a thread, every 0.25 s --> queues, one a listener
    the owner's live lock ----/        while a stream is open

Each piece of news is written once and handed to every listener as the same bytes. A listener that
does not keep up receives `reload`, and has lost only the details. Two streams are made of
it: for pages ``changed`` (``jobs runs owner requests``) and ``owner``; for the API these, every
event of the store (its ``id`` is the event's number), and each run that is claimed or changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

from tenure.surfaces.web.live.updates import Update, Watcher, beat, reload_chunk
from tenure.surfaces.web.problems import ProblemRaised, problem
from tenure.surfaces.web.site import Site

KEEPALIVE_S = 15.0
"""Seconds after which a comment shows that the stream lives."""
HEARTBEAT_S = 5.0
"""Seconds between heartbeats to a page; without one a page polls by itself."""
QUEUE_SIZE = 64
"""Pieces of news that a listener may be behind: sixteen seconds of the busiest profile."""
MAX_STREAMS = 1000
log = logging.getLogger("tenure.web")


class Subscription:
    """Where a watcher's news arrive. Used on the event loop only."""

    def tell(self, piece: Update | None) -> None:
        """None ends the stream."""
        raise NotImplementedError


class Listener(Subscription):
    """One stream's place in the row. Used on the event loop only."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Update | None] = asyncio.Queue(QUEUE_SIZE)
        self._behind = False

    def tell(self, piece: Update | None) -> None:
        """None ends the stream. A listener too far behind gets one update for all it missed."""
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            self._behind = True
        self._queue.put_nowait(piece)

    async def pieces(
        self, every: float = KEEPALIVE_S, sign: bytes = b": still here\n\n"
    ) -> AsyncIterator[Update | bytes]:
        """Changes, and bytes that mean nothing but that the stream lives or is behind."""
        while True:
            try:
                async with asyncio.timeout(every):  # wait_for would make a task of each
                    piece = await self._queue.get()
            except TimeoutError:
                yield sign
                continue
            if piece is None:
                return
            if self._behind:
                self._behind = False
                yield reload_chunk()
            yield piece


class Hub:
    """Part of the app's state, closed with it. Streams run on the loop that :meth:`start` saw."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._rooms: dict[str, _Room] = {}
        self._streams: set[object] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def start(self) -> None:
        """Call on the event loop."""
        self._loop = asyncio.get_running_loop()

    @property
    def listeners(self) -> int:
        """Streams that are open, however many profiles each is about."""
        return len(self._streams)

    def check_room(self) -> None:
        """Raises ProblemRaised where too many listen already. Before a stream is begun."""
        if self.listeners >= MAX_STREAMS:
            raise ProblemRaised(
                problem(
                    503,
                    "too_many_listeners",
                    f"{MAX_STREAMS} streams are open, which is the maximum",
                    remedy="close unused pages, or poll without a stream",
                )
            )

    async def stream(self, profile: str, mark: str | None = None) -> AsyncIterator[bytes]:
        """A page's news, until it goes or the site closes.

        ``mark`` is that of :func:`.changes.mark_text` when the page was made. If it is not the
        current one, or not given, the stream begins with everything as changed, so that nothing
        that happened in between is missed.
        """
        yield b"retry: 1000\n\n"
        with self._listening(profile) as listener:
            greeted = False
            async for piece in listener.pieces(HEARTBEAT_S, beat()):
                if isinstance(piece, bytes):
                    yield piece
                    continue
                if not greeted:
                    greeted = True
                    chunk = piece.greeting() if piece.mark != mark else b""
                else:
                    chunk = piece.page
                if chunk:
                    yield chunk

    async def events(self, profile: str) -> AsyncGenerator[Update | bytes, None]:
        """The API's news, as pieces: the first one is the greeting."""
        with self._listening(profile) as listener:
            async for piece in listener.pieces():
                yield piece

    def close(self) -> None:
        """End every stream. Call on the event loop; twice is no error."""
        self._closed = True
        for room in list(self._rooms.values()):
            room.watcher.stop()
            for listener in list(room.listeners):
                listener.tell(None)

    @contextlib.contextmanager
    def counted(self, stream: object) -> Iterator[None]:
        """While it is open, it is one of the listeners."""
        self._streams.add(stream)
        try:
            yield
        finally:
            self._streams.discard(stream)

    def enter(self, profile: str, ear: Subscription) -> None:
        """Hear of a profile until :meth:`leave`. The first piece is the latest there was."""
        if self._closed or self._loop is None:
            ear.tell(None)
            return
        room = self._rooms.get(profile)
        if room is None:
            room = self._rooms[profile] = _Room(self.site, profile, self._call)
        room.enter(ear)

    def leave(self, profile: str, ear: Subscription) -> None:
        """Who is not there leaves nothing."""
        room = self._rooms.get(profile)
        if room is None or ear not in room.listeners:
            return
        room.listeners.discard(ear)
        if not room.listeners:
            room.watcher.stop()
            del self._rooms[profile]

    @contextlib.contextmanager
    def _listening(self, profile: str) -> Iterator[Listener]:
        listener = Listener()
        with self.counted(listener):
            self.enter(profile, listener)
            try:
                yield listener
            finally:
                self.leave(profile, listener)

    def _call(self, function: Callable[[], None]) -> None:
        """From a watcher's thread, on the loop."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
                self._loop.call_soon_threadsafe(function)


class _Room:
    """The listeners of one profile, and its watcher."""

    def __init__(
        self, site: Site, profile: str, call: Callable[[Callable[[], None]], None]
    ) -> None:
        self.listeners: set[Subscription] = set()
        self._latest: Update | None = None
        self.watcher = Watcher(site, profile, lambda piece: call(lambda: self._tell(piece)))
        self.watcher.start()

    def enter(self, listener: Subscription) -> None:
        """The latest piece is the greeting; where there is none yet, the first one will be."""
        if self._latest is not None:
            listener.tell(self._latest)
        self.listeners.add(listener)

    def _tell(self, piece: Update) -> None:
        self._latest = piece
        for listener in self.listeners:
            listener.tell(piece)
