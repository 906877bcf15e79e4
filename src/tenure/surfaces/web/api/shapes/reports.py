"""Status, audit, events, profiles."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tenure.domain.event import EventKind
from tenure.surfaces.web.api.shapes.base import Document, Instant, Shape, WarningShape
from tenure.surfaces.web.api.shapes.processes import OwnerShape, ProcessShape


class PolicyInShort(Shape):
    version: int
    open: bool
    rules: int


class NextShape(Shape):
    job: str
    name: str
    fire_time: Instant | None
    due_at: Instant | None
    protected: bool


class StatusReply(Document):
    profile: str
    folder: str
    at: Instant
    owner: OwnerShape | None
    policy: PolicyInShort
    processes: list[ProcessShape]
    warnings: list[WarningShape]
    jobs: dict[str, int] = Field(
        description="How many in each state; `protected`, `active_runs`, `open_holds`, "
        "`pending_requests`."
    )
    next: list[NextShape]


class ProfileRow(Shape):
    """One profile in short; `error` where it cannot be opened."""

    name: str
    folder: str | None
    owner: OwnerShape | None
    state: str = Field(
        description="`owned`, `stopped`, `frozen`, `hung`, `dead`, `unverifiable`, `nobody`, "
        "`empty`, `error`."
    )
    warnings: list[WarningShape]
    jobs: dict[str, int]
    error: str | None


class ProfileList(Document):
    profiles: list[ProfileRow]
    next: None


class ProfileReply(Document):
    profile: ProfileRow


class AuditFinding(Shape):
    clause: str
    code: str
    text: str
    remedy: str
    subjects: list[str]
    facts: dict[str, Any]


class AuditReply(Document):
    at: Instant
    clean: bool
    findings: list[AuditFinding]
    checked: dict[str, int]
    not_checked: dict[str, int]
    notes: list[str]


class EventShape(Shape):
    number: int
    kind: EventKind
    at: Instant
    term: int | None
    process: str | None
    job: str | None
    run: str | None
    facts: dict[str, Any]


class EventList(Document):
    events: list[EventShape]
    next: int = Field(description="Give it as `after` to go on.")


class ProblemType(Shape):
    code: str
    status: int
    title: str
    meaning: str


class ProblemTypes(Document):
    problems: list[ProblemType]


class Health(Document):
    status: str
