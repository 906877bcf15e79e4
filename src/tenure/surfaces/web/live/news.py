"""One piece of news, written once for everybody who listens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tenure.client.documents import event_document, instant
from tenure.domain.event import Event
from tenure.domain.run import Run
from tenure.surfaces.web.live.changes import TOPICS, News


def sse(event: str, data: Any, id: str | int | None = None) -> bytes:
    """One server-sent event; ``data`` is text or becomes JSON."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    head = "" if id is None else f"id: {id}\n"
    lines = "".join(f"data: {line}\n" for line in text.split("\n"))
    return f"{head}event: {event}\n{lines}\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
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
    """The store's events with their numbers, so that none is told twice."""
    takeover: float | None = None
    """Where a term began: for how many seconds at most nobody alive had owned."""

    def api(self, after: int) -> tuple[bytes, int]:
        """What the API gets, of events those after that number; and the newest number told."""
        fresh = [(number, chunk) for number, chunk in self.events if number > after]
        told = fresh[-1][0] if fresh else after
        return b"".join(chunk for _, chunk in fresh) + self.rest, told

    def greeting(self) -> bytes:
        """For a page that was made before this piece: everything may have changed."""
        return sse("changed", " ".join(TOPICS), self.mark) + self.owner


def piece_of(news: News, *, mark: str, owner: dict[str, Any]) -> Piece:
    """``owner`` is how it stands now, also where that is not new."""
    told = sse("owner", {"v": 1, **owner})
    changed = sse("changed", " ".join(news.topics), mark) if news.topics else b""
    common = told if news.owner is not None else b""
    lost = reload_chunk() if news.missed else b""
    runs = b"".join(sse("run", {"v": 1, "run": run_brief(run)}) for run in news.runs)
    # For the API the ids are the events' numbers alone.
    plain = sse("changed", " ".join(news.topics)) if news.topics else b""
    return Piece(
        mark=mark,
        owner=told,
        page=common + changed,
        rest=lost + runs + common + plain,
        events=tuple((event.seq, event_chunk(event)) for event in news.events),
        takeover=news.takeover,
    )


def blind() -> Piece:
    """That the profile cannot be read any more (why, whoever reads it is told)."""
    return Piece(mark="", owner=b"", page=sse("changed", " ".join(TOPICS)), rest=reload_chunk())


def event_chunk(event: Event) -> bytes:
    return sse(str(event.kind), {"v": 1, "event": event_document(event)}, event.seq)


def beat() -> bytes:
    """For pages: there is somebody, and nothing is new."""
    return sse("beat", "")


def reload_chunk() -> bytes:
    """More happened than is told: read anew what matters."""
    return sse("reload", "more happened than is told here")


def run_brief(run: Run) -> dict[str, Any]:
    """A run in short, as the event stream has it; ``/runs/{id}`` has it whole."""
    return {
        "id": run.id,
        "job": run.job,
        "job_name": run.job_name,
        "state": str(run.state),
        "cause": str(run.cause),
        "attempt": run.attempt,
        "term": run.term,
        "process": run.process,
        "fire_time": instant(run.fire_time),
        "claimed_at": instant(run.claimed_at),
        "started_at": instant(run.started_at),
        "finished_at": instant(run.finished_at),
        "exit_code": run.exit_code,
        "reason": run.reason or None,
    }
