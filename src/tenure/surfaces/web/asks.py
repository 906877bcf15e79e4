"""What is asked of the owner through the web: trigger, cancel, retry, hand over (C7).

The row in the store is the request. The owner's answer is waited for a little; whoever asked
follows the request from there. When nobody owns, the refusal says who should and what to do.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from tenure.client.definitions import requester
from tenure.client.health import examine
from tenure.client.requests import Waiting, Wish, ask
from tenure.domain.errors import Conflict, InvalidInput
from tenure.domain.request import Ask, Request, RequestState
from tenure.domain.run import ACTIVE, FINAL
from tenure.runtime.profile import Profile

PATIENCE = timedelta(seconds=2)
"""How long an asking waits for the owner's answer; then the request is there to be followed."""


def trigger(
    profile: Profile,
    ref: str,
    *,
    via: str,
    queue: bool = False,
    key: str | None = None,
    patience: timedelta = PATIENCE,
) -> Request:
    """Ask the owner to run a job now. The request may be pending still when this returns.

    Raises Refused, with what to do, when nobody owns (unless ``queue``) or the owner says no.
    """
    job = profile.store.job(ref)
    wish = Wish(kind=Ask.TRIGGER, job=job.id, queued=queue, key=key)
    return ask(profile, wish, requester(via), Waiting(patience=patience))


def cancel(
    profile: Profile,
    run: str,
    *,
    via: str,
    queue: bool = False,
    key: str | None = None,
    patience: timedelta = PATIENCE,
) -> Request:
    """Ask the owner to cancel a run. Raises Conflict if it has ended."""
    found = profile.store.run(run)
    if found.state in FINAL:
        raise Conflict(
            f"run {found.id} has ended already: {found.state}", run=found.id, state=str(found.state)
        )
    wish = Wish(kind=Ask.CANCEL, run=found.id, queued=queue, key=key)
    return ask(profile, wish, requester(via), Waiting(patience=patience))


def retry(
    profile: Profile,
    run: str,
    *,
    via: str,
    queue: bool = False,
    key: str | None = None,
    patience: timedelta = PATIENCE,
) -> Request:
    """Ask the owner to run the job of a finished run again. Raises Conflict if it is active."""
    found = profile.store.run(run)
    if found.state in ACTIVE:
        raise Conflict(
            f"run {found.id} is {found.state}: there is nothing to retry yet",
            remedy="wait for its end, or cancel it first",
            run=found.id,
            state=str(found.state),
        )
    wish = Wish(kind=Ask.RETRY, job=found.job, run=found.id, queued=queue, key=key)
    return ask(profile, wish, requester(via), Waiting(patience=patience))


def hand_over(
    profile: Profile,
    *,
    via: str,
    now: datetime,
    to: str | None = None,
    key: str | None = None,
    patience: timedelta = PATIENCE,
) -> Request:
    """Ask the owner to hand over, to the candidate with that process id or to the best one."""
    if to is not None:
        candidates = [process.id for process in examine(profile, now).candidates()]
        if to not in candidates:
            raise InvalidInput(
                f"{to[:80]!r} is not a living candidate",
                field="to",
                remedy="candidates: " + (", ".join(candidates) or "there are none"),
            )
    wish = Wish(kind=Ask.HAND_OVER, to_process=to, key=key)
    return ask(profile, wish, requester(via), Waiting(patience=patience))


def withdraw(profile: Profile, request: str, *, now: datetime) -> Request:
    """Take back a request that nobody has answered. Raises Conflict if somebody has."""
    found = profile.store.request(request)
    if found.state is not RequestState.PENDING:
        raise Conflict(
            f"request {found.id} is {found.state} already",
            remedy=f"cancel its run, {found.run}" if found.run else "",
            request=found.id,
            state=str(found.state),
        )
    return profile.store.answer(
        found.id,
        RequestState.WITHDRAWN,
        authority=None,
        now=now,
        answer="withdrawn by whoever asked",
    )
