"""The report of an audit: findings, what was checked, what could not be; and as text.

'No findings' means something only beside how much was looked at, so a report always carries the
counts. A check that lacks its facts (an event that retention deleted, say) is counted as *not
checked*; it is neither a finding nor a pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tenure.domain.ownership import Term
from tenure.domain.run import Run

Value = str | int | bool | None | list[str]
"""What a fact may be: plain JSON. Instants are RFC 3339 in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One breach of the contract, or of the record's agreement with itself."""

    clause: str
    """``C1`` to ``C14``."""
    code: str
    """Stable, for programs: ``fire_twice``."""
    text: str
    remedy: str
    subjects: tuple[str, ...] = ()
    """What it is about: run, job, process and request ids; ``term:7``; ``omission:3``."""
    facts: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of an audit. Clauses that no record can show are named in ``docs/audit.md``."""

    at: datetime
    findings: tuple[Finding, ...]
    checked: Mapping[str, int]
    """How many of each kind were looked at: runs, attempts, fires, terms, ..."""
    not_checked: Mapping[str, int]
    """Why, and how many, for what could not be checked."""
    notes: tuple[str, ...] = ()
    """Facts that are not a breach: clock steps, restarted planning."""

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


_REPORT = "; keep the database and report it"
_FENCE = "a claim got past the fence" + _REPORT
_ALTERED = "record was altered or written wrongly" + _REPORT
_FINDINGS = {
    ("C1", "the ownership record was altered: restore a backup, then `tenure profile adopt`"): """
        ownership_disagrees term_backwards term_impossible term_repeated terms_overlap two_owners
    """,
    ("C2", "`tenure owner policy` shows the rules; " + _FENCE): "not_admitted",
    ("C2", _FENCE): "holder_not_there observer_owned",
    ("C2", "the run's " + _ALTERED): "observer_claimed",
    ("C3", _FENCE): """
        not_the_holder outside_term policy_not_in_force policy_unknown term_unknown
        terms_run_backwards
    """,
    ("C4", "see both runs with `tenure runs`" + _REPORT): """
        attempts_overlap fire_twice retried_without_leave
    """,
    ("C4", "the run's " + _ALTERED): """
        attempts_broken finished_before_start never_ran_yet_result run_id_twice started_before_claim
    """,
    ("C5", "set the clock right; a running owner then plans from now"): "watermark_ahead",
    ("C5", "records were deleted or never written; compare with a backup, and report it"): """
        fire_unaccounted held_run_without_hold
    """,
    ("C5", "the " + _ALTERED): """
        accounting_broken beyond_watermark claimed_early done_too_soon fire_accounted_twice
        hold_left_open hold_miscounted not_a_fire omission_stranger omission_wrong
    """,
    ("C6", "restart the owner: it adopts the run or declares it lost"): "orphaned",
    ("C6", "the run's " + _ALTERED): """
        end_missing ended_yet_active holder_unknown late_without_loss result_contradicts
    """,
    ("C7", "the request's " + _ALTERED): """
        accepted_by_nobody accepted_late accepted_without_run answer_broken answer_disagrees
        claimed_twice expired_early key_twice not_one_commit refused_without_remedy run_unasked
        wrong_run
    """,
    ("C8", "see what it did with `tenure logs RUN`, and the rules of the policy"): """
        protected_without_authority
    """,
    ("C8", "the run's " + _ALTERED): "held_needlessly",
    ("C10", "the run's " + _ALTERED): "provenance_missing provenance_thin",
    # Its remedy depends on what cannot be read.
    ("C12", ""): "job_unreadable",
    ("C12", "compare `tenure show JOB` with the run" + _REPORT): """
        job_unknown job_was_stopped revision_not_current revision_unknown
    """,
}
CODES = {code: rule for rule, codes in _FINDINGS.items() for code in codes.split()}
"""The clause and the remedy of each code of a finding."""


@dataclass(slots=True)
class Book:
    """Where the checks write. Used within one audit; not thread-safe."""

    findings: list[Finding] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    not_checked: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def find(
        self,
        code: str,
        text: str,
        *subjects: str | Run | Term,
        remedy: str = "",
        **facts: Value | datetime,
    ) -> None:
        """Write down one finding of :data:`CODES`, with its ``remedy`` unless another is given."""
        clause, usual_remedy = CODES[code]
        plain = {k: v.isoformat() if isinstance(v, datetime) else v for k, v in facts.items()}
        self.findings.append(
            Finding(
                clause=clause,
                code=code,
                text=text,
                remedy=remedy or usual_remedy,
                subjects=tuple(_subject(s) for s in subjects),
                facts=plain,
            )
        )


def _subject(about: str | Run | Term) -> str:
    if isinstance(about, Run):
        return about.id
    return f"term:{about.term}" if isinstance(about, Term) else about


# -- as text ---------------------------------------------------------------------------------
_SHOWN = 20
"""Findings of one code that are listed; the rest are counted."""


def render_report(report: Report) -> list[str]:
    """The report as lines of plain text: findings first, then the counts of what was checked."""
    lines: list[str] = []
    seen: dict[str, int] = {}
    for finding in report.findings:
        seen[finding.code] = seen.get(finding.code, 0) + 1
        if seen[finding.code] <= _SHOWN:
            lines.extend(_finding(finding))
    for code, times in seen.items():
        if times > _SHOWN:
            lines.append(f"... and {times - _SHOWN} more of {code}")
    lines.append(_count(len(report.findings), "finding") + " in " + _checked(report))
    lines.extend(f"not checked: {times} {what}" for what, times in report.not_checked.items())
    lines.extend(f"note: {note}" for note in report.notes)
    return lines


def _finding(finding: Finding) -> list[str]:
    lines = [f"{finding.clause} {finding.code}: {finding.text}"]
    if finding.remedy:
        lines.append(f"   {finding.remedy}")
    return lines


_KINDS = (
    ("runs", "run"),
    ("attempts", "attempt"),
    ("fires", "scheduled run"),
    ("omissions", "omission record"),
    ("terms", "term"),
    ("requests", "request"),
    ("jobs", "job"),
    ("events", "event"),
)


def _checked(report: Report) -> str:
    return ", ".join(_count(report.checked.get(key, 0), noun) for key, noun in _KINDS)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
