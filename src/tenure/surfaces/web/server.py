"""Serving the application: one socket, one event loop, an end without noise.

In a process of its own (``tenure dashboard``) the loop runs in the main thread; beside a scheduler
(``tenure serve --web``) in a thread, and whatever becomes of it is logged and touches nothing else.

What uvicorn does not bound is bounded here: a connection whose request's headers do not come within
:data:`HEADER_TIMEOUT_S` is closed, whether it is slow on purpose or not (bodies: ``bounds``).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
from ipaddress import IPv4Address, IPv6Address, ip_address

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from tenure.domain.errors import Conflict, InvalidInput, Refused
from tenure.surfaces.web.app import create_app
from tenure.surfaces.web.guard import MAX_HEADER_BYTES
from tenure.surfaces.web.live.hub import MAX_STREAMS
from tenure.surfaces.web.site import Site

HEADER_TIMEOUT_S = 10.0
"""Seconds from the first byte that may come to the last byte of the headers."""
LINGER_S = 2.0
"""Seconds in which the rest of an unread body is discarded, before the connection is closed."""
KEEP_ALIVE_S = 15
SHUTDOWN_GRACE_S = 2
"""Seconds for answers that are under way when it ends; streams are ended at once."""
log = logging.getLogger("tenure.web")


class HeaderTimeoutProtocol(H11Protocol):
    """HTTP/1.1 with a timeout for the headers of a request."""

    _waiting: asyncio.TimerHandle | None = None
    _lingering = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_headers()

    def on_response_complete(self) -> None:
        unread = self.conn.their_state is h11.SEND_BODY
        super().on_response_complete()
        begun = bool(self.conn.trailing_data[0])
        if unread and not self.transport.is_closing():
            # To close at once would reset the connection, and with it the answer.
            self._stop_waiting()
            self._lingering = True
            self._waiting = self.loop.call_later(LINGER_S, self.transport.close)
        else:
            self._await_headers(fresh=not begun)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_waiting()

    def _await_headers(self, *, fresh: bool = False) -> None:
        # The clock runs from the connection, or the first bytes of a further request, until the
        # headers are complete. Between requests the keep-alive counts.
        if self.conn.our_state is h11.DONE:
            # Answered already: what still comes is discarded.
            return
        # All of it has come: the connection serves again.
        if self._lingering:
            self._lingering = False
            self._stop_waiting()
        complete = self.conn.their_state is not h11.IDLE
        if complete or fresh or self.transport.is_closing():
            self._stop_waiting()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(HEADER_TIMEOUT_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
            self.transport.close()


class Server(uvicorn.Server):
    """Ends its streams first, and leaves signals to its caller."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._tenure_app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._tenure_app.state.hub.close()
        await super().shutdown(sockets)


def make_server(site: Site) -> Server:
    """A server of the whole application over ``site``."""
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.ERROR)
    app = create_app(site)
    config = uvicorn.Config(
        app,
        http=HeaderTimeoutProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
        limit_concurrency=MAX_STREAMS + 500,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )
    return Server(config, app)


def listen(host: str, port: int) -> socket.socket:
    """The listening socket; port 0 is any that is free.

    Raises Conflict if the port is taken (no other is taken silently), Refused, InvalidInput.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise InvalidInput(
            f"{host[:100]!r} is not an address of this machine: {error}", field="host"
        ) from None
    sock = socket.socket(family, kind, number)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(256)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise _not_bound(error, host, port) from None
    return sock


def _not_bound(error: OSError, host: str, port: int) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"port {port} of {host} is in use by another program",
            remedy="if it is your own dashboard, use its page; otherwise choose another port "
            f"(--port {port + 1 if port < 65535 else 0}), or any free one (--port 0)",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return Refused(
            f"this user is not allowed to listen on port {port} of {host}",
            remedy="choose one above 1023",
        )
    return InvalidInput(
        f"cannot listen on {host}: {error.strerror}",
        field="host",
        remedy="use an address of this machine; 127.0.0.1 is the usual one",
    )


def link(sock: socket.socket, token: str | None, path: str = "/") -> str:
    """What the user opens in a browser. Without a token it asks for one."""
    host, port = sock.getsockname()[:2]
    return link_to(host, port, token, path)


def link_to(host: str, port: int, token: str | None, path: str = "/") -> str:
    """The same for an address on which another process listens."""
    address = _ip(host)
    # A server on every address is reached at loopback.
    if address is not None and address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}{path}" + (f"?token={token}" if token else "")


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can reach it."""
    address = _ip(host)
    return host == "localhost" if address is None else address.is_loopback


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


class BackgroundServer:
    """The server in a thread of a process that has other things to do."""

    def __init__(self, site: Site, sock: socket.socket) -> None:
        self._site = site
        self._sock = sock
        self._server: Server | None = None
        self._thread = threading.Thread(target=self._run, name="tenure-web", daemon=True)
        self._over = False

    def start(self) -> None:
        self._thread.start()

    def stop(self, patience: float = SHUTDOWN_GRACE_S + 2.0) -> None:
        """End it; after ``patience`` seconds it is left to end with the process."""
        self._over = True
        if self._server is not None:
            self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(patience)

    def _run(self) -> None:
        try:
            server = make_server(self._site)
            self._server = server
            server.should_exit = self._over
            server.run(sockets=[self._sock])
        except BaseException as error:
            # Whatever it is, SystemExit too: the scheduler beside it continues.
            log.error("the web server failed; the scheduler continues without it", exc_info=error)
        finally:
            self._sock.close()
            self._site.close()
