"""What the buttons do: each a form that works without a script, each ends in a page to look at.

The owner is asked, never bypassed. What it refuses, or what no owner can do, becomes a page
that says why and what to do, with the way to leave it for the owner where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from fastapi import APIRouter, Request
from starlette.datastructures import FormData
from starlette.responses import Response

from tenure.client import edits, requests
from tenure.client.presence import requester
from tenure.client.requests import Waiting
from tenure.domain.errors import Conflict, NotFound, Refused, TenureError
from tenure.domain.job import JobState
from tenure.domain.ownership import HolderLife
from tenure.domain.request import Request as Asked
from tenure.runtime.profile import Profile
from tenure.surfaces.web import VIA_PAGE, words
from tenure.surfaces.web.deps import FormDep, ProfileDep, SiteDep
from tenure.surfaces.web.pages.job_editor import revision_of
from tenure.surfaces.web.pages.render import Frame, back_to, frame, page
from tenure.surfaces.web.problems import of_error

router = APIRouter()
_WAITING = Waiting(patience=timedelta(seconds=2))
"""The owner's answer is waited for this long; then the page shows the pending request."""
_BY_SHELL = "; or pass --queue to keep it for the next owner"
"""How the command line leaves a request; here there is a button."""


@router.post("/p/{profile}/jobs/{ref}/trigger")
def trigger(profile: ProfileDep, request: Request, ref: str, given: FormDep) -> Response:
    job = profile.store.job(ref)

    def ask() -> Asked:
        return requests.trigger(
            profile, job.id, by=requester(VIA_PAGE), queue=_queue(given), waiting=_WAITING
        )

    what = f"run {job.name} now"
    return _asking(request, profile, ask, what, f"jobs/{job.id}/trigger", f"jobs/{job.id}")


@router.post("/p/{profile}/runs/{ref}/cancel")
def cancel(profile: ProfileDep, request: Request, ref: str, given: FormDep) -> Response:
    run = profile.store.run(ref)

    def ask() -> Asked:
        return requests.cancel(
            profile, run.id, by=requester(VIA_PAGE), queue=_queue(given), waiting=_WAITING
        )

    return _asking(request, profile, ask, f"cancel this run of {run.job_name}",
                   f"runs/{run.id}/cancel", f"runs/{run.id}", done="cancel")  # fmt: skip


@router.post("/p/{profile}/runs/{ref}/retry")
def retry(profile: ProfileDep, request: Request, ref: str, given: FormDep) -> Response:
    run = profile.store.run(ref)

    def ask() -> Asked:
        return requests.retry(
            profile, run.id, by=requester(VIA_PAGE), queue=_queue(given), waiting=_WAITING
        )

    return _asking(request, profile, ask, f"run {run.job_name} again", f"runs/{run.id}/retry",
                   f"runs/{run.id}")  # fmt: skip


@router.post("/p/{profile}/owner/hand-over")
def hand_over(profile: ProfileDep, request: Request, site: SiteDep, given: FormDep) -> Response:
    to = given.get("to")
    target = to if isinstance(to, str) and to else None

    def ask() -> Asked:
        return requests.hand_over(profile, by=requester(VIA_PAGE), to=target, waiting=_WAITING)

    return _asking(request, profile, ask, "hand over the ownership", "", "owner")


def _queue(given: FormData) -> bool:
    return bool(given.get("queue"))


def _asking(
    request: Request,
    profile: Profile,
    ask: Callable[[], Asked],
    what: str,
    again: str,
    back: str,
    done: str = "",
) -> Response:
    """Ask, and go where the answer can be followed: the run, or the request while it waits."""
    base = f"/p/{profile.name}"
    try:
        asked = ask()
    except (Refused, Conflict) as error:
        return _refused(request, profile, error, what, again, back)
    if done == "cancel" and asked.run and asked.answered_at:
        return back_to(f"{base}/runs/{asked.run}?done=cancel")
    if asked.run and asked.answered_at:
        return back_to(f"{base}/runs/{asked.run}")
    return back_to(f"{base}/requests/{asked.id}")


def _refused(
    request: Request, profile: Profile, error: TenureError, what: str, again: str, back: str
) -> Response:
    around = frame(request, profile)
    unowned = not around.health.owned
    return page(
        request,
        "refused.html",
        around,
        code=409 if unowned else of_error(error).status,
        section="requests",
        what=what,
        error=error,
        unowned=unowned,
        again=again if unowned else "",
        back=back,
        reasons=list(_reasons(around, error)),
        remedy=error.remedy.removesuffix(_BY_SHELL),
        should=error.facts.get("should_own"),
        request_id=error.facts.get("request"),
    )


def _reasons(around: Frame, error: TenureError) -> Iterator[str]:
    """Why each process that could do it does not, in a sentence each; observers never could."""
    owner = around.health.owner
    known = {one.process.id: one.process for one in around.health.present}
    listed = error.facts.get("processes")
    for each in listed if isinstance(listed, list) else ():
        process = known.get(each["id"])
        if process is None or each["standing"] == "observer":
            continue
        who = words.who(process)
        if owner is not None and process is owner.process and owner.life is HolderLife.DEAD:
            yield f"The owner, {who}, is dead"
        else:
            yield f"{who}, is {each['standing']}: {each['why']}"


@router.get("/p/{profile}/{kind}/{ref}/{verb}")
def after_a_form(profile: ProfileDep, kind: str, ref: str, verb: str) -> Response:
    """A reloaded form address redirects to the page of the form."""
    known = {"jobs": {"trigger", "state", "restore", "approve"}, "runs": {"cancel", "retry"}}
    if verb not in known.get(kind, ()):
        raise NotFound("nothing at this address")
    return back_to(f"/p/{profile.name}/{kind}/{ref}")


# -- definitions -----------------------------------------------------------------------------------

_STATES = {
    "pause": (JobState.PAUSED, "paused"),
    "resume": (JobState.ACTIVE, "resumed"),
    "remove": (JobState.REMOVED, "removed"),
}


@router.post("/p/{profile}/jobs/{ref}/state")
def change_state(profile: ProfileDep, site: SiteDep, ref: str, given: FormDep) -> Response:
    """Pause, resume or remove. A removal can be undone from the page that follows."""
    verb = given.get("to")
    state, done = _STATES[verb] if isinstance(verb, str) and verb in _STATES else (None, "")
    job = profile.store.job(ref)
    if state is None:
        return back_to(f"/p/{profile.name}/jobs/{job.id}")
    edits.set_state(profile, job.id, state, via=VIA_PAGE, now=site.now())
    if state is JobState.REMOVED or given.get("from") == "list":
        return back_to(f"/p/{profile.name}/jobs?done={done}&job={job.id}")
    return back_to(f"/p/{profile.name}/jobs/{job.id}?done={done}")


@router.post("/p/{profile}/jobs/{ref}/restore")
def restore(profile: ProfileDep, site: SiteDep, ref: str, given: FormDep) -> Response:
    """Undo a removal, as far as that is possible: the same definition, as a new job."""
    job = edits.restore(profile, ref, via=VIA_PAGE, now=site.now())
    return back_to(f"/p/{profile.name}/jobs/{job.id}?done=restored")


@router.post("/p/{profile}/jobs/{ref}/approve")
def approve(profile: ProfileDep, site: SiteDep, ref: str, given: FormDep) -> Response:
    job = profile.store.job(ref)
    revision = revision_of(given.get("revision"), job)
    edits.approve(profile, job.id, revision, via=VIA_PAGE, now=site.now())
    return back_to(f"/p/{profile.name}/jobs/{job.id}?done=approved")


@router.post("/p/{profile}/requests/{ref}/withdraw")
def withdraw(profile: ProfileDep, site: SiteDep, ref: str, given: FormDep) -> Response:
    requests.withdraw(profile, ref, now=site.now())
    return back_to(f"/p/{profile.name}/requests?done=withdrawn")
