"""Runs: list, read, cancel, retry."""

from __future__ import annotations

import json
from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime
from starlette.responses import Response

from tenure.client import requests
from tenure.client.documents.runs import RequestReply, RunList, RunReply, omission_document
from tenure.domain.errors import InvalidInput
from tenure.domain.omission import Omission
from tenure.domain.run import Run, RunState
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from tenure.surfaces.web.api.common import (
    Cursor,
    JsonResponse,
    Key,
    Limit,
    OwnerRequestsDep,
    RunId,
    Wait,
)
from tenure.surfaces.web.api.openapi import ACCEPTED, problems
from tenure.surfaces.web.deps import ProfileDep
from tenure.surfaces.web.reports import run_documents

router = APIRouter(prefix="/api/v1/profiles/{profile}/runs", tags=["runs"])
_END = "end"
_LARGEST = 2**62


@router.get("", response_model=RunList, responses=problems(404, 422))
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
        bool, Query(alias="all", description="Also ranges of fire times that did not become runs.")
    ] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Runs, the newest claim first; with `all`, `not_run` has the runs that did not happen."""
    which = profile.store.job(job).id if job else None
    where = RunFilter(
        job=which,
        states=frozenset(state) if state else None,
        since=since,
        term=term,
        process=process,
    )
    begin, omitted_begin = _positions(cursor) if everything else (cursor, _END)
    runs, following = _runs(profile, where, limit, begin)
    if not everything:
        return JsonResponse(RunList(runs=run_documents(profile, runs), next=following))
    omitted, omitted_following = _omitted(profile, which, since, limit, omitted_begin)
    if following or omitted_following:
        following = json.dumps([following or _END, omitted_following or _END])
    return JsonResponse(
        RunList(
            runs=run_documents(profile, runs),
            not_run=[omission_document(omission) for omission in omitted],
            next=following,
        )
    )


def _runs(
    profile: Profile, where: RunFilter, limit: int, begin: str | None
) -> tuple[tuple[Run, ...], str | None]:
    if begin == _END:
        return (), None
    return profile.store.runs(where, Page(limit=limit, cursor=begin))


def _omitted(
    profile: Profile, job: str | None, since: datetime | None, limit: int, begin: str | None
) -> tuple[tuple[Omission, ...], str | None]:
    if begin == _END:
        return (), None
    return profile.store.omissions(job=job, since=since, page=Page(limit=limit, cursor=begin))


def _positions(cursor: str | None) -> tuple[str | None, str | None]:
    """Two lists are paged side by side, and the cursor has a place in each."""
    if cursor is None:
        return None, None
    try:
        runs, omissions = json.loads(cursor)
        if not (isinstance(runs, str) and isinstance(omissions, str)):
            raise ValueError(cursor)
    except (ValueError, TypeError, RecursionError):
        raise InvalidInput(
            "not a cursor of a list with all=true",
            field="cursor",
            remedy="use the 'next' value of a page",
        ) from None
    return runs, omissions


@router.get("/{run}", response_model=RunReply, responses=problems(404))
def get_run(profile: ProfileDep, run: RunId) -> Response:
    """One run in full: its attempts and the evidence of the process that executed it."""
    (document,) = run_documents(profile, [profile.store.run(run)])
    return JsonResponse(RunReply(run=document))


@router.post(
    "/{run}/cancel",
    response_model=RequestReply,
    status_code=202,
    responses={**problems(403, 404, 409, 422), **ACCEPTED},
)
async def cancel_run(
    profile: ProfileDep,
    run: RunId,
    owner: OwnerRequestsDep,
    queue: Annotated[
        bool, Query(description="Leave the request for the owner, up to 24 hours.")
    ] = False,
    wait: Wait = 2.0,
    key: Key = None,
) -> Response:
    """Ask the owner to cancel a run: its whole process group is ended."""
    act = partial(requests.cancel, profile, run, queue=queue, key=key)
    return await owner.send(profile, act, wait)


@router.post(
    "/{run}/retry",
    response_model=RequestReply,
    status_code=202,
    responses={**problems(403, 404, 409, 422), **ACCEPTED},
)
async def retry_run(
    profile: ProfileDep,
    run: RunId,
    owner: OwnerRequestsDep,
    queue: Annotated[
        bool, Query(description="Leave the request for the owner, up to 24 hours.")
    ] = False,
    wait: Wait = 2.0,
    key: Key = None,
) -> Response:
    """Ask the owner to run the job of a finished run again."""
    act = partial(requests.retry, profile, run, queue=queue, key=key)
    return await owner.send(profile, act, wait)
