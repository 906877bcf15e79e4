"""Events, as a list and as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from tenure.client.documents.reports import EventList, event_document
from tenure.domain.event import Event
from tenure.runtime.profile import Profile
from tenure.surfaces.web.api.common import JsonResponse
from tenure.surfaces.web.api.openapi import problems, stream_of
from tenure.surfaces.web.deps import ProfileDep
from tenure.surfaces.web.live.hub import Hub
from tenure.surfaces.web.live.updates import event_chunk

router = APIRouter(prefix="/api/v1/profiles/{profile}/events", tags=["events"])
PAGE = 500
_LARGEST = 2**62
_STREAM = stream_of(
    job_added='{"v":1,"event":{"number":7,"kind":"job_added","at":"2026-03-29T01:00:00Z"}}',
    run='{"v":1,"run":{"id":"r1m81yjb2sa68s6a3z9","state":"succeeded"}}',
    owner='{"v":1,"state":"owned","term":7}',
    changed="jobs runs",
)


@router.get(
    "",
    response_model=EventList,
    responses={
        **problems(404, 422),
        200: {
            "description": "The events after `after`, the oldest first. With `Accept: "
            "text/event-stream` a stream: each event as it is recorded (its `id` is its number), "
            "`run` for each run that is claimed or changes, `owner` for the state of the owner, "
            "`changed` with the topics to read again, `reload` when events were "
            "skipped.",
            "content": _STREAM,
        },
    },
)
async def list_events(
    request: Request,
    profile: ProfileDep,
    after: Annotated[
        int | None,
        Query(ge=0, le=_LARGEST, description="A number; a stream begins now without it."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Of the list.")] = 100,
    last_event_id: Annotated[
        str | None, Header(max_length=20, description="Goes before `after`.")
    ] = None,
) -> Response:
    """Recorded events: processes, ownership, policy, jobs, requests, lost runs."""
    if "text/event-stream" in request.headers.get("accept", ""):
        hub: Hub = request.app.state.hub
        hub.check_room()
        said = last_event_id or ""
        if said.isascii() and said.isdecimal():
            after = min(int(said), _LARGEST)
        return StreamingResponse(_stream(hub, profile, after), media_type="text/event-stream")
    found = await run_in_threadpool(profile.store.events, after=after or 0, limit=limit)
    documents = [event_document(event) for event in found]
    following = found[-1].seq if found else after or 0
    return JsonResponse(EventList(events=documents, next=following))


async def _stream(hub: Hub, profile: Profile, after: int | None) -> AsyncIterator[bytes]:
    """The missed events from the store, then new ones, each once."""
    yield b"retry: 1000\n\n"
    sent = after
    pieces = hub.events(profile.name)
    try:
        greeted = False
        async for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            if sent is None:
                sent = int(piece.mark.partition(".")[0])
            if not greeted:
                greeted = True
                yield piece.owner
                async for event in _missed(profile, sent):
                    sent = event.seq
                    yield event_chunk(event)
                continue
            chunk, sent = piece.api(sent)
            if chunk:
                yield chunk
    finally:
        await pieces.aclose()


async def _missed(profile: Profile, after: int) -> AsyncIterator[Event]:
    while True:
        found = await run_in_threadpool(profile.store.events, after=after, limit=PAGE)
        for event in found:
            yield event
        if len(found) < PAGE:
            return
        after = found[-1].seq
