"""One planted fault each: `audit` finds it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from auditdoctor import (
    HOUR,
    a_request,
    a_run,
    an_omission,
    good,
    job_id,
    term,
    told,
    with_accounting,
    with_definition,
    with_job,
    with_omission,
    with_process,
    with_request,
    with_run,
    with_term,
    without_run,
)
from auditkit import MINUTE, START

from tenure.audit import History, audit
from tenure.audit.reader import read_history
from tenure.domain.event import EventKind
from tenure.domain.job import JobState
from tenure.domain.omission import OmissionKind
from tenure.domain.ownership import OwnershipState
from tenure.domain.request import RequestState
from tenure.domain.run import Attempt, Cause, Late, RunState
from testkit.memory_store.store import MemoryStore

# -- one fault each -------------------------------------------------------------------------------
Doctored = Callable[[], tuple[History, str]]
"""The history with the fault, and a subject that the finding must name."""

FAULTS: dict[str, tuple[str, str, Doctored]] = {}


def fault(clause: str, code: str) -> Callable[[Doctored], Doctored]:
    def note(doctored: Doctored) -> Doctored:
        FAULTS[doctored.__name__] = clause, code, doctored
        return doctored

    return note


@fault("C1", "term_repeated")
def term_reused() -> tuple[History, str]:
    return replace(good(), terms=(*good().terms, term(2))), "term:2"


@fault("C1", "terms_overlap")
def terms_that_overlap() -> tuple[History, str]:
    assert term(2).ended_at is not None
    return with_term(2, ended_at=term(3).taken_at + MINUTE), "term:3"


@fault("C1", "two_owners")
def a_term_that_never_ended() -> tuple[History, str]:
    return with_term(1, ended_at=None), "term:1"


@fault("C1", "term_impossible")
def a_term_below_one() -> tuple[History, str]:
    zero = replace(term(1), term=0, taken_at=START - HOUR, ended_at=START, process="nobody")
    return replace(good(), terms=(*good().terms, zero)), "term:0"


@fault("C1", "term_backwards")
def a_term_that_ends_before_it_begins() -> tuple[History, str]:
    vain = replace(term(4), term=5, taken_at=good().now, ended_at=good().now - MINUTE)
    ended = with_term(4, ended_at=good().now)
    row = replace(good().ownership, term=5, hold=OwnershipState.VACANT, process=None)
    return replace(ended, terms=(*ended.terms, vain), ownership=row), "term:5"


@fault("C1", "ownership_disagrees")
def an_ownership_row_of_another_term() -> tuple[History, str]:
    return replace(good(), ownership=replace(good().ownership, term=9)), "term:4"


@fault("C1", "ownership_disagrees")
def an_ownership_row_of_another_process() -> tuple[History, str]:
    return replace(good(), ownership=replace(good().ownership, process="desk")), "term:4"


@fault("C1", "ownership_disagrees")
def an_ownership_that_is_vacant_in_the_row_only() -> tuple[History, str]:
    row = replace(good().ownership, hold=OwnershipState.VACANT, process=None)
    return replace(good(), ownership=row), "term:4"


@fault("C1", "ownership_disagrees")
def all_terms_gone_from_a_profile_without_runs() -> tuple[History, str]:
    store = MemoryStore("new", START)
    empty = read_history(store, START)
    return replace(empty, ownership=replace(empty.ownership, term=3)), "ownership"


@fault("C2", "not_admitted")
def a_holder_with_a_forged_process() -> tuple[History, str]:
    gateway = next(p for p in good().processes if p.id == "gw2")
    forged = replace(gateway.evidence, executable="/tmp/evil", chain=gateway.evidence.chain[:0])
    forged = replace(forged, chain=(replace(gateway.evidence.chain[0], executable="/tmp/evil"),))
    return with_process("gw2", evidence=forged), "gw2"


@fault("C2", "not_admitted")
def a_term_by_a_rule_that_is_not_there() -> tuple[History, str]:
    return with_term(4, rule=7), "term:4"


@fault("C2", "holder_not_there")
def a_holder_that_joined_later() -> tuple[History, str]:
    return with_process("gw1", joined_at=START + MINUTE), "gw1"


@fault("C2", "holder_not_there")
def a_holder_that_had_left() -> tuple[History, str]:
    return with_process("desk", left_at=START + MINUTE), "desk"


@fault("C3", "outside_term")
def a_claim_after_the_end_of_its_term() -> tuple[History, str]:
    run = a_run("poll", 3, term=1)
    assert term(1).ended_at is not None
    moved = {"claimed_at": term(1).ended_at + 2 * MINUTE, "started_at": None}
    return with_run(run, finished_at=good().now, **moved), run.id


@fault("C3", "not_the_holder")
def a_run_moved_to_another_term() -> tuple[History, str]:
    run = a_run("poll", 3, term=1)
    return with_run(run, term=2), run.id


@fault("C3", "outside_term")
def a_run_moved_to_another_term_of_its_process() -> tuple[History, str]:
    run = a_run("poll", -1)
    assert run.term == 4
    return with_run(run, term=3), run.id


@fault("C3", "not_the_holder")
def a_run_by_another_process() -> tuple[History, str]:
    run = a_run("poll", 3, term=1)
    return with_run(run, process="desk"), run.id


@fault("C3", "term_unknown")
def a_run_of_a_term_that_never_was() -> tuple[History, str]:
    run = a_run("poll", 3, term=1)
    return with_run(run, term=77), "term:77"


@fault("C3", "policy_not_in_force")
def a_run_under_an_outdated_policy() -> tuple[History, str]:
    run = a_run("poll", -1)
    assert run.policy_version == 2
    return with_run(run, policy_version=1), run.id


@fault("C3", "policy_not_in_force")
def a_run_under_a_policy_yet_to_come() -> tuple[History, str]:
    run = a_run("poll", 3)
    return with_run(run, policy_version=2), run.id


@fault("C3", "policy_unknown")
def a_run_under_a_policy_that_never_was() -> tuple[History, str]:
    run = a_run("poll", -1)
    return with_run(run, policy_version=9), run.id


@fault("C4", "fire_twice")
def a_duplicated_fire() -> tuple[History, str]:
    run = a_run("poll", 5)
    return replace(good(), runs=(*good().runs, replace(run, id="r-again"))), "r-again"


@fault("C4", "run_id_twice")
def a_duplicated_run() -> tuple[History, str]:
    run = a_run("poll", 5)
    return replace(good(), runs=(*good().runs, run)), run.id


@fault("C4", "started_before_claim")
def a_run_started_before_its_claim() -> tuple[History, str]:
    run = a_run("poll", 5)
    return with_run(run, started_at=run.claimed_at - MINUTE), run.id


@fault("C4", "finished_before_start")
def a_run_finished_before_its_start() -> tuple[History, str]:
    run = a_run("poll", 5)
    return with_run(run, finished_at=run.claimed_at - MINUTE), run.id


@fault("C4", "retried_without_leave")
def a_retry_that_nobody_allowed() -> tuple[History, str]:
    return with_definition("flaky", 1, retries=0), a_run("flaky").id


@fault("C4", "retried_without_leave")
def a_lost_attempt_that_was_run_again() -> tuple[History, str]:
    run = a_run("flaky", 2)
    earlier = tuple(replace(a, state=RunState.LOST) for a in run.earlier)
    return with_run(run, earlier=earlier), run.id


@fault("C4", "attempts_broken")
def an_attempt_that_was_taken_out() -> tuple[History, str]:
    run = a_run("flaky", 2)
    return with_run(run, earlier=()), run.id


@fault("C4", "attempts_overlap")
def attempts_at_once() -> tuple[History, str]:
    run = a_run("flaky", 2)
    first: Attempt = run.earlier[0]
    assert first.finished_at is not None
    late = replace(first, finished_at=first.finished_at + HOUR)
    return with_run(run, earlier=(late,)), run.id


@fault("C4", "never_ran_yet_result")
def a_result_of_what_never_ran() -> tuple[History, str]:
    run = a_run("poll", 5)
    return with_run(run, state=RunState.NEVER_RAN), run.id


@fault("C5", "fire_unaccounted")
def a_deleted_run() -> tuple[History, str]:
    run = a_run("poll", 5)
    return without_run(run), job_id("poll")


@fault("C5", "fire_unaccounted")
def a_deleted_first_run() -> tuple[History, str]:
    return without_run(a_run("poll", 0)), job_id("poll")


@fault("C5", "fire_unaccounted")
def a_deleted_omission() -> tuple[History, str]:
    gone = an_omission(OmissionKind.MISSED, "poll")
    rest = tuple(o for o in good().omissions if o.id != gone.id)
    return replace(good(), omissions=rest), job_id("poll")


@fault("C5", "fire_unaccounted")
def a_watermark_shifted_forwards() -> tuple[History, str]:
    mark = next(p.accounting.watermark for p in good().jobs if p.job.name == "frail")
    moved = with_accounting("frail", watermark=mark + 20 * MINUTE)
    return replace(moved, now=good().now + HOUR), job_id("frail")


@fault("C5", "watermark_ahead")
def a_watermark_in_the_future() -> tuple[History, str]:
    name = "once"
    return with_accounting(name, watermark=good().now + HOUR), job_id(name)


@fault("C5", "beyond_watermark")
def a_watermark_shifted_backwards() -> tuple[History, str]:
    run = a_run("frail", -1)
    return with_accounting("frail", watermark=run.fire_time - MINUTE), run.id


@fault("C5", "accounting_broken")
def an_accounting_that_begins_after_its_end() -> tuple[History, str]:
    mark = next(p.accounting.watermark for p in good().jobs if p.job.name == "frail")
    return with_accounting("frail", accounted_from=mark + MINUTE), job_id("frail")


@fault("C5", "fire_accounted_twice")
def a_run_that_is_also_omitted() -> tuple[History, str]:
    run = a_run("frail", 1)
    twice = replace(
        an_omission(OmissionKind.MISSED, "poll"),
        id=999,
        job=run.job,
        job_name="frail",
        revision=1,
        first=run.fire_time,
        last=run.fire_time,
        count=1,
    )
    return replace(good(), omissions=(*good().omissions, twice)), "omission:999"


@fault("C5", "fire_accounted_twice")
def an_omission_twice() -> tuple[History, str]:
    twice = replace(an_omission(OmissionKind.MISSED, "poll"), id=999)
    return replace(good(), omissions=(*good().omissions, twice)), "omission:999"


@fault("C5", "omission_wrong")
def an_omission_that_counts_too_many() -> tuple[History, str]:
    wrong = an_omission(OmissionKind.SKIPPED, "report")
    history = with_omission(wrong, count=wrong.count + 3)
    return history, f"omission:{wrong.id}"


@fault("C5", "omission_wrong")
def an_omission_that_counts_too_few() -> tuple[History, str]:
    wrong = an_omission(OmissionKind.MISSED, "poll")
    return with_omission(wrong, count=wrong.count - 1), f"omission:{wrong.id}"


@fault("C5", "omission_wrong")
def an_omission_that_ends_between_fires() -> tuple[History, str]:
    """Beside the true one, so that nothing else is amiss."""
    wrong = replace(an_omission(OmissionKind.MISSED, "poll"), id=999)
    wrong = replace(wrong, last=wrong.last - timedelta(seconds=1), count=wrong.count - 1)
    return replace(good(), omissions=(*good().omissions, wrong)), "omission:999"


@fault("C5", "omission_stranger")
def an_omission_of_a_revision_that_never_was() -> tuple[History, str]:
    strange = replace(an_omission(OmissionKind.MISSED, "poll"), id=999, revision=40)
    return replace(good(), omissions=(*good().omissions, strange)), "omission:999"


@fault("C5", "hold_miscounted")
def a_hold_resolved_with_too_many() -> tuple[History, str]:
    hold = an_omission(OmissionKind.HELD, "wide")
    return with_omission(hold, claimed=hold.claimed + 1), f"omission:{hold.id}"


@fault("C5", "hold_miscounted")
def a_held_run_deleted() -> tuple[History, str]:
    hold = an_omission(OmissionKind.HELD, "wide")
    return without_run(a_run("wide", 0, cause=Cause.HELD)), f"omission:{hold.id}"


@fault("C5", "held_run_without_hold")
def a_run_held_by_nothing() -> tuple[History, str]:
    run = a_run("backup", -1)
    fires = {
        "fire_time": run.fire_time,
        "cause": Cause.HELD,
    }
    held = with_run(run, **fires)
    stretch = replace(
        an_omission(OmissionKind.MISSED, "backup"),
        id=999,
        first=run.fire_time,
        last=run.fire_time,
        count=1,
    )
    return replace(held, omissions=(*held.omissions, stretch)), run.id


@fault("C5", "hold_left_open")
def a_hold_that_outlives_its_job() -> tuple[History, str]:
    hold = an_omission(OmissionKind.HELD, "wide")
    opened = with_omission(hold, resolved_at=None, resolution="")
    jobs = with_job("wide", state=JobState.REMOVED).jobs
    return replace(opened, jobs=jobs), f"omission:{hold.id}"


@fault("C5", "claimed_early")
def a_run_before_its_fire() -> tuple[History, str]:
    run = a_run("poll", 5)
    early = run.claimed_at - MINUTE
    return with_run(run, claimed_at=early, started_at=early, finished_at=early), run.id


@fault("C5", "done_too_soon")
def a_job_done_too_soon() -> tuple[History, str]:
    done = with_job("frail", state=JobState.DONE)
    return replace(done, now=done.now + HOUR), job_id("frail")


@fault("C6", "end_missing")
def a_run_without_its_end() -> tuple[History, str]:
    run = a_run("poll", 5)
    return with_run(run, finished_at=None), run.id


@fault("C6", "ended_yet_active")
def an_active_run_with_an_exit_code() -> tuple[History, str]:
    run = a_run("poll", -1)
    return with_run(run, state=RunState.RUNNING), run.id


@fault("C6", "result_contradicts")
def a_success_with_an_exit_code() -> tuple[History, str]:
    run = a_run("poll", 5)
    return with_run(run, exit_code=4), run.id


@fault("C6", "late_without_loss")
def a_late_result_of_a_run_that_was_not_lost() -> tuple[History, str]:
    run = a_run("poll", 5)
    late = Late(at=good().now, state=RunState.FAILED)
    return with_run(run, late=late), run.id


@fault("C6", "orphaned")
def a_run_that_nobody_looks_after() -> tuple[History, str]:
    run = a_run("poll", 5, term=1)
    assert run.holder == "gw1"
    return with_run(run, state=RunState.RUNNING, finished_at=None, exit_code=None), run.id


@fault("C6", "holder_unknown")
def a_run_held_by_nobody_known() -> tuple[History, str]:
    run = a_run("poll", 5)
    active = {"state": RunState.RUNNING, "finished_at": None, "exit_code": None}
    return with_run(run, holder="ghost", **active), "ghost"


@fault("C7", "accepted_late")
def a_trigger_answered_after_its_deadline() -> tuple[History, str]:
    request = a_request(RequestState.DONE)
    changed = with_request(request, deadline=request.asked_at + timedelta(milliseconds=1))
    return changed, request.id


@fault("C7", "refused_without_remedy")
def a_refusal_without_remedy() -> tuple[History, str]:
    request = a_request(RequestState.REFUSED)
    return with_request(request, remedy=""), request.id


@fault("C7", "accepted_without_run")
def a_trigger_without_its_run() -> tuple[History, str]:
    request = a_request(RequestState.DONE)
    return without_run(a_run("report", cause=Cause.REQUEST)), request.id


@fault("C7", "run_unasked")
def a_run_whose_request_is_gone() -> tuple[History, str]:
    request = a_request(RequestState.DONE)
    rest = tuple(r for r in good().requests if r.id != request.id)
    return replace(good(), requests=rest), request.id


@fault("C7", "run_unasked")
def a_run_of_a_refused_request() -> tuple[History, str]:
    request = a_request(RequestState.DONE)
    refused = {"state": RequestState.REFUSED, "answer": "no", "remedy": "ask again"}
    return with_request(request, **refused), request.id


@fault("C7", "run_unasked")
def a_run_for_a_request_that_it_does_not_name() -> tuple[History, str]:
    run = a_run("report", cause=Cause.REQUEST)
    plain = with_run(run, request=None)
    rest = tuple(r for r in plain.requests if r.state is not RequestState.DONE)
    return replace(plain, requests=rest), run.id


@fault("C7", "key_twice")
def a_key_used_twice() -> tuple[History, str]:
    again = replace(a_request(RequestState.REFUSED), id="q-again")
    return replace(good(), requests=(*good().requests, again)), "q-again"


@fault("C7", "claimed_twice")
def a_request_claimed_twice() -> tuple[History, str]:
    run = a_run("report", cause=Cause.REQUEST)
    later = run.fire_time + timedelta(microseconds=5)
    again = replace(run, id="r-again", fire_time=later)
    return replace(good(), runs=(*good().runs, again)), "r-again"


@fault("C7", "wrong_run")
def a_request_with_another_run() -> tuple[History, str]:
    request = a_request(RequestState.DONE)
    return with_request(request, run=a_run("poll").id), request.id


@fault("C7", "not_one_commit")
def a_request_accepted_under_another_term() -> tuple[History, str]:
    request = a_request(RequestState.DONE)
    return with_request(request, term=2), request.id


@fault("C7", "accepted_by_nobody")
def a_request_accepted_under_no_term() -> tuple[History, str]:
    request = a_request(RequestState.DONE)
    return with_request(request, term=None), request.id


@fault("C7", "answer_disagrees")
def a_request_done_before_its_run() -> tuple[History, str]:
    request = a_request(RequestState.DONE)
    return with_request(request, state=RequestState.ACCEPTED), request.id


@fault("C7", "answer_broken")
def an_answer_to_a_pending_request() -> tuple[History, str]:
    request = a_request(RequestState.EXPIRED)
    return with_request(request, state=RequestState.PENDING), request.id


@fault("C7", "answer_broken")
def an_answer_without_an_instant() -> tuple[History, str]:
    request = a_request(RequestState.REFUSED)
    return with_request(request, answered_at=None), request.id


@fault("C7", "expired_early")
def a_request_expired_too_early() -> tuple[History, str]:
    request = a_request(RequestState.EXPIRED)
    return with_request(request, answered_at=request.asked_at), request.id


@fault("C8", "protected_without_authority")
def a_protected_run_under_the_fallback() -> tuple[History, str]:
    run = a_run("poll", 0, term=2)
    return with_run(run, protected=True), run.id


@fault("C8", "protected_without_authority")
def one_attempt_under_the_fallback() -> tuple[History, str]:
    run = next(r for r in good().runs if r.job_name == "flaky" and r.term == 2)
    first, *_ = run.earlier
    return with_run(run, protected=True, earlier=(first,), attempt=2), run.id


@fault("C8", "held_needlessly")
def a_hold_of_a_job_that_anybody_may_run() -> tuple[History, str]:
    missed = an_omission(OmissionKind.MISSED, "poll")
    return with_omission(missed, kind=OmissionKind.HELD, resolved_at=good().now), job_id("poll")


@fault("C10", "provenance_thin")
def evidence_that_says_nothing() -> tuple[History, str]:
    desk = next(p for p in good().processes if p.id == "desk")
    return with_process("desk", evidence=replace(desk.evidence, uid=None)), "desk"


@fault("C10", "provenance_thin")
def evidence_of_another_process() -> tuple[History, str]:
    desk = next(p for p in good().processes if p.id == "desk")
    identity = replace(desk.evidence.identity, pid=1234567)
    return with_process("desk", evidence=replace(desk.evidence, identity=identity)), "desk"


@fault("C12", "revision_unknown")
def a_revision_that_never_was() -> tuple[History, str]:
    run = a_run("frail", -1, cause=Cause.SCHEDULE)
    strange = replace(run, revision=12)
    hole = replace(
        an_omission(OmissionKind.MISSED, "poll"),
        id=999,
        job=run.job,
        job_name="frail",
        revision=1,
        first=run.fire_time,
        last=run.fire_time,
        count=1,
    )
    runs = tuple(strange if r.id == run.id else r for r in good().runs)
    return replace(good(), runs=runs, omissions=(*good().omissions, hole)), run.id


@fault("C12", "revision_not_current")
def a_request_run_of_a_revision_from_the_future() -> tuple[History, str]:
    run = a_run("report", cause=Cause.REQUEST)

    def later(record: Any) -> Any:
        return replace(record, edited_at=run.claimed_at + HOUR)

    jobs = []
    for past in good().jobs:
        if past.job.name == "report":
            newer = replace(past.revisions[0], revision=2, edited_at=run.claimed_at + HOUR)  # type: ignore[type-var]
            newer = replace(newer, valid_after=good().now)  # type: ignore[type-var]
            past = replace(past, revisions=(*past.revisions, newer))
        jobs.append(past)
    moved = replace(with_run(run, revision=2), jobs=tuple(jobs))
    kept = tuple(r for r in moved.runs if r.job_name != "report" or r.id == run.id)
    account = tuple(
        replace(p, accounting=replace(p.accounting, accounted_from=p.accounting.watermark))  # type: ignore[type-var]
        if p.job.name == "report"
        else p
        for p in moved.jobs
    )
    return replace(moved, runs=kept, jobs=account), run.id


@fault("C12", "job_was_stopped")
def a_run_of_a_paused_job() -> tuple[History, str]:
    pause = next(e for e in good().events if e.facts.get("to") == "paused")
    run = a_run("report", cause=Cause.REQUEST)
    early = tuple(
        replace(e, at=START + MINUTE) if e.seq == pause.seq else e
        for e in good().events
        if e.kind is not EventKind.REQUESTED or e.seq > pause.seq
    )
    events = tuple(sorted(early, key=lambda e: e.at))
    events = tuple(replace(e, seq=i + 1) for i, e in enumerate(events))
    jobless = replace(good(), events=events)
    others = tuple(
        r for r in jobless.runs if r.job_name != "report" or r.id == run.id or r.cause is None
    )
    account = tuple(
        replace(p, accounting=replace(p.accounting, accounted_from=p.accounting.watermark))  # type: ignore[type-var]
        if p.job.name == "report"
        else p
        for p in jobless.jobs
    )
    return replace(jobless, runs=others, jobs=account), run.id


@fault("C12", "job_unknown")
def a_request_run_of_no_job() -> tuple[History, str]:
    run = replace(a_run("poll"), id="r-stray", job="j-none", fire_time=START)
    return replace(good(), runs=(*good().runs, run)), "j-none"


@pytest.mark.parametrize("name", FAULTS)
def test_each_planted_fault_is_found_and_nothing_else(name: str) -> None:
    clause, code, doctored = FAULTS[name]
    history, subject = doctored()
    findings = audit(history).findings
    assert {(f.clause, f.code) for f in findings} == {(clause, code)}, told(findings)
    assert any(subject in f.subjects for f in findings), told(findings)
