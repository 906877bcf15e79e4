"""Errors over HTTP: problem+json (RFC 9457) for the API, a page for people.

Every problem has ``code`` (stable, also in ``type``), ``detail`` (what was asked and why it
failed), ``remedy`` (what to do), ``field`` (the input at fault) and ``facts`` (the same as data).
Nothing of a traceback ever leaves the process.
"""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from dataclasses import field as made_of
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tenure.client.documents import Document, Json, Reply, Schema, optional, to_json
from tenure.domain.errors import (
    Conflict,
    CorruptStore,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    Refused,
    TenureError,
)

MEDIA_TYPE = "application/problem+json"
TYPES = "/api/v1/problems"
"""Where the codes are explained: ``/api/v1/problems#<code>``."""
MEANINGS: dict[str, tuple[int, str]] = {
    "malformed": (400, "The request is malformed: invalid JSON, no Host, or an invalid header."),
    "unauthenticated": (401, "No token or cookie, or an unknown one."),
    "refused": (403, "Not allowed here; with status 409: the owner refused the request."),
    "read_only": (403, "The token is read-only."),
    "foreign_origin": (403, "A page of another origin sent the request."),
    "csrf": (
        403,
        "A change authenticated by cookie that was not sent by a page of this dashboard.",
    ),
    "not_found": (404, "No such profile, job, run, request, process or address."),
    "method_not_allowed": (405, "The method is not allowed at this address."),
    "too_slow": (408, "The body did not arrive in time."),
    "no_owner": (
        409,
        "The profile has no owner. `facts` names the expected owner and the running processes.",
    ),
    "conflict": (409, "The name is already used, or the run or request has ended; read again."),
    "illegal_transition": (409, "The current state does not allow this change."),
    "overtaken": (412, "The job was changed since it was read. `facts` has both revisions."),
    "too_large": (413, "The body exceeds the limit."),
    "too_long": (414, "The address exceeds the limit."),
    "wrong_media_type": (415, "The body has an unsupported media type."),
    "no_such_range": (416, "The output does not have these bytes, or no longer."),
    "wrong_host": (421, "The Host header does not name this dashboard (DNS rebinding)."),
    "invalid": (422, "A value is not valid; `field` names it. Nothing was changed."),
    "if_match_needed": (
        428,
        "If-Match is missing: a change must name the revision it is based on.",
    ),
    "too_many_tokens": (429, "Ten wrong tokens within a minute from this address."),
    "busy": (429, "Another audit is running."),
    "headers_too_large": (431, "The headers exceed the limit."),
    "internal": (500, "A bug in Tenure; the dashboard's log has the traceback."),
    "store_blocked": (503, "Another process holds the store's write lock; `detail` names it."),
    "store_unwritable": (503, "The disk is full, read-only or failing."),
    "damaged": (503, "The store is corrupt, or not the one that the profile had."),
    "not_ready": (503, "No profile's store can be read."),
    "too_many_listeners": (503, "The maximum number of streams is open."),
    "undetermined": (504, "The outcome was not known in time."),
}
"""The status of each code, and when it is given."""
log = logging.getLogger("tenure.web")


class FieldError(Document):
    field: str
    text: str


class ProblemDocument(Reply):
    """RFC 9457. `remedy` says what to do, `facts` has the same as data."""

    type: Annotated[str, Schema(type="string", examples=["/api/v1/problems#no_owner"])]
    title: str
    status: int
    detail: str
    """The operation that was requested, and why it failed."""
    code: str
    """Stable; /api/v1/problems explains each code."""
    remedy: str
    field: str | None
    """The invalid input field."""
    facts: dict[str, Any]
    errors: list[FieldError] | None = optional()
    """All field errors, if more than one field is invalid; otherwise left out."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One answer that is not what was asked for."""

    status: int
    code: str
    text: str
    _: KW_ONLY
    remedy: str = ""
    field: str | None = None
    facts: Mapping[str, Any] = made_of(default_factory=dict)
    headers: Mapping[str, str] = made_of(default_factory=dict)
    errors: Sequence[Mapping[str, Any]] = ()
    """Where more than one field is wrong: ``{"field", "text"}`` each."""

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase

    def document(self) -> Json:
        """The problem document (RFC 9457)."""
        more = {"errors": self.errors} if self.errors else {}
        kind = f"{TYPES}#{self.code}"
        document: Json = to_json(ProblemDocument.read(self, type=kind, detail=self.text, **more))
        return document


class ProblemRaised(HTTPException):
    """For what only HTTP knows: a missing header, a body that is too long."""

    def __init__(self, status: int, code: str, text: str, **more: Any) -> None:
        """``more`` are further fields of :class:`Problem`."""
        # As an HTTPException it passes through FastAPI's own reading of a body unchanged.
        super().__init__(status, text)
        self.problem = Problem(status, code, text, **more)


_STATUSES = (
    (InvalidInput, 422),
    (NotFound, 404),
    (Conflict, 409),
    (Refused, 403),
    (OutcomeUnknown, 504),
    (CorruptStore, 503),
)
_STATUS_OF_CODE = {"store_blocked": 503, "store_unwritable": 503, "overtaken": 412}


def of_error(error: TenureError) -> Problem:
    """A problem from what Tenure raised, with its facts."""
    by_class = (status for kind, status in _STATUSES if isinstance(error, kind))
    status = _STATUS_OF_CODE.get(error.code) or next(by_class, 500)
    return Problem(
        status,
        error.code,
        error.text,
        remedy=error.remedy,
        field=error.field,
        facts=to_json(error.facts),
        headers={"Retry-After": "5"} if status == 503 else {},
    )


def answer(problem: Problem, request: Request) -> Response:
    """The problem as the one who asked reads it: JSON under /api, a page elsewhere."""
    path = request.scope["path"]
    if path.startswith(("/p/", "/static/")) or path in ("/", "/p"):
        return _page(problem, request)
    return Response(
        json.dumps(problem.document()),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=dict(problem.headers),
    )


def _page(problem: Problem, request: Request) -> Response:
    try:
        page: Response = request.app.state.problem_page(request, problem)
        return page
    except Exception as error:
        # A page about a fault may meet the same fault.
        log.error("the page about a problem failed", exc_info=error)
    parts = [f"<h1>{html.escape(problem.title)}</h1>", f"<p>{html.escape(problem.text)}</p>"]
    if problem.remedy:
        parts.append(f"<p>→ {html.escape(problem.remedy)}</p>")
    body = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{html.escape(problem.title)}</title><main>{''.join(parts)}</main></html>"
    )
    headers = dict(problem.headers)
    return Response(body, status_code=problem.status, media_type="text/html", headers=headers)


def install(app: FastAPI) -> None:
    """Have every error answered as a problem, FastAPI's own too."""

    async def on_error(request: Request, error: Exception) -> Response:
        problem = of_exception(error)
        if problem.status >= 500:
            log.warning("%s %r: %s", request.method, request.scope["path"], error)
        return answer(problem, request)

    for kind in (TenureError, ProblemRaised, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, on_error)


def of_exception(error: Exception) -> Problem:
    """The problem of any error; of an unexpected one, without details."""
    if isinstance(error, ProblemRaised):
        return error.problem
    if isinstance(error, TenureError):
        return of_error(error)
    if isinstance(error, RequestValidationError):
        return _of_validation(error)
    if isinstance(error, HTTPException):
        status, headers = error.status_code, dict(error.headers or {})
        if status == 404:
            text, remedy = "nothing at this address", "see /api/v1/openapi.json"
            return Problem(404, "not_found", text, remedy=remedy, headers=headers)
        if status == 405:
            text = "method not allowed at this address"
            return Problem(405, "method_not_allowed", text, headers=headers)
        code = "malformed" if status == 400 else "http"
        return Problem(status, code, str(error.detail), headers=headers)
    return Problem(
        500,
        "internal",
        "internal error",
        remedy="this is a bug in Tenure; report the traceback in the dashboard's log",
    )


def _of_validation(error: RequestValidationError) -> Problem:
    errors = [
        {
            "field": ".".join(map(str, each["loc"][1:])) or str(each["loc"][0]),
            "text": str(each["msg"]),
        }
        for each in error.errors()
    ]
    first = errors[0] if errors else {"field": None, "text": "the request is not valid"}
    return Problem(422, "invalid", str(first["text"]), field=first["field"], errors=errors)
