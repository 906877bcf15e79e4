"""C7: what was asked is answered in time, by the owner, and an accepted trigger has its run."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta

from tenure.audit.history import View
from tenure.audit.report import Book
from tenure.domain.request import Request, RequestKind, RequestState
from tenure.domain.run import FINAL, Cause, Run

_KEPT = timedelta(days=1)
"""Retention keeps an answered request at least this long."""
_TAKEN = frozenset({RequestState.ACCEPTED, RequestState.DONE})
_RUNS = frozenset({RequestKind.TRIGGER, RequestKind.RETRY})
_PUNCTUAL = timedelta(0)
"""The deadline is compared in the accepting transaction, with the instant that it records."""


def check_requests(view: View, book: Book) -> None:
    """Each request by itself, then those that share a key, and runs that name none."""
    keys: dict[str, str] = {}
    runs: dict[str, list[Run]] = defaultdict(list)
    for run in view.history.runs:
        if run.request is not None:
            runs[run.request].append(run)
    for request in view.history.requests:
        book.checked["requests"] += 1
        first = keys.setdefault(request.key, request.id)
        if first != request.id:
            text = f"requests {first} and {request.id} have the same key: the second is a repeat"
            book.find("key_twice", text, first, request.id)
        _check_answer(view, book, request)
        if request.state in _TAKEN and request.kind in _RUNS:
            _check_run(view, book, request, runs.get(request.id, []))
        elif request.kind in _RUNS and runs.get(request.id):
            text = f"request {request.id} is {request.state}, yet a run was claimed for it"
            book.find("run_unasked", text, request.id, runs[request.id][0])
    for asked, claimed in runs.items():
        if asked not in view.requests:
            _check_unknown(view, book, asked, claimed)
    for run in view.history.runs:
        if run.cause is Cause.REQUEST and run.request is None:
            text = f"run {run.id} was claimed for a request, and names none"
            book.find("run_unasked", text, run)


def _check_answer(view: View, book: Book, request: Request) -> None:
    answered, what = request.answered_at, f"request {request.id}"
    if request.state is RequestState.PENDING:
        if answered is not None:
            text = f"{what} is pending, yet was answered"
            book.find("answer_broken", text, request.id)
        return
    if answered is None:
        text = f"{what} is {request.state}, with no record of when"
        book.find("answer_broken", text, request.id)
        return
    if not view.clock.follows(answered, request.asked_at):
        text = f"{what} was answered before it was asked"
        book.find("answer_broken", text, request.id)
    if request.state is RequestState.REFUSED and not (request.answer and request.remedy):
        text = f"{what} was refused without saying why and what to do"
        book.find("refused_without_remedy", text, request.id)
    if request.state is RequestState.EXPIRED and not view.clock.follows(answered, request.deadline):
        text = f"{what} was called expired before its deadline"
        book.find("expired_early", text, request.id)
    # A request that is done keeps the instant of its acceptance or takes that of its end.
    if request.state is RequestState.ACCEPTED and not view.clock.follows(
        request.deadline, answered, _PUNCTUAL
    ):
        _late(book, request)
    if request.state in _TAKEN and (request.term is None or request.term not in view.terms):
        text = f"{what} was accepted under no term that ever was"
        book.find("accepted_by_nobody", text, request.id)


def _late(book: Book, request: Request) -> None:
    text = f"request {request.id} was accepted after its deadline"
    book.find("accepted_late", text, request.id, deadline=request.deadline)


def _check_run(view: View, book: Book, request: Request, runs: list[Run]) -> None:
    """Accepting a trigger and claiming its run is one commit, before the deadline."""
    what = f"request {request.id}"
    if len(runs) > 1:
        text = f"{what} was claimed {len(runs)} times"
        ids = [r.id for r in runs]
        book.find("claimed_twice", text, request.id, *ids)
        return
    if not runs:
        if _may_be_purged(view, request):
            book.not_checked["requests whose run retention has deleted"] += 1
            return
        text = f"{what} was accepted, but its run is not recorded"
        book.find("accepted_without_run", text, request.id)
        return
    run = runs[0]
    book.checked["triggers"] += 1
    claimed = view.attempts[run.id][0]
    if request.run != run.id:
        text = f"{what} names run {request.run}, but run {run.id} is of it"
        book.find("wrong_run", text, request.id, run)
    if request.job is not None and run.job != request.job:
        text = f"{what} asked for job {request.job}; run {run.id} is of job {run.job}"
        book.find("wrong_run", text, request.id, run)
    in_time = view.clock.follows(request.deadline, claimed.claimed_at, _PUNCTUAL)
    if not in_time and not (
        request.state is RequestState.ACCEPTED
        and request.answered_at is not None
        and request.answered_at > request.deadline
    ):
        _late(book, request)
    if request.term is not None and request.term in view.terms and request.term != claimed.term:
        text = f"{what} was accepted under term {request.term}, its run under {claimed.term}"
        book.find("not_one_commit", text, request.id, run)
    if (request.state is RequestState.DONE) != (run.state in FINAL):
        text = f"{what} is {request.state}, but its run {run.id} is {run.state}"
        book.find("answer_disagrees", text, request.id, run)


def _may_be_purged(view: View, request: Request) -> bool:
    past = view.jobs.get(request.job or "")
    answered = request.answered_at
    if past is None or answered is None:
        return request.job is None
    # A set-back clock lowers the edge that retention had raised.
    since, asked = past.accounting.accounted_from, request.asked_at
    return asked <= since or view.clock.covers(asked)


def _check_unknown(view: View, book: Book, asked: str, claimed: list[Run]) -> None:
    run = claimed[0]
    if run.state in FINAL and view.now - run.claimed_at > _KEPT:
        book.not_checked["runs whose request retention has deleted"] += 1
        return
    text = f"run {run.id} was claimed for request {asked}, which is not recorded"
    book.find("run_unasked", text, run, asked)
