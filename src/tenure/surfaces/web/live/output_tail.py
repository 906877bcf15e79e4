"""A run's output as a live stream.

A look costs a stat(2) on the event loop; what is new is read in a thread. Whether the run has ended
is asked of the store when the profile's news say that something about its runs has changed.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from tenure.domain.errors import NotFound
from tenure.domain.run import FINAL
from tenure.runtime.output import CHUNK, layout_of, marker, read_from
from tenure.runtime.profile import Profile
from tenure.surfaces.web.live.hub import Hub, Update, sse

POLL_INTERVAL_S = 0.2
KEEPALIVE_S = 15.0
_ID = re.compile(r"(?:([1-9]\d{0,3})-)?(\d{1,15})", re.ASCII)


@dataclass(slots=True, kw_only=True)
class Tail:
    """The position of one client that follows a run's output."""

    profile: Profile
    run: str
    attempt: int
    offset: int = 0

    @property
    def path(self) -> Path:
        return self.profile.folder.logs / self.run / f"{self.attempt}.log"


def event_id(attempt: int, offset: int) -> str:
    """What a client sends back to go on: the offset, of a later attempt with its number."""
    return str(offset) if attempt == 1 else f"{attempt}-{offset}"


def of_event_id(id: str) -> tuple[int | None, int] | None:
    """The attempt, if given, and the offset; None for an invalid id."""
    match = _ID.fullmatch(id)
    return None if match is None else (int(match[1]) if match[1] else None, int(match[2]))


async def tail_stream(hub: Hub, log: Tail) -> AsyncIterator[bytes]:
    """``output`` events (a text; their id leads on after it), ``end`` with the final state.

    ``attempt`` says that another attempt has begun, whose output starts at 0.
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
    async with contextlib.aclosing(hub.events(profile)) as updates:
        async for update in updates:
            if not isinstance(update, Update) or b"runs" in update.page or b"owner" in update.page:
                looking.set()


async def _follow(
    log: Tail, looking: asyncio.Event, watching: asyncio.Task[None]
) -> AsyncIterator[bytes]:
    text = codecs.getincrementaldecoder("utf-8")("replace")
    state, latest, quiet, size = "", log.attempt, 0.0, -1
    while True:
        if looking.is_set():
            looking.clear()
            state, latest = await _state(log)
        over = state in FINAL or latest > log.attempt
        if over or layout_of(log.path).end != size:
            size = layout_of(log.path).end
            async for chunk in _new(log, text, over=over):
                quiet = 0.0
                yield chunk
        # Each of them in turn: none is left out.
        if latest > log.attempt:
            log.attempt, log.offset, size = log.attempt + 1, 0, -1
            text.reset()
            document = {"v": 1, "run": log.run, "attempt": log.attempt}
            yield sse("attempt", document, event_id(log.attempt, 0))
            continue
        if state in FINAL:
            yield sse("end", {"v": 1, "run": log.run, "state": state})
            return
        if watching.done():
            return
        await asyncio.sleep(POLL_INTERVAL_S)
        quiet += POLL_INTERVAL_S
        if quiet >= KEEPALIVE_S:
            quiet = 0.0
            yield b": still here\n\n"


async def _state(log: Tail) -> tuple[str, int]:
    try:
        run = await run_in_threadpool(log.profile.store.run, log.run)
    except NotFound:
        # Retention has taken it.
        return "lost", log.attempt
    return str(run.state), run.attempt


async def _new(log: Tail, text: codecs.IncrementalDecoder, *, over: bool) -> AsyncIterator[bytes]:
    """The new output. An incomplete character is neither sent nor counted in the offset, so that a
    client that reconnects gets it complete."""
    while True:
        at, part = await run_in_threadpool(read_from, log.path, log.offset, CHUNK)
        if at > log.offset:
            yield _output(log, at, marker(at if log.offset == 0 else at - log.offset).decode())
            log.offset = at
            text.reset()
        if not part:
            break
        log.offset = at + len(part)
        if decoded := text.decode(part):
            yield _output(log, log.offset - len(text.getstate()[0]), decoded)
    if over and (rest := text.decode(b"", True)):
        yield _output(log, log.offset, rest)


def _output(log: Tail, offset: int, text: str) -> bytes:
    return sse("output", {"v": 1, "offset": offset, "text": text}, event_id(log.attempt, offset))
