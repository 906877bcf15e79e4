"""The output of a run: as text, in ranges, and as a live stream."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from tenure.domain.errors import NotFound
from tenure.domain.run import Run
from tenure.runtime.output import CHUNK, Layout, layout_of, marker, read_from, tail
from tenure.runtime.profile import Profile
from tenure.surfaces.web.api.common import RunId
from tenure.surfaces.web.api.openapi import problems, stream_of
from tenure.surfaces.web.deps import ProfileDep
from tenure.surfaces.web.live.hub import Hub
from tenure.surfaces.web.live.output_tail import Tail, of_event_id, tail_stream
from tenure.surfaces.web.problems import Problem, ProblemRaised

router = APIRouter(prefix="/api/v1/profiles/{profile}/runs/{run}", tags=["runs"])
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
    "/output",
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
    request: Request,
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
    if resumed is not None:  # a client that reconnects is further than when it began
        attempt, offset = resumed[0] or attempt or 1, resumed[1]
    found, number = await run_in_threadpool(_attempt, profile, run, attempt)
    if follow:
        hub: Hub = request.app.state.hub
        hub.check_room()
        log = Tail(profile=profile, run=found.id, attempt=number, offset=offset)
        return StreamingResponse(tail_stream(hub, log), media_type="text/event-stream")
    path = _path(profile, found, number)
    return await run_in_threadpool(_whole_or_part, path, lines, range_)


def _attempt(profile: Profile, run: str, attempt: int | None) -> tuple[Run, int]:
    found = profile.store.run(run)
    if attempt is not None and attempt > found.attempt:
        raise NotFound(
            f"run {found.id} had {found.attempt} attempts, not {attempt}", field="attempt"
        )
    return found, attempt or found.attempt


def _path(profile: Profile, run: Run, attempt: int) -> Path:
    """From the id that the store has, never from what was asked for."""
    return profile.folder.logs / run.id / f"{attempt}.log"


def _whole_or_part(path: Path, lines: int | None, asked: str | None) -> Response:
    layout = layout_of(path)
    headers = {"Accept-Ranges": "bytes", "X-Tenure-Dropped": str(layout.dropped)}
    if lines is not None:
        return _text(tail(path, lines), 200, headers)
    match = _RANGE.fullmatch((asked or "").strip())
    if match is None or match.group(0) == "bytes=-":  # other units and many ranges: all of it
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
            Problem(
                status=416,
                code="no_such_range",
                text=f"bytes {layout.dropped} to {layout.end} are kept",
                remedy="ask for a range of those",
                facts={"first": layout.dropped, "end": layout.end},
                headers={"Content-Range": f"bytes */{layout.end}"},
            )
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
