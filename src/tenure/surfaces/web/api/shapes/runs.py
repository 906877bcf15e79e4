"""Runs, what did not run, and requests."""

from __future__ import annotations

from pydantic import Field

from tenure.domain.omission import OmissionKind
from tenure.domain.request import RequestKind, RequestState
from tenure.domain.run import Cause, RunState
from tenure.surfaces.web.api.shapes.base import Document, Instant, Next, Shape
from tenure.surfaces.web.api.shapes.jobs import CheckShape, Under
from tenure.surfaces.web.api.shapes.processes import EvidenceShape


class AttemptShape(Shape):
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


class LateShape(Shape):
    at: Instant
    state: RunState
    exit_code: int | None
    signal: int | None


class RunShape(Shape):
    """A run with who ran it: `evidence` is what was observed of that process."""

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
    holder: str = Field(description="Who finishes it; another process if it was adopted.")
    pid: int | None
    claimed_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    retry_at: Instant | None
    exit_code: int | None
    signal: int | None
    attempts: list[AttemptShape]
    late: LateShape | None = Field(description="A result that came after it was declared lost.")
    request: str | None
    requested_by: str | None
    cancel_requested_at: Instant | None
    log: str | None
    evidence: EvidenceShape | None


class OmissionShape(Shape):
    """A stretch of fires that did not become runs."""

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


class RunList(Document):
    runs: list[RunShape]
    not_run: list[OmissionShape] | None = Field(
        default=None, description="With `all=true`: ranges of fires that did not run."
    )
    next: Next


class RunReply(Document):
    run: RunShape


class RequesterShape(Shape):
    pid: int
    uid: int | None
    user: str | None
    executable: str | None
    via: str | None
    observed: bool = Field(description="By the kernel; else it is the asker's own word.")


class RequestShape(Shape):
    id: str
    kind: RequestKind
    key: str
    state: RequestState
    job: str | None
    run: str | None = Field(description="For a trigger, the run that it became.")
    to_process: str | None
    queued: bool
    asked_at: Instant
    deadline: Instant
    answered_at: Instant | None
    term: int | None
    answer: str | None
    remedy: str | None
    requester: RequesterShape


class RequestReply(Document):
    """Follow it at the address in `Location` until its state is no longer `pending`."""

    request: RequestShape


class RequestList(Document):
    requests: list[RequestShape]
    next: Next


class ExplanationReply(Document):
    job: str
    job_name: str
    would_run: bool
    under: Under | None
    checks: list[CheckShape]
    next_fire: Instant | None
    not_run: list[OmissionShape]
    held: int
