"""Trigger, cancel, retry, hand over: requests that the owner answers (C7).

    durable row --> nudge --> wait for the answer --> accepted | done (a hand-over: done)
         |                                     \\--> refused, expired: an error with the remedy
         \\--> no owner: recorded as refused at once; with ``queue`` left pending for a day

The row is the request; the nudge only shortens the wait, and lets the owner read from the kernel
who asks. Nothing is ever run here. The waiting costs a look at the store's change mark.
"""

from __future__ import annotations

import shlex
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Required, TypedDict, Unpack

from tenure.client.presence import find_owner, look_at, recorded_owner
from tenure.domain.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    Refused,
    WaitTimeout,
)
from tenure.domain.ownership import HolderLife
from tenure.domain.process import Process
from tenure.domain.request import (
    DEADLINE,
    QUEUE_DEADLINE,
    Request,
    Requester,
    RequestKind,
    RequestState,
)
from tenure.domain.run import ACTIVE, FINAL, Run
from tenure.runtime.ownership.control import nudge
from tenure.runtime.profile import Profile

SOON = timedelta(seconds=1)
"""How long a refusal waits for a candidate that may be taking over this very moment."""
QUEUE_PATIENCE = timedelta(seconds=1)
"""How long a queued request is waited for: it may be answered at once."""
_LOOK_FIRST_S, _LOOK_LATER_S = 0.02, 0.05
_OWNER_LOOK_EVERY_S = 1.0
NUDGE_TIMEOUT_S = 0.5

_ACTIONS = {
    RequestKind.TRIGGER: "run it",
    RequestKind.RETRY: "run it again",
    RequestKind.CANCEL: "cancel it",
    RequestKind.HAND_OVER: "hand over",
}


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How long to wait; the clock and the pause, so that tests need not."""

    now: Callable[[], datetime] = _now
    sleep: Callable[[float], None] = time.sleep
    patience: timedelta | None = None
    """After this the request is returned as it is then, also pending; None: until its deadline."""


class AskOptions(TypedDict, total=False):
    """How a request is made."""

    by: Required[Requester]
    queue: bool
    """Leave it for the owner, for a day, instead of a refusal where there is none."""
    key: str | None
    """The idempotency key; one of its own where it is None."""
    deadline: timedelta | None
    waiting: Waiting | None


def trigger(profile: Profile, job: str, **options: Unpack[AskOptions]) -> Request:
    """Ask the owner to run a job, given by id or name, now. The accepted request names the run.
    Raises NotFound, and what :func:`ask` raises."""
    return ask(profile, RequestKind.TRIGGER, job=profile.store.job(job).id, **options)


def retry(profile: Profile, run_id: str, **options: Unpack[AskOptions]) -> Request:
    """Ask the owner to run the job of a finished run again, as a new run. Raises NotFound;
    Conflict while the run is active; what :func:`ask` raises."""
    run = find_run(profile, run_id)
    if run.state in ACTIVE:
        raise Conflict(
            f"run {run.id} is {run.state}: it can be retried once it has ended",
            remedy=f"wait for it, or `tenure cancel {run.id}` first",
            run=run.id,
            state=str(run.state),
        )
    return ask(profile, RequestKind.RETRY, job=run.job, run=run.id, **options)


def cancel(profile: Profile, run_id: str, **options: Unpack[AskOptions]) -> Request:
    """Ask the owner to cancel a run. Raises NotFound; Conflict if the run has ended; what
    :func:`ask` raises."""
    run = find_run(profile, run_id)
    if run.state in FINAL:
        raise Conflict(
            f"run {run.id} has already ended: {run.state}",
            remedy=f"`tenure runs {shlex.quote(run.job_name)}` shows the job's runs",
            run=run.id,
            state=str(run.state),
        )
    return ask(profile, RequestKind.CANCEL, run=run.id, **options)


def hand_over(profile: Profile, *, to: str | None = None, **options: Unpack[AskOptions]) -> Request:
    """Ask the owner to hand over: to the candidate with this process id or pid, else to the best.
    Raises InvalidInput if ``to`` is not a living candidate; what :func:`ask` raises."""
    target = None
    if to is not None:
        from tenure.client.health import examine

        candidates = examine(profile, (options.get("waiting") or Waiting()).now()).candidates()
        target = next((p.id for p in candidates if to in (p.id, str(p.pid))), None)
        if target is None:
            listed = ", ".join(f"{p.pid} ({p.id})" for p in candidates)
            raise InvalidInput(
                f"{to[:80]!r} is not a running candidate",
                field="to",
                remedy=f"candidates: {listed or 'none'}",
            )
    return ask(profile, RequestKind.HAND_OVER, to_process=target, **options)


def withdraw(profile: Profile, request_id: str, *, now: datetime) -> Request:
    """Cancel a pending request. Raises NotFound; Conflict if it was answered."""
    request = profile.store.request(request_id)
    if request.state is not RequestState.PENDING:
        raise Conflict(
            f"request {request.id} was already {request.state}",
            remedy=f"`tenure cancel {request.run}` cancels its run" if request.run else "",
            request=request.id,
            state=str(request.state),
        )
    return profile.store.resolve_request(
        request.id,
        RequestState.WITHDRAWN,
        authority=None,
        now=now,
        answer="withdrawn by the requester",
    )


def find_run(profile: Profile, run: str) -> Run:
    """A run by its id. Raises NotFound, which says so where a job is named instead."""
    try:
        return profile.store.run(run)
    except NotFound as error:
        try:
            job = profile.store.job(run)
        except NotFound:
            raise error from None
    name = shlex.quote(job.name)
    raise NotFound(f"{job.name} is a job, not a run", remedy=f"`tenure runs {name}` lists its runs")


def ask(
    profile: Profile,
    kind: RequestKind,
    *,
    by: Requester,
    job: str | None = None,
    run: str | None = None,
    to_process: str | None = None,
    queue: bool = False,
    key: str | None = None,
    deadline: timedelta | None = None,
    waiting: Waiting | None = None,
) -> Request:
    """Ask, and return the answered request; queued, or with ``patience``, it may be pending still.
    A hand-over is waited for until the successor holds the term. The same ``key`` again returns
    the first request.

    Raises NotFound; Refused, with the remedy, when no process owns or the owner says no (the
    request is recorded as refused); OutcomeUnknown when the owner gave no answer within the
    deadline, after which it cannot be accepted any more. Blocks the calling thread; safe from any.
    """
    waiting = waiting or Waiting()
    owner = recorded_owner(profile) or _owner_to_be(profile, by, waiting, queue=queue)
    # Before the request, because the answer may come at once.
    mark = profile.store.change_mark()
    request = profile.store.create_request(
        kind=kind,
        key=key or uuid.uuid4().hex,
        requester=by,
        now=waiting.now(),
        deadline=deadline or (QUEUE_DEADLINE if queue else DEADLINE),
        job=job,
        run=run,
        to_process=to_process,
        queued=queue,
    )
    if request.unsettled and request.state is RequestState.ACCEPTED:
        # An earlier call with the same key made it.
        return _await_answer(profile, request, waiting, mark, was_halted=False)
    if request.state is not RequestState.PENDING:
        return settled(request)
    halted = False
    # Only a living owner answers a nudge; of any other the kernel says what became of it.
    if owner is not None and not _nudge(owner, request):
        present = look_at(profile, owner)
        halted = present.halted
        if present.life is HolderLife.DEAD:
            owner = _owner_to_be(profile, by, waiting, queue=queue)
    if owner is None and queue:
        return request
    if owner is None:
        _refuse(profile, request, waiting.now())
    return _await_answer(profile, request, waiting, mark, was_halted=halted)


def settled(request: Request) -> Request:
    """The request if its answer is good. Raises Refused or OutcomeUnknown if it is not."""
    if request.state is RequestState.REFUSED:
        raise Refused(request.answer, remedy=request.remedy, request=request.id)
    if request.state is RequestState.WITHDRAWN:
        raise Refused(f"request {request.id} was withdrawn", request=request.id)
    # With a term it was accepted, and only its effect is unknown.
    if request.state is RequestState.EXPIRED and request.term is not None:
        raise OutcomeUnknown(request.answer, remedy=request.remedy, request=request.id)
    if request.state is RequestState.EXPIRED:
        raise OutcomeUnknown(
            f"the owner gave no answer to request {request.id} before its deadline; it will not "
            "be carried out",
            remedy="`tenure status` shows the state of the owner; try again, or pass --queue",
            request=request.id,
        )
    return request


def await_run(profile: Profile, request: Request, waiting: Waiting, until: datetime | None) -> Run:
    """Wait until the run that a request asks for, or is about, has ended.

    Raises Refused and OutcomeUnknown if the request ends without one; WaitTimeout at ``until``:
    the request stays, and the run goes on.
    """
    mark = profile.store.change_mark()
    while request.state is RequestState.PENDING:
        now = waiting.now()
        if now > request.deadline:
            profile.store.expire_requests(now)
        elif until is not None and now >= until:
            raise WaitTimeout(
                f"request {request.id} is still pending",
                remedy=f"`tenure requests cancel {request.id}` withdraws it",
                request=request.id,
            )
        else:
            waiting.sleep(_LOOK_LATER_S)
        seen = profile.store.change_mark()
        if seen != mark or now > request.deadline:
            mark, request = seen, profile.store.request(request.id)
    run = settled(request).run
    assert run is not None
    return await_end(profile, run, waiting, until)


def await_end(
    profile: Profile, run_id: str, waiting: Waiting | None = None, until: datetime | None = None
) -> Run:
    """Wait until a run has ended. Raises WaitTimeout at ``until``; interrupting cancels nothing.

    A run whose holder died is waited for: the next owner settles it.
    """
    waiting = waiting or Waiting()
    # Before the run is read: an end between the two would wait for another change.
    mark = profile.store.change_mark()
    run = profile.store.run(run_id)
    while run.state not in FINAL:
        if until is not None and waiting.now() >= until:
            raise WaitTimeout(
                f"run {run.id} is still {run.state}",
                remedy=f"`tenure logs -f {run.id}` follows it",
                run=run.id,
            )
        waiting.sleep(_LOOK_LATER_S)
        seen = profile.store.change_mark()
        if seen != mark:
            mark, run = seen, profile.store.run(run_id)
    return run


def _owner_to_be(
    profile: Profile, by: Requester, waiting: Waiting, *, queue: bool
) -> Process | None:
    """The owner, if a candidate takes over this very moment. If not, the policy is up to date: the
    refusal is to speak of the rules as the user wrote them, accepted or not so far."""
    from tenure.client.health import examine

    owner = None
    if not queue and examine(profile, waiting.now()).candidates():
        until = waiting.now() + SOON
        while owner is None and waiting.now() < until:
            waiting.sleep(_LOOK_LATER_S)
            owner = find_owner(profile)
    if owner is None:
        profile.refresh_policy(by.describe(), waiting.now())
        owner = find_owner(profile)
    return None if owner is None else owner.process


def _refuse(profile: Profile, request: Request, now: datetime) -> None:
    """Record and raise the refusal, unless an owner that began, or went on, was faster."""
    from tenure.client.health import examine, no_owner, owner_halted

    health = examine(profile, now)
    refusal = owner_halted if health.owned else no_owner
    error = refusal(health, profile.name, _ACTIONS[request.kind])
    try:
        profile.store.resolve_request(
            request.id,
            RequestState.REFUSED,
            authority=None,
            now=now,
            answer=error.text,
            remedy=error.remedy,
        )
    except Conflict:
        # The owner answered it first.
        return
    error.facts["request"] = request.id
    raise error


def _nudge(owner: Process, request: Request) -> bool:
    """Whether it answered."""
    message = {"nudge": "request", "request": request.id}
    return nudge(owner.socket, message, NUDGE_TIMEOUT_S) is not None


def _await_answer(
    profile: Profile, request: Request, waiting: Waiting, mark: int, *, was_halted: bool
) -> Request:
    """``mark``: the store's change mark at which ``request`` is known to be as it is."""
    start = waiting.now()
    until = start + QUEUE_PATIENCE if request.queued else request.deadline
    if waiting.patience is not None:
        until = min(until, start + waiting.patience)
    pause, checked, current = _LOOK_FIRST_S, start, request
    while current.unsettled and waiting.now() < until:
        waiting.sleep(pause)
        pause = _LOOK_LATER_S if waiting.now() - start > timedelta(seconds=1) else _LOOK_FIRST_S
        seen = profile.store.change_mark()
        if seen != mark:
            mark, current = seen, profile.store.request(request.id)
        if (waiting.now() - checked).total_seconds() >= _OWNER_LOOK_EVERY_S:
            checked = waiting.now()
            current = profile.store.request(request.id)
            if current.state is RequestState.PENDING:
                was_halted = _look_again(profile, current, checked, was_halted)
    if current.unsettled and waiting.now() >= request.deadline:
        profile.store.expire_requests(waiting.now())
        current = profile.store.request(request.id)
    return current if current.unsettled else settled(current)


def _look_again(profile: Profile, request: Request, now: datetime, was_halted: bool) -> bool:
    """Nudge the owner, which may be another one now; whether it is stopped or frozen. Raises
    Refused at the second look that finds it so: it may have been stopped for an instant."""
    owner = find_owner(profile)
    if owner is None:
        return False
    _nudge(owner.process, request)
    if owner.halted and was_halted and not request.queued:
        _refuse(profile, request, now)
    return owner.halted
