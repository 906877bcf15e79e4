"""Reports that the API and the page share, as the command line gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

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
from tenure.domain.policy.conditions import ConditionAnswer, ConditionResult, findings
from tenure.domain.policy.evidence import Evidence
from tenure.domain.policy.rule import Rule
from tenure.domain.process import Process, ProcessStatus
from tenure.domain.run import Run
from tenure.domain.warnings import ProfileWarning
from tenure.runtime.profile import Profile
from tenure.store.contract import Mark

T = TypeVar("T")


def status_of(profile: Profile, now: datetime, *, upcoming: int = UPCOMING) -> Status:
    """The status, with the schedulers of an adopted Hermes profile that do not obey."""
    return read_status(profile, now, foreign=foreign_in(profile), upcoming=upcoming)


def foreign_in(profile: Profile) -> tuple[Process, ...]:
    """The schedulers of a Hermes profile that was adopted into this one, and that do not obey."""
    link = profile.folder.path / "hermes.json"
    if not link.exists():
        return ()
    # Imported here: it costs what only such a profile pays.
    from tenure.adapters.hermes.look.survey import foreign_of

    return foreign_of(link)


def kept(read: Callable[[str], T], id: str | None) -> T | None:
    """What ``read`` gives for an id; None without one, or where retention has taken it."""
    try:
        return read(id) if id else None
    except NotFound:
        return None


def run_documents(profile: Profile, runs: Iterable[Run]) -> list[RunDocument]:
    """Runs with who ran them and who asked. Each process's evidence is read once."""
    evidence: dict[str, Evidence | None] = {}
    documents = []
    for run in runs:
        if run.process not in evidence:
            process = kept(profile.store.process, run.process)
            evidence[run.process] = process.evidence if process else None
        request = kept(profile.store.request, run.request)
        documents.append(run_document(run, evidence[run.process], request))
    return documents


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


@dataclass(frozen=True, slots=True)
class RuleEvaluation:
    """One rule against one process, on the evidence that the process joined with."""

    rule: Rule
    findings: tuple[ConditionResult, ...]
    decides: bool

    @property
    def holds(self) -> bool | None:
        """None where what the rule asks for could not all be read."""
        answers = {finding.answer for finding in self.findings}
        if ConditionAnswer.NO in answers:
            return False
        return None if ConditionAnswer.UNKNOWN in answers else True


def evaluate_rules(
    policy: Policy, process: Process, uid: int
) -> tuple[Admission, list[RuleEvaluation]]:
    """What the policy says of a process, and each rule. ``uid``: the profile's user."""
    evidence, role = process.evidence, process.role
    owns = process.standing is ProcessStatus.OWNER
    admission = admit(policy, evidence, role=role, me_uid=uid, executes=process.executes, owns=owns)
    return admission, [
        RuleEvaluation(
            rule,
            findings(rule, evidence, role=role, me_uid=uid),
            decides=admission.rule is not None and admission.rule.rank == rule.rank,
        )
        for rule in policy.rules
    ]


def admission_document(profile: Profile, policy: Policy, process: Process) -> AdmissionDocument:
    """Which rule admits or refuses it and on which evidence, rule by rule."""
    uid = profile.folder.path.stat().st_uid
    admission, evaluations = evaluate_rules(policy, process, uid)
    return AdmissionDocument.read(
        admission,
        rule=admission.rule.number if admission.rule else None,
        remedy=admission.remedy or None,
        observed_at=process.evidence.observed_at,
        rules=[
            JudgedRule(
                number=each.rule.number,
                words=each.rule.describe(),
                decides=each.decides,
                findings=[FindingDocument.read(finding) for finding in each.findings],
            )
            for each in evaluations
        ],
    )


def mark_text(mark: Mark, state: str) -> str:
    """How far a profile had grown and how its owner stands, as pages carry it."""
    return f"{mark.event}.{mark.run}.{mark.omission}.{state}"


def state_of(health: Health) -> str:
    """The state of the ownership: owned, stopped, frozen, hung, dead, unverifiable or "nobody"."""
    if health.owner is None:
        return "nobody"
    if health.owner.life is not HolderLife.ALIVE:
        return str(health.owner.life)
    if health.halted:
        return str(health.owner.activity)
    return "hung" if health.hung else "owned"
