"""What a process of Hermes answers instead of running a job: to its user, its log and the record.

A job is run by the owner; any other process asks it, also the owner's own process, or refuses and
says what to type. A ticker asks every minute. The record gets the first refusal, and another when
the reason changes or ten minutes have passed, with the number since; and only when jobs were due.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tenure.adapters.hermes.inside import hermes_api
from tenure.adapters.hermes.inside.membership import DESKTOP, GATEWAY, ProfileMembership
from tenure.client.health import examine
from tenure.client.requests import await_end, trigger
from tenure.domain.errors import Refused, TenureError
from tenure.domain.event import EventKind
from tenure.domain.job import Job, JobState
from tenure.domain.request import Request, Requester
from tenure.domain.run import RunState
from tenure.runtime.ownership.control import nudge

log = logging.getLogger("tenure.hermes")

RECORD_AGAIN_AFTER_S = 600.0
"""After this the same refusal is recorded again."""
LOOP_WAIT = timedelta(seconds=2)
"""The longest wait for an answer on the thread of an event loop."""


class Refusals:
    """Of one host. Thread-safe."""

    def __init__(self, membership: ProfileMembership) -> None:
        self._membership = membership
        self._home = membership.home
        self._lock = threading.Lock()
        self._recorded: dict[str, tuple[str, float]] = {}
        self._logged: dict[str, str] = {}
        self._count: dict[str, int] = {}

    def tick(self, why: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
        """A tick that runs nothing: 0, as when another process holds Hermes' own lock.

        A tick that a person typed prints where the jobs run instead, and exits with 3 if nowhere.
        """
        self._note("tick", why)
        if hermes_api.typed_tick(args, kwargs):
            self._answer(why)
        return 0

    def log_change(self, about: str, what: str) -> bool:
        """Log a problem when its text changes, and return whether it did. Empty: no problem."""
        with self._lock:
            new = self._logged.get(about, "") != what
            self._logged[about] = what
        if new and what:
            log.error("%s", what)
        return new

    def body(self, job: Mapping[str, Any], whole: bool, why: str) -> Any:
        """A run without a claim, in the shape that Hermes' own function returns."""
        text = f"refused: {why}"
        log.warning("job %s: %s", job.get("name", job.get("id")), text)
        hermes_api.close_execution(job.get("execution_id"), text)
        self.record("run", why, job=str(job.get("name") or job.get("id")))
        return False if whole else (False, "", "", text)

    def _answer(self, why: str) -> None:
        due, owner = self._due(), self._owner()
        jobs = "its jobs cannot be read"
        if due is not None:
            jobs = f"{len(due)} job{'' if len(due) == 1 else 's'} due"
        if owner is not None:
            who, socket = owner
            heard = nudge(socket, {"nudge": "tick"}, 0.5)
            asked = "it was asked to look now" if heard else "it looks once a minute"
            print(f"queued for {who}: {jobs}; {asked}.")
            return
        name = self._home.profile
        if self._membership.profile is None:
            print(f"refused: the jobs of {name} are not run by this process ({jobs}).")
            print(f"  {why}")
            print("  `tenure hermes status` shows the details")
        else:
            print(f"refused: no process that may run the jobs of {name} is running ({jobs}).")
            print(f"  Start the gateway: {self._start_command()}")
            print(f"  This process may not: {why}")
        sys.stdout.flush()
        raise SystemExit(3)

    def _start_command(self) -> str:
        """What a person types to start the owner: the service's start where the rules name one."""
        command = f"{self._home.command} gateway"
        try:
            with self._membership.opened() as profile:
                named = any(rule.service for rule in profile.policy().rules)
                return profile.settings().start or f"{command} {'start' if named else 'run'}"
        except TenureError:
            return f"{command} run"

    def _due(self) -> list[str] | None:
        try:
            return self._membership.due_now()
        except Exception:  # noqa: BLE001  a damaged jobs.json is reported elsewhere
            return None

    def _owner(self) -> tuple[str, str | None] | None:
        """The owner as text, and the socket it listens on; None without an owner."""
        profile = self._membership.profile
        if profile is None:
            return None
        try:
            health = examine(profile, datetime.now(UTC))
        except TenureError:
            return None
        if not health.owned or health.owner is None:
            return None
        process = health.owner.process
        return f"{_name_of(process.role)} (pid {process.evidence.identity.pid})", process.socket

    def _note(self, what: str, why: str) -> None:
        """Log it when it changes; record it from time to time if jobs were due."""
        self.log_change(what, f"this process does not run the jobs of {self._home.path}: {why}")
        with self._lock:
            self._count[what] = self._count.get(what, 0) + 1
            said, at = self._recorded.get(what, ("", 0.0))
        if said == why and time.monotonic() - at < RECORD_AGAIN_AFTER_S:
            return
        due = self._due()
        if not due:
            return
        with self._lock:
            self._recorded[what] = (why, time.monotonic())
            count, self._count[what] = self._count[what], 0
        self.record(what, why, jobs=due[:20], times=count)

    def record(self, what: str, why: str, **facts: Any) -> None:
        profile, scheduler = self._membership.profile, self._membership.scheduler
        if profile is None:
            return
        try:
            profile.store.record_event(
                EventKind.CLAIM_REFUSED,
                datetime.now(UTC),
                process=None if scheduler is None else scheduler.member.id,
                facts={"what": what, "why": why, **facts},
            )
        except Exception as error:  # noqa: BLE001  a refusal without a record is still a refusal
            log.warning("a refusal could not be recorded: %s", error)

    # -- requests to the owner -----------------------------------------------------------------
    def ask_owner(self, job: Mapping[str, Any], via: str) -> Request:
        """Ask the owner to run a job now. Raises Refused and what else asking raises.

        Works alike in the owner's own process. Blocks until the request is answered.
        """
        membership = self._membership
        if membership.link.refusal:
            raise Refused(membership.link.refusal, remedy="`tenure hermes status` shows why")
        with membership.opened() as profile:
            mirrored = membership.follow(profile, whole=False)
            id = str(job["id"])
            mirror = mirrored.jobs.get(id)
            if mirror is None:
                raise Refused(mirrored.problems.get(id, "the job no longer exists"))
            if mirror.state is JobState.DONE:
                again = f"set it again: {self._home.command} cron edit {id} --schedule ..."
                raise Refused("the job has run for the last time", remedy=again)
            try:
                return trigger(profile, mirror.id, by=_requester(via), deadline=_patience())
            except Refused as error:
                raise self._of_hermes(error, mirror, id) from None

    def queued(self, job: Mapping[str, Any], via: str) -> str:
        """Ask; which process runs it, as text. Raises as :meth:`ask_owner` does."""
        request = self.ask_owner(job, via)
        if request.run is None:
            return "queued for the owner"
        with self._membership.opened() as profile:
            run = profile.store.run(request.run)
            process = profile.store.process(run.process)
            who = f"{_name_of(process.role)} (pid {process.evidence.identity.pid}, term {run.term})"
            return f"queued for {who}: run {run.id}"

    def run_by_owner(self, job: Mapping[str, Any]) -> tuple[bool, str]:
        """In the owner: ask, and wait for the end. Whether it succeeded, and why not."""
        request = self.ask_owner(job, "run")
        with self._membership.opened() as profile:
            run = await_end(profile, request.run or "")
        return run.state is RunState.SUCCEEDED, run.reason

    def text_of(self, error: Exception) -> str:
        """A refusal, and the command that a user of Hermes types next."""
        if not isinstance(error, TenureError):
            return f"{type(error).__name__}: {error}"
        if "should_own" in error.facts:
            return (
                f"no process that may run the jobs of {self._home.profile} is running; start the "
                f"gateway: {self._start_command()} "
                f"(`tenure status --profile {self._membership.link.tenure_profile}` shows why)"
            )
        return f"{error.text} ({error.remedy})" if error.remedy else error.text

    def _of_hermes(self, error: Refused, mirror: Job, id: str) -> Refused:
        # Hermes pauses and resumes its own jobs, so the remedy is a command of Hermes.
        if mirror.state is JobState.ACTIVE or "should_own" in error.facts:
            return error
        resume = f"{self._home.command} cron resume {id}"
        return Refused(error.text, remedy=resume, **error.facts)


def _name_of(role: str | None) -> str:
    """A process of Hermes in a sentence, by the role it states."""
    return {GATEWAY: "the gateway", DESKTOP: "a desktop backend"}.get(role or "", "the owner")


def _requester(via: str) -> Requester:
    uid = getattr(os, "getuid", lambda: None)()
    return Requester(pid=os.getpid(), uid=uid, executable=sys.executable, via=via)


def _patience() -> timedelta | None:
    """How long to wait for an answer; None: as usual."""
    asyncio = sys.modules.get("asyncio")  # not loaded: no loop can run
    if asyncio is None:
        return None
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return None
    # On the thread of an event loop everything else would wait too.
    return LOOP_WAIT
