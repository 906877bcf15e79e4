"""Bounds: of a request's address, headers and body, and of wrong tokens from one address."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import OrderedDict

from starlette.requests import Request
from starlette.types import Message, Receive

from tenure.host.clocks import Clock
from tenure.surfaces.web.problems import Problem, ProblemRaised, problem

MAX_BODY_BYTES = 2 * 1024 * 1024
"""A job may bring a mebibyte of standard input, which JSON may double."""
MAX_QUERY_BYTES = 8 * 1024
MAX_PATH_BYTES = 4 * 1024
MAX_PARAMETERS = 100
MAX_HEADER_BYTES = 32 * 1024
MAX_HEADERS = 200
BODY_TIMEOUT_S = 20.0
"""Seconds in which the next part of a body has to come, and four times that for all of it."""


def check_size(request: Request) -> None:
    """Raises ProblemRaised for an address or an announced body that is too long."""
    query = request.scope.get("query_string", b"")
    parameters = query.count(b"&") + query.count(b";") + 1
    if len(query) > MAX_QUERY_BYTES or parameters > MAX_PARAMETERS:
        raise ProblemRaised(
            problem(
                414,
                "too_long",
                f"at most {MAX_QUERY_BYTES} bytes and {MAX_PARAMETERS} parameters are read of a "
                "query",
            )
        )
    if len(request.scope.get("raw_path") or b"") > MAX_PATH_BYTES:
        raise ProblemRaised(problem(414, "too_long", f"a path has at most {MAX_PATH_BYTES} bytes"))
    headers = request.scope["headers"]
    if len(headers) > MAX_HEADERS or sum(len(n) + len(v) for n, v in headers) > MAX_HEADER_BYTES:
        raise ProblemRaised(
            problem(
                431,
                "headers_too_large",
                f"at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes are read",
            )
        )
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or not said.isascii():
        raise ProblemRaised(problem(400, "malformed", "Content-Length is no number"))
    if len(said) > 15 or int(said) > MAX_BODY_BYTES:
        raise ProblemRaised(_too_large())


def bounded(request: Request, receive: Receive) -> Receive:
    """``receive`` that gives up on a body that is too long or too slow."""
    if "content-length" not in request.headers and "transfer-encoding" not in request.headers:
        return receive
    read = 0
    over = False
    until = asyncio.get_running_loop().time() + 4 * BODY_TIMEOUT_S

    async def part() -> Message:
        nonlocal read, over
        if over:
            return await receive()
        left = until - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(receive(), max(0.0, min(BODY_TIMEOUT_S, left)))
        except TimeoutError:
            raise ProblemRaised(_too_slow()) from None
        read += len(message.get("body", b""))
        over = not message.get("more_body", False)
        if read > MAX_BODY_BYTES:
            raise ProblemRaised(_too_large())
        return message

    return part


def _too_large() -> Problem:
    return problem(413, "too_large", f"a body has at most {MAX_BODY_BYTES} bytes")


def _too_slow() -> Problem:
    return problem(408, "too_slow", "the rest of the body did not come")


class Attempts:
    """Wrong tokens, by address: so many a minute, then none. Thread-safe.

    One that comes again is no further guess: a page or a program that still has an old one, and
    asks every few seconds, must not lock out who has the new one.
    """

    LIMIT = 10
    WINDOW = 60.0
    ADDRESSES = 1000

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, list[tuple[float, bytes]]] = OrderedDict()
        self._lock = threading.Lock()

    def failed(self, address: str, value: str) -> None:
        """``value``: what was wrong, of which only a digest is kept."""
        digest = hashlib.sha256(value.encode("utf-8", "replace")).digest()
        with self._lock:
            found = self._recent(address)
            if all(known != digest for _, known in found):
                found.append((self._clock.awake(), digest))
            self._failed[address] = found[-self.LIMIT :]
            self._failed.move_to_end(address)
            while len(self._failed) > self.ADDRESSES:
                self._failed.popitem(last=False)

    def wait(self, address: str) -> int:
        """Whole seconds until a token from this address is looked at again; 0 for now."""
        with self._lock:
            found = self._recent(address)
            if len(found) < self.LIMIT:
                return 0
            return max(1, int(found[0][0] + self.WINDOW - self._clock.awake()) + 1)

    def _recent(self, address: str) -> list[tuple[float, bytes]]:
        since = self._clock.awake() - self.WINDOW
        return [one for one in self._failed.get(address, ()) if one[0] > since]
