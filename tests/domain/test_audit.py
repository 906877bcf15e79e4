"""`audit`: silent over a true history, honest about what it cannot check."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from auditdoctor import (
    a_request,
    a_run,
    good,
    job_id,
    term,
    told,
    with_process,
    with_run,
    with_term,
    without_run,
)
from auditkit import START, definition, rules

from tenure.audit import History, audit, render_report
from tenure.audit.reader import read_history
from tenure.client.documents import to_json
from tenure.client.documents.reports import audit_document
from tenure.domain.event import EventKind
from tenure.domain.omission import OmissionKind
from tenure.domain.request import RequestKind, RequestState
from tenure.domain.run import Cause
from testkit.memory_store.store import MemoryStore


# -- the true history --------------------------------------------------------------------------
def test_a_true_history_has_no_findings_and_says_over_how_much() -> None:
    report = audit(good())
    assert report.findings == ()
    assert report.clean
    assert report.checked["runs"] == len(good().runs) > 150
    assert report.checked["attempts"] > report.checked["runs"]
    assert report.checked["fires"] > 250
    assert report.checked["terms"] == 4
    assert report.checked["requests"] == 3
    assert report.checked["protected attempts"] > 30
    assert report.checked["holds"] == 2
    assert report.checked["triggers"] == 1


def test_the_good_history_has_what_the_doctored_ones_need() -> None:
    """Otherwise 'nothing found' would be cheap."""
    runs = good().runs
    assert {r.cause for r in runs} == set(Cause)
    assert any(r.late for r in runs)
    assert any(r.earlier for r in runs)
    assert {o.kind for o in good().omissions} == set(OmissionKind)
    assert any(t.authoritative for t in good().terms)
    assert not all(t.authoritative for t in good().terms)


def test_an_empty_profile_is_clean() -> None:
    store = MemoryStore("new", START)
    report = audit(read_history(store, START))
    assert report.clean
    assert report.checked["runs"] == 0


# -- faults that break several things at once --------------------------------------------------
def codes(history: History) -> set[tuple[str, str]]:
    return {(f.clause, f.code) for f in audit(history).findings}


def test_a_protected_run_under_a_term_made_non_authoritative() -> None:
    found = audit(with_term(1, authoritative=False)).findings
    protected = {r.id for r in good().runs if r.protected and r.term == 1}
    assert {f.code for f in found} == {"protected_without_authority"}
    assert {f.subjects[0] for f in found} == protected


def test_a_process_without_evidence_is_named_by_each_of_its_runs() -> None:
    rest = tuple(p for p in good().processes if p.id != "desk")
    found = audit(replace(good(), processes=rest)).findings
    assert {f.code for f in found} == {"provenance_missing"}
    assert len(found) == sum(a.process == "desk" for r in good().runs for a in r.attempts)


def test_an_observer_that_owned_and_claimed() -> None:
    observer = with_process("desk", executes=False)
    assert codes(observer) == {("C2", "observer_owned"), ("C2", "observer_claimed")}


def test_a_fire_that_the_schedule_does_not_have() -> None:
    run = a_run("poll", 5)
    moved = with_run(run, fire_time=run.fire_time + timedelta(milliseconds=10))
    moved = replace(moved, now=good().now)
    assert codes(moved) >= {("C5", "not_a_fire"), ("C5", "fire_unaccounted")}


def test_a_run_of_the_revision_before() -> None:
    old, new = a_run("poll", 3, revision=1), a_run("poll", 0, revision=2)
    assert ("C12", "revision_not_current") in codes(with_run(new, revision=1))
    assert ("C12", "revision_not_current") in codes(with_run(old, revision=2))


def test_the_first_fire_without_a_trace_is_named_with_the_number_of_them() -> None:
    first, second = a_run("poll", 4), a_run("poll", 9)
    runs = tuple(r for r in good().runs if r.id not in (first.id, second.id))
    (finding,) = audit(replace(good(), runs=runs)).findings
    assert finding.facts["first"] == first.fire_time.isoformat()
    assert finding.facts["missing"] == 2


def test_terms_of_attempts_that_run_backwards() -> None:
    run = next(r for r in good().runs if r.job_name == "flaky" and r.term == 1)
    moved = with_run(run, earlier=tuple(replace(a, term=2, process="desk") for a in run.earlier))
    assert ("C3", "terms_run_backwards") in codes(moved)


# -- what retention has deleted ----------------------------------------------------------------
def test_deleted_events_make_checks_impossible_and_not_failed() -> None:
    late = good().events[-2:]
    report = audit(replace(good(), events=late))
    assert report.clean, told(report.findings)
    assert any("policy versions" in what for what in report.not_checked)
    assert any("event log begins" in note for note in report.notes)


@pytest.mark.parametrize("locks", [(), ("/srv/gw.lock",)])
def test_a_lock_that_a_holder_had_not_yet_as_it_joined_is_no_fault(locks: tuple[str, ...]) -> None:
    first, *others = rules()
    asks = (replace(first, holds="/srv/gw.lock", holds_paths=("/srv/gw.lock",)), *others)
    seen = tuple(
        replace(p, evidence=replace(p.evidence, locks=locks)) if p.id.startswith("gw") else p
        for p in good().processes
    )
    history = replace(good(), policy=replace(good().policy, rules=asks), processes=seen)
    report = audit(history)
    assert report.clean, told(report.findings)
    assert any("locks" in what for what in report.not_checked) is (not locks)
    strict = replace(first, holds="/srv/gw.lock", executable="/x", executable_paths=("/x",))
    history = replace(history, policy=replace(good().policy, rules=(strict, *others)))
    assert ("C2", "not_admitted") in codes(history), "what else it asks for is checked"


def test_a_reaffirmed_term_is_judged_as_it_was_then() -> None:
    """Term 3 was reaffirmed; making it a fallback afterwards does not taint what ran before."""
    at = term(3).ended_at
    assert at is not None
    number = max(e.seq for e in good().events)
    event = next(e for e in good().events if e.kind is EventKind.OWNERSHIP_REAFFIRMED)
    facts = {**event.facts, "authoritative": False}
    fallback = replace(event, seq=number + 1, at=at, facts=facts)
    later = tuple(e for e in good().events if e.at <= at)
    history = replace(with_term(3, authoritative=False), events=(*later, fallback))
    assert ("C8", "protected_without_authority") not in codes(history)
    assert codes(with_reaffirmed_as_fallback()) == {("C8", "protected_without_authority")}


def with_reaffirmed_as_fallback() -> History:
    """The same from the start of the term on."""
    events = tuple(
        replace(e, facts={**e.facts, "authoritative": False}) if e.term == 3 else e
        for e in good().events
        if not (e.term == 3 and e.kind is EventKind.OWNERSHIP_ENDED)
    )
    return replace(good(), events=events)


# -- how it is told ----------------------------------------------------------------------------
def test_the_report_as_json_and_in_words() -> None:
    report = audit(without_run(a_run("poll", 5)))
    document = to_json(audit_document(report))
    assert document["v"] == 1
    assert document["clean"] is False
    (finding,) = document["findings"]
    assert finding["clause"] == "C5"
    assert finding["subjects"] == [job_id("poll")]
    lines = render_report(report)
    assert lines[0].startswith(
        "C5 fire_unaccounted: a scheduled run of poll (revision 1) left no trace"
    )
    assert any(line.startswith("1 finding in ") for line in lines)
    assert render_report(audit(good()))[0].startswith("0 findings in ")


def test_many_findings_of_a_kind_are_counted_not_listed() -> None:
    report = audit(replace(good(), terms=(*good().terms, *[term(1)] * 3)))
    assert len(report.findings) == 1
    gone = audit(replace(good(), processes=()))
    assert len(gone.findings) > 40
    assert any("more of provenance_missing" in line for line in render_report(gone))
    assert len(render_report(gone)) < 60


def test_definitions_are_made_by_the_kit() -> None:
    """Guards the kit itself: a protected job is one that needs authority."""
    from tenure.domain.schedule.model import cron_schedule

    assert definition("x", cron_schedule("* * * * *"), protected=True).needs_authority


def test_a_trigger_is_a_trigger() -> None:
    assert a_request(RequestState.DONE).kind is RequestKind.TRIGGER
