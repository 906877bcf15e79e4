"""The audit: the whole recorded history of a profile, checked against the contract.

An audit reads one snapshot of the record. It checks for every entry whether the contract allows it,
and for the entries together whether they agree; it trusts no single record to vouch for another. It
is pure: the same history gives the same report.

    history --> view (indices, clock steps) --> checks, clause by clause --> report

What it cannot see: records that were deleted or rewritten all together and consistently, what a
started process did outside, and the past that retention has deleted (C14). ``docs/audit.md``
lists each check and each limit.
"""

from __future__ import annotations

from tenure.audit.accounts import check_accounts
from tenure.audit.claims import check_attempts, check_once, check_revisions
from tenure.audit.history import History, JobHistory, View
from tenure.audit.report import Book, Finding, Report, render_report
from tenure.audit.requests import check_requests
from tenure.audit.results import check_protection, check_provenance, check_results
from tenure.audit.terms import check_claims_fenced, check_holders, check_terms

__all__ = ["Finding", "History", "JobHistory", "Report", "audit", "render_report"]

_CHECKS = (
    check_terms,
    check_holders,
    check_claims_fenced,
    check_once,
    check_attempts,
    check_accounts,
    check_results,
    check_requests,
    check_protection,
    check_provenance,
    check_revisions,
)

_COUNTED = ("attempts", "events", "fires", "jobs", "omissions", "requests", "runs", "terms")


def audit(history: History) -> Report:
    """Check a history. Raises nothing for its findings; thread-safe.

    Linear in the records, but for a revision whose sums are wrong, which is walked once more.
    """
    view, book = View(history), Book()
    for check in _CHECKS:
        check(view, book)
    book.checked["events"] += len(history.events)
    _note_clock(view, book)
    order = sorted(book.findings, key=lambda f: int(f.clause[1:]))
    return Report(
        at=history.now,
        findings=tuple(order),
        checked=dict(sorted({**dict.fromkeys(_COUNTED, 0), **book.checked}.items())),
        not_checked=dict(sorted(book.not_checked.items())),
        notes=tuple(book.notes),
    )


def _note_clock(view: View, book: Book) -> None:
    """C13: report clock steps, because instants before and after a step do not compare."""
    for step in view.clock.steps:
        book.notes.append(f"the wall clock was set back to {step.at.isoformat()}")
    for at in view.restarts:
        book.notes.append(f"planning was restarted at {at.isoformat()} after that")
    if view.clock.blind_until is not None:
        book.notes.append(
            f"the event log begins at {view.clock.blind_until.isoformat()}: whether the clock was "
            "set back before is not known, so up to a day later the order was not checked"
        )
