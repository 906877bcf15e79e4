"""Requests to the owner to run a job now, and their answers as texts for users of Hermes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tenure.adapters.hermes.inside.host import HermesHost
from tenure.adapters.hermes.inside.refusals import name_of
from tenure.client.requests import await_end, trigger
from tenure.domain.errors import Refused, TenureError
from tenure.domain.job import Job, JobState
from tenure.domain.request import Request, Requester
from tenure.domain.run import RunState

LOOP_WAIT = timedelta(seconds=2)
"""The longest wait for an answer on the thread of an event loop."""


def ask_owner(host: HermesHost, job: Mapping[str, Any], via: str) -> Request:
    """Ask the owner to run a job now. Raises Refused and what else asking raises.

    Works alike in the owner's own process. Blocks until the request is answered.
    """
    if host.link.refusal:
        raise Refused(host.link.refusal, remedy="`tenure hermes status` says more")
    with host.membership.opened() as profile:
        mirrored = host.membership.follow(profile, whole=False)
        id = str(job["id"])
        mine = mirrored.jobs.get(id)
        if mine is None:
            raise Refused(mirrored.problems.get(id, "the job is gone"))
        if mine.state is JobState.DONE:
            again = f"set it again: {host.home.command} cron edit {id} --schedule ..."
            raise Refused("the job has run for the last time", remedy=again)
        try:
            return trigger(profile, mine.id, by=_me(via), deadline=_patience())
        except Refused as error:
            raise _of_hermes(host, error, mine, job) from None


def who_runs(host: HermesHost, request: Request) -> str:
    """Which process runs an accepted request, as text."""
    with host.membership.opened() as profile:
        if request.run is None:
            return "queued for the owner"
        run = profile.store.run(request.run)
        process = profile.store.process(run.process)
        who = f"{name_of(process.role)} (pid {process.evidence.identity.pid}, term {run.term})"
        return f"queued for {who}: run {run.id}"


def queued(host: HermesHost, job: Mapping[str, Any], via: str) -> str:
    """Ask; which process runs it, as text. Raises as :func:`ask_owner` does."""
    return who_runs(host, ask_owner(host, job, via))


def run_by_owner(host: HermesHost, job: Mapping[str, Any]) -> tuple[bool, str]:
    """In the owner: ask, and wait for the end. Whether it succeeded, and why not."""
    request = ask_owner(host, job, "run")
    with host.membership.opened() as profile:
        run = await_end(profile, request.run or "")
    return run.state is RunState.SUCCEEDED, run.reason


def refusal_text(host: HermesHost, error: Exception) -> str:
    """A refusal, and the command that a user of Hermes types next."""
    if not isinstance(error, TenureError):
        return f"{type(error).__name__}: {error}"
    if "should_own" in error.facts:
        who = host.home.profile
        return (
            f"no process that may run the jobs of {who} is there; the gateway may: "
            f"start it with: {host.refusals.start_command()} "
            f"(`tenure status --profile {host.link.tenure_profile}` says more)"
        )
    return f"{error.text} ({error.remedy})" if error.remedy else error.text


def _of_hermes(host: HermesHost, error: Refused, mine: Job, job: Mapping[str, Any]) -> Refused:
    """Hermes pauses and resumes its own jobs, so the remedy is a command of Hermes."""
    if mine.state is JobState.ACTIVE or "should_own" in error.facts:
        return error
    resume = f"{host.home.command} cron resume {job['id']}"
    return Refused(error.text, remedy=resume, **error.facts)


def _me(via: str) -> Requester:
    uid = getattr(os, "getuid", lambda: None)()
    return Requester(pid=os.getpid(), uid=uid, executable=sys.executable, via=via)


def _patience() -> timedelta | None:
    """None: the usual one. On an event loop's thread all else would wait too, so it is short."""
    asyncio = sys.modules.get("asyncio")  # not loaded: no loop can run
    if asyncio is None:
        return None
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return None
    return LOOP_WAIT
