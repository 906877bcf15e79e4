"""A request: a durable row by a process that is not the owner (C7).

    pending --> accepted --> done        its effect has happened: the run of a trigger has ended,
       |           |                     the successor of a hand-over holds the term
       |           +------> refused      a hand-over: another process took the term
       |           +------> expired      a hand-over: none took it before the deadline
       |------> done                     accepted and done in one
       |------> refused                  with the reason and what to type
       |------> expired                  its deadline passed unanswered
       +------> withdrawn                by the process that asked

The row comes first; the control socket is only a nudge. Accepting a trigger and claiming its run
is one commit, in which the deadline is checked again; so is accepting a hand-over and ending the
term, and so is the take that makes it done.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tenure.domain.errors import IllegalTransition
from tenure.domain.ownership import Ownership

DEADLINE = timedelta(seconds=30)
QUEUE_DEADLINE = timedelta(hours=24)


class RequestKind(StrEnum):
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
HAND_OVER_FAILED = frozenset({RequestState.REFUSED, RequestState.EXPIRED})
"""What an accepted hand-over may become besides: its successor has still to take the term."""
OWNERS_WORD = frozenset({RequestState.ACCEPTED, RequestState.DONE})
"""What only the owner may answer."""


def check_answer(kind: RequestKind, now: RequestState, then: RequestState) -> None:
    """Raise IllegalTransition, changing nothing, unless the table has the arrow."""
    further = TRANSITIONS.get(now, frozenset())
    if kind is RequestKind.HAND_OVER and now is RequestState.ACCEPTED:
        further |= HAND_OVER_FAILED
    if then not in further:
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
        who = self.user or (f"uid {self.uid}" if self.uid is not None else "an unknown user")
        return f"{who}, pid {self.pid}" + (f", {self.via}" if self.via else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """As the store keeps it. Instants are UTC."""

    id: str
    kind: RequestKind
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

    @property
    def unsettled(self) -> bool:
        """Whether its outcome is open: pending, or a hand-over whose successor is still to take."""
        return self.state is RequestState.PENDING or (
            self.kind is RequestKind.HAND_OVER and self.state is RequestState.ACCEPTED
        )

    def end_of_hand_over(self, current: Ownership, taker: str, term: int) -> HandOverEnd:
        """How this accepted hand-over ends as ``taker`` begins ``term``, by the ownership record
        from before."""
        kept = current.reserved_for if self.term == current.term else None
        if taker in (self.to_process, kept):
            return HandOverEnd(RequestState.DONE, f"{taker} took term {term}")
        instead = self.to_process or kept or "the successor"
        return HandOverEnd(
            RequestState.REFUSED,
            f"{instead} did not take the term; {taker} took term {term}",
            "`tenure status` shows who owns, and how the candidates are",
        )


@dataclass(frozen=True, slots=True)
class HandOverEnd:
    """The outcome of an accepted hand-over."""

    state: RequestState
    answer: str
    remedy: str = ""


HAND_OVER_EXPIRED = HandOverEnd(
    RequestState.EXPIRED,
    "the owner ended its term, and no process took the next before the deadline",
    "`tenure status` shows why none of the candidates takes it",
)
