"""What the API's routers share: answers, bodies, list limits, If-Match, and waiting for the owner
without blocking the event loop or other requests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import anyio
from fastapi import Depends, Header, Path, Query, Request
from starlette.responses import Response

from tenure.client.documents import Json, Reply, to_json
from tenure.client.documents.runs import RequestReply, request_document
from tenure.client.presence import requester
from tenure.client.requests import Waiting
from tenure.domain.errors import Conflict, InvalidInput, Refused
from tenure.domain.request import Request as StoredRequest
from tenure.runtime.profile import Profile
from tenure.surfaces.web import VIA_API
from tenure.surfaces.web.problems import Problem, ProblemRaised, of_error, problem

MOST = 1000
MAX_WAITING = 16
"""The number of requests that wait for the owner at once; further ones wait without a thread."""
_MEDIA = frozenset({"application/json", "application/merge-patch+json"})
_TAG = re.compile(r'"([0-9]{1,15})"')

Limit = Annotated[int, Query(ge=1, le=MOST, description=f"Maximum number to return, up to {MOST}.")]
Cursor = Annotated[str | None, Query(max_length=300, description="The `next` of the page before.")]
JobRef = Annotated[
    str,
    Path(
        max_length=200,
        description="A job's id, or the name of one that is not removed.",
        examples=["read-mail"],
    ),
]
RunId = Annotated[str, Path(max_length=100, description="A run's id.")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[!-~]+$",
        description="Repeating it with the same key is one request, and returns its answer.",
    ),
]
Wait = Annotated[
    float,
    Query(ge=0, le=10, description="Seconds to wait for the owner's answer before answering."),
]


class JsonResponse(Response):
    """A JSON document. Texts are escaped to ASCII: names of programs may contain bytes that are not
    valid UTF-8."""

    media_type = "application/json"

    def render(self, content: Reply | Json) -> bytes:
        return json.dumps(to_json(content), separators=(",", ":")).encode()


async def json_object(request: Request) -> dict[str, Any]:
    """The request's body, a JSON object. Raises ProblemRaised: 400, 415, 422."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _MEDIA:
        raise ProblemRaised(
            problem(
                415,
                "wrong_media_type",
                f"a JSON object is expected, not {kind[:80] or 'a body without a Content-Type'!r}",
                remedy="send Content-Type: application/json",
            )
        )
    try:
        found = json.loads(
            (await request.body()).decode("utf-8"),
            parse_constant=_no_number,
            object_pairs_hook=_once,
        )
    except (ValueError, RecursionError) as error:
        text = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ProblemRaised(
            problem(400, "malformed", f"the body is not JSON: {text[:200]}")
        ) from None
    if not isinstance(found, dict):
        raise InvalidInput("a JSON object is expected", field="body")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return found


Body = Annotated[dict[str, Any], Depends(json_object)]


class Revisions:
    """The revisions that If-Match names, or any."""

    def __init__(self, revisions: frozenset[int] | None) -> None:
        self._revisions = revisions

    def seen(self, current: int) -> int:
        """The revision to require: the current one if named, else the newest that was named."""
        if self._revisions is None or current in self._revisions:
            return current
        return max(self._revisions)


def if_match(
    value: Annotated[
        str | None,
        Header(
            alias="If-Match",
            max_length=500,
            description='The ETag that was read, such as `"3"`; `*` for any revision. '
            "Without it: 428.",
        ),
    ] = None,
) -> Revisions:
    """Raises ProblemRaised: 428 without the header, 400 for one that names no revision."""
    if value is None:
        raise ProblemRaised(
            problem(
                428,
                "if_match_needed",
                "a change must name the revision that was read, so that no other change is lost",
                remedy='send If-Match with the ETag of the job, such as If-Match: "3"',
            )
        )
    if value.strip() == "*":
        return Revisions(None)
    tags = [_TAG.fullmatch(tag.strip()) for tag in value.split(",")]
    if not all(tags):
        raise ProblemRaised(
            problem(
                400,
                "malformed",
                "If-Match does not name a revision of a job",
                remedy='an ETag is a revision in quotes, such as "3"',
                field="If-Match",
            )
        )
    return Revisions(frozenset(int(tag[1]) for tag in tags if tag))


IfMatch = Annotated[Revisions, Depends(if_match)]


class OwnerRequests:
    """Sends requests to the owner from threads of their own, so that reading never waits for it."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(MAX_WAITING)

    async def send(
        self, profile: Profile, create: Callable[..., StoredRequest], wait: float
    ) -> Response:
        """Create a request, wait up to ``wait`` seconds, and answer 202 with its address.

        A refusal is 409: the state of the profile prevents it, not the client's rights.
        """
        waiting = Waiting(patience=timedelta(seconds=wait))
        run = partial(create, by=requester(VIA_API), waiting=waiting)
        try:
            request = await anyio.to_thread.run_sync(run, limiter=self._limiter)
        except (Refused, Conflict) as error:
            raise ProblemRaised(refusal(error)) from error
        return JsonResponse(
            RequestReply(request=request_document(request)),
            status_code=202,
            headers={"Location": f"/api/v1/profiles/{profile.name}/requests/{request.id}"},
        )


def owner_requests(request: Request) -> OwnerRequests:
    found: OwnerRequests = request.app.state.owner_requests
    return found


OwnerRequestsDep = Annotated[OwnerRequests, Depends(owner_requests)]


def refusal(error: Refused | Conflict) -> Problem:
    """409 with the facts and the remedy; ``no_owner`` if the profile has no owner."""
    found = of_error(error)
    code = "no_owner" if "should_own" in found.facts else found.code
    return Problem(
        status=409,
        code=code,
        text=found.text,
        remedy=found.remedy.replace("--queue", "queue=true"),
        field=found.field,
        facts=found.facts,
    )
