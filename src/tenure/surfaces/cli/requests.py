"""``tenure trigger``, ``cancel`` and ``retry``, which ask the owner, and ``tenure requests``."""

from __future__ import annotations

import click

from tenure.client import requests as client
from tenure.client.presence import requester
from tenure.client.requests import await_end
from tenure.domain.request import Request, RequestState
from tenure.domain.run import Run, RunState
from tenure.runtime.profile import Profile
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import CURSOR, JOB, Verb, VerbGroup, Where, limit_option, now
from tenure.surfaces.cli.output import outcome, relative, span

_WAIT = click.option(
    "--wait", is_flag=True, help="Wait for the run to end; exit code 1 unless it succeeds."
)
_QUEUE = click.option(
    "--queue", is_flag=True, help="Without an owner, keep the request for the next, up to 24 hours."
)
_KEY = click.option("--key", metavar="KEY", help="Requests with the same key are made only once.")


@click.command(cls=Verb)
@click.argument("job", type=JOB)
@_WAIT
@_QUEUE
@_KEY
@click.pass_obj
def trigger(where: Where, job: str, wait: bool, queue: bool, key: str | None) -> int:
    """Ask the owner to run a job now. Ctrl-C while waiting does not cancel the run."""
    with where.open() as profile:
        by = requester("tenure trigger")
        request = client.trigger(profile, job, by=by, queue=queue, key=key)
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
        request = client.retry(profile, run, by=by, queue=queue, key=key)
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
        request = client.cancel(profile, run, by=by, queue=queue, key=key)
        run = request.run or run
        ended = _wait_for(where, profile, run) if wait else None
    if where.json:
        _print_json(request, ended)
    elif ended is not None:
        output.say(f"run {ended.id} ended: {output.state(ended.state)}")
    elif request.state is RequestState.PENDING:
        output.say(f"asked to cancel run {run}; {_pending(request)}")
    else:
        output.say(f"run {run} is being cancelled: {output.safe(request.answer)}")
    return 0


def _follow_up(where: Where, profile: Profile, request: Request, wait: bool) -> int:
    """Print what became of a trigger or retry, and wait for the run if asked to."""
    if request.state is RequestState.PENDING:
        if where.json:
            _print_json(request)
        else:
            name = output.safe(profile.store.job(request.job or "").name)
            output.say(f"asked to run {name}; {_pending(request)}")
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
        run = _wait_for(where, profile, run.id)
        request = profile.store.request(request.id)
    if where.json:
        _print_json(request, run, profile)
    elif wait:
        _print_end(run)
    return 1 if wait and run.state is not RunState.SUCCEEDED else 0


def _print_json(request: Request, run: Run | None = None, profile: Profile | None = None) -> None:
    """With a profile, the run's document says what made it and names its request."""
    from tenure.client.documents.runs import request_document, run_document

    document = None
    if run is not None and profile is not None:
        document = run_document(run, profile.store.provenance(run.id), request)
    elif run is not None:
        document = run_document(run, None, None)
    output.print_json({"request": request_document(request), "run": document})


def _wait_for(where: Where, profile: Profile, run: str) -> Run:
    try:
        return await_end(profile, run)
    except KeyboardInterrupt:
        if not where.json:
            output.say(f"run {run} continues; `tenure logs -f {run}` follows it")
        raise


def _print_end(run: Run) -> None:
    took = ""
    if run.started_at is not None and run.finished_at is not None:
        took = f" after {span(run.finished_at - run.started_at)}"
    text = output.safe(outcome(run))
    # A reason such as "timed out after 2s" already begins with the state.
    stated = text.startswith(str(run.state).replace("_", " "))
    output.say(text if stated else f"{output.state(run.state)}{took}: {text}")
    if run.state is not RunState.SUCCEEDED:
        output.say(f"→ `tenure logs {run.id}` shows its output")


def _pending(request: Request) -> str:
    expiry = relative(request.deadline, now())
    return f"request {request.id} waits for an owner and expires {expiry}"


# -- requests -------------------------------------------------------------------------------------
@click.group(cls=VerbGroup, invoke_without_command=True)
@click.pass_context
def requests(context: click.Context) -> None:
    """List requests to the owner (`requests list`), or cancel a pending one."""
    if context.invoked_subcommand is None:
        context.invoke(list_requests, states=(), limit=50, cursor=None)


@requests.command("list")
@click.option(
    "--state", "states", multiple=True, type=click.Choice([str(s) for s in RequestState]),
    help="Only requests in this state (repeatable).",
)  # fmt: skip
@limit_option(50)
@CURSOR
@click.pass_obj
def list_requests(where: Where, states: tuple[str, ...], limit: int, cursor: str | None) -> None:
    """List requests, the newest first."""
    wanted = frozenset(RequestState(s) for s in states) or None
    from tenure.client.documents.runs import request_document
    from tenure.client.pages import page_of_requests

    with where.open(readonly=True) as profile:
        page, following = page_of_requests(profile.store, wanted, limit=limit, cursor=cursor)
    if where.json:
        documents = [request_document(request) for request in page]
        output.print_json({"requests": documents, "next": following})
        return
    if not page:
        output.say("no requests")
        return
    output.table(
        ["request", "kind", "of", "state", "asked", "by", "answer"],
        [_row(request) for request in page],
        states=frozenset({3}),
    )
    if following is not None:
        output.say(f"more: --cursor {following}")


def _row(request: Request) -> list[object]:
    of = request.run or request.job or request.to_process or "-"
    asked = relative(request.asked_at, now())
    who = request.requester.describe()
    if not request.requester.observed:
        who += " (stated)"
    return [request.id, request.kind, of, request.state, asked, who, request.answer or "-"]


@requests.command("cancel")
@click.argument("request")
@click.pass_obj
def cancel_request(where: Where, request: str) -> None:
    """Cancel a request that is still pending."""
    from tenure.client.documents.runs import request_document

    with where.open() as profile:
        done = client.withdraw(profile, request, now=now())
    where.answer({"request": request_document(done)}, f"withdrawn: request {done.id}")
