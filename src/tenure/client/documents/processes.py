"""Processes, their evidence, the owner and its policy as JSON."""

from __future__ import annotations

from datetime import datetime

from tenure.client.documents import (
    Document,
    Instant,
    Reply,
    Seconds,
    WarningDocument,
    optional,
)
from tenure.domain.ownership import HolderLife, Ownership, OwnershipAction, Term
from tenure.domain.policy.conditions import ConditionAnswer
from tenure.domain.policy.evidence import Evidence, Manager
from tenure.domain.process import Activity, Process, ProcessStatus


class ServiceDocument(Document):
    name: str
    manager: Manager
    attested: bool


class LinkDocument(Document):
    pid: int
    name: str | None
    executable: str | None
    started_at: Instant | None
    alive: bool
    """In a run: whether it was alive at the claim; in a process: at the last observation."""


class EvidenceDocument(Document):
    """What the OS reported about a process (C10). `unknown` lists what could not be read."""

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
    service: ServiceDocument | None
    app: str | None
    """macOS: the bundle id of the app that the process belongs to."""
    cgroup: str | None
    init: bool | None
    session: int | str | None
    responsible_pid: int | None
    coalition: str | None
    signature: str | None
    confinement: list[str]
    locks: list[str]
    chain: list[LinkDocument]
    """The process first, then its ancestors."""
    unknown: list[str]


class FindingDocument(Document):
    key: str
    asks: str
    observed: str
    answer: ConditionAnswer
    vouched: bool


class JudgedRule(Document):
    number: int
    words: str
    decides: bool
    findings: list[FindingDocument]


class AdmissionDocument(Document):
    """The decision of the policy in force on a process, from the evidence it joined with."""

    admitted: bool
    rule: int | None
    authoritative: bool
    attested: bool
    after: Seconds
    why: str
    remedy: str | None
    observed_at: Instant | None
    rules: list[JudgedRule]


class StoredProcess(Document):
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
    evidence: EvidenceDocument


class ProcessDocument(StoredProcess):
    life: HolderLife
    """Whether the process is alive now, from the kernel."""
    activity: Activity
    """Whether it runs, is stopped, or is frozen with its cgroup; from the kernel."""


class JudgedProcess(ProcessDocument):
    admission: AdmissionDocument


class ProcessList(Reply):
    processes: list[JudgedProcess]
    next: None


class ProcessReply(Reply):
    process: JudgedProcess


class OwnerDocument(Document):
    term: int
    process: str
    rule: int | None
    """Counts from 1; null without owner rules."""
    authoritative: bool
    policy_version: int
    since: Instant
    progress_at: Instant | None
    life: HolderLife | None = optional()
    activity: Activity | None = optional()


class TermDocument(Document):
    term: int
    process: str
    rule: int | None
    authoritative: bool
    policy_version: int
    taken_at: Instant
    how: OwnershipAction
    ended_at: Instant | None
    ended_why: str | None


class OwnerReply(Reply):
    owner: OwnerDocument | None
    life: HolderLife | None
    process: StoredProcess | None
    terms: list[TermDocument]
    """The newest first."""
    why_nobody: str | None
    """If the profile has no owner: why, and which process should be the owner."""
    who_should: str
    """The policy in one sentence."""


class TermList(Reply):
    terms: list[TermDocument]
    next: str | None


class RuleDocument(Document):
    number: int
    words: str
    refuse: bool
    authoritative: bool
    after: Seconds


class PolicyReply(Reply):
    version: int
    open: bool
    text: str
    hash: str
    rules: list[RuleDocument]
    warnings: list[WarningDocument]


def evidence_document(evidence: Evidence, *, at: datetime | None = None) -> EvidenceDocument:
    """``at``: the instant at which each process of the chain is said to be alive or not; by
    default that of the last observation."""
    identity, service = evidence.identity, evidence.service
    return EvidenceDocument.read(
        evidence,
        pid=identity.pid,
        start=identity.start,
        boot_id=identity.boot_id or None,
        pid_namespace=identity.pid_namespace or None,
        host=evidence.host or None,
        hostname=evidence.hostname or None,
        service=None if service is None else ServiceDocument.read(service),
        chain=[LinkDocument.read(link, alive=link.lived(at)) for link in evidence.chain],
        unknown=sorted(evidence.unknown),
    )


def process_document(process: Process) -> StoredProcess:
    return StoredProcess.read(
        process,
        pid=process.evidence.identity.pid,
        host=process.evidence.hostname or process.evidence.host or None,
        rule=_number(process.rule),
        evidence=evidence_document(process.evidence),
    )


def owner_document(
    ownership: Ownership, life: HolderLife | None = None, activity: Activity | None = None
) -> OwnerDocument | None:
    """The owner, or None. ``life`` and ``activity`` are left out where they are None."""
    if ownership.authority is None:
        return None
    known = {"life": life, "activity": activity}
    known = {name: value for name, value in known.items() if value is not None}
    return OwnerDocument.read(ownership, rule=_number(ownership.rule), **known)


def term_document(term: Term) -> TermDocument:
    return TermDocument.read(term, rule=_number(term.rule), ended_why=term.ended_why or None)


def _number(rule: int | None) -> int | None:
    """Rules count from 1 in documents."""
    return None if rule is None else rule + 1
