"""Whether an owner hands over, and to whom: on request, to a better rule, to a newer version."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from datetime import datetime

from tenure.domain.errors import TenureError
from tenure.domain.ownership import Authority, should_yield, should_yield_to_newer
from tenure.domain.request import Request, RequestState
from tenure.runtime.peers import Peers
from tenure.store.contract import Store

log = logging.getLogger("tenure.keeper")


@dataclass(frozen=True, slots=True)
class HandOver:
    """To whom, and why."""

    to: str
    why: str


def to_a_better_one(peers: Peers, rank: int) -> HandOver | None:
    """A candidate that ranks better, or is of a newer version, and has lived long enough."""
    best = peers.best_candidate()
    if best is not None and should_yield(rank, best.rank, best.lived_for):
        return HandOver(best.process, f"{best.process} ranks better")
    newer = peers.newer_candidate(rank)
    if newer is not None and should_yield_to_newer(newer.lived_for):
        return HandOver(newer.process, f"{newer.process} is of a newer version")
    return None


def on_request(
    store: Store, peers: Peers, authority: Authority, request: Request, now: datetime
) -> HandOver | None:
    """Answer a request to hand over; None where that is a refusal, or it was answered already."""
    best, to = peers.best_candidate(), request.to_process
    if to is None and best is not None:
        to = best.process
    if to is None or not peers.is_candidate(to):
        why = f"{to} is no living candidate" if to else "there is no other candidate"
        with contextlib.suppress(TenureError):
            store.answer(
                request.id,
                RequestState.REFUSED,
                authority=authority,
                now=now,
                answer=why,
                remedy="`tenure status` lists the candidates; `tenure owner release` lets go "
                "without one",
            )
        return None
    try:
        answered = store.answer(
            request.id,
            RequestState.DONE,
            authority=authority,
            now=now,
            answer=f"handed over to {to}",
        )
    except TenureError as error:  # withdrawn, or answered by now
        log.info("no hand-over: %s", error)
        return None
    if answered.state is not RequestState.DONE:
        return None
    return HandOver(to, f"asked by {request.requester.describe()}")
