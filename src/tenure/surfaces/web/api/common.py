"""What the API's routers share: answers, bodies, list limits, If-Match, and waiting for the owner
without blocking the event loop or other requests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
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
from tenure.surfaces.web.problems import ProblemRaised, of_error
from tenure.surfaces.web.site import ProfileDep

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
Queue = Annotated[bool, Query(description="Leave the request for the owner, up to 24 hours.")]
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
            415,
            "wrong_media_type",
            f"a JSON object is expected, not {kind[:80] or 'a body without a Content-Type'!r}",
            remedy="send Content-Type: application/json",
        )
    try:
        text = (await request.body()).decode("utf-8")
        body = json.loads(text, parse_constant=_no_number, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        why = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ProblemRaised(400, "malformed", f"the body is not JSON: {why[:200]}") from None
    if not isinstance(body, dict):
        raise InvalidInput("a JSON object is expected", field="body")
    return body


def check_names(body: Mapping[str, Any], *known: str) -> None:
    """Raises InvalidInput for a field that is not known."""
    for name in body:
        if name not in known:
            raise InvalidInput(f"unknown field {name[:80]!r}", field=name[:80])


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return members


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
            428,
            "if_match_needed",
            "a change must name the revision that was read, so that no other change is lost",
            remedy='send If-Match with the ETag of the job, such as If-Match: "3"',
        )
    if value.strip() == "*":
        return Revisions(None)
    tags = [_TAG.fullmatch(tag.strip()) for tag in value.split(",")]
    if not all(tags):
        raise ProblemRaised(
            400,
            "malformed",
            "If-Match does not name a revision of a job",
            remedy='an ETag is a revision in quotes, such as "3"',
            field="If-Match",
        )
    return Revisions(frozenset(int(tag[1]) for tag in tags if tag))


IfMatch = Annotated[Revisions, Depends(if_match)]


class OwnerRequest:
    """Sends one request to the owner from a thread of its own, so that reading never waits."""

    def __init__(
        self, limiter: anyio.CapacityLimiter, profile: Profile, wait: float, key: str | None
    ) -> None:
        self._limiter, self._profile, self._wait, self._key = limiter, profile, wait, key

    async def send(
        self, verb: Callable[..., StoredRequest], *arguments: Any, **options: Any
    ) -> Response:
        """Create a request, wait for its answer as long as was asked for, and answer 202 with its
        address.

        A refusal is 409: the state of the profile prevents it, not the client's rights.
        """
        waiting = Waiting(patience=timedelta(seconds=self._wait))
        options |= {"key": self._key, "by": requester(VIA_API), "waiting": waiting}
        create = partial(verb, self._profile, *arguments, **options)
        try:
            request = await anyio.to_thread.run_sync(create, limiter=self._limiter)
        except (Refused, Conflict) as error:
            problem = of_error(error)
            raise ProblemRaised(
                409,
                "no_owner" if "should_own" in problem.facts else problem.code,
                problem.text,
                remedy=problem.remedy.replace("--queue", "queue=true"),
                field=problem.field,
                facts=problem.facts,
            ) from error
        return JsonResponse(
            RequestReply(request=request_document(request)),
            status_code=202,
            headers={"Location": f"/api/v1/profiles/{self._profile.name}/requests/{request.id}"},
        )


async def _owner_request(
    request: Request, profile: ProfileDep, wait: Wait = 2.0, key: Key = None
) -> OwnerRequest:
    return OwnerRequest(request.app.state.owner_limiter, profile, wait, key)


OwnerRequestDep = Annotated[OwnerRequest, Depends(_owner_request)]
