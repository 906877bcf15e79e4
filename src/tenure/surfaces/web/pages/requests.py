"""Requests to the owner: requester, deadline and answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tenure.client.health import expected_owner, next_command, why_no_owner
from tenure.domain.errors import NotFound
from tenure.domain.request import Request as Asked
from tenure.domain.request import RequestState
from tenure.runtime.profile import Profile
from tenure.surfaces.web.deps import ProfileDep
from tenure.surfaces.web.pages.render import frame, page

router = APIRouter()
MOST = 100


@router.get("/p/{profile}/requests")
def list_requests(
    profile: ProfileDep, request: Request, state: str = "", done: str = ""
) -> HTMLResponse:
    around = frame(request, profile)
    known = [str(one) for one in RequestState]
    wanted = frozenset({RequestState(state)}) if state in known else None
    found = profile.store.requests(states=wanted, limit=MOST)
    return page(
        request,
        "requests.html",
        around,
        section="requests",
        live="requests owner runs",
        requests=sorted(found, key=lambda one: one.asked_at, reverse=True),
        state=state if wanted else "",
        states=known,
        most=MOST,
        job_name=job_names(profile),
        done={"withdrawn": "Withdrawn: the owner will not be asked again."}.get(done),
    )


@router.get("/p/{profile}/requests/{ref}")
def show(profile: ProfileDep, request: Request, ref: str) -> HTMLResponse:
    around = frame(request, profile)
    asked = profile.store.request(ref)
    health = around.health
    return page(
        request,
        "request.html",
        around,
        section="requests",
        live="requests owner runs",
        every=5 if asked.state is RequestState.PENDING else 0,
        asked=asked,
        late=asked.state is RequestState.PENDING and around.now > asked.deadline,
        run=_run(profile, asked),
        job_name=job_names(profile),
        why=None if health.owned else why_no_owner(health),
        should=expected_owner(health.policy),
        remedy=next_command(health, profile.name),
    )


def job_names(profile: Profile) -> Callable[[str], str]:
    """From a job's id to its name; the id where retention has taken it."""

    @cache
    def name(id: str) -> str:
        try:
            return profile.store.job(id).name
        except NotFound:
            return id

    return name


def _run(profile: Profile, asked: Asked) -> object:
    try:
        return profile.store.run(asked.run) if asked.run else None
    except NotFound:
        return None
