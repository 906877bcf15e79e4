"""Many listeners of one event stream, in one process: ``python -m benchmarks.listeners``.

Prints ``ready`` when all of them are greeted; then, when its standard input ends, one line of
JSON: how late each listener learnt of each run's end, in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import datetime

from benchmarks.kit import percentile


class Listener(asyncio.Protocol):
    """Reads a stream of server-sent events and writes down how old each run's end is."""

    def __init__(self, greeted: asyncio.Event, port: int, path: str, token: str) -> None:
        self.greeted = greeted
        self.lags: list[float] = []
        self.reloads = 0
        self._rest = b""
        self._asked = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._asked)

    def data_received(self, data: bytes) -> None:
        at = time.time()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b'data: {"v":1,"run":'):
                self._run(json.loads(line[6:])["run"], at)
            elif line.startswith(b"event: owner"):
                self.greeted.set()
            elif line.startswith(b"event: reload"):
                self.reloads += 1

    def _run(self, run: dict[str, str], at: float) -> None:
        if run["finished_at"]:
            self.lags.append(at - datetime.fromisoformat(run["finished_at"]).timestamp())


async def listen(port: int, path: str, token: str, count: int) -> None:
    loop = asyncio.get_running_loop()
    listeners = [Listener(asyncio.Event(), port, path, token) for _ in range(count)]
    for listener in listeners:
        await loop.create_connection(lambda made=listener: made, "127.0.0.1", port)  # type: ignore[misc]
    for listener in listeners:
        await asyncio.wait_for(listener.greeted.wait(), 30)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    every = [lag for listener in listeners for lag in listener.lags]
    print(
        json.dumps(
            {
                "told_least": min(len(listener.lags) for listener in listeners),
                "lag_p50": percentile(every, 0.50) * 1000 if every else None,
                "lag_p99": percentile(every, 0.99) * 1000 if every else None,
                "lag_worst": max(every) * 1000 if every else None,
                "reloads": sum(listener.reloads for listener in listeners),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    asyncio.run(listen(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
