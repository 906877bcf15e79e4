"""Jobs: list, read, create, replace, change, remove."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from tenure.client import edits
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
from tenure.client.job_fields import RESETTABLE
from tenure.client.warnings import advice
from tenure.domain.errors import InvalidInput
from tenure.domain.job import Command, Job, JobState
from tenure.runtime.profile import Profile
from tenure.store.contract import Page
from tenure.surfaces.web import VIA_API
from tenure.surfaces.web.api.bodies import JobBody, JobPatch
from tenure.surfaces.web.api.common import Body, Cursor, IfMatch, JobRef, JsonResponse, Limit
from tenure.surfaces.web.api.openapi import json_body, problems
from tenure.surfaces.web.deps import ProfileDep, SiteDep
from tenure.surfaces.web.reports import warning_documents

router = APIRouter(prefix="/api/v1/profiles/{profile}/jobs", tags=["jobs"])
ETAG = {"ETag": {"description": "The revision, in quotes.", "schema": {"type": "string"}}}
_WITH_TAG: dict[int | str, dict[str, Any]] = {200: {"headers": ETAG}}


@router.get("", response_model=JobList, responses=problems(404, 422))
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
    """The jobs by name, a page at a time, each with the run of its latest fire."""
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
        201: {
            "headers": {
                **ETAG,
                "Location": {"description": "The job.", "schema": {"type": "string"}},
            }
        },
    },
)
def create_job(profile: ProfileDep, body: Body, site: SiteDep) -> Response:
    """Add a job. It is stored at once, and an owner is notified at once."""
    job = edits.create(profile, body, via=VIA_API, now=site.now())
    found = job_reply(profile, job, site.now())
    found.status_code = 201
    found.headers["Location"] = f"/api/v1/profiles/{profile.name}/jobs/{job.id}"
    return found


@router.get("/{job}", response_model=JobReply, responses={**problems(404), **_WITH_TAG})
def get_job(profile: ProfileDep, job: JobRef, site: SiteDep) -> Response:
    """One job in full; a removed one by its id."""
    return job_reply(profile, profile.store.job(job), site.now())


@router.put(
    "/{job}",
    response_model=JobReply,
    openapi_extra=json_body(JobBody),
    responses={**problems(400, 403, 404, 409, 412, 415, 422, 428), **_WITH_TAG},
)
def replace_job(
    profile: ProfileDep, job: JobRef, body: Body, match: IfMatch, site: SiteDep
) -> Response:
    """Replace the definition: omitted fields get their default. Masked secrets are kept."""
    current = profile.store.job(job)
    found = edits.replace(
        profile,
        current.id,
        body,
        revision=match.seen(current.revision),
        via=VIA_API,
        now=site.now(),
    )
    return job_reply(profile, found, site.now())


@router.patch(
    "/{job}",
    response_model=JobReply,
    openapi_extra=json_body(JobPatch, "application/merge-patch+json"),
    responses={**problems(400, 403, 404, 409, 412, 415, 422, 428), **_WITH_TAG},
)
def change_job(
    profile: ProfileDep, job: JobRef, body: Body, match: IfMatch, site: SiteDep
) -> Response:
    """Change the given fields (RFC 7396): null restores the default, `env` is merged by name."""
    current = profile.store.job(job)
    fields, resets = _merge(current, body)
    found = edits.edit(
        profile,
        current.id,
        fields,
        resets=resets,
        revision=match.seen(current.revision),
        via=VIA_API,
        now=site.now(),
    )
    return job_reply(profile, found, site.now())


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


@router.delete(
    "/{job}",
    response_model=JobReply,
    responses={**problems(400, 403, 404, 409, 412, 428), **_WITH_TAG},
)
def remove_job(profile: ProfileDep, job: JobRef, match: IfMatch, site: SiteDep) -> Response:
    """Remove a job; its history stays, and `restore` takes it back."""
    current = profile.store.job(job)
    found = edits.set_state(
        profile,
        current.id,
        JobState.REMOVED,
        revision=match.seen(current.revision),
        via=VIA_API,
        now=site.now(),
    )
    return job_reply(profile, found, site.now())


@router.get("/{job}/revisions", response_model=RevisionList, responses=problems(404))
def list_revisions(profile: ProfileDep, job: JobRef) -> Response:
    """The revisions of a job and their editors, the oldest first."""
    found = profile.store.revisions(profile.store.job(job).id)
    documents = [
        RevisionDocument.read(revision, definition=definition_document(revision.definition))
        for revision in found
    ]
    return JsonResponse(RevisionList(revisions=documents, next=None))


def job_reply(profile: Profile, job: Job, now: Any) -> Response:
    """The job with its next fires and what its user should know; its revision as the ETag."""
    fires = [] if job.state is JobState.REMOVED else next_fires(job, now, 3)
    warnings = [] if job.state is JobState.REMOVED else advice(profile, job)
    return JsonResponse(
        JobReply(job=job_document(job), next=fires, warnings=warning_documents(warnings)),
        headers={"ETag": f'"{job.revision}"'},
    )
