"""Requests to the owner: requester, deadline and answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from tenure.client.health import expected_owner, next_command, why_no_owner
from tenure.domain.request import RequestState
from tenure.runtime.profile import Profile
from tenure.surfaces.web.pages.render import ViewDep
from tenure.surfaces.web.reports import kept

router = APIRouter()
MOST = 100


@router.get("/p/{profile}/requests")
def list_requests(view: ViewDep, state: str = "", done: str = "") -> HTMLResponse:
    known = [str(each) for each in RequestState]
    states = frozenset({RequestState(state)}) if state in known else None
    requests = view.profile.store.requests(states=states, limit=MOST)
    return view.page(
        "requests.html",
        section="requests",
        live="requests owner runs",
        requests=sorted(requests, key=lambda request: request.asked_at, reverse=True),
        state=state if states else "",
        states=known,
        most=MOST,
        job_name=_job_names(view.profile),
        done={"withdrawn": "Withdrawn: the owner will not be asked again."}.get(done),
    )


@router.get("/p/{profile}/requests/{ref}")
def show_request(view: ViewDep, ref: str) -> HTMLResponse:
    store, health = view.profile.store, view.health
    asked = store.request(ref)
    pending = asked.state is RequestState.PENDING
    return view.page(
        "request.html",
        section="requests",
        live="requests owner runs",
        every=5 if pending else 0,
        asked=asked,
        late=pending and view.now > asked.deadline,
        run=kept(store.run, asked.run),
        job_name=_job_names(view.profile),
        why=None if health.owned else why_no_owner(health),
        should=expected_owner(health.policy),
        remedy=next_command(health, view.profile.name),
    )


def _job_names(profile: Profile) -> Callable[[str], str]:
    """From a job's id to its name; the id where retention has taken it."""

    @cache
    def name(id: str) -> str:
        job = kept(profile.store.job, id)
        return id if job is None else job.name

    return name
