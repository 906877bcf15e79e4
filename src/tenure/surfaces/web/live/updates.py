"""Updates of a profile: one thread polls it while a stream is open, and renders each update once,
as bytes that all streams share."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tenure.client.documents import Document, Instant, to_json
from tenure.client.documents.reports import event_document
from tenure.domain.errors import TenureError
from tenure.domain.event import Event
from tenure.domain.run import Cause, RunState
from tenure.surfaces.web.live.changes import TOPICS, ChangePoller, Changes
from tenure.surfaces.web.site import Site

POLL_INTERVAL_S = 0.25
log = logging.getLogger("tenure.web")


def sse(event: str, data: Any, id: str | int | None = None) -> bytes:
    """One server-sent event; ``data`` is text or becomes JSON."""
    text = data if isinstance(data, str) else json.dumps(to_json(data), separators=(",", ":"))
    head = "" if id is None else f"id: {id}\n"
    lines = "".join(f"data: {line}\n" for line in text.split("\n"))
    return f"{head}event: {event}\n{lines}\n".encode()


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
        """For a page that was made before this piece: everything may have changed."""
        return sse("changed", " ".join(TOPICS), self.mark) + self.owner


def make_update(news: Changes, *, mark: str, owner: dict[str, Any]) -> Update:
    """``owner`` is how it stands now, also where that is not new."""
    state = sse("owner", {"v": 1, **owner})
    changed = sse("changed", " ".join(news.topics), mark) if news.topics else b""
    common = state if news.owner is not None else b""
    lost = reload_chunk() if news.missed else b""
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


def unreadable_update() -> Update:
    """The profile cannot be read any more; a reload shows why."""
    return Update(mark="", owner=b"", page=sse("changed", " ".join(TOPICS)), rest=reload_chunk())


def event_chunk(event: Event) -> bytes:
    return sse(str(event.kind), {"v": 1, "event": event_document(event)}, event.seq)


def beat() -> bytes:
    """For pages: the server is alive, and nothing changed."""
    return sse("beat", "")


def reload_chunk() -> bytes:
    """More happened than was sent: read again."""
    return sse("reload", "more happened than was sent")


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
    """Tells each piece of news from its own thread. What fails is tried again at the next look."""

    def __init__(self, site: Site, profile: str, tell: Callable[[Update], None]) -> None:
        self._site = site
        self._profile = profile
        self._tell = tell
        self._over = threading.Event()
        self._looker: ChangePoller | None = None
        self._failing = False

    def start(self) -> None:
        thread = threading.Thread(target=self._run, name=f"tenure-web-{self._profile}", daemon=True)
        thread.start()

    def stop(self) -> None:
        """It ends within one interval; the caller does not wait."""
        self._over.set()

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
        looker = self._looker
        if looker is not None and looker.profile is profile:
            news = looker.look()
        else:
            self._close()
            looker = self._looker = ChangePoller(profile, self._site.clock)
            news = Changes(topics=TOPICS, owner=looker.owner)
        if news:
            self._tell(make_update(news, mark=looker.mark_text, owner=looker.owner))

    def _failed(self, error: Exception) -> None:
        if not self._failing:
            log.warning("cannot look at the profile %s: %s", self._profile, error)
            self._tell(unreadable_update())
        self._failing = True
        self._close()

    def _close(self) -> None:
        looker, self._looker = self._looker, None
        if looker is not None:
            looker.close()
