"""One job: what it is, whether it would run now, what ran, what did not, who changed it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tenure.client.explain import explain
from tenure.client.foreign_jobs import change_there, is_foreign, planner_of
from tenure.client.job_fields import FIELDS, masked
from tenure.domain.job import Command, Job, JobState
from tenure.domain.schedule.model import ScheduleKind
from tenure.store.contract import Page, RunFilter
from tenure.surfaces.web import schedule_preview, words
from tenure.surfaces.web.charts import bars
from tenure.surfaces.web.deps import ProfileDep
from tenure.surfaces.web.pages.fires import annotate_fires
from tenure.surfaces.web.pages.render import Frame, frame, page

router = APIRouter()
RUNS = 40
LISTED = 12
OMISSIONS = 8
DONE = {
    "added": "Added.",
    "edited": "Saved as a new revision.",
    "merged": "Saved. Changes that others made in the meantime are kept.",
    "unchanged": "No changes.",
    "paused": "Paused. Scheduled runs are recorded as skipped until it is resumed.",
    "resumed": "Resumed.",
    "restored": "Added again as a new job with the same definition.",
    "approved": "Approved: this revision may run as a protected job.",
}


@router.get("/p/{profile}/jobs/{ref}")
def show(profile: ProfileDep, request: Request, ref: str, done: str = "") -> HTMLResponse:
    around = frame(request, profile)
    job = profile.store.job(ref)
    runs, more = profile.store.runs(RunFilter(job=job.id), Page(limit=RUNS))
    omissions, _ = profile.store.omissions(job=job.id, page=Page(limit=OMISSIONS))
    schedule, alive = job.definition.schedule, job.state is JobState.ACTIVE
    fires = schedule_preview.upcoming(schedule, max(around.now, job.watermark)) if alive else ()
    approve = profile.settings().approve_protected and job.definition.needs_authority
    return page(
        request,
        "job.html",
        around,
        section="jobs",
        live="jobs runs owner",
        job=job,
        facts=facts(job),
        env=env_of(job.definition.action),
        foreign=foreign_facts(job),
        explained=explain(profile, job.id, around.now)
        if job.state is not JobState.REMOVED
        else None,
        fires=annotate_fires(fires, schedule),
        schedule_zone=schedule.timezone if schedule.kind is not ScheduleKind.EVERY else around.zone,
        runs=runs[:LISTED],
        charted=len(runs),
        more=more or len(runs) > LISTED,
        took=bars.durations(runs, around.now, lambda run: _run_url(around, run.id)),
        omissions=omissions,
        revisions=sorted(profile.store.revisions(job.id), key=lambda r: -r.revision)[:10],
        waits_for_approval=approve and job.approved_revision < job.revision,
        done=DONE.get(done),
    )


def _run_url(around: Frame, id: str) -> str:
    return f"/p/{around.profile.name}/runs/{id}"


def facts(job: Job) -> list[tuple[str, str]]:
    """The options of a job as text; options without effect are left out."""
    rows = sorted((f.row for f in FIELDS if f.row is not None), key=lambda row: row.last)
    found = [(row.label, row.text(job.definition, words.span)) for row in rows]
    found += [
        ("declared by", f"the app {job.app}, version {job.app_version}" if job.app else None),
        ("id", job.id),
    ]
    return [(label, text) for label, text in found if text]


def env_of(action: object) -> dict[str, str]:
    """The variables of a command, secrets masked."""
    return masked(action.env) if isinstance(action, Command) else {}


def foreign_facts(job: Job) -> dict[str, str] | None:
    """Who plans a job that is not planned here, and how it is changed there."""
    if not is_foreign(job):
        return None
    return {
        "planner": planner_of(job),
        **{verb: change_there(job, verb) for verb in ("edit", "pause", "resume", "remove")},
    }
