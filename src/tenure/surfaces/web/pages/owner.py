"""The owner rules, their evaluation for each process, and the terms so far."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from tenure.client.presence import Present
from tenure.client.warnings import policy_warnings_of
from tenure.domain.ownership import OwnershipAction, Term
from tenure.domain.policy.admission import Admission, Policy
from tenure.domain.policy.change import policy_in_force
from tenure.surfaces.web import charts
from tenure.surfaces.web.pages import ownership
from tenure.surfaces.web.pages.overview import processes
from tenure.surfaces.web.pages.render import ProfileView, ViewDep
from tenure.surfaces.web.reports import RuleEvaluation, evaluate_rules
from tenure.surfaces.web.svg import PATTERNS, ChartWindow

router = APIRouter()
TERMS = 30
_ENDED_BY = {
    str(OwnershipAction.TAKE_FROM_DEAD): "its process was dead, and was succeeded by",
    str(OwnershipAction.TAKE_BY_FORCE): "taken by force by",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A process, what the rules say of it, and why."""

    present: Present
    admission: Admission
    against: list[RuleEvaluation]
    """Down to the one that decides: the rules below it are not asked."""
    facts: list[tuple[str, str]]


@router.get("/p/{profile}/owner")
def owner(view: ViewDep, done: str = "") -> HTMLResponse:
    profile, status = view.profile, view.status()
    policy = view.health.policy
    uid = profile.folder.path.stat().st_uid
    return view.page(
        "owner.html",
        section="owner",
        live="owner requests",
        policy=policy,
        proposed=policy_in_force(policy, profile.policy_file()).rules if policy.open else (),
        warnings=policy_warnings_of(profile, policy),
        toml=str(profile.folder.toml),
        judged=[_judge(policy, present, uid) for present in processes(status)],
        candidates=view.health.candidates(),
        owned=view.health.owned,
        terms=profile.store.terms(limit=TERMS),
        chart=_chart(view),
        patterns=PATTERNS,
        ended=ended,
        ownership_chain=ownership.chain_of,
        done={"handed-over": "The owner hands over."}.get(done),
    )


def _judge(policy: Policy, present: Present, uid: int) -> Judged:
    process = present.process
    admission, rules = evaluate_rules(policy, process, uid)
    last = next((number for number, each in enumerate(rules, 1) if each.decides), None)
    return Judged(
        present=present,
        admission=admission,
        against=rules[:last] if process.executes else [],
        facts=ownership.facts(process.evidence),
    )


def _chart(view: ProfileView) -> dict[str, Any] | None:
    """The latest terms on one line of time."""
    held = ownership.holdings(view.profile, view.now, view.health, TERMS)
    if not held:
        return None
    first = min(held[0].start, view.now - timedelta(minutes=1))
    window = ChartWindow(start=first, end=view.now)
    parts = charts.holdings_in(window, held)
    return {
        "picture": charts.terms(parts, window, view.zone),
        "axis": charts.terms_axis(window, view.zone),
    }


def ended(term: Term) -> str:
    """Why a term ended, as text; the record has the action of the process that took the next."""
    act, by, who = term.ended_why.partition(" by ")
    how = _ENDED_BY.get(act)
    return f"{how} {who}" if by and how else term.ended_why or "–"
