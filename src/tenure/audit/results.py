"""C6, C8 and C10: how runs ended, who was allowed to run them, and whether it is known who did."""

from __future__ import annotations

from datetime import timedelta

from tenure.audit.history import View
from tenure.audit.report import Book
from tenure.domain.omission import OmissionKind
from tenure.domain.ownership import OwnershipState
from tenure.domain.policy.evidence import Evidence
from tenure.domain.run import FINAL, Run, RunState

ORPHANED_AFTER = timedelta(minutes=10)
"""A run whose holder has been gone this long, although a process owns, was abandoned."""

_WATCHED = frozenset({RunState.CLAIMED, RunState.RUNNING})


def check_results(view: View, book: Book) -> None:
    """C6: an end is whole, a result after 'lost' is kept beside it, no run is forgotten."""
    for run in view.history.runs:
        final = run.state in FINAL
        book.checked["results"] += final
        if final and run.finished_at is None:
            text = f"run {run.id} is {run.state}, with no record of when it ended"
            book.find("end_missing", text, run)
        if run.state in _WATCHED and (run.finished_at is not None or run.exit_code is not None):
            text = f"run {run.id} is {run.state}, yet has an end"
            book.find("ended_yet_active", text, run)
        if run.state is RunState.SUCCEEDED and (run.exit_code or run.signal):
            text = f"run {run.id} is said to have succeeded with exit code {run.exit_code}"
            book.find("result_contradicts", text, run)
        if run.late is not None and run.state not in (RunState.LOST, RunState.NEVER_RAN):
            text = f"run {run.id} has a late result, but was not declared lost"
            book.find("late_without_loss", text, run)
        if run.state in _WATCHED:
            _check_holder(view, book, run)


def _check_holder(view: View, book: Book, run: Run) -> None:
    """An active run whose holder is gone is adopted by the owner, or declared lost."""
    owner, holder = view.history.ownership, view.processes.get(run.holder)
    if holder is None:
        text = f"run {run.id} is watched by {run.holder}, which is not recorded"
        book.find("holder_unknown", text, run, run.holder)
        return
    gone, since = holder.left_at, owner.since
    keeper = view.processes.get(owner.process or "")
    if gone is None or since is None or owner.hold is not OwnershipState.HELD:
        return
    if keeper is None or keeper.left_at is not None:
        return
    if view.now - max(gone, since) > ORPHANED_AFTER:
        text = f"run {run.id} is {run.state}; {run.holder}, which watched it, left long ago"
        book.find("orphaned", text, run, run.holder, left_at=gone)


def check_protection(view: View, book: Book) -> None:
    """C8: each attempt of a protected run was under an authoritative term."""
    for run in view.history.runs:
        definition = view.definition(run.job, run.revision)
        needs = run.protected or (definition is not None and definition.needs_authority)
        if not needs:
            continue
        for attempt in view.attempts[run.id]:
            book.checked["protected attempts"] += 1
            answer = view.authoritative(attempt.term, attempt.claimed_at)
            if answer is None and attempt.term in view.terms:
                book.not_checked["protected attempts of terms whose log was deleted"] += 1
            elif answer is False:
                text = (
                    f"attempt {attempt.number} of run {run.id} of the protected job "
                    f"{run.job_name} ran under term {attempt.term}, which was not authoritative"
                )
                book.find("protected_without_authority", text, run, f"term:{attempt.term}")
    for omission in view.history.omissions:
        definition = view.definition(omission.job, omission.revision)
        known = view.jobs.get(omission.job)
        if known is not None and known.job.app is not None:
            # Held from owners of a version that does not declare it, too.
            continue
        needs = definition is None or definition.needs_authority
        if omission.kind is OmissionKind.HELD and not needs:
            text = f"scheduled runs of {omission.job_name} were on hold, but any owner may run them"
            name = f"omission:{omission.id}"
            book.find("held_needlessly", text, name, omission.job)


def check_provenance(view: View, book: Book) -> None:
    """C2, C10: of each process that claimed it is known what it was."""
    reported: set[str] = set()
    for run in view.history.runs:
        for attempt in view.attempts[run.id]:
            process = view.processes.get(attempt.process)
            if process is None:
                text = (
                    f"attempt {attempt.number} of run {run.id} was claimed by {attempt.process}, "
                    "whose evidence is missing"
                )
                book.find("provenance_missing", text, run, attempt.process)
                continue
            book.checked["provenances"] += 1
            if process.id in reported:
                continue
            reported.add(process.id)
            thin = missing_evidence(process.evidence)
            if thin:
                text = (
                    f"the evidence of {process.id} says nothing of its {', '.join(thin)}, "
                    "not even that it is unknown"
                )
                book.find("provenance_thin", text, process.id, missing=thin)
            if not process.executes:
                text = f"{process.id} joined as an observer, yet claimed run {run.id}"
                book.find("observer_claimed", text, process.id, run)


def missing_evidence(evidence: Evidence) -> list[str]:
    """What is neither known nor said to be unknown. Absent values (no service) are fine."""
    identity = evidence.identity
    known_facts = {
        "identity": identity.pid > 0 and bool(identity.boot_id),
        "executable": evidence.executable is not None,
        "uid": evidence.uid is not None,
        "chain": bool(evidence.chain),
    }
    missing = [k for k, known in known_facts.items() if not known and k not in evidence.unknown]
    if evidence.chain and evidence.chain[0].pid != identity.pid:
        missing.append("chain")
    return missing
