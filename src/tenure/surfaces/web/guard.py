"""The guard before every route: authentication, limits, and headers of each answer.

::

    size of the request --> Host --> Origin --> token or cookie --> same-origin write --> the route
          413, 414           421       403           401, 429            403

* *Host*: an unknown name means that another site's name was made to point here (DNS rebinding).
  Known names are ``localhost`` and those that the user gave; addresses are those of
  loopback, or any where the user bound to another address (no rebinding without a name).
* *Origin*: a request that a page of another origin makes is refused, whatever it asks for.
* *Writes with a cookie* must say that they come from our own origin: by Origin or Sec-Fetch-Site,
  which every browser sends, or by the token of the page. Forms carry that token besides
  (:func:`form`).
* *Tokens*: ten different wrong ones a minute from an address, then 429 for every token from there,
  right or wrong. Cookies that are right still pass, so that no other program can lock the user out.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Annotated
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import Depends
from starlette.datastructures import FormData, Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenure.host.clocks import Clock
from tenure.surfaces.web.problems import ProblemRaised, answer, of_exception
from tenure.surfaces.web.site import Site
from tenure.surfaces.web.tokens import Access, Tokens, derived

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With no-referrer a browser would send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
COOKIE_AGE = 30 * 24 * 3600
TOKEN_CHECK_INTERVAL_S = 1.0
"""Seconds between two checks of the token while a stream continues."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CHANGES_NOTHING = frozenset({"/api/v1/schedules/preview", "/theme"})
"""POSTs that a read-only viewer may make: nothing of a profile is changed by them."""
PUBLIC_FOLDER = "/static/"
PUBLIC_PATHS = frozenset({"/healthz", "/readyz"})
MAX_FIELDS = 2000
"""Fields of a form."""
log = logging.getLogger("tenure.web")


class Guard:
    """ASGI middleware, the outermost."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self.app = app
        self.site = site
        self.cookie = "tenure_" + derived(str(site.home), "cookie name")[:8]
        self.attempts = Attempts(site.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        sender = _Sender(send, self.site.tokens)
        try:
            early = self._admit(request)
        except ProblemRaised as refused:
            early = answer(refused.problem, request)
        if early is not None:
            await early(scope, receive, sender)
            return
        if request.method == "HEAD":
            scope = {**scope, "method": "GET"}
            sender.bodiless = True
        sender.access = getattr(request.state, "access", None)
        receive = bounded(request, receive)
        try:
            await self.app(scope, receive, sender)
        except ClientDisconnect:
            pass
        except Exception as error:
            log.error("%s %r", request.method, request.scope["path"], exc_info=error)
            if not sender.begun:
                await answer(of_exception(error), request)(scope, receive, sender)

    def _admit(self, request: Request) -> Response | None:
        """None to continue to the route; or the answer. Raises ProblemRaised."""
        check_size(request)
        host = check_host(request.headers, self.site)
        check_origin(request.headers, host)
        path = request.scope["path"]
        if path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDER):
            return None
        linked = self._from_link(request)
        if linked is not None:
            return linked
        access, ambient = self._access(request)
        if request.method not in SAFE:
            _check_write(request, access, ambient)
        request.state.access = access
        return None

    def _from_link(self, request: Request) -> Response | None:
        """``?token=`` in the link that the command line prints becomes a cookie."""
        path = request.scope["path"]
        query = request.scope["query_string"].decode("latin-1")
        if request.method != "GET" or path.startswith("/api/") or "token" not in query:
            return None
        parameters = parse_qsl(query, keep_blank_values=True)
        tokens = [value for name, value in parameters if name == "token"]
        if not tokens:
            return None
        access = self._of_token(request, tokens[0])
        rest = urlencode([(name, value) for name, value in parameters if name != "token"])
        clean = quote("/" + path.lstrip("/\\")) + (f"?{rest}" if rest else "")
        if request.headers.get("sec-fetch-site") == "cross-site":
            # A browser would not send the new cookie along a redirect that began elsewhere.
            response = Response(status_code=200, media_type="text/html", content=b"")
            response.headers["Refresh"] = f"0; url={clean}"
        else:
            response = RedirectResponse(clean, status_code=303)
        response.set_cookie(
            self.cookie, access.cookie, max_age=COOKIE_AGE, path="/", httponly=True,
            samesite="strict", secure=_is_tls(request),
        )  # fmt: skip
        return response

    def _access(self, request: Request) -> tuple[Access, bool]:
        """What the request may do, and whether a browser sent the proof by itself (a cookie)."""
        header = request.headers.get("authorization")
        if header is not None:
            kind, _, token = header.partition(" ")
            if kind.lower() != "bearer":
                raise _unauthenticated("only 'Authorization: Bearer TOKEN' is understood")
            return self._of_token(request, token.strip()), False
        value = request.cookies.get(self.cookie)
        access = None if value is None else self.site.tokens.of_cookie(value)
        if access is not None:
            return access, True
        if value is not None:
            self.attempts.failed(_address(request), value)
        raise _unauthenticated("this needs the dashboard's token")

    def _of_token(self, request: Request, token: str) -> Access:
        address = _address(request)
        wait = self.attempts.wait(address)
        if wait:
            raise ProblemRaised(
                429,
                "too_many_tokens",
                "too many wrong tokens came from this address",
                remedy=f"wait {wait} s, then use the link that `tenure dashboard` prints",
                headers={"Retry-After": str(wait)},
            )
        access = self.site.tokens.of_token(token)
        if access is None:
            self.attempts.failed(address, token)
            raise _unauthenticated("this is not the dashboard's token")
        return access


def _check_write(request: Request, access: Access, ambient: bool) -> None:
    if not access.may_write and request.scope["path"] not in CHANGES_NOTHING:
        raise ProblemRaised(
            403,
            "read_only",
            "this token is read-only",
            remedy="use the link that `tenure dashboard` prints without --read-only",
        )
    # Without a cookie no browser sent it by itself; a foreign origin was refused already.
    if not ambient or request.headers.get("origin") is not None:
        return
    fetch_site = request.headers.get("sec-fetch-site")
    csrf = request.headers.get("x-csrf-token", "")
    if fetch_site != "same-origin" and not hmac.compare_digest(csrf.encode(), access.csrf.encode()):
        raise ProblemRaised(
            403,
            "csrf",
            "this change did not come from a page of this dashboard",
            remedy="reload the page; programs send 'Authorization: Bearer TOKEN'",
        )


def _unauthenticated(text: str) -> ProblemRaised:
    return ProblemRaised(
        401,
        "unauthenticated",
        text,
        remedy="open the link that `tenure dashboard` prints; programs send its token as "
        "'Authorization: Bearer TOKEN'",
        headers={"WWW-Authenticate": 'Bearer realm="tenure"'},
    )


def _is_tls(request: Request) -> bool:
    # A client that lies about its proxy only loses its own cookie.
    forwarded = request.headers.get("x-forwarded-proto", "")
    return "https" in (request.url.scheme, forwarded.strip().lower())


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


class _Sender:
    """Sends one answer: with the headers of every answer, and as long as its token is valid."""

    def __init__(self, send: Send, tokens: Tokens) -> None:
        self._send = send
        self._tokens = tokens
        self._looked = time.monotonic()
        self._over = False
        self.begun = False
        self.access: Access | None = None
        self.bodiless = False
        """HEAD is GET without its body; the server then ends a stream."""

    async def __call__(self, message: Message) -> None:
        if self._over:
            return
        if message["type"] == "http.response.start":
            self.begun = True
            message = {**message, "headers": _completed(message.get("headers", []))}
        elif message.get("more_body") and not self._is_allowed():
            await self._end()
            raise ClientDisconnect
        await self._send(message)
        if self.bodiless:
            await self._end()

    def _is_allowed(self) -> bool:
        now = time.monotonic()
        if self.access is None or now - self._looked < TOKEN_CHECK_INTERVAL_S:
            return True
        self._looked = now
        return self._tokens.holds(self.access)

    async def _end(self) -> None:
        self._over = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _completed(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers, with those of :data:`HEADERS` that are not among them."""
    present = {name.lower() for name, _ in headers}
    more = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    return [*headers, *(pair for pair in more if pair[0] not in present)]


async def form(request: Request) -> FormData:
    """The form of a POST from our own page; refused without its ``csrf`` field or header."""
    fields = await request.form(max_files=0, max_fields=MAX_FIELDS)
    csrf = fields.get("csrf") or request.headers.get("x-csrf-token") or ""
    expected: str = request.state.access.csrf
    if not isinstance(csrf, str) or not hmac.compare_digest(csrf.encode(), expected.encode()):
        raise ProblemRaised(
            403,
            "csrf",
            "this form was not sent from a page of this dashboard",
            remedy="reload the page and send it again",
        )
    return fields


FormDep = Annotated[FormData, Depends(form)]


# -- by which name the dashboard is asked for, and by whose page -----------------------------------

_HOST = re.compile(
    r"(?:(?P<name>[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?)|\[(?P<six>[0-9a-f:.]{2,45})\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


def check_host(headers: Headers, site: Site) -> str:
    """The Host header, if it names us. Raises ProblemRaised."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not hosts[0]:
        raise ProblemRaised(400, "malformed", "one Host header is needed")
    host = hosts[0].lower()
    if not _is_ours(host, site):
        raise ProblemRaised(
            421,
            "wrong_host",
            f"this dashboard does not answer to the name {host[:100]!r}",
            remedy="use the address that `tenure dashboard` printed; a reverse proxy's name "
            "is allowed by --allow-host NAME",
        )
    return host


def _is_ours(host: str, site: Site) -> bool:
    match = _HOST.fullmatch(host)
    if match is None or int(match["port"] or 0) > 65535:
        return False
    name = match["name"] or match["six"]
    if name == "localhost" or name in site.hosts:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or "*" in site.hosts


def check_origin(headers: Headers, host: str) -> None:
    """Raises ProblemRaised for a request that another origin's page makes."""
    origin = headers.get("origin")
    if origin is not None and not _same(origin, host):
        raise ProblemRaised(
            403,
            "foreign_origin",
            f"a page of {origin[:100]!r} may not use this dashboard",
            remedy="use the dashboard's own page, or a token from a program",
        )


def _same(origin: str, host: str) -> bool:
    scheme, _, authority = origin.lower().partition("://")
    if scheme not in ("http", "https"):
        return False
    usual = ":443" if scheme == "https" else ":80"
    return authority.removesuffix(usual) == host.removesuffix(usual)


# -- bounds of a request, and of wrong tokens from one address -------------------------------------

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
            414,
            "too_long",
            f"a query has at most {MAX_QUERY_BYTES} bytes and {MAX_PARAMETERS} parameters",
        )
    if len(request.scope.get("raw_path") or b"") > MAX_PATH_BYTES:
        raise ProblemRaised(414, "too_long", f"a path has at most {MAX_PATH_BYTES} bytes")
    headers = request.scope["headers"]
    if len(headers) > MAX_HEADERS or sum(len(n) + len(v) for n, v in headers) > MAX_HEADER_BYTES:
        raise ProblemRaised(
            431,
            "headers_too_large",
            f"a request has at most {MAX_HEADERS} headers, of {MAX_HEADER_BYTES} bytes in total",
        )
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or not length.isascii():
        raise ProblemRaised(400, "malformed", "Content-Length is not a number")
    if len(length) > 15 or int(length) > MAX_BODY_BYTES:
        raise _too_large()


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
            raise ProblemRaised(
                408, "too_slow", "the rest of the body did not arrive in time"
            ) from None
        read += len(message.get("body", b""))
        over = not message.get("more_body", False)
        if read > MAX_BODY_BYTES:
            raise _too_large()
        return message

    return part


def _too_large() -> ProblemRaised:
    return ProblemRaised(413, "too_large", f"a body has at most {MAX_BODY_BYTES} bytes")


class Attempts:
    """Limits wrong tokens from one address to a number a minute. Thread-safe."""

    LIMIT = 10
    WINDOW = 60.0
    ADDRESSES = 1000

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, list[tuple[float, bytes]]] = OrderedDict()
        self._lock = threading.Lock()

    def failed(self, address: str, value: str) -> None:
        """``value``: the wrong token, of which only a digest is kept."""
        digest = hashlib.sha256(value.encode("utf-8", "replace")).digest()
        with self._lock:
            recent = self._recent(address)
            # A token that comes again is not a further guess: a page that still has an old token
            # and asks every few seconds must not lock out its user.
            if all(known != digest for _, known in recent):
                recent.append((self._clock.awake(), digest))
            self._failed[address] = recent[-self.LIMIT :]
            self._failed.move_to_end(address)
            while len(self._failed) > self.ADDRESSES:
                self._failed.popitem(last=False)

    def wait(self, address: str) -> int:
        """Whole seconds until a token from this address is checked again; 0 for now."""
        with self._lock:
            recent = self._recent(address)
            if len(recent) < self.LIMIT:
                return 0
            return max(1, int(recent[0][0] + self.WINDOW - self._clock.awake()) + 1)

    def _recent(self, address: str) -> list[tuple[float, bytes]]:
        since = self._clock.awake() - self.WINDOW
        return [attempt for attempt in self._failed.get(address, ()) if attempt[0] > since]
