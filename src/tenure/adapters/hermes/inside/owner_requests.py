"""Asking the owner to run a job now, as a request of Tenure's, and its answer in Hermes' words."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tenure.adapters.hermes.inside.host import Seat
from tenure.adapters.hermes.inside.refusals import name_of
from tenure.client.requests import await_end, trigger
from tenure.domain.errors import Refused, TenureError
from tenure.domain.job import Job, State
from tenure.domain.request import Request, Requester
from tenure.domain.run import RunState

ON_A_LOOP = timedelta(seconds=2)
"""For how long a request may be waited for on the thread of an event loop."""


def ask_owner(seat: Seat, job: Mapping[str, Any], via: str) -> Request:
    """Ask the owner to run a job now. Raises Refused and what else asking raises.

    It is the same in the owner itself, so that there is one way. Blocks until it is answered.
    """
    if seat.link.refusal:
        raise Refused(seat.link.refusal, remedy="`tenure hermes status` says more")
    with seat.opened() as profile:
        mirrored = seat.follow(profile, whole=False)
        id = str(job["id"])
        mine = mirrored.jobs.get(id)
        if mine is None:
            raise Refused(mirrored.problems.get(id, "the job is gone"))
        if mine.state is State.DONE:
            again = f"set it again: {seat.home.command} cron edit {id} --schedule ..."
            raise Refused("the job has run for the last time", remedy=again)
        try:
            return trigger(profile, mine.id, by=_me(via), deadline=_patience())
        except Refused as error:
            raise _of_hermes(seat, error, mine, job) from None


def who_runs(seat: Seat, request: Request) -> str:
    """An accepted request in words."""
    with seat.opened() as profile:
        if request.run is None:
            return "queued for the owner"
        run = profile.store.run(request.run)
        process = profile.store.process(run.process)
        who = f"{name_of(process.role)} (pid {process.evidence.identity.pid}, term {run.term})"
        return f"queued for {who}: run {run.id}"


def queued(seat: Seat, job: Mapping[str, Any], via: str) -> str:
    """Ask, and say who runs it. Raises as :func:`ask_owner` does."""
    return who_runs(seat, ask_owner(seat, job, via))


def run_by_owner(seat: Seat, job: Mapping[str, Any]) -> tuple[bool, str]:
    """In the owner: ask, and wait for the end; whether it went well, else why not."""
    request = ask_owner(seat, job, "run")
    with seat.opened() as profile:
        run = await_end(profile, request.run or "")
    return run.state is RunState.SUCCEEDED, run.reason


def in_words(seat: Seat, error: Exception) -> str:
    """A refusal, and what a user of Hermes types."""
    if not isinstance(error, TenureError):
        return f"{type(error).__name__}: {error}"
    if "should_own" in error.facts:
        who = seat.home.profile
        return (
            f"no process that may run the jobs of {who} is there; the gateway may: "
            f"start it with: {seat.refusals.how_to_start()} "
            f"(`tenure status --profile {seat.link.tenure_profile}` says more)"
        )
    return f"{error.text} ({error.remedy})" if error.remedy else error.text


def _of_hermes(seat: Seat, error: Refused, mine: Job, job: Mapping[str, Any]) -> Refused:
    """It is Hermes that pauses its jobs, and that goes on with them."""
    if mine.state is State.ACTIVE or "should_own" in error.facts:
        return error
    resume = f"{seat.home.command} cron resume {job['id']}"
    return Refused(error.text, remedy=resume, **error.facts)


def _me(via: str) -> Requester:
    uid = getattr(os, "getuid", lambda: None)()
    return Requester(pid=os.getpid(), uid=uid, executable=sys.executable, via=via)


def _patience() -> timedelta | None:
    """The usual one, but not where everything else would wait with us."""
    asyncio = sys.modules.get("asyncio")  # without it there is no loop
    if asyncio is None:
        return None
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return None
    return ON_A_LOOP
