"""Errors over HTTP: problem+json (RFC 9457) for the API, a page for people.

Every problem has ``code`` (stable, also in ``type``), ``detail`` (what was asked and what stands in
the way), ``remedy`` (what to do), ``field`` (the input at fault) and ``facts`` (the same as data).
Nothing of a traceback ever leaves the process.
"""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
"""Where the types are explained: ``/api/v1/problems#<code>``."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One answer that is not what was asked for."""

    status: int
    code: str
    text: str
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
        document = ProblemDocument.read(self, type=f"{TYPES}#{self.code}", detail=self.text, **more)
        found: Json = to_json(document)
        return found


class ProblemRaised(HTTPException):
    """For what only HTTP knows: a missing header, a body that is too long."""

    def __init__(self, found: Problem) -> None:
        # As an HTTPException it passes through FastAPI's own reading of a body unchanged.
        super().__init__(found.status, found.text)
        self.problem = found


def problem(status: int, code: str, text: str, *, remedy: str = "", **facts: Any) -> Problem:
    """A problem of HTTP's own; ``field`` may be among the facts."""
    where = facts.pop("field", None)
    return Problem(status=status, code=code, text=text, remedy=remedy, field=where, facts=facts)


def of_error(error: TenureError) -> Problem:
    """A problem from what Tenure raised, with its facts."""
    status = _status_of(error)
    return Problem(
        status=status,
        code=error.code,
        text=error.text,
        remedy=error.remedy,
        field=error.field,
        facts=to_json(error.facts),
        headers={"Retry-After": "5"} if status == 503 else {},
    )


def _status_of(error: TenureError) -> int:
    if error.code in ("store_blocked", "store_unwritable"):
        return 503
    if error.code == "overtaken":
        return 412
    for kind, status in (
        (InvalidInput, 422),
        (NotFound, 404),
        (Conflict, 409),
        (Refused, 403),
        (OutcomeUnknown, 504),
        (CorruptStore, 503),
    ):
        if isinstance(error, kind):
            return status
    return 500


def answer(found: Problem, path: str, request: Request | None = None) -> Response:
    """The problem as the one who asked reads it: JSON under /api, a page elsewhere."""
    if path.startswith(("/p/", "/static/")) or path in ("/", "/p"):
        return _page(found, request)
    return Response(
        json.dumps(found.document()),
        status_code=found.status,
        media_type=MEDIA_TYPE,
        headers=dict(found.headers),
    )


def _page(found: Problem, request: Request | None) -> Response:
    if request is not None:
        draw = getattr(request.app.state, "problem_page", None) if "app" in request.scope else None
        if draw is not None:
            try:
                drawn: Response = draw(request, found)
                return drawn
            except Exception as error:  # a page about a fault may meet the same fault
                log.error("the page about a problem failed", exc_info=error)
    parts = [f"<h1>{html.escape(found.title)}</h1>", f"<p>{html.escape(found.text)}</p>"]
    if found.remedy:
        parts.append(f"<p>→ {html.escape(found.remedy)}</p>")
    body = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{html.escape(found.title)}</title><main>{''.join(parts)}</main></html>"
    )
    headers = dict(found.headers)
    return Response(body, status_code=found.status, media_type="text/html", headers=headers)


def install(app: FastAPI) -> None:
    """Have every error answered as a problem, FastAPI's own too."""

    async def on_error(request: Request, error: Exception) -> Response:
        found = of_exception(error)
        if found.status >= 500:
            log.warning("%s %r: %s", request.method, request.scope["path"], error)
        return answer(found, request.scope["path"], request)

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
        return _of_http(error)
    return problem(
        500,
        "internal",
        "internal error",
        remedy="this is a bug in Tenure; report the traceback in the dashboard's log",
    )


def _of_http(error: HTTPException) -> Problem:
    code = {404: "not_found", 405: "method_not_allowed", 400: "malformed"}.get(
        error.status_code, "http"
    )
    text = {
        404: "nothing at this address",
        405: "method not allowed at this address",
    }.get(error.status_code, str(error.detail))
    return Problem(
        status=error.status_code,
        code=code,
        text=text,
        remedy="see /api/v1/openapi.json" if error.status_code == 404 else "",
        headers=dict(error.headers or {}),
    )


def _of_validation(error: RequestValidationError) -> Problem:
    found = [
        {"field": ".".join(str(part) for part in one["loc"][1:]) or str(one["loc"][0]),
         "text": str(one["msg"])}
        for one in error.errors()
    ]  # fmt: skip
    first = found[0] if found else {"field": None, "text": "the request is not valid"}
    return Problem(
        status=422,
        code="invalid",
        text=str(first["text"]),
        field=first["field"],
        errors=found,
    )
