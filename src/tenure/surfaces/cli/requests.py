"""``tenure requests``: what was asked of the owner, and withdrawing it."""

from __future__ import annotations

import click

from tenure.client.documents.runs import request_document
from tenure.client.requests import withdraw
from tenure.domain.errors import InvalidInput
from tenure.domain.request import Request, RequestState
from tenure.runtime.profile import Profile
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import VerbGroup, Where, now
from tenure.surfaces.cli.output import relative

_ALL = 1_000_000


@click.group(cls=VerbGroup, invoke_without_command=True)
@click.pass_context
def requests(context: click.Context) -> None:
    """List requests to the owner (`requests list`), or cancel a pending one."""
    if context.invoked_subcommand is None:
        context.invoke(list_requests, states=(), limit=50, cursor=None)


@requests.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice([str(s) for s in RequestState]))
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--cursor", help="Continue after the previous page (its 'next').")
@click.pass_obj
def list_requests(where: Where, states: tuple[str, ...], limit: int, cursor: str | None) -> None:
    """List requests, the newest first."""
    wanted = frozenset(RequestState(s) for s in states) or None
    with where.open(readonly=True) as profile:
        found, following = _page(profile, wanted, limit, cursor)
    if where.json:
        documents = [request_document(request) for request in found]
        output.print_json({"requests": documents, "next": following})
        return
    if not found:
        output.say("no requests")
        return
    output.table(
        ["request", "kind", "of", "state", "asked", "by", "answer"],
        [_row(request) for request in found],
        states=frozenset({3}),
    )
    if following is not None:
        output.say(f"more: --cursor {following}")


def _page(
    profile: Profile, states: frozenset[RequestState] | None, limit: int, cursor: str | None
) -> tuple[tuple[Request, ...], str | None]:
    """One page, newest first, and the last one's id if more follow. The id is the cursor."""
    begin = 0
    if cursor is None:
        found = profile.store.requests(states=states, limit=limit + 1)
    else:
        found = profile.store.requests(states=states, limit=_ALL)
        ids = [request.id for request in found]
        if cursor not in ids:
            raise InvalidInput(
                f"{cursor!r} is not a valid cursor for this list",
                field="cursor",
                remedy="use the 'next' value of a page",
            )
        begin = ids.index(cursor) + 1
    page = found[begin : begin + limit]
    return page, page[-1].id if len(found) > begin + limit else None


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
    with where.open() as profile:
        done = withdraw(profile, request, now=now())
    if where.json:
        output.print_json({"request": request_document(done)})
    else:
        output.say(f"withdrawn: request {done.id}")
