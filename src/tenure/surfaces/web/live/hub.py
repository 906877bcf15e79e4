"""What changes, as it changes: one watcher a profile, any number of listeners.

::

    the store's change mark --\\
                               +-- watcher, a thread, every 0.25 s --> queues, one a listener
    the owner's live lock ----/        while a stream is open

Each update is rendered once, as bytes that all listeners share. A listener that does not keep up
receives ``reload`` and loses only the details. Pages receive ``changed`` (``jobs runs owner
requests``) and ``owner``; the API also every event of the store (its ``id`` is the event's number)
and each run that is claimed or changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import StreamingResponse

from tenure.client.documents import Document, Instant, to_json
from tenure.client.documents.reports import event_document
from tenure.domain.errors import TenureError
from tenure.domain.event import Event
from tenure.domain.run import Cause, RunState
from tenure.surfaces.web.live.changes import TOPICS, ChangePoller, Changes
from tenure.surfaces.web.problems import ProblemRaised
from tenure.surfaces.web.site import Site

POLL_INTERVAL_S = 0.25
KEEPALIVE_S = 15.0
"""Seconds after which a comment shows that the stream lives."""
HEARTBEAT_S = 5.0
"""Seconds between heartbeats to a page; without one a page polls by itself."""
QUEUE_SIZE = 64
"""Pieces of news that a listener may be behind: sixteen seconds of the busiest profile."""
MAX_STREAMS = 1000
log = logging.getLogger("tenure.web")


def sse(event: str, data: Any, id: str | int | None = None) -> bytes:
    """One server-sent event; ``data`` is text or becomes JSON."""
    text = data if isinstance(data, str) else json.dumps(to_json(data), separators=(",", ":"))
    head = "" if id is None else f"id: {id}\n"
    lines = "".join(f"data: {line}\n" for line in text.split("\n"))
    return f"{head}event: {event}\n{lines}\n".encode()


BEAT = sse("beat", "")
"""For pages: the server is alive, and nothing changed."""
RELOAD = sse("reload", "more happened than was sent")


def event_chunk(event: Event) -> bytes:
    return sse(str(event.kind), {"v": 1, "event": event_document(event)}, event.seq)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What is sent: bytes that all listeners share."""

    mark: str
    """How far the profile had grown when it was written."""
    owner: bytes
    """How the owner stands, whether that is new or not."""
    page: bytes = b""
    """What pages get of it."""
    rest: bytes = b""
    """What the API gets of it besides ``events``."""
    events: tuple[tuple[int, bytes], ...] = ()
    """The store's events with their numbers, so that none is sent twice."""
    takeover: float | None = None
    """If a term began: the maximum number of seconds without a living owner before it."""

    def api(self, after: int) -> tuple[bytes, int]:
        """The API's bytes, with events after that number; and the newest number sent."""
        fresh = [(number, chunk) for number, chunk in self.events if number > after]
        sent = fresh[-1][0] if fresh else after
        return b"".join(chunk for _, chunk in fresh) + self.rest, sent

    def greeting(self) -> bytes:
        """For a page that was made before this update: everything may have changed."""
        return sse("changed", " ".join(TOPICS), self.mark) + self.owner


def make_update(news: Changes, *, mark: str, owner: dict[str, Any]) -> Update:
    """``owner`` is how it stands now, also where that is not new."""
    state = sse("owner", {"v": 1, **owner})
    changed = sse("changed", " ".join(news.topics), mark) if news.topics else b""
    common = state if news.owner is not None else b""
    lost = RELOAD if news.missed else b""
    briefs = [RunBrief.read(run, reason=run.reason or None) for run in news.runs]
    runs = b"".join(sse("run", {"v": 1, "run": brief}) for brief in briefs)
    # For the API the ids are the events' numbers alone.
    plain = sse("changed", " ".join(news.topics)) if news.topics else b""
    return Update(
        mark=mark,
        owner=state,
        page=common + changed,
        rest=lost + runs + common + plain,
        events=tuple((event.seq, event_chunk(event)) for event in news.events),
        takeover=news.takeover,
    )


class RunBrief(Document):
    """A run in the event stream; ``/runs/{id}`` has all of it."""

    id: str
    job: str
    job_name: str
    state: RunState
    cause: Cause
    attempt: int
    term: int
    process: str
    fire_time: Instant
    claimed_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    exit_code: int | None
    reason: str | None


class Watcher:
    """Polls one profile in a thread of its own, and tells its listeners on the event loop.

    What fails is tried again at the next look.
    """

    def __init__(self, site: Site, profile: str, loop: asyncio.AbstractEventLoop) -> None:
        self._site = site
        self._profile = profile
        self._loop = loop
        self._over = threading.Event()
        self._poller: ChangePoller | None = None
        self._failing = False
        self._latest: Update | None = None
        self.listeners: set[Tell] = set()
        name = f"tenure-web-{profile}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def enter(self, tell: Tell) -> None:
        """The latest update is the greeting; without one, the first that comes."""
        if self._latest is not None:
            tell(self._latest)
        self.listeners.add(tell)

    def stop(self) -> None:
        """It ends within one interval; the caller does not wait."""
        self._over.set()

    def _tell(self, update: Update) -> None:
        def on_loop() -> None:
            self._latest = update
            for tell in self.listeners:
                tell(update)

        # The loop may have closed meanwhile.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(on_loop)

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                try:
                    self._look()
                    self._failing = False
                except (TenureError, OSError) as error:
                    self._failed(error)
                self._over.wait(POLL_INTERVAL_S)
        finally:
            self._close()

    def _look(self) -> None:
        profile = self._site.profile(self._profile)
        poller = self._poller
        if poller is not None and poller.profile is profile:
            news = poller.look()
        else:
            self._close()
            poller = self._poller = ChangePoller(profile, self._site.clock)
            news = Changes(topics=TOPICS, owner=poller.owner)
        if news:
            self._tell(make_update(news, mark=poller.mark_text, owner=poller.owner))

    def _failed(self, error: Exception) -> None:
        if not self._failing:
            log.warning("cannot look at the profile %s: %s", self._profile, error)
            # A reload of the page shows why it cannot be read any more.
            changed = sse("changed", " ".join(TOPICS))
            self._tell(Update(mark="", owner=b"", page=changed, rest=RELOAD))
        self._failing = True
        self._close()

    def _close(self) -> None:
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.close()


# -- the listeners ---------------------------------------------------------------------------------


Tell = Callable[[Update | None], None]
"""Where a watcher's updates arrive, on the event loop; None ends the stream."""


class Listener:
    """One stream's place in the row. Used on the event loop only."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Update | None] = asyncio.Queue(QUEUE_SIZE)
        self._behind = False

    def tell(self, update: Update | None) -> None:
        """Queue an update. A listener too far behind gets one for all that it missed."""
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            self._behind = True
        self._queue.put_nowait(update)

    async def updates(
        self, every: float = KEEPALIVE_S, sign: bytes = b": still here\n\n"
    ) -> AsyncIterator[Update | bytes]:
        """Changes, and bytes that mean nothing but that the stream lives or is behind."""
        while True:
            try:
                # asyncio.wait_for would make a task of each.
                async with asyncio.timeout(every):
                    update = await self._queue.get()
            except TimeoutError:
                yield sign
                continue
            if update is None:
                return
            if self._behind:
                self._behind = False
                yield RELOAD
            yield update


class Hub:
    """Part of the app's state, closed with it. Streams run on the loop that :meth:`start` saw."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._watchers: dict[str, Watcher] = {}
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

    def respond(self, stream: AsyncIterator[bytes]) -> StreamingResponse:
        """The answer that is a stream. Raises ProblemRaised where too many listen already."""
        if self.listeners >= MAX_STREAMS:
            raise ProblemRaised(
                503,
                "too_many_listeners",
                f"{MAX_STREAMS} streams are open, which is the maximum",
                remedy="close unused pages, or poll without a stream",
            )
        return StreamingResponse(stream, media_type="text/event-stream")

    async def stream(self, profile: str, mark: str | None = None) -> AsyncIterator[bytes]:
        """A page's news, until it goes or the site closes.

        ``mark`` is that of :func:`.reports.mark_text` when the page was made. If it is not the
        current one, or not given, the stream begins with everything as changed, so that nothing
        that happened in between is missed.
        """
        yield b"retry: 1000\n\n"
        with self._listening(profile) as listener:
            greeted = False
            async for update in listener.updates(HEARTBEAT_S, BEAT):
                if isinstance(update, bytes):
                    yield update
                    continue
                if not greeted:
                    greeted = True
                    chunk = update.greeting() if update.mark != mark else b""
                else:
                    chunk = update.page
                if chunk:
                    yield chunk

    async def events(self, profile: str) -> AsyncGenerator[Update | bytes, None]:
        """The API's news, as updates: the first one is the greeting."""
        with self._listening(profile) as listener:
            async for update in listener.updates():
                yield update

    def close(self) -> None:
        """End every stream. Call on the event loop; may be called again."""
        self._closed = True
        for watcher in list(self._watchers.values()):
            watcher.stop()
            for tell in list(watcher.listeners):
                tell(None)

    @contextlib.contextmanager
    def counted(self, stream: object) -> Iterator[None]:
        """While it is open, it is one of the listeners."""
        self._streams.add(stream)
        try:
            yield
        finally:
            self._streams.discard(stream)

    def enter(self, profile: str, tell: Tell) -> None:
        """Hear of a profile until :meth:`leave`. The first update is the latest there was."""
        if self._closed or self._loop is None:
            tell(None)
            return
        watcher = self._watchers.get(profile)
        if watcher is None:
            watcher = self._watchers[profile] = Watcher(self.site, profile, self._loop)
        watcher.enter(tell)

    def leave(self, profile: str, tell: Tell) -> None:
        """Does nothing for one that has not entered, or has left."""
        watcher = self._watchers.get(profile)
        if watcher is None or tell not in watcher.listeners:
            return
        watcher.listeners.discard(tell)
        if not watcher.listeners:
            watcher.stop()
            del self._watchers[profile]

    @contextlib.contextmanager
    def _listening(self, profile: str) -> Iterator[Listener]:
        listener = Listener()
        with self.counted(listener):
            self.enter(profile, listener.tell)
            try:
                yield listener
            finally:
                self.leave(profile, listener.tell)


async def _hub(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub


HubDep = Annotated[Hub, Depends(_hub)]
