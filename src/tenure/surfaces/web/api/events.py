"""The record of a profile: its events, as a list and as a stream, and its audit."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tenure.client.documents.reports import AuditReply, EventList, event_document
from tenure.domain.event import Event
from tenure.runtime.profile import Profile
from tenure.surfaces.web.api.common import JsonResponse
from tenure.surfaces.web.api.openapi import problems, reply, stream_of
from tenure.surfaces.web.live.hub import Hub, HubDep, event_chunk
from tenure.surfaces.web.problems import ProblemRaised
from tenure.surfaces.web.site import ProfileDep, SiteDep

router = APIRouter(prefix="/api/v1/profiles/{profile}")
AUDIT_TIMEOUT_S = 120.0
_CLEAN, _FOUND = 0, 1


@router.get("/audit", tags=["status"], **reply(AuditReply, 404, 504))
async def get_audit(request: Request, profile: ProfileDep, site: SiteDep) -> Response:
    """Check everything that is recorded against the contract (`tenure audit --json`). Seconds for a
    long history; 429 while another one runs."""
    busy: asyncio.Lock = request.app.state.auditing
    if busy.locked():
        raise ProblemRaised(
            429,
            "busy",
            "another audit is running",
            remedy="ask again when it has ended",
            headers={"Retry-After": "5"},
        )
    async with busy:
        document = await _audit(profile, str(site.home))
    return JsonResponse(document)


async def _audit(profile: Profile, home: str) -> dict[str, Any]:
    # A long history takes seconds and memory, which the dashboard, or the owner beside it, is not
    # to pay: the audit has a process of its own.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tenure.surfaces.cli.main", "audit", "--json"),
        *("--home", home, "--profile", profile.name),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), AUDIT_TIMEOUT_S)
    except TimeoutError:
        raise ProblemRaised(
            504,
            "undetermined",
            f"the audit timed out after {AUDIT_TIMEOUT_S:g} s",
            remedy=f"`tenure audit --profile {profile.name}` has no time limit",
        ) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    if process.returncode not in (_CLEAN, _FOUND):
        raise ProblemRaised(
            503,
            "undetermined",
            "the audit could not read the store",
            remedy="`tenure status` says what is wrong",
        )
    document: dict[str, Any] = json.loads(out)
    return document


# -- events ----------------------------------------------------------------------------------------

PAGE = 500
_LARGEST = 2**62
_STREAM = stream_of(
    job_added='{"v":1,"event":{"number":7,"kind":"job_added","at":"2026-03-29T01:00:00Z"}}',
    run='{"v":1,"run":{"id":"r1m81yjb2sa68s6a3z9","state":"succeeded"}}',
    owner='{"v":1,"state":"owned","term":7}',
    changed="jobs runs",
)


@router.get(
    "/events",
    tags=["events"],
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
    hub: HubDep,
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
        last_id = last_event_id or ""
        if last_id.isascii() and last_id.isdecimal():
            after = min(int(last_id), _LARGEST)
        if after is None:
            # Read before the response begins: what is recorded from then on is sent.
            after = (await run_in_threadpool(profile.store.mark)).event
        return hub.respond(_stream(hub, profile, after))
    events = await run_in_threadpool(profile.store.events, after=after or 0, limit=limit)
    documents = [event_document(event) for event in events]
    following = events[-1].seq if events else after or 0
    return JsonResponse(EventList(events=documents, next=following))


async def _stream(hub: Hub, profile: Profile, after: int) -> AsyncIterator[bytes]:
    """The missed events from the store, then new ones, each once."""
    yield b"retry: 1000\n\n"
    sent, greeted = after, False
    async with contextlib.aclosing(hub.events(profile.name)) as updates:
        async for update in updates:
            if isinstance(update, bytes):
                yield update
                continue
            if not greeted:
                greeted = True
                yield update.owner
                async for event in _missed(profile, sent):
                    sent = event.seq
                    yield event_chunk(event)
                continue
            chunk, sent = update.api(sent)
            if chunk:
                yield chunk


async def _missed(profile: Profile, after: int) -> AsyncIterator[Event]:
    while True:
        events = await run_in_threadpool(profile.store.events, after=after, limit=PAGE)
        for event in events:
            yield event
        if len(events) < PAGE:
            return
        after = events[-1].seq
