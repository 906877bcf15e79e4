"""Reports that the API and the page share, as the command line gives them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tenure.client.documents import WarningDocument
from tenure.client.documents.processes import (
    AdmissionDocument,
    FindingDocument,
    JudgedRule,
    PolicyReply,
    RuleDocument,
)
from tenure.client.documents.runs import RunDocument, run_document
from tenure.client.health import Health
from tenure.client.status import UPCOMING, Status, read_status
from tenure.client.warnings import policy_warnings_of
from tenure.domain.errors import NotFound
from tenure.domain.ownership import HolderLife
from tenure.domain.policy.admission import Admission, Policy, admit
from tenure.domain.policy.conditions import findings
from tenure.domain.policy.evidence import Evidence
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.request import Request
from tenure.domain.run import Run
from tenure.domain.warnings import ProfileWarning
from tenure.runtime.profile import Profile


def status_of(profile: Profile, now: datetime, *, upcoming: int = UPCOMING) -> Status:
    """The status, with the schedulers of an adopted Hermes profile that do not obey."""
    return read_status(profile, now, foreign=foreign_in(profile), upcoming=upcoming)


def foreign_in(profile: Profile) -> tuple[Process, ...]:
    """The schedulers of a Hermes profile that was adopted into this one, and that do not obey."""
    link = profile.folder.path / "hermes.json"
    if not link.exists():
        return ()
    from tenure.adapters.hermes.look.survey import foreign_of  # costs what only such a profile pays

    return foreign_of(link)


def run_documents(profile: Profile, runs: Iterable[Run]) -> list[RunDocument]:
    """Runs with who ran them and who asked. Each process's evidence is read once."""
    evidence: dict[str, Evidence | None] = {}
    documents = []
    for run in runs:
        if run.process not in evidence:
            evidence[run.process] = _evidence(profile, run.process)
        documents.append(run_document(run, evidence[run.process], request_of(profile, run)))
    return documents


def _evidence(profile: Profile, process: str) -> Evidence | None:
    try:
        return profile.store.process(process).evidence
    except NotFound:
        return None


def request_of(profile: Profile, run: Run) -> Request | None:
    """The request that a run answers, unless retention has taken it."""
    try:
        return profile.store.request(run.request) if run.request else None
    except NotFound:
        return None


def warning_documents(warnings: Iterable[ProfileWarning]) -> list[WarningDocument]:
    return [WarningDocument.read(warning) for warning in warnings]


# -- the policy and its decisions ----------------------------------------------------------------


def policy_document(profile: Profile) -> PolicyReply:
    """The accepted rules as text, and possible problems (as `owner policy --json`)."""
    accepted = profile.policy()
    return PolicyReply.read(
        accepted,
        rules=[RuleDocument.read(rule, words=rule.describe()) for rule in accepted.rules],
        warnings=warning_documents(policy_warnings_of(profile, accepted)),
    )


def admission_of(profile: Profile, policy: Policy, process: Process) -> Admission:
    """What the policy says of a process, on the evidence that it joined with."""
    uid = profile.folder.path.stat().st_uid
    return admit(
        policy,
        process.evidence,
        role=process.role,
        me_uid=uid,
        executes=process.executes,
        owns=process.standing is ProcessStatus.OWNER,
    )


def admission_document(profile: Profile, policy: Policy, process: Process) -> AdmissionDocument:
    """Which rule admits or refuses it and on which evidence, rule by rule."""
    uid = profile.folder.path.stat().st_uid
    found = admission_of(profile, policy, process)
    number = found.rule.number if found.rule else None
    return AdmissionDocument.read(
        found,
        rule=number,
        remedy=found.remedy or None,
        observed_at=process.evidence.observed_at,
        rules=[
            JudgedRule(
                number=rule.number,
                words=rule.describe(),
                decides=rule.number == number,
                findings=[
                    FindingDocument.read(finding)
                    for finding in findings(rule, process.evidence, role=process.role, me_uid=uid)
                ],
            )
            for rule in policy.rules
        ],
    )


def state_of(health: Health) -> str:
    """The state of the ownership: owned, stopped, frozen, hung, dead, unverifiable or "nobody"."""
    if health.owner is None:
        return "nobody"
    if health.owner.life is not HolderLife.ALIVE:
        return str(health.owner.life)
    if health.halted:
        return str(health.owner.activity)
    return "hung" if health.hung else "owned"
