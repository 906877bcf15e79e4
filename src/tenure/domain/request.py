"""A request: a durable ask by somebody who does not own (C7).

    pending --> accepted --> done        the owner took it; for a trigger, its run has ended
       |------> done                     accepted and done in one
       |------> refused                  with the reason and what to type
       |------> expired                  its deadline passed unanswered
       +------> withdrawn                by whoever asked

The row comes first; the control socket is only a nudge. Accepting a trigger and claiming its run
is one commit, in which the deadline is checked again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tenure.domain.errors import IllegalTransition

DEADLINE = timedelta(seconds=30)
QUEUE_DEADLINE = timedelta(hours=24)


class Ask(StrEnum):
    TRIGGER = "trigger"
    CANCEL = "cancel"
    RETRY = "retry"
    HAND_OVER = "hand_over"


class RequestState(StrEnum):
    PENDING = "pending"
    ACCEPTED = "accepted"
    DONE = "done"
    REFUSED = "refused"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


ANSWERED = frozenset(RequestState) - {RequestState.PENDING}
TRANSITIONS: dict[RequestState, frozenset[RequestState]] = {
    RequestState.PENDING: ANSWERED,
    RequestState.ACCEPTED: frozenset({RequestState.DONE}),
}
"""From a state to those it may become. A state that is missing here is final."""
OWNERS_WORD = frozenset({RequestState.ACCEPTED, RequestState.DONE})
"""What only the owner may answer."""


def check_answer(now: RequestState, then: RequestState) -> None:
    """Raise IllegalTransition, changing nothing, unless the table has the arrow."""
    if then not in TRANSITIONS.get(now, frozenset()):
        raise IllegalTransition(f"a request that is {now} cannot become {then}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Who asks. ``observed`` where the kernel vouched (control socket), else 'stated'."""

    pid: int
    uid: int | None = None
    user: str | None = None
    executable: str | None = None
    via: str = ""
    observed: bool = False

    def describe(self) -> str:
        who = self.user or (f"uid {self.uid}" if self.uid is not None else "somebody")
        return f"{who}, pid {self.pid}" + (f", {self.via}" if self.via else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """As the store keeps it. Instants are UTC."""

    id: str
    kind: Ask
    key: str
    """The idempotency key: asking again with it returns this request."""
    state: RequestState
    asked_at: datetime
    deadline: datetime
    requester: Requester
    job: str | None = None
    run: str | None = None
    """The run to cancel or retry; for a trigger, the run it became."""
    to_process: str | None = None
    """For a hand-over: the candidate it should go to, or None for the best."""
    queued: bool = False
    answered_at: datetime | None = None
    term: int | None = None
    answer: str = ""
    remedy: str = ""
