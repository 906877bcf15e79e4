"""C4 and C12: each fire claimed once, in order, under the revision and state that held then."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from tenure.audit.clock import SKEW
from tenure.audit.history import SCHEDULED, Span, View
from tenure.audit.report import Book
from tenure.domain.event import EventKind
from tenure.domain.job import JobState, remedy_for_unreadable, why_unreadable
from tenure.domain.run import Attempt, Run, RunState

_STOPPED = frozenset({JobState.PAUSED, JobState.DORMANT, JobState.REMOVED})


def check_once(view: View, book: Book) -> None:
    """C4: no fire is claimed twice, whatever the cause or the revision."""
    seen: dict[tuple[str, datetime], Run] = {}
    ids: set[str] = set()
    for run in view.history.runs:
        book.checked["runs"] += 1
        if run.id in ids:
            text = f"two runs are named {run.id}"
            book.find("run_id_twice", text, run)
            continue
        ids.add(run.id)
        first = seen.setdefault((run.job, run.fire_time), run)
        if first is not run:
            text = (
                f"the scheduled run of {run.job_name} at {run.fire_time.isoformat()} "
                f"was claimed twice, by runs {first.id} and {run.id}"
            )
            book.find("fire_twice", text, first, run, run.job, fire=run.fire_time)


def check_attempts(view: View, book: Book) -> None:
    """C4: claimed, then started, then finished; retried only where the user allows it."""
    for run in view.history.runs:
        attempts = view.attempts[run.id]
        if [a.number for a in attempts] != list(range(1, run.attempt + 1)):
            text = f"the attempts of run {run.id} are not numbered 1 to {run.attempt}"
            book.find("attempts_broken", text, run)
        for index, attempt in enumerate(attempts):
            _check_order(view, book, run, attempt)
            if index:
                _check_retry(view, book, run, attempts[index - 1], attempt)
        definition = view.definition(run.job, run.revision)
        # A job that retries lost runs may go on beyond its number of retries.
        if definition is not None and not definition.retry_lost:
            retries = definition.retries
            if run.attempt > retries + 1:
                text = f"run {run.id} was tried {run.attempt} times, with {retries} retries allowed"
                book.find("retried_without_leave", text, run)
        if run.state is RunState.NEVER_RAN:
            _check_never_ran(book, run)


def _check_order(view: View, book: Book, run: Run, attempt: Attempt) -> None:
    what = f"attempt {attempt.number} of run {run.id}"
    started, finished = attempt.started_at, attempt.finished_at
    if started is not None and not view.clock.follows(started, attempt.claimed_at):
        text = f"{what} was started before it was claimed"
        book.find("started_before_claim", text, run, started_at=started)
    begun = attempt.claimed_at if started is None else started
    if finished is not None and not view.clock.follows(finished, begun):
        text = f"{what} finished before it began"
        book.find("finished_before_start", text, run, finished_at=finished)


def _check_retry(view: View, book: Book, run: Run, before: Attempt, attempt: Attempt) -> None:
    if before.finished_at is not None and not view.clock.follows(
        attempt.claimed_at, before.finished_at
    ):
        text = f"attempt {attempt.number} of run {run.id} was claimed before the one before ended"
        book.find("attempts_overlap", text, run)
    definition = view.definition(run.job, run.revision)
    gone = before.state in (RunState.LOST, RunState.NEVER_RAN)
    if gone and definition is not None and not definition.retry_lost:
        text = (
            f"attempt {before.number} of run {run.id} was {before.state}, "
            "and was run again without retry_lost"
        )
        book.find("retried_without_leave", text, run)


def _check_never_ran(book: Book, run: Run) -> None:
    signs = [
        name
        for name, value in (("exit code", run.exit_code), ("late result", run.late))
        if value is not None
    ]
    if signs:
        text = f"run {run.id} is said never to have run, yet it has a {' and a '.join(signs)}"
        book.find("never_ran_yet_result", text, run)


def check_revisions(view: View, book: Book) -> None:
    """C12: the run's revision existed, was the current one, and the job was not stopped. Jobs that
    cannot be read are named; what their schedules say was not checked."""
    for past in view.history.jobs:
        job = past.job
        if job.damage is not None and job.state is not JobState.REMOVED:
            text, remedy = why_unreadable(job), remedy_for_unreadable(job)
            book.find("job_unreadable", text, job.id, remedy=remedy)
    stopped = _stopped(view)
    for run in view.history.runs:
        if run.job not in view.jobs:
            text = f"run {run.id} is of job {run.job}, which is not recorded"
            book.find("job_unknown", text, run, run.job)
            continue
        span = view.spans[run.job].get(run.revision)
        if span is None:
            text = f"run {run.id} follows revision {run.revision}, which never existed"
            book.find("revision_unknown", text, run, run.job, revision=run.revision)
            continue
        book.checked["revisions"] += 1
        why = _not_current(view, run, span)
        if why:
            text = f"run {run.id} follows revision {run.revision} of {run.job_name}, but {why}"
            book.find("revision_not_current", text, run, run.job, fire=run.fire_time)
        for since, until, state in stopped.get(run.job, ()):
            at = run.claimed_at
            if since < at - SKEW and at + SKEW < until and not view.clock.covers(at):
                text = f"run {run.id} was claimed while {run.job_name} was {state}"
                book.find("job_was_stopped", text, run, run.job, claimed_at=at)


def _not_current(view: View, run: Run, span: Span) -> str:
    """Why the revision was not the one to follow; '' if it was."""
    for attempt in view.attempts[run.id]:
        if not view.clock.follows(attempt.claimed_at, span.revision.edited_at):
            return "that was written only after the claim"
        replaced = span.replaced_at
        if replaced is not None and not view.clock.follows(replaced, attempt.claimed_at):
            return "that had been replaced before the claim"
    if run.cause not in SCHEDULED or view.clock.covers(run.fire_time):
        return ""
    if run.fire_time <= span.after:
        return "its scheduled time belongs to an earlier revision"
    if span.until is not None and run.fire_time > span.until:
        return "its scheduled time belongs to a later revision"
    return ""


def _stopped(view: View) -> dict[str, list[tuple[datetime, datetime, JobState]]]:
    """When each job was paused, dormant or removed, as far as the log says."""
    found: dict[str, list[tuple[datetime, datetime, JobState]]] = defaultdict(list)
    last: dict[str, tuple[datetime, JobState]] = {}
    for event in view.history.events:
        if event.job is None or event.kind is not EventKind.JOB_STATE:
            continue
        try:
            state = JobState(str(event.facts.get("to")))
        except ValueError:
            continue
        since = last.pop(event.job, None)
        if since is not None:
            found[event.job].append((since[0], event.at, since[1]))
        if state in _STOPPED:
            last[event.job] = (event.at, state)
    for job, (at, state) in last.items():
        found[job].append((at, view.now, state))
    return found
