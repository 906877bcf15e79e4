"""Runs: list, read, cancel, retry; and their output."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Query
from pydantic import AwareDatetime
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tenure.client import requests
from tenure.client.documents.runs import RunList, RunReply, omission_document
from tenure.client.pages import page_of_runs
from tenure.domain.errors import NotFound
from tenure.domain.run import Run, RunState
from tenure.runtime.output import CHUNK, Layout, layout_of, marker, read_from, tail
from tenure.runtime.profile import Profile
from tenure.store.contract import RunFilter
from tenure.surfaces.web.api.common import (
    Cursor,
    JsonResponse,
    Limit,
    OwnerRequestDep,
    Queue,
    RunId,
)
from tenure.surfaces.web.api.openapi import accepted, problems, reply, stream_of
from tenure.surfaces.web.live.hub import HubDep
from tenure.surfaces.web.live.output_tail import Tail, of_event_id, tail_stream
from tenure.surfaces.web.problems import ProblemRaised
from tenure.surfaces.web.reports import run_documents
from tenure.surfaces.web.site import ProfileDep

router = APIRouter(prefix="/api/v1/profiles/{profile}/runs", tags=["runs"])
_LARGEST = 2**62


@router.get("", **reply(RunList, 404, 422))
def list_runs(
    profile: ProfileDep,
    job: Annotated[str | None, Query(max_length=200, description="A job's id or name.")] = None,
    state: Annotated[list[RunState] | None, Query(description="Any of these.")] = None,
    since: Annotated[
        AwareDatetime | None, Query(description="Claimed (left out: decided) at or after.")
    ] = None,
    term: Annotated[int | None, Query(ge=0, le=_LARGEST)] = None,
    process: Annotated[str | None, Query(max_length=100)] = None,
    everything: Annotated[
        bool, Query(alias="all", description="Also ranges of scheduled runs that did not happen.")
    ] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Runs, the newest claim first; with `all`, `not_run` has the runs that did not happen."""
    store = profile.store
    which = store.job(job).id if job else None
    states = frozenset(state) if state else None
    where = RunFilter(job=which, states=states, since=since, term=term, process=process)
    runs, omissions, following = page_of_runs(
        store, where, limit=limit, cursor=cursor, everything=everything
    )
    documents = run_documents(profile, runs)
    if not everything:
        return JsonResponse(RunList(runs=documents, next=following))
    not_run = [omission_document(omission) for omission in omissions]
    return JsonResponse(RunList(runs=documents, not_run=not_run, next=following))


@router.get("/{run}", **reply(RunReply, 404))
def get_run(profile: ProfileDep, run: RunId) -> Response:
    """One run in full: its attempts and the evidence of the process that executed it."""
    (document,) = run_documents(profile, [profile.store.run(run)])
    return JsonResponse(RunReply(run=document))


@router.post("/{run}/cancel", **accepted())
async def cancel_run(run: RunId, owner: OwnerRequestDep, queue: Queue = False) -> Response:
    """Ask the owner to cancel a run: its whole process group is ended."""
    return await owner.send(requests.cancel, run, queue=queue)


@router.post("/{run}/retry", **accepted())
async def retry_run(run: RunId, owner: OwnerRequestDep, queue: Queue = False) -> Response:
    """Ask the owner to run the job of a finished run again."""
    return await owner.send(requests.retry, run, queue=queue)


# -- the output ------------------------------------------------------------------------------------

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
LARGEST = 32 * 1024 * 1024
"""Bytes of one answer; more is read in ranges."""
_TEXT = {"text/plain": {"schema": {"type": "string"}}}
_STREAM = stream_of(
    output='{"v":1,"offset":6,"text":"hello\\n"}',
    end='{"v":1,"run":"r1m81yjb2sa68s6a3z9","state":"succeeded"}',
)
_HEADERS = {
    "Accept-Ranges": {"description": "bytes", "schema": {"type": "string"}},
    "X-Tenure-Dropped": {
        "description": "How many bytes from the beginning are no longer kept.",
        "schema": {"type": "integer"},
    },
}


@router.get(
    "/{run}/output",
    response_class=Response,
    responses={
        **problems(404, 416, 422),
        200: {
            "description": "All stored output; with `follow` a stream of server-sent events: "
            "`output` (a text, and the offset after it), `attempt` (the next one has begun, its "
            "output starts at 0), `end` (the run's state). The ids are for `Last-Event-ID`.",
            "content": {**_TEXT, **_STREAM},
            "headers": _HEADERS,
        },
        206: {"description": "The range that was asked for.", "content": _TEXT},
    },
)
async def get_output(
    hub: HubDep,
    profile: ProfileDep,
    run: RunId,
    attempt: Annotated[
        int | None, Query(ge=1, le=1000, description="An earlier attempt; else the last.")
    ] = None,
    lines: Annotated[int | None, Query(ge=1, le=100_000, description="Only the last.")] = None,
    follow: Annotated[bool, Query(description="Stream by SSE until the run ends.")] = False,
    offset: Annotated[
        int, Query(ge=0, le=10**15 - 1, description="With `follow`: begin at this byte.")
    ] = 0,
    range_: Annotated[
        str | None, Header(alias="Range", max_length=100, description="`bytes=0-99`, `bytes=-99`")
    ] = None,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> Response:
    """Bytes as the job wrote them. Offsets count from the first byte ever written, also where the
    beginning is no longer kept. A stream that breaks goes on by `Last-Event-ID`, which comes before
    `offset`, also where another attempt has begun meanwhile."""
    resumed = of_event_id(last_event_id or "") if follow else None
    # A client that reconnects is further than when it began.
    if resumed is not None:
        attempt, offset = resumed[0] or attempt or 1, resumed[1]
    stored, number = await run_in_threadpool(_attempt, profile, run, attempt)
    if follow:
        log = Tail(profile=profile, run=stored.id, attempt=number, offset=offset)
        return hub.respond(tail_stream(hub, log))
    # The path is made of the id that the store has, never of what was asked for.
    path = profile.folder.logs / stored.id / f"{number}.log"
    return await run_in_threadpool(_whole_or_part, path, lines, range_)


def _attempt(profile: Profile, run: str, attempt: int | None) -> tuple[Run, int]:
    stored = profile.store.run(run)
    if attempt is not None and attempt > stored.attempt:
        raise NotFound(
            f"run {stored.id} had {stored.attempt} attempts, not {attempt}", field="attempt"
        )
    return stored, attempt or stored.attempt


def _whole_or_part(path: Path, lines: int | None, asked: str | None) -> Response:
    layout = layout_of(path)
    headers = {"Accept-Ranges": "bytes", "X-Tenure-Dropped": str(layout.dropped)}
    if lines is not None:
        return _text(tail(path, lines), 200, headers)
    match = _RANGE.fullmatch((asked or "").strip())
    # Other units and many ranges: all of it.
    if match is None or match.group(0) == "bytes=-":
        first = marker(layout.dropped) if layout.dropped else b""
        return _text(first + _read(path, layout.dropped, layout.end), 200, headers)
    begin, end = _bounds(match, layout)
    headers["Content-Range"] = f"bytes {begin}-{end - 1}/{layout.end}"
    return _text(_read(path, begin, end), 206, headers)


def _bounds(match: re.Match[str], layout: Layout) -> tuple[int, int]:
    """The range in offsets, cut to what there is. Raises ProblemRaised: 416."""
    first, last = match[1], match[2]
    if not first:
        begin, end = max(layout.dropped, layout.end - int(last)), layout.end
    else:
        begin = int(first)
        end = min(layout.end, int(last) + 1 if last else layout.end)
    if begin < layout.dropped or begin >= end:
        raise ProblemRaised(
            416,
            "no_such_range",
            f"bytes {layout.dropped} to {layout.end} are kept",
            remedy="ask for a range of those",
            facts={"first": layout.dropped, "end": layout.end},
            headers={"Content-Range": f"bytes */{layout.end}"},
        )
    return begin, end


def _read(path: Path, begin: int, end: int) -> bytes:
    parts: list[bytes] = []
    end = min(end, begin + LARGEST)
    while begin < end:
        at, part = read_from(path, begin, min(CHUNK, end - begin))
        if not part:
            break
        parts.append(part)
        begin = at + len(part)
    return b"".join(parts)


def _text(content: bytes, status: int, headers: dict[str, str]) -> Response:
    return Response(
        content, status_code=status, media_type="text/plain; charset=utf-8", headers=headers
    )
