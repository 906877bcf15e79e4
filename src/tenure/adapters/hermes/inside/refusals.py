"""What a Hermes process that may not run the jobs reports: to its user, its log and the record.

A ticker asks every minute. The record gets the first refusal, and another when the reason changes
or ten minutes have passed, with the number since; and only when jobs were due.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tenure.adapters.hermes.inside import hermes_api
from tenure.adapters.hermes.inside.membership import DESKTOP, GATEWAY, ProfileMembership
from tenure.client.health import examine
from tenure.domain.errors import TenureError
from tenure.domain.event import EventKind
from tenure.runtime.ownership.control import nudge

log = logging.getLogger("tenure.hermes")

RECORD_AGAIN_AFTER_S = 600.0
"""After this the same refusal is recorded again."""


def name_of(role: str | None) -> str:
    """A process of Hermes in a sentence, by the role it states."""
    return {GATEWAY: "the gateway", DESKTOP: "a desktop backend"}.get(role or "", "the owner")


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
        verbose = kwargs.get("verbose", args[0] if args else True)
        sync = kwargs.get("sync", args[3] if len(args) > 3 else True)
        self._note("tick", why)
        if verbose and sync and threading.current_thread() is threading.main_thread():
            self._answer(why)
        return 0

    def tell(self, about: str, what: str) -> bool:
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
        self._write("run", why, job=str(job.get("name") or job.get("id")))
        return False if whole else (False, "", "", text)

    def fence(self, what: str) -> None:
        """The fence had to be restored."""
        self._write("fence", what)

    def _answer(self, why: str) -> None:
        jobs, owner = self._due_text(), self._owner()
        if owner is not None:
            who, socket = owner
            heard = nudge(socket, {"nudge": "tick"}, 0.5)
            asked = "it was asked to look now" if heard else "it looks once a minute"
            print(f"queued for {who}: {jobs}; {asked}.")
            return
        home = self._home
        if self._membership.profile is None:
            print(f"refused: the jobs of {home.profile} are not run by this process ({jobs}).")
            print(f"  {why}")
            print("  `tenure hermes status` says more")
        else:
            print(f"refused: no process that may run the jobs of {home.profile} is there ({jobs}).")
            print(f"  The gateway may: start it with: {self.start_command()}")
            print(f"  This process may not: {why}")
        sys.stdout.flush()
        raise SystemExit(3)

    def start_command(self) -> str:
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

    def _due_text(self) -> str:
        due = self._due()
        if due is None:
            return "its jobs cannot be read"
        return f"{len(due)} job{'' if len(due) == 1 else 's'} due"

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
        return f"{name_of(process.role)} (pid {process.evidence.identity.pid})", process.socket

    def _note(self, what: str, why: str) -> None:
        """Log it when it changes; record it from time to time if jobs were due."""
        self.tell(what, f"this process does not run the jobs of {self._home.path}: {why}")
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
        self._write(what, why, jobs=due[:20], times=count)

    def _write(self, what: str, why: str, **facts: Any) -> None:
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
