"""Requests: what was asked of the owner, and withdrawing it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from tenure.client import requests
from tenure.client.documents.runs import RequestList, RequestReply, request_document
from tenure.domain.errors import InvalidInput, NotFound
from tenure.domain.request import RequestState
from tenure.surfaces.web.api.common import Cursor, JsonResponse, Limit
from tenure.surfaces.web.api.openapi import problems
from tenure.surfaces.web.deps import ProfileDep, SiteDep

router = APIRouter(prefix="/api/v1/profiles/{profile}/requests", tags=["requests"])
RequestId = Annotated[str, Path(max_length=100, description="A request's id.")]


@router.get("", response_model=RequestList, responses=problems(404, 422))
def list_requests(
    profile: ProfileDep,
    state: Annotated[list[RequestState] | None, Query(description="Any of these.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Requests, the newest first."""
    try:
        found = profile.store.requests(
            states=frozenset(state) if state else None,
            limit=limit + 1,
            before=cursor,
            newest_first=True,
        )
    except NotFound:
        raise InvalidInput(
            "not a cursor of this list", field="cursor", remedy="use the 'next' value of a page"
        ) from None
    following = found[limit - 1].id if len(found) > limit else None
    documents = [request_document(request) for request in found[:limit]]
    return JsonResponse(RequestList(requests=documents, next=following))


@router.get("/{request}", response_model=RequestReply, responses=problems(404))
def get_request(profile: ProfileDep, request: RequestId, site: SiteDep) -> Response:
    """One request. A pending request past its deadline is shown as expired."""
    found = profile.store.request(request)
    if found.state is RequestState.PENDING and site.now() > found.deadline:
        profile.store.expire_requests(site.now())
        found = profile.store.request(request)
    return JsonResponse(RequestReply(request=request_document(found)))


@router.delete("/{request}", response_model=RequestReply, responses=problems(403, 404, 409))
def withdraw_request(profile: ProfileDep, request: RequestId, site: SiteDep) -> Response:
    """Cancel a pending request."""
    found = requests.withdraw(profile, request, now=site.now())
    return JsonResponse(RequestReply(request=request_document(found)))
