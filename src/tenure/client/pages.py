"""Pages of runs and requests, the newest first, with the cursor of the page that follows."""

from __future__ import annotations

import json

from tenure.domain.errors import InvalidInput, NotFound
from tenure.domain.omission import Omission
from tenure.domain.request import Request, RequestState
from tenure.domain.run import Run
from tenure.store.contract import Page, RunFilter, Store

_END = "end"
"""The place of a list that has no further page."""


def page_of_runs(
    store: Store, where: RunFilter, *, limit: int, cursor: str | None, everything: bool = False
) -> tuple[tuple[Run, ...], tuple[Omission, ...], str | None]:
    """Runs; with ``everything`` also scheduled runs that did not take place, as ranges; and the
    cursor. Raises InvalidInput for a cursor of another list."""
    if not everything:
        only_runs, following = store.runs(where, Page(limit=limit, cursor=cursor))
        return only_runs, (), following
    # Two lists are paged side by side: the cursor has a place in each.
    run_place, omission_place = _places(cursor)
    runs: tuple[Run, ...] = ()
    omissions: tuple[Omission, ...] = ()
    next_run = next_omission = None
    if run_place != _END:
        runs, next_run = store.runs(where, Page(limit=limit, cursor=run_place))
    if omission_place != _END:
        page = Page(limit=limit, cursor=omission_place)
        omissions, next_omission = store.omissions(job=where.job, since=where.since, page=page)
    following = json.dumps([next_run or _END, next_omission or _END])
    return runs, omissions, following if next_run or next_omission else None


def page_of_requests(
    store: Store, states: frozenset[RequestState] | None, *, limit: int, cursor: str | None
) -> tuple[tuple[Request, ...], str | None]:
    """Requests and the cursor, the id of the last one. Raises InvalidInput for another cursor."""
    try:
        requests = store.requests(states=states, limit=limit + 1, before=cursor, newest_first=True)
    except NotFound:
        raise _not_a_cursor(cursor) from None
    return requests[:limit], requests[limit - 1].id if len(requests) > limit else None


def _places(cursor: str | None) -> tuple[str | None, str | None]:
    if cursor is None:
        return None, None
    try:
        runs, omissions = json.loads(cursor)
        if not (isinstance(runs, str) and isinstance(omissions, str)):
            raise ValueError(cursor)
    except (ValueError, TypeError, RecursionError):
        raise _not_a_cursor(cursor) from None
    return runs, omissions


def _not_a_cursor(cursor: str | None) -> InvalidInput:
    return InvalidInput(
        f"{str(cursor)[:100]!r} is not a valid cursor for this list",
        field="cursor",
        remedy="use the 'next' value of a page",
    )
