"""``tenure trigger``, ``cancel`` and ``retry``: asked of the owner, never done here."""

from __future__ import annotations

import click

from tenure.client import requests
from tenure.client.presence import requester
from tenure.client.requests import await_end
from tenure.domain.request import Request, RequestState
from tenure.domain.run import Run, RunState
from tenure.runtime.profile import Profile
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import JOB, Verb, Where, now
from tenure.surfaces.cli.output import outcome, relative, span

_WAIT = click.option(
    "--wait", is_flag=True, help="Wait for the run to end; exit code 1 unless it succeeds."
)
_QUEUE = click.option(
    "--queue", is_flag=True, help="Keep the request for an owner, up to 24 hours."
)
_KEY = click.option("--key", metavar="KEY", help="Commands with the same key make one request.")


@click.command(cls=Verb)
@click.argument("job", type=JOB)
@_WAIT
@_QUEUE
@_KEY
@click.pass_obj
def trigger(where: Where, job: str, wait: bool, queue: bool, key: str | None) -> int:
    """Ask the owner to run a job now. Ctrl-C while waiting cancels nothing."""
    with where.open() as profile:
        by = requester("tenure trigger")
        request = requests.trigger(profile, job, by=by, queue=queue, key=key)
        return _follow_up(where, profile, request, wait)


@click.command(cls=Verb)
@click.argument("run")
@_WAIT
@_QUEUE
@_KEY
@click.pass_obj
def retry(where: Where, run: str, wait: bool, queue: bool, key: str | None) -> int:
    """Ask the owner to run the job of a finished run again."""
    with where.open() as profile:
        by = requester("tenure retry")
        request = requests.retry(profile, run, by=by, queue=queue, key=key)
        return _follow_up(where, profile, request, wait)


@click.command(cls=Verb)
@click.argument("run")
@_WAIT
@_QUEUE
@_KEY
@click.pass_obj
def cancel(where: Where, run: str, wait: bool, queue: bool, key: str | None) -> int:
    """Ask the owner to cancel a run and end its whole process group."""
    with where.open() as profile:
        by = requester("tenure cancel")
        request = requests.cancel(profile, run, by=by, queue=queue, key=key)
        run = request.run or run
        ended = _waited_for(where, profile, run) if wait else None
    if where.json:
        from tenure.client.documents.runs import request_document, run_document

        run_part = run_document(ended, None, None) if ended else None
        output.print_json({"request": request_document(request), "run": run_part})
    elif ended is not None:
        output.say(f"run {ended.id} ended: {output.state(ended.state)}")
    elif request.state is RequestState.PENDING:
        output.say(f"asked to cancel run {run}; {_pending(request)}")
    else:
        output.say(f"run {run} is being cancelled: {output.safe(request.answer)}")
    return 0


def _follow_up(where: Where, profile: Profile, request: Request, wait: bool) -> int:
    """Say what became of a trigger or retry, and wait for the run if asked to."""
    if request.state is RequestState.PENDING:
        if where.json:
            from tenure.client.documents.runs import request_document

            output.print_json({"request": request_document(request), "run": None})
        else:
            name = profile.store.job(request.job or "").name
            output.say(f"asked for {output.safe(name)}; {_pending(request)}")
        if wait and not where.json:
            output.warn(
                "not waiting: no owner has accepted the request yet", "see `tenure requests`"
            )
        return 75 if wait else 0
    assert request.run is not None
    run = profile.store.run(request.run)
    if not where.json:
        name = output.safe(run.job_name)
        output.say(f"run {run.id} of {name}: accepted by the owner, term {request.term}")
    if wait:
        ended = _waited_for(where, profile, run.id)
        run = ended
        request = profile.store.request(request.id)
    if where.json:
        from tenure.client.documents.runs import request_document, run_document

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
            output.say(f"run {run} continues; `tenure logs -f {run}` follows it")
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
