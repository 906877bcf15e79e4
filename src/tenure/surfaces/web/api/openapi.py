"""The OpenAPI 3.1 description: every answer that the API gives, its problems included."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter

from tenure.client.documents import Document, Reply
from tenure.surfaces.web.api.examples import add_examples
from tenure.surfaces.web.problems import MEDIA_TYPE, ProblemDocument

Responses = dict[int | str, dict[str, Any]]
_SAYS = {
    400: "The request is malformed.",
    401: "No token, or an unknown one.",
    403: "Not allowed: a read-only token, a page of another origin, or a job defined elsewhere.",
    404: "Not found.",
    405: "Method not allowed at this address.",
    406: "No accepted media type is available.",
    408: "The body came too slowly.",
    409: "Not possible now: the profile has no owner, the owner refused, or the run has ended.",
    412: "The job was changed since it was read: `facts` has both revisions.",
    413: "The body is too large.",
    414: "The address is too long.",
    415: "The body has another media type.",
    416: "The range is not available.",
    421: "The Host header does not name this dashboard.",
    422: "A value is not valid; `field` names it.",
    428: "If-Match is missing.",
    429: "Too many wrong tokens, or too much at once; Retry-After says when to try again.",
    431: "The headers are too large.",
    500: "A bug in Tenure.",
    503: "The store is blocked, full or damaged, or too many streams are open; see Retry-After.",
    504: "The outcome was not known in time.",
}
EVERYWHERE = (400, 401, 403, 413, 414, 421, 422, 429, 431, 500, 503)
"""Answers of the guard, or of a store in trouble, to any request."""
ACCEPTED: Responses = {
    202: {
        "description": "The request is stored; the owner has accepted it, or has not answered yet.",
        "headers": {
            "Location": {"description": "The request to follow.", "schema": {"type": "string"}}
        },
    }
}


def problems(*statuses: int) -> Responses:
    """The problems of one operation besides those of every one."""
    return {status: problem_answer(status) for status in statuses}


def problem_answer(status: int) -> dict[str, Any]:
    return {
        "description": _SAYS[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }


def stream_of(**data: str) -> dict[str, Any]:
    """The media type of server-sent events; the schema is of one event."""
    return {
        "text/event-stream": {
            "schema": {
                "type": "object",
                "description": "One event; its data is JSON text, but for `changed` and `reload`.",
                "properties": {
                    "event": {"type": "string", "examples": list(data)},
                    "id": {"type": "string"},
                    "data": {"type": "string", "examples": list(data.values())},
                },
            }
        }
    }


def json_body(shape: type[BaseModel], *more: str) -> dict[str, Any]:
    """A request body that is read by Tenure's own rules, and described by ``shape``."""
    schema = {"schema": {"$ref": f"#/components/schemas/{shape.__name__}"}}
    _BODIES.add(shape)
    return {
        "requestBody": {
            "required": True,
            "content": dict.fromkeys(("application/json", *more), schema),
        }
    }


_BODIES: set[type[BaseModel]] = set()


def describe(app: FastAPI) -> None:
    """Give the application its description, made when it is first asked for."""

    def made() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _description(app)
        return app.openapi_schema

    app.openapi = made  # type: ignore[method-assign]


def _description(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        summary="A job scheduler in which each profile has one owner",
        description=_ABOUT,
        routes=app.routes,
        license_info={"name": "MIT", "identifier": "MIT"},
    )
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    described: list[Any] = [ProblemDocument, *sorted(_BODIES, key=lambda shape: shape.__name__)]
    _, extra = TypeAdapter.json_schemas(
        [(shape, "validation", TypeAdapter(shape)) for shape in described],
        ref_template="#/components/schemas/{model}",
    )
    schemas |= extra.get("$defs", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    _complete_schemas(schemas)
    schemas["ProblemDocument"]["example"] = _EXAMPLE
    add_examples(schemas)
    found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    found["security"] = [{"token": []}]
    for operations in found["paths"].values():
        for operation in operations.values():
            _complete(operation)
    return found


def _complete_schemas(schemas: dict[str, Any]) -> None:
    """Add what pydantic leaves out: the descriptions of inherited fields, and that every answer
    has a ``v``."""
    documents = _subclasses(Document)
    described = {cls: TypeAdapter(cls).json_schema().get("properties", {}) for cls in documents}
    for cls in documents:
        schema = schemas.get(cls.__name__)
        if schema is None:
            continue
        for base in cls.__mro__:
            for name, field in described.get(base, {}).items():
                if "description" in field:
                    schema["properties"][name].setdefault("description", field["description"])
        if issubclass(cls, Reply):
            del schema["properties"]["v"]["default"]
            schema["required"].insert(0, "v")


def _subclasses(cls: type[Document]) -> list[type[Document]]:
    return [known for sub in cls.__subclasses__() for known in (sub, *_subclasses(sub))]


def _complete(operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    public = operation.get("security") == []
    for status in (400, 403, 413, 414, 421, 431, 500) if public else EVERYWHERE:
        answers[str(status)] = answers.get(str(status), problem_answer(status))
    if "422" in answers:
        answers["422"] = problem_answer(422)
    for parameter in operation.get("parameters", ()):
        if parameter["name"] == "If-Match":  # read as optional only to answer 428
            parameter["required"] = True
            parameter["schema"] = {"type": "string", "pattern": r'^(\*|"[0-9]{1,15}")$'}
    if "requestBody" in operation:
        answers["408"] = problem_answer(408)
    operation["responses"] = dict(sorted(answers.items()))


_EXAMPLE = {
    "v": 1,
    "type": "/api/v1/problems#no_owner",
    "title": "Conflict",
    "status": 409,
    "detail": "can't run it: profile 'default' has no owner: no scheduler process is running. "
    "Expected owner: rule 1 admits the service tenure.service (authoritative)",
    "code": "no_owner",
    "remedy": "start the service tenure.service; or pass --queue to keep it for the next owner",
    "field": None,
    "facts": {"request": "q1m81w3k8p561c641j1", "should_own": "rule 1 ...", "processes": []},
}
_ABOUT = """\
The API of `tenure dashboard` and `tenure serve --web`. It reads profiles, edits jobs and sends
requests to the owner; it never runs a job.

* **Authentication**: `Authorization: Bearer TOKEN`, with the token that `tenure dashboard` prints.
* **Documents**: those of the command line's `--json`. Instants are RFC 3339 in UTC.
* **Edits** name the revision that was read (`If-Match`); of two concurrent edits one gets
  412 and must read again.
* **Requests** (trigger, cancel, retry, hand over) return 202 and an address to poll, or 409 with a
  remedy. With an `Idempotency-Key` a repeated request is carried out once.
* **Problems** are RFC 9457, with `code`, `remedy` and `facts`.
"""
