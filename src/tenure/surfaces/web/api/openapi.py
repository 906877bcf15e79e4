"""The OpenAPI 3.1 description: every answer that the API gives, its problems included."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter

from tenure.client.documents import Document, Reply
from tenure.client.documents.runs import RequestReply
from tenure.surfaces.web.api.bodies import add_examples
from tenure.surfaces.web.problems import MEANINGS, MEDIA_TYPE, ProblemDocument

Responses = dict[int | str, dict[str, Any]]
_ANSWERS = dict(MEANINGS.values()) | {
    401: "No token, or an unknown one.",
    403: "Not allowed: a read-only token, a page of another origin, or a job defined elsewhere.",
    409: "Not possible now: the profile has no owner, the owner refused, or the run has ended.",
    429: "Too many wrong tokens, or too much at once; Retry-After says when to try again.",
    503: "The store is blocked, full or damaged, or too many streams are open; see Retry-After.",
}
"""What each status means; those that several codes share have a text of their own."""
EVERYWHERE = (400, 401, 403, 413, 414, 421, 422, 429, 431, 500, 503)
"""Answers of the guard, or of a store in trouble, to any request."""


def problems(*statuses: int) -> Responses:
    """The problems of one operation besides those of every one."""
    return {status: problem_answer(status) for status in statuses}


def reply(shape: type[Reply], *statuses: int) -> dict[str, Any]:
    """What a route says of its answer: its shape, and its problems."""
    return {"response_model": shape, "responses": problems(*statuses)}


def accepted(*statuses: int) -> dict[str, Any]:
    """The same of a route that sends a request to the owner."""
    location = {"description": "The request to follow.", "schema": {"type": "string"}}
    text = "The request is stored; the owner has accepted it, or has not answered yet."
    answer = {"description": text, "headers": {"Location": location}}
    return {
        "response_model": RequestReply,
        "status_code": 202,
        "responses": {**problems(403, 404, 409, 422, *statuses), 202: answer},
    }


def problem_answer(status: int) -> dict[str, Any]:
    return {
        "description": _ANSWERS[status],
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
    description = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        summary="A job scheduler in which each profile has one owner",
        description=_ABOUT,
        routes=app.routes,
        license_info={"name": "MIT", "identifier": "MIT"},
    )
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
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
    description["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    description["security"] = [{"token": []}]
    for operations in description["paths"].values():
        for operation in operations.values():
            _complete(operation)
    return description


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
        # Read as optional only to answer 428.
        if parameter["name"] == "If-Match":
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
