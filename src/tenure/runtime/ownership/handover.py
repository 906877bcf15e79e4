"""Whether an owner hands over, and to which candidate: on request, to a better rule, to a newer
version of the app."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tenure.domain.errors import TenureError
from tenure.domain.ownership import Authority, Candidate, Unfit, find_better, find_successor
from tenure.domain.request import Request, RequestState
from tenure.store.contract import Store


@dataclass(frozen=True, slots=True)
class HandOver:
    """To which process, why, and the request for it, if there was one."""

    to: str
    why: str
    request: Request | None = None


def find_better_owner(
    candidates: Sequence[Candidate], rank: int, *, at_once: bool = False
) -> HandOver | None:
    """A hand-over to a candidate that ranks better, or has a newer version, and has lived long
    enough; with ``at_once`` regardless of how long."""
    found = find_better(candidates, rank, at_once=at_once)
    if found is None:
        return None
    why = "ranks better" if found.rank < rank else "has a newer version"
    return HandOver(found.process, f"{found.process} {why}")


def find_requested_owner(
    store: Store,
    candidates: Sequence[Candidate],
    authority: Authority,
    request: Request,
    now: datetime,
) -> HandOver | None:
    """The hand-over that a request demands; None where it is resolved without one."""
    if request.to_process == authority.process:
        with contextlib.suppress(TenureError):
            store.resolve_request(
                request.id,
                RequestState.DONE,
                authority=authority,
                now=now,
                answer=f"{authority.process} already owns (term {authority.term})",
            )
        return None
    found = find_successor(candidates, request.to_process)
    if isinstance(found, Unfit):
        with contextlib.suppress(TenureError):
            store.resolve_request(
                request.id,
                RequestState.REFUSED,
                authority=authority,
                now=now,
                answer=found.why,
                remedy=found.remedy,
            )
        return None
    return HandOver(found.process, f"asked by {request.requester.describe()}", request)
