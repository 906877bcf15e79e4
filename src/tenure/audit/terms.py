"""C1, C2, C3: one owner at a time, admitted, and every attempt claimed by the owner of its term."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from tenure.audit.history import View
from tenure.audit.report import Book
from tenure.domain.ownership import OwnershipState, Term
from tenure.domain.policy.conditions import ConditionAnswer, findings
from tenure.domain.policy.rule import Rule
from tenure.domain.run import Attempt, Run

_UNRESOLVED = {"executable", "ancestor", "group"}
"""Conditions whose paths and names the accepted text does not keep resolved."""
_TAKEN_LATER = "locks that a holder may have taken after it joined"


def check_terms(view: View, book: Book) -> None:
    """C1: terms strictly grow, one follows the other, and the ownership row agrees."""
    terms = sorted(view.history.terms, key=lambda t: t.term)
    book.checked["terms"] += len(terms)
    for number, times in Counter(t.term for t in terms).items():
        if times > 1:
            text = f"term {number} was begun {times} times; a term is never reused"
            book.find("term_repeated", text, f"term:{number}", times=times)
        elif number < 1:
            text = f"term {number} is below 1, the first there can be"
            book.find("term_impossible", text, f"term:{number}")
    for earlier, later in pairwise(terms):
        _check_succession(view, book, earlier, later)
    for term in terms:
        if term.ended_at is not None and not view.clock.follows(term.ended_at, term.taken_at):
            text = f"term {term.term} ended before it was taken"
            book.find("term_backwards", text, term)
    if terms:
        _check_row(view, book, terms[-1])
    elif view.history.ownership.term:
        text = (
            f"the ownership record is at term {view.history.ownership.term}, which is not recorded"
        )
        book.find("ownership_disagrees", text, "ownership")


def _check_succession(view: View, book: Book, earlier: Term, later: Term) -> None:
    if earlier.term == later.term:
        return
    if earlier.ended_at is None:
        text = f"term {earlier.term} never ended, yet term {later.term} was taken: two owners"
        book.find("two_owners", text, earlier, later)
    elif not view.clock.follows(later.taken_at, earlier.ended_at):
        text = f"term {later.term} was taken before term {earlier.term} ended: two owners at once"
        book.find(
            "terms_overlap",
            text,
            earlier,
            later,
            ended_at=earlier.ended_at,
            taken_at=later.taken_at,
        )
    elif not view.clock.follows(later.taken_at, earlier.taken_at):
        text = f"term {later.term} was taken before term {earlier.term}: terms only grow"
        book.find("term_backwards", text, earlier, later)


def _check_row(view: View, book: Book, newest: Term) -> None:
    row = view.history.ownership
    book.checked["ownership"] += 1
    held = row.hold is OwnershipState.HELD
    differs = []
    if row.term != newest.term:
        differs.append(f"its term is {row.term}, the newest begun is {newest.term}")
    else:
        if held == (newest.ended_at is not None):
            differs.append(
                f"it says {row.hold}, the term {'has ended' if held else 'has not ended'}"
            )
        if held and row.process != newest.process:
            differs.append(f"it names {row.process}, the term {newest.process}")
    if differs:
        text = "the ownership record disagrees with the terms: " + "; ".join(differs)
        book.find("ownership_disagrees", text, newest, row_term=row.term)


def check_holders(view: View, book: Book) -> None:
    """C2: who held a term was there, wanted to execute, and is admitted by what is recorded."""
    for term in view.history.terms:
        holder = view.processes.get(term.process)
        if holder is None:
            # Retention deletes a process that no kept run names.
            book.not_checked["holders of terms whose process retention has deleted"] += 1
            continue
        book.checked["holders"] += 1
        if not holder.executes:
            text = f"term {term.term} was held by {holder.id}, an observer"
            book.find("observer_owned", text, term, holder.id)
        if not view.clock.follows(term.taken_at, holder.joined_at):
            text = f"term {term.term} was taken by {holder.id} before that process joined"
            book.find("holder_not_there", text, term, holder.id)
        elif holder.left_at is not None and not view.clock.follows(holder.left_at, term.taken_at):
            text = f"term {term.term} was taken by {holder.id} after that process had left"
            book.find("holder_not_there", text, term, holder.id)
        if term.policy_version == view.history.policy.version:
            _check_admission(view, book, term)
        else:
            book.not_checked["admissions under an older policy"] += 1


def _check_admission(view: View, book: Book, term: Term) -> None:
    """The rule that admitted the holder, asked again of the evidence that was recorded."""
    policy, holder = view.history.policy, view.processes[term.process]
    book.checked["admissions"] += 1
    if policy.open:
        if term.authoritative:
            text = f"term {term.term} is authoritative, but the policy has no rules"
            book.find("not_admitted", text, term, holder.id)
        return
    rule = next((r for r in policy.rules if r.rank == term.rule), None)
    why = ""
    if rule is None or rule.refuse:
        number = "no rule" if term.rule is None else f"rule {term.rule + 1}"
        why = f"{number} of the policy admits any process"
        why = why if rule is None else f"{number} of the policy refuses"
    elif term.authoritative and not rule.authoritative:
        why = f"{rule.describe()}, which is not authoritative as the term is"
    else:
        why = _failed_condition(view, term, rule, book)
    if why:
        text = f"term {term.term} was held by {holder.id}, but {why}"
        version = term.policy_version
        book.find("not_admitted", text, term, holder.id, rule=term.rule, policy_version=version)


def _failed_condition(view: View, term: Term, rule: Rule, book: Book) -> str:
    holder = view.processes[term.process]
    uid = holder.evidence.uid
    # Whose profile it is is not recorded: `user = "me"` gets the benefit of the doubt.
    answers = findings(rule, holder.evidence, role=holder.role, me_uid=-1 if uid is None else uid)
    for found in answers:
        if found.answer is ConditionAnswer.NO and found.key == "holds":
            # Recorded is what it held as it joined; it is admitted by what it holds as it takes.
            book.not_checked[_TAKEN_LATER] += 1
        elif found.answer is ConditionAnswer.NO and (
            found.key not in _UNRESOLVED
            or (found.key == "executable" and rule.executable_paths)
            or (found.key == "ancestor" and rule.ancestor_paths)
            or (found.key == "group" and (rule.group_id or isinstance(rule.group, int)))
        ):
            return f"rule {rule.number} asks for {found.asks}, and {found.observed}"
    return ""


def check_claims_fenced(view: View, book: Book) -> None:
    """C3: every attempt lies in its term and was claimed by that term's holder."""
    for run in view.history.runs:
        previous: Attempt | None = None
        for attempt in view.attempts[run.id]:
            book.checked["attempts"] += 1
            if previous is not None and attempt.term < previous.term:
                text = (
                    f"attempt {attempt.number} of run {run.id} was claimed under term "
                    f"{attempt.term}, the one before it under term {previous.term}"
                )
                book.find("terms_run_backwards", text, run)
            _check_attempt(view, book, run, attempt)
            previous = attempt
        _check_policy(view, book, run)


def _check_attempt(view: View, book: Book, run: Run, attempt: Attempt) -> None:
    what = f"attempt {attempt.number} of run {run.id}"
    term = view.terms.get(attempt.term)
    if term is None:
        text = f"{what} was claimed under term {attempt.term}, which was never begun"
        book.find("term_unknown", text, run, f"term:{attempt.term}")
        return
    if term.process != attempt.process:
        text = (
            f"{what} was claimed by {attempt.process} under term {term.term}, "
            f"whose holder was {term.process}"
        )
        book.find("not_the_holder", text, run, attempt.process, term)
        return
    early = not view.clock.follows(attempt.claimed_at, term.taken_at)
    late = term.ended_at is not None and not view.clock.follows(term.ended_at, attempt.claimed_at)
    if early or late:
        edge = "before it began" if early else "after it had ended"
        text = f"{what} was claimed under term {term.term} {edge}"
        span: dict[str, Any] = {"claimed_at": attempt.claimed_at, "taken_at": term.taken_at}
        if term.ended_at is not None:
            span["ended_at"] = term.ended_at
        book.find("outside_term", text, run, term, **span)


def _check_policy(view: View, book: Book, run: Run) -> None:
    version, newest = run.policy_version, view.history.policy.version
    accepted, replaced = view.accepted.get(version), view.accepted.get(version + 1)
    if version > newest or version < 0:
        text = f"run {run.id} names policy version {version}; the newest accepted is {newest}"
        book.find("policy_unknown", text, run, policy_version=version)
        return
    if accepted is None and replaced is None and (version or newest):
        book.not_checked["policy versions whose acceptance the log no longer has"] += 1
        return
    early = accepted is not None and not view.clock.follows(run.claimed_at, accepted)
    late = replaced is not None and not view.clock.follows(replaced, run.claimed_at)
    if early or late:
        edge = "before that was accepted" if early else "when a newer one was in force"
        text = f"run {run.id} was claimed under policy version {version} {edge}"
        book.find("policy_not_in_force", text, run, policy_version=version)
