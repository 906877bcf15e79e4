"""Requests: what was asked of the owner, and withdrawing it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from tenure.client import requests
from tenure.client.documents.runs import RequestList, RequestReply, request_document
from tenure.client.pages import page_of_requests
from tenure.domain.request import RequestState
from tenure.surfaces.web.api.common import Cursor, JsonResponse, Limit
from tenure.surfaces.web.api.openapi import reply
from tenure.surfaces.web.site import NowDep, ProfileDep

router = APIRouter(prefix="/api/v1/profiles/{profile}/requests", tags=["requests"])
RequestId = Annotated[str, Path(max_length=100, description="A request's id.")]


@router.get("", **reply(RequestList, 404, 422))
def list_requests(
    profile: ProfileDep,
    state: Annotated[list[RequestState] | None, Query(description="Any of these.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Requests, the newest first."""
    states = frozenset(state) if state else None
    page, following = page_of_requests(profile.store, states, limit=limit, cursor=cursor)
    return JsonResponse(RequestList(requests=[request_document(r) for r in page], next=following))


@router.get("/{request}", **reply(RequestReply, 404))
def get_request(profile: ProfileDep, request: RequestId, now: NowDep) -> Response:
    """One request. A pending request past its deadline is shown as expired."""
    stored = profile.store.request(request)
    if stored.state is RequestState.PENDING and now > stored.deadline:
        profile.store.expire_requests(now)
        stored = profile.store.request(request)
    return JsonResponse(RequestReply(request=request_document(stored)))


@router.delete("/{request}", **reply(RequestReply, 403, 404, 409))
def withdraw_request(profile: ProfileDep, request: RequestId, now: NowDep) -> Response:
    """Cancel a pending request."""
    withdrawn = requests.withdraw(profile, request, now=now)
    return JsonResponse(RequestReply(request=request_document(withdrawn)))
