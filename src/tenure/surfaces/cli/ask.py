"""``tenure trigger``, ``cancel`` and ``retry``: asked of the owner, never done here."""

from __future__ import annotations

import shlex

import click

from tenure.client.definitions import requester
from tenure.client.documents import request_document, run_document
from tenure.client.requests import Wish, ask, await_end
from tenure.domain.errors import Conflict, NotFound
from tenure.domain.request import Ask, Request, RequestState
from tenure.domain.run import ACTIVE, FINAL, Run, RunState
from tenure.runtime.profile import Profile
from tenure.surfaces.cli import output
from tenure.surfaces.cli.lazy import Verb
from tenure.surfaces.cli.runs import outcome
from tenure.surfaces.cli.times import relative, span
from tenure.surfaces.cli.where import JOB, Where, now

_WAIT = click.option("--wait", is_flag=True, help="Wait for the run's end; 1 if it ends badly.")
_QUEUE = click.option("--queue", is_flag=True, help="Leave it for the owner, up to 24 hours.")
_KEY = click.option("--key", metavar="KEY", help="Asking again with the same key is one request.")


@click.command(cls=Verb)
@click.argument("job", type=JOB)
@_WAIT
@_QUEUE
@_KEY
@click.pass_obj
def trigger(where: Where, job: str, wait: bool, queue: bool, key: str | None) -> int:
    """Ask the owner to run a job now. Ctrl-C while waiting cancels nothing."""
    with where.open() as profile:
        found = profile.store.job(job)
        wish = Wish(kind=Ask.TRIGGER, job=found.id, queued=queue, key=key)
        request = ask(profile, wish, requester("tenure trigger"))
        return _follow_up(where, profile, request, found.name, wait)


@click.command(cls=Verb)
@click.argument("run")
@_WAIT
@_QUEUE
@_KEY
@click.pass_obj
def retry(where: Where, run: str, wait: bool, queue: bool, key: str | None) -> int:
    """Ask the owner to run the job of a finished run again."""
    with where.open() as profile:
        found = _run(profile, run)
        if found.state in ACTIVE:
            raise Conflict(
                f"run {found.id} is {found.state}: there is nothing to retry yet",
                remedy=f"wait for it, or `tenure cancel {found.id}` first",
            )
        wish = Wish(kind=Ask.RETRY, job=found.job, run=found.id, queued=queue, key=key)
        request = ask(profile, wish, requester("tenure retry"))
        return _follow_up(where, profile, request, found.job_name, wait)


@click.command(cls=Verb)
@click.argument("run")
@_WAIT
@_QUEUE
@_KEY
@click.pass_obj
def cancel(where: Where, run: str, wait: bool, queue: bool, key: str | None) -> int:
    """Ask the owner to cancel a run: its whole process group is ended."""
    with where.open() as profile:
        found = _run(profile, run)
        if found.state in FINAL:
            raise Conflict(
                f"run {found.id} has ended already: {found.state}",
                remedy=f"`tenure runs {found.job_name}` shows the job's runs",
                run=found.id,
                state=str(found.state),
            )
        wish = Wish(kind=Ask.CANCEL, run=found.id, queued=queue, key=key)
        request = ask(profile, wish, requester("tenure cancel"))
        ended = _waited_for(where, profile, found.id) if wait else None
    if where.json:
        run_part = run_document(ended, None, None) if ended else None
        output.print_json({"request": request_document(request), "run": run_part})
    elif ended is not None:
        output.say(f"run {ended.id} ended: {output.state(ended.state)}")
    elif request.state is RequestState.PENDING:
        output.say(f"asked to cancel run {found.id}; {_pending(request)}")
    else:
        output.say(f"run {found.id} is being cancelled: {output.safe(request.answer)}")
    return 0


def _run(profile: Profile, ref: str) -> Run:
    """A run by its id. NotFound says so where a job is named instead."""
    try:
        return profile.store.run(ref)
    except NotFound as error:
        try:
            job = profile.store.job(ref)
        except NotFound:
            raise error from None
    name = shlex.quote(job.name)
    raise NotFound(f"{job.name} is a job, not a run", remedy=f"`tenure runs {name}` lists its runs")


def _follow_up(where: Where, profile: Profile, request: Request, name: str, wait: bool) -> int:
    """Say what became of a trigger or retry, and wait for the run if asked to."""
    if request.state is RequestState.PENDING:
        if where.json:
            output.print_json({"request": request_document(request), "run": None})
        else:
            output.say(f"asked for {output.safe(name)}; {_pending(request)}")
        if wait and not where.json:
            output.warn("not waited for: nobody has accepted it yet", "see `tenure requests`")
        return 75 if wait else 0
    assert request.run is not None
    run = profile.store.run(request.run)
    if not where.json:
        output.say(
            f"run {run.id} of {output.safe(name)}: accepted by the owner, term {request.term}"
        )
    if wait:
        ended = _waited_for(where, profile, run.id)
        run = ended
        request = profile.store.request(request.id)
    if where.json:
        document = run_document(run, profile.store.provenance(run.id), request)
        output.print_json({"request": request_document(request), "run": document})
    elif wait:
        _say_end(run)
    return 1 if wait and run.state is not RunState.SUCCEEDED else 0


def _waited_for(where: Where, profile: Profile, run: str) -> Run:
    try:
        return await_end(profile, run)
    except KeyboardInterrupt:
        if not where.json:
            output.say(f"run {run} goes on; `tenure logs -f {run}` follows it")
        raise


def _say_end(run: Run) -> None:
    took = ""
    if run.started_at is not None and run.finished_at is not None:
        took = f" after {span(run.finished_at - run.started_at)}"
    output.say(f"{output.state(run.state)}{took}: {output.safe(outcome(run))}")
    if run.state is not RunState.SUCCEEDED:
        output.say(f"→ `tenure logs {run.id}` shows its output")


def _pending(request: Request) -> str:
    return (
        f"request {request.id} waits for the owner and expires {relative(request.deadline, now())}"
    )
