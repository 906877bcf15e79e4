"""The owner rules, their evaluation for each process, and the terms so far."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tenure.client.presence import Present
from tenure.client.warnings import policy_warnings_of
from tenure.domain.ownership import HolderLife, OwnershipAction, Term
from tenure.domain.policy.admission import Admission, Policy, admit
from tenure.domain.policy.change import policy_in_force
from tenure.domain.policy.conditions import ConditionAnswer, ConditionResult, findings
from tenure.domain.policy.rule import Rule
from tenure.domain.process import ProcessStatus
from tenure.surfaces.web.charts import day, terms
from tenure.surfaces.web.charts.svg import PATTERNS, ChartWindow
from tenure.surfaces.web.deps import ProfileDep
from tenure.surfaces.web.pages import lookups, ownership
from tenure.surfaces.web.pages.overview import processes
from tenure.surfaces.web.pages.render import Frame, frame, page
from tenure.surfaces.web.reports import status_of

router = APIRouter()
TERMS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEvaluation:
    """One rule against one process. ``holds`` None: what it asks for could not all be read."""

    rule: Rule
    findings: tuple[ConditionResult, ...]
    holds: bool | None
    decided: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A process, what the rules say of it, and why."""

    present: Present
    admission: Admission
    against: tuple[RuleEvaluation, ...]
    facts: list[tuple[str, str]]


@router.get("/p/{profile}/owner")
def owner(profile: ProfileDep, request: Request, done: str = "") -> HTMLResponse:
    around = frame(request, profile)
    status = status_of(profile, around.now)
    policy = around.health.policy
    uid = profile.folder.path.stat().st_uid
    history = profile.store.terms(limit=TERMS)
    return page(
        request,
        "owner.html",
        around,
        section="owner",
        live="owner requests",
        policy=policy,
        proposed=policy_in_force(policy, profile.policy_file()).rules if policy.open else (),
        warnings=policy_warnings_of(profile, policy),
        toml=str(profile.folder.toml),
        judged=[judge(policy, present, uid) for present in processes(status)],
        candidates=around.health.candidates(),
        owned=around.health.owned,
        terms=history,
        chart=_chart(around),
        patterns=PATTERNS,
        ProcessStatus=ProcessStatus,
        HolderLife=HolderLife,
        ended=ended,
        ownership_chain=ownership.chain_of,
        done={"handed-over": "The owner hands over."}.get(done),
    )


def judge(policy: Policy, present: Present, uid: int) -> Judged:
    """Each rule's findings, as the process's own evidence has them."""
    process = present.process
    evidence, role = process.evidence, process.role
    owns = process.standing is ProcessStatus.OWNER
    admission = admit(policy, evidence, role=role, me_uid=uid, executes=process.executes, owns=owns)
    decided = admission.rule
    against = []
    if process.executes:
        for rule in policy.rules:
            found = findings(rule, evidence, role=role, me_uid=uid)
            against.append(
                RuleEvaluation(rule=rule, findings=found, holds=_holds(rule, found),
                        decided=decided is not None and decided.rank == rule.rank)
            )  # fmt: skip
            if decided is not None and decided.rank == rule.rank:
                break  # the first match decides; the rules below are not asked
    return Judged(
        present=present,
        admission=admission,
        against=tuple(against),
        facts=ownership.facts(evidence),
    )


def _holds(rule: Rule, found: tuple[ConditionResult, ...]) -> bool | None:
    answers = {finding.answer for finding in found}
    if ConditionAnswer.NO in answers:
        return False
    return None if ConditionAnswer.UNKNOWN in answers else True


def _chart(around: Frame) -> dict[str, Any] | None:
    """The latest terms on one line of time."""
    held = lookups.holdings(around.profile, around.now, around.health, TERMS)
    if not held:
        return None
    first = min(held[0].start, around.now - timedelta(minutes=1))
    window = ChartWindow(start=first, end=around.now)
    parts = day.holdings_in(window, held)
    return {
        "picture": terms.history(parts, window, around.zone),
        "axis": terms.axis(window, around.zone),
    }


def ended(term: Term) -> str:
    """Why a term ended, as text; the record has the action of the process that took the next."""
    act, by, who = term.ended_why.partition(" by ")
    how = {OwnershipAction.TAKE_FROM_DEAD: "its process was dead, and was succeeded by",
           OwnershipAction.TAKE_BY_FORCE: "taken by force by"}.get(act)  # type: ignore[call-overload]  # fmt: skip
    return f"{how} {who}" if by and how else term.ended_why or "–"
