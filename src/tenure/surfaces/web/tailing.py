"""A run's output as it is being written, for one who follows it.

A look costs a stat(2) on the event loop; what is new is read in a thread. Whether the run has ended
is asked of the store when the profile's news say that something about its runs has changed.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from tenure.domain.errors import NotFound
from tenure.domain.run import FINAL
from tenure.runtime.output import CHUNK, layout_of, marker, read_from
from tenure.runtime.profile import Profile
from tenure.surfaces.web.live import Hub
from tenure.surfaces.web.news import Piece, sse

PAUSE = 0.2
STILL_HERE = 15.0


@dataclass(slots=True, kw_only=True)
class Tail:
    """Where somebody who follows has got to."""

    profile: Profile
    run: str
    attempt: int
    offset: int = 0

    @property
    def path(self) -> Path:
        return self.profile.folder.logs / self.run / f"{self.attempt}.log"


async def tail_stream(hub: Hub, log: Tail) -> AsyncIterator[bytes]:
    """``output`` events (a text; their id is the offset after it), ``end`` with the final state.

    ``attempt`` says that another attempt has begun, whose output starts anew.
    """
    yield b"retry: 1000\n\n"
    looking = asyncio.Event()
    looking.set()
    watching = asyncio.create_task(_watch(hub, log.profile.name, looking))
    try:
        async for chunk in _follow(log, looking, watching):
            yield chunk
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def _watch(hub: Hub, profile: str, looking: asyncio.Event) -> None:
    """Set ``looking`` whenever the state of a run may have changed; ends when the site closes."""
    events = hub.events(profile)
    try:
        async for piece in events:
            if not isinstance(piece, Piece) or b"runs" in piece.page or b"owner" in piece.page:
                looking.set()
    finally:
        await events.aclose()


async def _follow(
    log: Tail, looking: asyncio.Event, watching: asyncio.Task[None]
) -> AsyncIterator[bytes]:
    text = codecs.getincrementaldecoder("utf-8")("replace")
    state, quiet, size = "", 0.0, -1
    while True:
        state, attempt = await _state(log, looking, state)
        over = state in FINAL or attempt > log.attempt
        if over or _size(log.path) != size:
            size = _size(log.path)
            async for chunk in _new(log, text):
                quiet = 0.0
                yield chunk
        if state in FINAL and attempt == log.attempt:
            yield sse("end", {"v": 1, "run": log.run, "state": state})
            return
        if attempt > log.attempt:
            log.attempt, log.offset, size = attempt, 0, -1
            text.reset()
            yield sse("attempt", {"v": 1, "run": log.run, "attempt": attempt}, 0)
            continue
        if watching.done():
            return
        await asyncio.sleep(PAUSE)
        quiet += PAUSE
        if quiet >= STILL_HERE:
            quiet = 0.0
            yield b": still here\n\n"


async def _state(log: Tail, looking: asyncio.Event, known: str) -> tuple[str, int]:
    if not looking.is_set():
        return known, log.attempt
    looking.clear()
    try:
        run = await run_in_threadpool(log.profile.store.run, log.run)
    except NotFound:  # retention has taken it
        return "lost", log.attempt
    return str(run.state), run.attempt


def _size(path: Path) -> int:
    layout = layout_of(path)
    return layout.end


async def _new(log: Tail, text: codecs.IncrementalDecoder) -> AsyncIterator[bytes]:
    while True:
        at, part = await run_in_threadpool(read_from, log.path, log.offset, CHUNK)
        if not part:
            return
        if at > log.offset:
            said = marker(at if log.offset == 0 else at - log.offset).decode()
            yield sse("output", {"v": 1, "offset": at, "text": said}, at)
        log.offset = at + len(part)
        decoded = text.decode(part)
        yield sse("output", {"v": 1, "offset": log.offset, "text": decoded}, log.offset)
