"""Processes, evidence, ownership, policy."""

from __future__ import annotations

from pydantic import Field

from tenure.domain.ownership import HolderLife, OwnershipAction
from tenure.domain.policy.conditions import ConditionAnswer
from tenure.domain.policy.evidence import Manager
from tenure.domain.process import Activity, ProcessStatus
from tenure.surfaces.web.api.shapes.base import (
    Document,
    Instant,
    Seconds,
    Shape,
    WarningShape,
)


class ServiceShape(Shape):
    name: str
    manager: Manager
    attested: bool


class LinkShape(Shape):
    pid: int
    name: str | None
    executable: str | None
    started_at: Instant | None
    alive: bool = Field(
        description="Whether it lived when the run was claimed; of a process, at the last look."
    )


class EvidenceShape(Shape):
    """What the system said of a process. `unknown` lists what could not be read."""

    pid: int
    start: int
    boot_id: str | None
    pid_namespace: str | None
    observed_at: Instant | None
    started_at: Instant | None
    host: str | None
    hostname: str | None
    uid: int | None
    user: str | None
    groups: list[int]
    executable: str | None
    executable_as_run: str | None
    executable_deleted: bool | None
    service: ServiceShape | None
    cgroup: str | None
    init: bool | None
    session: int | str | None
    responsible_pid: int | None
    coalition: str | None
    signature: str | None
    confinement: list[str]
    locks: list[str]
    chain: list[LinkShape] = Field(description="The process first, then its ancestors.")
    unknown: list[str]


class FindingShape(Shape):
    key: str
    asks: str
    observed: str
    answer: ConditionAnswer
    vouched: bool


class JudgedRule(Shape):
    number: int
    words: str
    decides: bool
    findings: list[FindingShape]


class AdmissionShape(Shape):
    """What the policy in force says of a process, on the evidence that it joined with."""

    admitted: bool
    rule: int | None
    authoritative: bool
    attested: bool
    after: Seconds
    why: str
    remedy: str | None
    observed_at: Instant | None
    rules: list[JudgedRule]


class ProcessShape(Shape):
    id: str
    pid: int
    host: str | None
    role: str | None
    standing: ProcessStatus
    why: str
    rule: int | None
    executes: bool
    app: str | None
    joined_at: Instant
    left_at: Instant | None
    evidence: EvidenceShape
    life: HolderLife = Field(description="The kernel's word, just now.")
    activity: Activity = Field(
        description="Whether it runs, is stopped, or frozen with its cgroup; the kernel's word."
    )


class JudgedProcess(ProcessShape):
    admission: AdmissionShape


class ProcessList(Document):
    processes: list[JudgedProcess]
    next: None


class ProcessReply(Document):
    process: JudgedProcess


class OwnerShape(Shape):
    term: int
    process: str
    rule: int | None = Field(description="null under an open policy.")
    authoritative: bool
    policy_version: int
    since: Instant
    progress_at: Instant | None
    life: HolderLife | None = None
    activity: Activity | None = None


class TermShape(Shape):
    term: int
    process: str
    rule: int | None
    authoritative: bool
    policy_version: int
    taken_at: Instant
    how: OwnershipAction
    ended_at: Instant | None
    ended_why: str | None


class StoredProcess(Shape):
    id: str
    pid: int
    host: str | None
    role: str | None
    standing: ProcessStatus
    why: str
    rule: int | None
    executes: bool
    app: str | None
    joined_at: Instant
    left_at: Instant | None
    evidence: EvidenceShape


class OwnerReply(Document):
    owner: OwnerShape | None
    life: HolderLife | None
    process: StoredProcess | None
    terms: list[TermShape] = Field(description="The newest first.")
    why_nobody: str | None = Field(description="Where nobody owns: why, and who should.")
    who_should: str = Field(description="The policy in one sentence.")


class TermList(Document):
    terms: list[TermShape]
    next: str | None


class RuleShape(Shape):
    number: int
    words: str
    refuse: bool
    authoritative: bool
    after: Seconds


class PolicyReply(Document):
    version: int
    open: bool
    text: str
    hash: str
    rules: list[RuleShape]
    warnings: list[WarningShape]


class HandOverAsked(Shape):
    to: str | None = Field(default=None, description="A candidate's process id; else the best.")
