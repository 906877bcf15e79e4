"""Runs, scheduled runs that did not happen, and requests as JSON."""

from __future__ import annotations

from tenure.client.documents import Document, Instant, Next, Reply, optional
from tenure.client.documents.processes import EvidenceDocument, evidence_document
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.policy.evidence import Evidence
from tenure.domain.request import Request, RequestKind, RequestState
from tenure.domain.run import Attempt, Cause, Run, RunState


class AttemptDocument(Document):
    number: int
    term: int
    process: str
    state: RunState
    reason: str | None
    claimed_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    exit_code: int | None
    signal: int | None


class LateResult(Document):
    at: Instant
    state: RunState
    exit_code: int | None
    signal: int | None


class RunDocument(Document):
    """A run and the process that executed it; `evidence` is what was observed of that process."""

    id: str
    job: str
    job_name: str
    revision: int
    fire_time: Instant
    cause: Cause
    state: RunState
    reason: str | None
    protected: bool
    term: int
    process: str
    holder: str
    """The process that finishes it; a different one if the run was adopted."""
    pid: int | None
    claimed_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    retry_at: Instant | None
    exit_code: int | None
    signal: int | None
    attempts: list[AttemptDocument]
    late: LateResult | None
    """A result that arrived after the run was declared lost."""
    request: str | None
    requested_by: str | None
    cancel_requested_at: Instant | None
    log: str | None
    evidence: EvidenceDocument | None


class OmissionDocument(Document):
    """A range of fire times that did not become runs."""

    id: int
    job: str
    job_name: str
    revision: int
    kind: OmissionKind
    first: Instant
    last: Instant
    count: int
    reason: str
    decided_at: Instant
    decided_by: str
    term: int
    open: bool
    resolved_at: Instant | None
    resolution: str | None
    cut_at: Instant | None


class RunList(Reply):
    runs: list[RunDocument]
    not_run: list[OmissionDocument] | None = optional()
    """With `all=true`: ranges of fire times that did not become runs."""
    next: Next


class RunReply(Reply):
    run: RunDocument


class RequesterDocument(Document):
    pid: int
    uid: int | None
    user: str | None
    executable: str | None
    via: str | None
    observed: bool
    """By the kernel; otherwise the requester reported it about itself."""


class RequestDocument(Document):
    id: str
    kind: RequestKind
    key: str
    state: RequestState
    job: str | None
    run: str | None
    """For a trigger, the run it became."""
    to_process: str | None
    queued: bool
    asked_at: Instant
    deadline: Instant
    answered_at: Instant | None
    term: int | None
    answer: str | None
    remedy: str | None
    requester: RequesterDocument


class RequestReply(Reply):
    """Poll the address in `Location` until the state is no longer `pending`."""

    request: RequestDocument


class RequestList(Reply):
    requests: list[RequestDocument]
    next: Next


def run_document(run: Run, evidence: Evidence | None, request: Request | None) -> RunDocument:
    """``evidence`` is that of the executing process; ``request`` the one that the run answers."""
    return RunDocument.read(
        run,
        reason=run.reason or None,
        pid=run.identity.pid if run.identity else None,
        attempts=[_attempt(attempt) for attempt in run.attempts],
        late=None if run.late is None else LateResult.read(run.late),
        requested_by=request.requester.describe() if request else None,
        evidence=evidence_document(evidence, at=run.claimed_at) if evidence else None,
    )


def _attempt(attempt: Attempt) -> AttemptDocument:
    return AttemptDocument.read(attempt, reason=attempt.reason or None)


def omission_document(omission: Omission) -> OmissionDocument:
    return OmissionDocument.read(omission, resolution=omission.resolution or None)


def request_document(request: Request) -> RequestDocument:
    requester = RequesterDocument.read(request.requester, via=request.requester.via or None)
    return RequestDocument.read(
        request,
        answer=request.answer or None,
        remedy=request.remedy or None,
        requester=requester,
    )
