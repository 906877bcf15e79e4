"""Status, explanation, profiles, audit and events as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenure.client.documents import Document, Instant, Reply, WarningDocument
from tenure.client.documents.processes import OwnerDocument, ProcessDocument
from tenure.client.documents.runs import OmissionDocument
from tenure.domain.event import Event, EventKind

if TYPE_CHECKING:  # only the audit itself loads its checks
    from tenure.audit.report import Report


class PolicySummary(Document):
    version: int
    open: bool
    rules: int


class UpcomingJob(Document):
    job: str
    name: str
    fire_time: Instant | None
    due_at: Instant | None
    protected: bool


class StatusReply(Reply):
    profile: str
    folder: str
    at: Instant
    owner: OwnerDocument | None
    policy: PolicySummary
    processes: list[ProcessDocument]
    warnings: list[WarningDocument]
    jobs: dict[str, int]
    """The number of jobs in each state; `protected`, `active_runs`, `open_holds`,
    `pending_requests`."""
    next: list[UpcomingJob]


class CheckDocument(Document):
    check: str
    ok: bool | None
    """null: unknown, or no obstacle."""
    text: str
    remedy: str | None


class OwnerAtRun(Document):
    process: str
    pid: int
    term: int | None


class ExplanationReply(Reply):
    job: str
    job_name: str
    would_run: bool
    under: OwnerAtRun | None
    checks: list[CheckDocument]
    next_fire: Instant | None
    not_run: list[OmissionDocument]
    held: int


class ProfileRow(Document):
    """A summary of one profile; `error` if it cannot be opened."""

    name: str
    folder: str | None
    owner: OwnerDocument | None
    state: str
    """`owned`, `stopped`, `frozen`, `hung`, `dead`, `unverifiable`, `nobody`, `empty`, `error`."""
    warnings: list[WarningDocument]
    jobs: dict[str, int]
    error: str | None


class ProfileList(Reply):
    profiles: list[ProfileRow]
    next: None


class ProfileReply(Reply):
    profile: ProfileRow


class AuditFinding(Document):
    clause: str
    code: str
    text: str
    remedy: str
    subjects: list[str]
    facts: dict[str, Any]


class AuditReply(Reply):
    at: Instant
    clean: bool
    findings: list[AuditFinding]
    checked: dict[str, int]
    not_checked: dict[str, int]
    notes: list[str]


def audit_document(report: Report) -> AuditReply:
    findings = [AuditFinding.read(finding) for finding in report.findings]
    return AuditReply.read(report, findings=findings)


class EventDocument(Document):
    """A recorded fact; `number` increases by one with each event."""

    number: int
    kind: EventKind
    at: Instant
    term: int | None
    process: str | None
    job: str | None
    run: str | None
    facts: dict[str, Any]


class EventList(Reply):
    events: list[EventDocument]
    next: int
    """Pass it as `after` to read on."""


def event_document(event: Event) -> EventDocument:
    return EventDocument.read(event, number=event.seq)
