"""Adding and editing a job: forms that show what they would do, and lose nothing.

Each form carries the revision that it shows. What others changed since then is kept; where both
changed the same part, both versions are shown, and the person decides.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any
from zoneinfo import available_timezones

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from starlette.responses import Response

from tenure.client import edits
from tenure.client.foreign_jobs import is_foreign
from tenure.domain.durations import format_duration
from tenure.domain.errors import Conflict, InvalidInput, TenureError
from tenure.domain.job import Command, Definition, Job, JobState
from tenure.domain.schedule.model import Schedule
from tenure.domain.schedule.zones import check_zone
from tenure.surfaces.web import VIA_PAGE
from tenure.surfaces.web.guard import FormDep
from tenure.surfaces.web.pages import form_fields
from tenure.surfaces.web.pages.form_fields import Form
from tenure.surfaces.web.pages.jobs import foreign_facts
from tenure.surfaces.web.pages.render import ProfileView, ViewDep
from tenure.surfaces.web.schedule_preview import next_change, read_schedule, upcoming

router = APIRouter()
TRIES = 3
LONGEST_NUMBER = 18
"""Digits."""


@router.get("/p/{profile}/jobs/new")
def new(view: ViewDep) -> HTMLResponse:
    return _form(view, form_fields.blank(view.zone))


@router.post("/p/{profile}/jobs/new")
def create(view: ViewDep, given: FormDep) -> Response:
    form = form_fields.of_posted(given)
    if "preview" in given:
        return _form(view, form)
    try:
        fields = form_fields.to_fields(form) | {"paused": bool(form["paused"])}
        job = edits.create(view.profile, fields, via=VIA_PAGE, now=view.now)
    except (InvalidInput, Conflict) as error:
        return _form(view, form, error=error)
    return view.back_to(f"/jobs/{job.id}?done=added")


@router.get("/p/{profile}/jobs/preview")
def preview(
    view: ViewDep,
    schedule: Annotated[str, Query(max_length=1000)] = "",
    tz: Annotated[str, Query(max_length=100)] = "",
    dst: Annotated[str, Query(max_length=100)] = "",
    job: Annotated[str, Query(max_length=100)] = "",
) -> HTMLResponse:
    """The part of the form that says what a schedule means, as it is typed."""
    base = view.profile.store.job(job).definition.schedule if job else None
    form = {"schedule": schedule, "tz": tz, "dst": dst}
    return view.page("preview.html", preview=_preview(view, form, base))


@router.get("/p/{profile}/jobs/{ref}/edit")
def edit(view: ViewDep, ref: str) -> HTMLResponse:
    job = view.profile.store.job(ref)
    if why := _not_here(job):
        foreign = foreign_facts(job)
        return view.page("elsewhere.html", section="jobs", job=job, why=why, foreign=foreign)
    return _form(view, form_fields.of_definition(job.definition), job=job)


@router.post("/p/{profile}/jobs/{ref}/edit")
def save(view: ViewDep, ref: str, given: FormDep) -> Response:
    store = view.profile.store
    job = store.job(ref)
    mine = form_fields.of_posted(given)
    revision = revision_of(given.get("revision"), job)
    seen = job.definition if revision == job.revision else store.definition(job.id, revision)
    chosen = [part for part in form_fields.PARTS if given.get(f"take.{part}") == "theirs"]
    if chosen:
        mine = form_fields.with_parts(mine, form_fields.of_definition(seen), chosen)
    if "preview" in given:
        return _form(view, mine, job=job, revision=revision)
    try:
        return _save(view, job, mine, seen, revision)
    except InvalidInput as error:
        return _form(view, mine, job=job, revision=revision, error=error)


def _save(view: ProfileView, job: Job, mine: Form, seen: Definition, revision: int) -> Response:
    """Merge and write; repeat if the job changed in between."""
    for attempt in range(TRIES):
        merging = Merging(seen, job.definition, mine)
        if merging.both:
            return _conflict(view, job, merging)
        if not form_fields.differing(merging.form, merging.theirs):
            return view.back_to(f"/jobs/{job.id}?done=unchanged")
        fields = form_fields.over(merging.form, merging.theirs, job.definition)
        fields["paused"] = job.state is JobState.PAUSED
        try:
            edits.replace(
                view.profile, job.id, fields, revision=job.revision, via=VIA_PAGE, now=view.now
            )
        except edits.Overtaken:
            if attempt == TRIES - 1:
                raise
            job = view.profile.store.job(job.id)
            continue
        except Conflict as error:
            return _form(view, mine, job=job, revision=revision, error=error)
        return view.back_to(f"/jobs/{job.id}?done={'edited' if merging.alone else 'merged'}")
    raise AssertionError("the last try returns or raises")


class Merging:
    """Three versions of one form: what was shown, what is there now, what was sent."""

    def __init__(self, then: Definition, now: Definition, mine: Form) -> None:
        self.seen, self.theirs = form_fields.of_definition(then), form_fields.of_definition(now)
        self.mine = mine
        hidden = _hidden_changes(then, now)
        self.by_me = form_fields.differing(self.seen, mine)
        self.by_them = form_fields.differing(self.seen, self.theirs) | hidden
        self.both = self.by_me & self.by_them & (form_fields.differing(mine, self.theirs) | hidden)
        self.alone = not self.by_them
        self.form = form_fields.with_parts(self.theirs, mine, self.by_me)


def _hidden_changes(then: Definition, now: Definition) -> set[str]:
    """The parts that others changed in ways that no form shows (a secret)."""
    if not isinstance(then.action, Command) or not isinstance(now.action, Command):
        return set()
    return {
        part for part in ("env", "stdin") if getattr(then.action, part) != getattr(now.action, part)
    }


def _conflict(view: ProfileView, job: Job, merging: Merging) -> HTMLResponse:
    parts = [part for part in form_fields.PARTS if part in merging.by_me | merging.by_them]
    return view.page(
        "conflict.html",
        code=409,
        section="jobs",
        job=job,
        merging=merging,
        parts=sorted(parts, key=lambda part: part not in merging.both),
        names=form_fields.LABELS,
        shown=_shown,
    )


def _shown(form: Form, part: str) -> str:
    if part in ("protected", "retry_lost"):
        return "yes" if form[part] else "no"
    if part == "command":
        return form["command"] + ("\n(by a shell)" if form["shell"] else "")
    if part == "catch_up" and form["window"]:
        return f"{form['catch_up']}, within {form['window']}"
    return form[part] or "–"


def revision_of(given: Any, job: Job) -> int:
    """The revision that a form says it shows. Raises InvalidInput."""
    known = isinstance(given, str) and given.isdecimal() and len(given) <= LONGEST_NUMBER
    # No other revision is assumed: the form would be merged with what its sender never saw.
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
    view: ProfileView,
    form: Form,
    *,
    job: Job | None = None,
    revision: int | None = None,
    error: TenureError | None = None,
) -> HTMLResponse:
    code, wrong = 200, ""
    if isinstance(error, Conflict):
        code, wrong = 409, "name"
    elif isinstance(error, InvalidInput):
        code, wrong = 422, form_fields.at_fault(error)
    return view.page(
        "job_form.html",
        code=code,
        section="jobs",
        live="owner",
        job=job,
        revision=revision or (job.revision if job else 0),
        form=form,
        error=error,
        wrong=wrong,
        preview=_preview(view, form, job.definition.schedule if job else None),
        zones=_zone_options(),
        rows=form_fields.rows,
        labels=form_fields.LABELS,
        policy=view.health.policy,
        placeholders={
            "tz": view.zone,
            "grace": format_duration(view.profile.settings().grace),
            **({"name": ""} if job else {}),
        },
    )


def _preview(view: ProfileView, form: Form, base: Schedule | None) -> dict[str, Any]:
    """What the schedule means: itself and its next runs, or what is wrong with it."""
    text = form["schedule"].strip()
    if not text:
        return {"empty": True, "error": None}
    try:
        zone = check_zone(form["tz"].strip() or view.zone)
        schedule = read_schedule(
            text, now=view.now, timezone=zone, dst=form["dst"].strip() or None, base=base
        )
    except InvalidInput as error:
        return {"empty": False, "error": error}
    return {
        "empty": False,
        "error": None,
        "schedule": schedule,
        "fires": upcoming(schedule, view.now),
        "change": next_change(schedule, view.now),
    }


# Rendered once: 600 options take longer than the rest of a page.
@cache
def _zone_options() -> Markup:
    """The IANA zones by region, as options of a list; others may be typed."""
    regions = ("Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe",
               "Indian", "Pacific")  # fmt: skip
    zones = [z for z in available_timezones() if z.partition("/")[0] in regions]
    return Markup().join(Markup('<option value="{}">').format(z) for z in ("UTC", *sorted(zones)))
