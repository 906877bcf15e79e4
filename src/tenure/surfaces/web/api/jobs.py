"""Jobs: list, read, create, change, remove, pause, approve, trigger, explain."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from tenure.client import edits, requests
from tenure.client.definitions import next_fires
from tenure.client.documents.jobs import (
    JobList,
    JobReply,
    LastRun,
    ListedJob,
    RevisionDocument,
    RevisionList,
    definition_document,
    job_document,
)
from tenure.client.documents.reports import ExplanationReply
from tenure.client.explain import explain, explanation_document
from tenure.client.job_fields import RESETTABLE
from tenure.client.warnings import advice
from tenure.domain.errors import InvalidInput
from tenure.domain.job import Command, Job, JobState
from tenure.runtime.profile import Profile
from tenure.store.contract import Page
from tenure.surfaces.web import VIA_API
from tenure.surfaces.web.api.bodies import JobBody, JobPatch
from tenure.surfaces.web.api.common import (
    Body,
    Cursor,
    IfMatch,
    JobRef,
    JsonResponse,
    Limit,
    OwnerRequestDep,
    Queue,
)
from tenure.surfaces.web.api.openapi import accepted, json_body, problems, reply
from tenure.surfaces.web.reports import warning_documents
from tenure.surfaces.web.site import NowDep, ProfileDep

router = APIRouter(prefix="/api/v1/profiles/{profile}/jobs", tags=["jobs"])
_ETAG = {"ETag": {"description": "The revision, in quotes.", "schema": {"type": "string"}}}
_LOCATION = {"Location": {"description": "The job.", "schema": {"type": "string"}}}


def _tagged(*statuses: int) -> dict[str, Any]:
    """What a route says of its answer, a job with its revision as ETag."""
    answer = reply(JobReply, *statuses)
    answer["responses"][200] = {"headers": _ETAG}
    return answer


@router.get("", **reply(JobList, 404, 422))
def list_jobs(
    profile: ProfileDep,
    state: Annotated[
        list[JobState] | None, Query(description="Any of these; all but removed.")
    ] = None,
    q: Annotated[str | None, Query(max_length=200, description="Part of the name.")] = None,
    tag: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The jobs by name, a page at a time, each with its latest run."""
    jobs, following = profile.store.jobs(
        states=frozenset(state) if state else None,
        text=q or None,
        tag=tag or None,
        page=Page(limit=limit, cursor=cursor),
    )
    latest = profile.store.latest_runs([job.id for job in jobs])
    last = {id: LastRun.read(run, reason=run.reason or None) for id, (run, *_) in latest.items()}
    documents = [ListedJob(**vars(job_document(job)), last_run=last.get(job.id)) for job in jobs]
    return JsonResponse(JobList(jobs=documents, next=following))


@router.post(
    "",
    response_model=JobReply,
    status_code=201,
    openapi_extra=json_body(JobBody),
    responses={
        **problems(400, 403, 404, 409, 415, 422),
        201: {"headers": {**_ETAG, **_LOCATION}},
    },
)
def create_job(profile: ProfileDep, body: Body, now: NowDep) -> Response:
    """Add a job. It is stored at once, and an owner is notified at once."""
    return _created(profile, edits.create(profile, body, via=VIA_API, now=now), now)


@router.get("/{job}", **_tagged(404))
def get_job(profile: ProfileDep, job: JobRef, now: NowDep) -> Response:
    """One job in full; a removed one by its id."""
    return job_reply(profile, profile.store.job(job), now)


@router.put(
    "/{job}",
    openapi_extra=json_body(JobBody),
    **_tagged(400, 403, 404, 409, 412, 415, 422, 428),
)
def replace_job(
    profile: ProfileDep, job: JobRef, body: Body, match: IfMatch, now: NowDep
) -> Response:
    """Replace the definition: omitted fields get their default. Masked secrets are kept."""
    current = profile.store.job(job)
    seen = match.seen(current.revision)
    replaced = edits.replace(profile, current.id, body, revision=seen, via=VIA_API, now=now)
    return job_reply(profile, replaced, now)


@router.patch(
    "/{job}",
    openapi_extra=json_body(JobPatch, "application/merge-patch+json"),
    **_tagged(400, 403, 404, 409, 412, 415, 422, 428),
)
def change_job(
    profile: ProfileDep, job: JobRef, body: Body, match: IfMatch, now: NowDep
) -> Response:
    """Change the given fields (RFC 7396): null restores the default, `env` is merged by name."""
    current = profile.store.job(job)
    fields, resets = _merge(current, body)
    seen = match.seen(current.revision)
    changed = edits.edit(
        profile, current.id, fields, resets=resets, revision=seen, via=VIA_API, now=now
    )
    return job_reply(profile, changed, now)


def _merge(job: Job, body: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What is given, with ``env`` merged into what stands; and what goes back to its default."""
    resets = [name for name, value in body.items() if value is None]
    for name in resets:
        if name not in RESETTABLE:
            raise InvalidInput("has no default to restore", field=name)
    fields = {name: value for name, value in body.items() if value is not None}
    given, action = fields.get("env"), job.definition.action
    if isinstance(given, dict) and isinstance(action, Command):
        merged = {**action.env, **given}
        fields["env"] = {name: value for name, value in merged.items() if value is not None}
    return fields, resets


@router.delete("/{job}", **_tagged(400, 403, 404, 409, 412, 428))
def remove_job(profile: ProfileDep, job: JobRef, match: IfMatch, now: NowDep) -> Response:
    """Remove a job; its history stays, and `restore` takes it back."""
    current = profile.store.job(job)
    seen = match.seen(current.revision)
    removed = edits.set_state(
        profile, current.id, JobState.REMOVED, revision=seen, via=VIA_API, now=now
    )
    return job_reply(profile, removed, now)


@router.get("/{job}/revisions", **reply(RevisionList, 404))
def list_revisions(profile: ProfileDep, job: JobRef) -> Response:
    """The revisions of a job and their editors, the oldest first."""
    revisions = profile.store.revisions(profile.store.job(job).id)
    documents = [
        RevisionDocument.read(revision, definition=definition_document(revision.definition))
        for revision in revisions
    ]
    return JsonResponse(RevisionList(revisions=documents, next=None))


def job_reply(profile: Profile, job: Job, now: datetime) -> Response:
    """The job with its next runs and what its user should know; its revision as the ETag."""
    fires = [] if job.state is JobState.REMOVED else next_fires(job, now, 3)
    warnings = [] if job.state is JobState.REMOVED else advice(profile, job)
    return JsonResponse(
        JobReply(job=job_document(job), next=fires, warnings=warning_documents(warnings)),
        headers={"ETag": f'"{job.revision}"'},
    )


def _created(profile: Profile, job: Job, now: datetime) -> Response:
    answer = job_reply(profile, job, now)
    answer.status_code = 201
    answer.headers["Location"] = f"/api/v1/profiles/{profile.name}/jobs/{job.id}"
    return answer


# -- actions other than editing the definition -----------------------------------------------------


@router.post("/{job}/pause", **_tagged(403, 404, 409))
def pause_job(profile: ProfileDep, job: JobRef, now: NowDep) -> Response:
    """Pause a job: its scheduled runs are recorded as skipped."""
    paused = edits.set_state(profile, job, JobState.PAUSED, via=VIA_API, now=now)
    return job_reply(profile, paused, now)


@router.post("/{job}/resume", **_tagged(403, 404, 409))
def resume_job(profile: ProfileDep, job: JobRef, now: NowDep) -> Response:
    """Resume a job."""
    resumed = edits.set_state(profile, job, JobState.ACTIVE, via=VIA_API, now=now)
    return job_reply(profile, resumed, now)


@router.post(
    "/{job}/restore",
    response_model=JobReply,
    status_code=201,
    responses={**problems(403, 404, 409), 201: {"headers": _ETAG}},
)
def restore_job(profile: ProfileDep, job: JobRef, now: NowDep) -> Response:
    """A removed job, by its id, as a new one with the same definition."""
    return _created(profile, edits.restore(profile, job, via=VIA_API, now=now), now)


@router.post("/{job}/approve", **_tagged(400, 403, 404, 409, 412, 428))
def approve_job(profile: ProfileDep, job: JobRef, match: IfMatch, now: NowDep) -> Response:
    """Approve the revision that was read for protected runs (`approve_protected = true`)."""
    current = profile.store.job(job)
    seen = match.seen(current.revision)
    approved = edits.approve(profile, current.id, seen, via=VIA_API, now=now)
    return job_reply(profile, approved, now)


@router.post("/{job}/trigger", **accepted())
async def trigger_job(job: JobRef, owner: OwnerRequestDep, queue: Queue = False) -> Response:
    """Ask the owner to run it now. 409 if the profile has no owner, unless `queue`."""
    return await owner.send(requests.trigger, job, queue=queue)


@router.get("/{job}/explain", **reply(ExplanationReply, 404))
def explain_job(profile: ProfileDep, job: JobRef, now: NowDep) -> Response:
    """Whether the job would run now, under which owner, and if not, why."""
    return JsonResponse(explanation_document(explain(profile, job, now)))
