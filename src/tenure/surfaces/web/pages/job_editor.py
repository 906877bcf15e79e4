"""Adding and editing a job: forms that show what they would do, and lose nothing.

Each form carries the revision that it shows. What others changed since then is kept; where both
changed the same part, both versions are shown, and the person decides.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from tenure.client import edits
from tenure.client.foreign_jobs import is_foreign
from tenure.domain.durations import format_duration
from tenure.domain.errors import Conflict, InvalidInput, TenureError
from tenure.domain.job import Command, Job, JobState
from tenure.domain.schedule.model import Schedule
from tenure.domain.schedule.zones import check_zone
from tenure.runtime.profile import Profile
from tenure.surfaces.web import VIA_PAGE, schedule_preview
from tenure.surfaces.web.deps import FormDep, ProfileDep
from tenure.surfaces.web.pages import form_fields, lookups
from tenure.surfaces.web.pages.fires import annotate_fires, next_change
from tenure.surfaces.web.pages.form_fields import Form
from tenure.surfaces.web.pages.job import foreign_facts
from tenure.surfaces.web.pages.render import Frame, back_to, frame, page

router = APIRouter()
TRIES = 3
LONGEST_NUMBER = 18
"""Digits."""


@router.get("/p/{profile}/jobs/new")
def new(profile: ProfileDep, request: Request) -> HTMLResponse:
    around = frame(request, profile)
    return _form(request, around, form_fields.blank(around.zone))


@router.post("/p/{profile}/jobs/new")
def create(profile: ProfileDep, request: Request, given: FormDep) -> Response:
    around = frame(request, profile)
    form = form_fields.of_posted(given)
    if "preview" in given:
        return _form(request, around, form)
    try:
        fields = form_fields.to_fields(form) | {"paused": bool(form["paused"])}
        job = edits.create(profile, fields, via=VIA_PAGE, now=around.now)
    except (InvalidInput, Conflict) as error:
        return _form(request, around, form, error=error)
    return back_to(f"/p/{profile.name}/jobs/{job.id}?done=added")


@router.get("/p/{profile}/jobs/preview")
def preview(
    profile: ProfileDep,
    request: Request,
    schedule: Annotated[str, Query(max_length=1000)] = "",
    tz: Annotated[str, Query(max_length=100)] = "",
    dst: Annotated[str, Query(max_length=100)] = "",
    job: Annotated[str, Query(max_length=100)] = "",
) -> HTMLResponse:
    """The part of the form that says what a schedule means, as it is typed."""
    around = frame(request, profile)
    base = profile.store.job(job).definition.schedule if job else None
    form = {"schedule": schedule, "tz": tz, "dst": dst}
    return page(request, "preview.html", around, preview=previewed(around, form, base))


@router.get("/p/{profile}/jobs/{ref}/edit")
def edit(profile: ProfileDep, request: Request, ref: str) -> HTMLResponse:
    around = frame(request, profile)
    job = profile.store.job(ref)
    if why := _not_here(job):
        return page(request, "elsewhere.html", around, section="jobs", job=job, why=why,
                    foreign=foreign_facts(job))  # fmt: skip
    return _form(request, around, form_fields.of_definition(job.definition), job=job)


@router.post("/p/{profile}/jobs/{ref}/edit")
def save(profile: ProfileDep, request: Request, ref: str, given: FormDep) -> Response:
    around = frame(request, profile)
    job = profile.store.job(ref)
    mine = form_fields.of_posted(given)
    revision = revision_of(given.get("revision"), job)
    seen = form_fields.of_definition(profile.store.definition(job.id, revision))
    for part in form_fields.PARTS:
        if given.get(f"take.{part}") == "theirs":
            mine = form_fields.with_part(mine, seen, part)
    if "preview" in given:
        return _form(request, around, mine, job=job, revision=revision)
    try:
        return _save(request, around, job, mine, revision)
    except InvalidInput as error:
        return _form(request, around, mine, job=job, revision=revision, error=error)


def _save(request: Request, around: Frame, job: Job, mine: Form, revision: int) -> Response:
    """Merge and write; repeat if the job changed in between."""
    profile = around.profile
    for attempt in range(TRIES):
        job = profile.store.job(job.id)
        merging = merge(profile, job, mine, revision)
        if merging.both:
            return _conflict(request, around, job, merging)
        if not form_fields.differing(merging.form, merging.theirs):
            return _saved(profile, job, "unchanged")
        fields = form_fields.over(merging.form, job.definition)
        fields["paused"] = job.state is JobState.PAUSED
        try:
            edits.replace(profile, job.id, fields, revision=job.revision, via=VIA_PAGE,
                            now=around.now)  # fmt: skip
        except edits.Overtaken:
            if attempt == TRIES - 1:
                raise
            continue
        except Conflict as error:
            return _form(request, around, mine, job=job, revision=revision, error=error)
        return _saved(profile, job, "edited" if merging.alone else "merged")
    raise AssertionError("the last try returns or raises")


def _saved(profile: Profile, job: Job, done: str) -> RedirectResponse:
    return back_to(f"/p/{profile.name}/jobs/{job.id}?done={done}")


class Merging:
    """Three versions of one form: what was shown, what is there now, what was sent."""

    def __init__(self, seen: Form, theirs: Form, mine: Form, hidden: set[str]) -> None:
        """``hidden``: parts that others changed in ways that no form shows (a secret)."""
        self.seen, self.theirs, self.mine = seen, theirs, mine
        self.by_me = form_fields.differing(seen, mine)
        self.by_them = form_fields.differing(seen, theirs) | hidden
        apart = form_fields.differing(mine, theirs) | hidden
        self.both = self.by_me & self.by_them & apart
        self.alone = not self.by_them
        self.form = theirs
        for part in self.by_me:
            self.form = form_fields.with_part(self.form, mine, part)


def merge(profile: Profile, job: Job, mine: Form, revision: int) -> Merging:
    """What the form changed of the revision that it showed, on what the job is now."""
    then = profile.store.definition(job.id, revision)
    now = job.definition
    hidden: set[str] = set()
    if isinstance(then.action, Command) and isinstance(now.action, Command):
        hidden = {
            part
            for part, before, after in (
                ("env", then.action.env, now.action.env),
                ("stdin", then.action.stdin, now.action.stdin),
            )
            if before != after
        }
    seen, theirs = form_fields.of_definition(then), form_fields.of_definition(now)
    return Merging(seen, theirs, mine, hidden)


def _conflict(request: Request, around: Frame, job: Job, merging: Merging) -> HTMLResponse:
    """Both versions of what both changed, and what else is different; the choice is made here."""
    parts = [p for p in form_fields.PARTS if p in merging.by_me | merging.by_them]
    return page(
        request,
        "conflict.html",
        around,
        code=409,
        section="jobs",
        job=job,
        merging=merging,
        parts=sorted(parts, key=lambda part: part not in merging.both),
        names=form_fields.LABELS,
        inputs=form_fields.inputs,
        shown=_shown,
    )


def _shown(form: Form, part: str) -> str:
    """One part as text, for the comparison."""
    if part in ("protected", "retry_lost"):
        return "yes" if form[part] else "no"
    if part == "command":
        return form["command"] + ("\n(by a shell)" if form["shell"] else "")
    if part == "catch_up" and form["window"]:
        return f"{form['catch_up']}, within {form['window']}"
    return form[part] or "–"


def revision_of(given: Any, job: Job) -> int:
    """The revision that a form says it shows. Raises InvalidInput: none other is meant instead."""
    known = isinstance(given, str) and given.isdecimal() and len(given) <= LONGEST_NUMBER
    number = int(given) if known else 0
    if not 1 <= number <= job.revision:
        raise InvalidInput(
            "the form has no valid revision",
            field="revision",
            remedy="open the form again; your input can be copied from here",
        )
    return number


def _not_here(job: Job) -> str:
    """Why a job cannot be edited here; empty if it can."""
    if job.state is JobState.REMOVED:
        return "it was removed"
    if is_foreign(job):
        return "it is planned by another scheduler, which keeps its definition"
    if not isinstance(job.definition.action, Command):
        return f"it is declared by the code of the app {job.app!r}"
    return ""


def _form(
    request: Request,
    around: Frame,
    form: Form,
    *,
    job: Job | None = None,
    revision: int | None = None,
    error: TenureError | None = None,
) -> HTMLResponse:
    base = job.definition.schedule if job else None
    wrong = form_fields.at_fault(error) if isinstance(error, InvalidInput) else ""
    if isinstance(error, Conflict):
        wrong = "name"
    code = 200 if error is None else 409 if isinstance(error, Conflict) else 422
    return page(
        request,
        "job_form.html",
        around,
        code=code,
        section="jobs",
        live="owner",
        job=job,
        revision=revision or (job.revision if job else 0),
        form=form,
        error=error,
        wrong=wrong,
        preview=previewed(around, form, base),
        zones=lookups.zone_options(),
        rows=form_fields.rows,
        labels=form_fields.LABELS,
        policy=around.health.policy,
        placeholders={
            "tz": around.zone,
            "grace": format_duration(around.profile.settings().grace),
            **({"name": ""} if job else {}),
        },
    )


def previewed(around: Frame, form: Form, base: Schedule | None) -> dict[str, Any]:
    """What the schedule means: its words and fires, or what is wrong with it."""
    text = form["schedule"].strip()
    if not text:
        return {"empty": True, "error": None}
    try:
        zone = check_zone(form["tz"].strip() or around.zone)
        found = schedule_preview.preview(
            text, now=around.now, timezone=zone, dst=form["dst"].strip() or None, base=base
        )
    except InvalidInput as error:
        return {"empty": False, "error": error}
    return {
        "empty": False,
        "error": None,
        "words": found.words,
        "note": found.note,
        "schedule": found.schedule,
        "fires": annotate_fires(found.fires, found.schedule),
        "change": next_change(found.schedule, around.now),
    }
