"""How the API asks the owner: 202 with the request's address, or 409 with the remedy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from fastapi import Request
from starlette.responses import Response

from tenure.client.documents.runs import RequestReply, request_document
from tenure.client.requester import requester
from tenure.client.requests import Waiting
from tenure.runtime.profile import Profile
from tenure.surfaces.web import VIA_API
from tenure.surfaces.web.api.common import Asks, JsonResponse


def asks(request: Request) -> Asks:
    found: Asks = request.app.state.asks
    return found


async def asked(profile: Profile, asks: Asks, act: Callable[..., Any], wait: float) -> Response:
    """Carry out an asking in a thread, wait a little for its answer, and say where to follow it."""
    waiting = Waiting(patience=timedelta(seconds=wait))
    request = await asks.run(lambda: act(by=requester(VIA_API), waiting=waiting))
    return JsonResponse(
        RequestReply(request=request_document(request)),
        status_code=202,
        headers={"Location": f"/api/v1/profiles/{profile.name}/requests/{request.id}"},
    )
