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
  (:func:`tenure.surfaces.web.deps.form`).
* *Tokens*: ten different wrong ones a minute from an address, then 429 for every token from there,
  right or wrong. Cookies that are right still pass, so that no other program can lock the user out.
"""

from __future__ import annotations

import hmac
import logging
import time
from urllib.parse import parse_qsl, quote, urlencode

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenure.surfaces.web.deps import Viewer
from tenure.surfaces.web.guard.bounds import Attempts, bounded, check_size
from tenure.surfaces.web.guard.origins import check_host, check_origin
from tenure.surfaces.web.guard.tokens import Access, derived
from tenure.surfaces.web.problems import Problem, ProblemRaised, answer, of_exception, problem
from tenure.surfaces.web.site import Site

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
"""Seconds between two looks at the tokens while an answer goes on."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CHANGES_NOTHING = frozenset({"/api/v1/schedules/preview", "/theme"})
"""POSTs that a read-only viewer may make: nothing of a profile is changed by them."""
PUBLIC = ("/static/",)
PUBLIC_PATHS = frozenset({"/healthz", "/readyz"})
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
        adding = _adding(send)
        try:
            early = self._admit(request)
        except ProblemRaised as refused:
            early = answer(refused.problem, request.scope["path"], request)
        if early is not None:
            await early(scope, receive, adding)
            return
        if request.method == "HEAD":
            scope = {**scope, "method": "GET"}
            adding = _bodiless(adding)
        access = getattr(request.state, "access", None)
        if access is not None:
            adding = self._while_held(adding, access)
        await self._route(scope, bounded(request, receive), adding, request)

    def _while_held(self, send: Send, access: Access) -> Send:
        """End a stream soon after its token is revoked."""
        looked = time.monotonic()

        async def checked(message: Message) -> None:
            nonlocal looked
            if message.get("more_body") and time.monotonic() - looked >= TOKEN_CHECK_INTERVAL_S:
                looked = time.monotonic()
                if not self.site.tokens.holds(access):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    raise ClientDisconnect
            await send(message)

        return checked

    async def _route(self, scope: Scope, receive: Receive, send: Send, request: Request) -> None:
        """Log an unexpected error in full, and answer with one sentence."""
        begun = False

        async def watching(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, watching)
        except ClientDisconnect:
            pass
        except Exception as error:
            log.error("%s %r", request.method, request.scope["path"], exc_info=error)
            if not begun:
                problem_answer = answer(of_exception(error), request.scope["path"], request)
                await problem_answer(scope, receive, send)

    def _admit(self, request: Request) -> Response | None:
        """None to go on to the route; a response that ends it here. Raises ProblemRaised."""
        check_size(request)
        host = check_host(request.headers, self.site)
        check_origin(request.headers, host)
        path = request.scope["path"]
        if path in PUBLIC_PATHS or path.startswith(PUBLIC):
            return None
        linked = self._from_link(request)
        if linked is not None:
            return linked
        access, ambient = self._access(request)
        if request.method not in SAFE:
            _check_write(request, access, ambient)
        request.state.viewer = Viewer(may_write=access.may_write, csrf=access.csrf)
        request.state.access = access
        return None

    def _from_link(self, request: Request) -> Response | None:
        """``?token=`` in the link that the command line prints becomes a cookie."""
        path = request.scope["path"]
        query = request.scope["query_string"].decode("latin-1")
        if request.method != "GET" or path.startswith("/api/") or "token" not in query:
            return None
        asked = parse_qsl(query, keep_blank_values=True)
        tokens = [value for name, value in asked if name == "token"]
        if not tokens:
            return None
        access = self._of_token(request, tokens[0])
        rest = urlencode([(name, value) for name, value in asked if name != "token"])
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
        """What the request may, and whether a browser sent the proof by itself (a cookie)."""
        said = request.headers.get("authorization")
        if said is not None:
            kind, _, token = said.partition(" ")
            if kind.lower() != "bearer":
                raise ProblemRaised(_unknown("only 'Authorization: Bearer TOKEN' is understood"))
            return self._of_token(request, token.strip()), False
        value = request.cookies.get(self.cookie)
        access = None if value is None else self.site.tokens.of_cookie(value)
        if access is not None:
            return access, True
        if value is not None:
            self.attempts.failed(_address(request), value)
        raise ProblemRaised(_unknown("this needs the dashboard's token"))

    def _of_token(self, request: Request, token: str) -> Access:
        address = _address(request)
        wait = self.attempts.wait(address)
        if wait:
            raise ProblemRaised(
                Problem(
                    status=429,
                    code="too_many_tokens",
                    text="too many wrong tokens came from this address",
                    remedy=f"wait {wait} s, then use the link that `tenure dashboard` prints",
                    headers={"Retry-After": str(wait)},
                )
            )
        access = self.site.tokens.of_token(token)
        if access is None:
            self.attempts.failed(address, token)
            raise ProblemRaised(_unknown("this is not the dashboard's token"))
        return access


def _check_write(request: Request, access: Access, ambient: bool) -> None:
    if not access.may_write and request.scope["path"] not in CHANGES_NOTHING:
        raise ProblemRaised(
            problem(
                403,
                "read_only",
                "this token may only look",
                remedy="use the link that `tenure dashboard` prints without --read-only",
            )
        )
    if not ambient or request.headers.get("origin") is not None:
        return  # no cookie, or an origin that was found to be ours
    site_said = request.headers.get("sec-fetch-site")
    csrf = request.headers.get("x-csrf-token", "")
    if site_said != "same-origin" and not hmac.compare_digest(csrf.encode(), access.csrf.encode()):
        raise ProblemRaised(
            problem(
                403,
                "csrf",
                "this change did not come from a page of this dashboard",
                remedy="reload the page; programs send 'Authorization: Bearer TOKEN'",
            )
        )


def _unknown(text: str) -> Problem:
    return Problem(
        status=401,
        code="unauthenticated",
        text=text,
        remedy="open the link that `tenure dashboard` prints; programs send its token as "
        "'Authorization: Bearer TOKEN'",
        headers={"WWW-Authenticate": 'Bearer realm="tenure"'},
    )


def _is_tls(request: Request) -> bool:
    """Also if a proxy says so; a client that lies about it only loses its own cookie."""
    said = request.headers.get("x-forwarded-proto", "")
    return request.url.scheme == "https" or said.strip().lower() == "https"


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _adding(send: Send) -> Send:
    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message.get("headers", [])}
            more = [
                (name.lower().encode(), value.encode())
                for name, value in HEADERS.items()
                if name.lower().encode() not in present
            ]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await send(message)

    return adding


def _bodiless(send: Send) -> Send:
    """HEAD is GET without its body; the server then ends a stream."""
    over = False

    async def without_body(message: Message) -> None:
        nonlocal over
        if not over and message["type"] == "http.response.start":
            over = True
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return without_body
