"""What the buttons do: each a form that works without a script, each ends in a page to look at.

The owner is asked, never bypassed. What it refuses, or what no owner can do, becomes a page
that says why and what to do, with the way to leave it for the owner where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.datastructures import FormData
from starlette.responses import Response

from tenure.client import edits, requests
from tenure.client.health import Health
from tenure.client.presence import requester
from tenure.client.requests import Waiting
from tenure.domain.errors import Conflict, NotFound, Refused, TenureError
from tenure.domain.job import JobState
from tenure.domain.ownership import HolderLife
from tenure.domain.request import Request as Asked
from tenure.surfaces.web import VIA_PAGE, words
from tenure.surfaces.web.guard import FormDep
from tenure.surfaces.web.pages.job_editor import revision_of
from tenure.surfaces.web.pages.render import ProfileView, ViewDep
from tenure.surfaces.web.problems import of_error

router = APIRouter()
_WAITING = Waiting(patience=timedelta(seconds=2))
"""The owner's answer is waited for this long; then the page shows the pending request."""
_BY_SHELL = "; or pass --queue to keep it for the next owner"
"""How the command line leaves a request; here there is a button."""


@router.post("/p/{profile}/jobs/{ref}/trigger")
def trigger(view: ViewDep, ref: str, given: FormDep) -> Response:
    job = view.profile.store.job(ref)
    asking = Asking(f"run {job.name} now", back=f"/jobs/{job.id}", verb="trigger")
    return asking.send(view, given, requests.trigger, job.id)


@router.post("/p/{profile}/runs/{ref}/cancel")
def cancel(view: ViewDep, ref: str, given: FormDep) -> Response:
    run = view.profile.store.run(ref)
    what = f"cancel this run of {run.job_name}"
    asking = Asking(what, back=f"/runs/{run.id}", verb="cancel", done="?done=cancel")
    return asking.send(view, given, requests.cancel, run.id)


@router.post("/p/{profile}/runs/{ref}/retry")
def retry(view: ViewDep, ref: str, given: FormDep) -> Response:
    run = view.profile.store.run(ref)
    asking = Asking(f"run {run.job_name} again", back=f"/runs/{run.id}", verb="retry")
    return asking.send(view, given, requests.retry, run.id)


@router.post("/p/{profile}/owner/hand-over")
def hand_over(view: ViewDep, given: FormDep) -> Response:
    to = given.get("to")
    asking = Asking("hand over the ownership", back="/owner")
    ask = partial(requests.hand_over, to=to if isinstance(to, str) and to else None)
    return asking.send(view, given, ask)


@dataclass(frozen=True, slots=True)
class Asking:
    """One request by a form, and where it leads."""

    what: str
    _: KW_ONLY
    back: str
    """The page of the form."""
    verb: str = ""
    """What can be left for the owner, by a form at this address below ``back``."""
    done: str = ""
    """A query for the page of the run, to say so there."""

    def send(
        self, view: ProfileView, given: FormData, ask: Callable[..., Asked], *arguments: str
    ) -> Response:
        """Ask, and go where the answer can be followed: the run, or the request while it waits."""
        options: dict[str, Any] = {"queue": bool(given.get("queue"))} if self.verb else {}
        by = requester(VIA_PAGE)
        try:
            asked = ask(view.profile, *arguments, by=by, waiting=_WAITING, **options)
        except (Refused, Conflict) as error:
            return self._refused(view, error)
        if asked.run and asked.answered_at:
            return view.back_to(f"/runs/{asked.run}{self.done}")
        return view.back_to(f"/requests/{asked.id}")

    def _refused(self, view: ProfileView, error: TenureError) -> Response:
        unowned = not view.health.owned
        return view.page(
            "refused.html",
            code=409 if unowned else of_error(error).status,
            section="requests",
            what=self.what,
            error=error,
            unowned=unowned,
            again=f"{self.back}/{self.verb}" if unowned and self.verb else "",
            back=self.back,
            reasons=list(_reasons(view.health, error)),
            remedy=error.remedy.removesuffix(_BY_SHELL),
            should=error.facts.get("should_own"),
            request_id=error.facts.get("request"),
        )


def _reasons(health: Health, error: TenureError) -> Iterator[str]:
    """Why each process that could do it does not, in a sentence each; observers never could."""
    owner = health.owner
    known = {each.process.id: each.process for each in health.present}
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
def after_a_form(view: ViewDep, kind: str, ref: str, verb: str) -> Response:
    """A reloaded form address redirects to the page of the form."""
    known = {"jobs": {"trigger", "state", "restore", "approve"}, "runs": {"cancel", "retry"}}
    if verb not in known.get(kind, ()):
        raise NotFound("nothing at this address")
    return view.back_to(f"/{kind}/{ref}")


# -- definitions -----------------------------------------------------------------------------------

_STATES = {
    "pause": (JobState.PAUSED, "paused"),
    "resume": (JobState.ACTIVE, "resumed"),
    "remove": (JobState.REMOVED, "removed"),
}


@router.post("/p/{profile}/jobs/{ref}/state")
def change_state(view: ViewDep, ref: str, given: FormDep) -> Response:
    """Pause, resume or remove. A removal can be undone from the page that follows."""
    verb = given.get("to")
    state, done = _STATES[verb] if isinstance(verb, str) and verb in _STATES else (None, "")
    job = view.profile.store.job(ref)
    if state is None:
        return view.back_to(f"/jobs/{job.id}")
    edits.set_state(view.profile, job.id, state, via=VIA_PAGE, now=view.now)
    if state is JobState.REMOVED or given.get("from") == "list":
        return view.back_to(f"/jobs?done={done}&job={job.id}")
    return view.back_to(f"/jobs/{job.id}?done={done}")


@router.post("/p/{profile}/jobs/{ref}/restore")
def restore(view: ViewDep, ref: str, given: FormDep) -> Response:
    """Undo a removal, as far as that is possible: the same definition, as a new job."""
    job = edits.restore(view.profile, ref, via=VIA_PAGE, now=view.now)
    return view.back_to(f"/jobs/{job.id}?done=restored")


@router.post("/p/{profile}/jobs/{ref}/approve")
def approve(view: ViewDep, ref: str, given: FormDep) -> Response:
    job = view.profile.store.job(ref)
    revision = revision_of(given.get("revision"), job)
    edits.approve(view.profile, job.id, revision, via=VIA_PAGE, now=view.now)
    return view.back_to(f"/jobs/{job.id}?done=approved")


@router.post("/p/{profile}/requests/{ref}/withdraw")
def withdraw(view: ViewDep, ref: str, given: FormDep) -> Response:
    requests.withdraw(view.profile, ref, now=view.now)
    return view.back_to("/requests?done=withdrawn")
