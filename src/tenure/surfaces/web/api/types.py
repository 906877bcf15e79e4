"""The problem types and their meanings."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from starlette.responses import Response

from tenure.client.documents import Document, Reply
from tenure.surfaces.web.api.common import JsonResponse
from tenure.surfaces.web.problems import TYPES

router = APIRouter(tags=["problems"])


class ProblemType(Document):
    code: str
    status: int
    title: str
    meaning: str


class ProblemTypes(Reply):
    problems: list[ProblemType]


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
    "if_match_needed": (428, "A change must name the revision it is based on."),
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


@router.get(TYPES, response_model=ProblemTypes)
async def list_problem_types() -> Response:
    """The meaning of each `type` and `code` of a problem."""
    problems = [
        ProblemType(code=code, status=status, title=HTTPStatus(status).phrase, meaning=meaning)
        for code, (status, meaning) in MEANINGS.items()
    ]
    return JsonResponse(ProblemTypes(problems=problems))
