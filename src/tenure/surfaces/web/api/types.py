"""The types of problems, each explained."""

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
    "malformed": (400, "The request cannot be read: no JSON, no Host, a header of another form."),
    "unauthenticated": (401, "No token or cookie, or none of the dashboard's."),
    "refused": (403, "It may not be done here; after asking the owner 409: the owner says no."),
    "read_only": (403, "The token may only look."),
    "foreign_origin": (403, "The page of another origin asks."),
    "csrf": (403, "A change with a cookie that does not come from a page of this dashboard."),
    "not_found": (404, "No such profile, job, run, request, process or address."),
    "method_not_allowed": (405, "This address does not take that method."),
    "too_slow": (408, "The rest of the body did not come."),
    "no_owner": (409, "Nobody owns the profile. `facts` says who should, and who is there."),
    "conflict": (409, "The name is taken, or the thing has ended; read again."),
    "illegal_transition": (409, "What it is now cannot become that."),
    "overtaken": (412, "Somebody changed the job since it was read. `facts`: both revisions."),
    "too_large": (413, "The body is longer than is read."),
    "too_long": (414, "The address is longer than is read."),
    "wrong_media_type": (415, "The body is not what it is said to be, or of another type."),
    "no_such_range": (416, "The output has no such bytes, or no longer."),
    "wrong_host": (421, "The name in Host is none of the dashboard's (DNS rebinding)."),
    "invalid": (422, "A value cannot be accepted; `field` names it. Nothing was changed."),
    "if_match_needed": (428, "A change must say which revision it is a change of."),
    "too_many_tokens": (429, "Ten wrong tokens in a minute came from this address."),
    "busy": (429, "Another audit is running."),
    "headers_too_large": (431, "More or longer headers than are read."),
    "internal": (500, "A fault of Tenure's; the dashboard's log has the traceback."),
    "store_blocked": (503, "Another process holds the store's write lock; `detail` names it."),
    "store_unwritable": (503, "The disk is full, read-only or failing."),
    "damaged": (503, "The store is corrupt, or not the one that the profile had."),
    "not_ready": (503, "No store can be read."),
    "too_many_listeners": (503, "As many streams are open as are taken."),
    "undetermined": (504, "Could not tell in time."),
}


@router.get(TYPES, response_model=ProblemTypes)
async def list_problem_types() -> Response:
    """What `type` and `code` of a problem mean."""
    problems = [
        ProblemType(code=code, status=status, title=HTTPStatus(status).phrase, meaning=meaning)
        for code, (status, meaning) in MEANINGS.items()
    ]
    return JsonResponse(ProblemTypes(problems=problems))
