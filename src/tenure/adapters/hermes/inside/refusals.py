"""What a Hermes process says that may not run the jobs: to its user, to its log, to the record.

A ticker asks every minute. The record has the first refusal, and one again when the reason is
another or ten minutes have passed, with how many there were; and only for jobs that were due, for
otherwise nothing was refused.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tenure.adapters.hermes.inside import hermes_api
from tenure.client.health import examine
from tenure.domain.errors import TenureError
from tenure.domain.event import EventKind
from tenure.runtime.ownership.control import nudge

if TYPE_CHECKING:
    from tenure.adapters.hermes.inside.host import Seat

log = logging.getLogger("tenure.hermes")

AGAIN_AFTER = 600.0
"""Seconds after which the same refusal is written down again."""
GATEWAY, DESKTOP = "hermes gateway", "hermes desktop backend"
"""What processes of Hermes call themselves."""


def name_of(role: str | None) -> str:
    """One of them in a sentence."""
    return {GATEWAY: "the gateway", DESKTOP: "a desktop backend"}.get(role or "", "the owner")


class Refusals:
    """Of one seat. Thread-safe."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._lock = threading.Lock()
        self._told: dict[str, tuple[str, float]] = {}
        self._said: dict[str, str] = {}
        self._count: dict[str, int] = {}

    def tick(self, why: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
        """A tick that runs nothing: 0, as when another process holds Hermes' own lock.

        One that a person typed is told where the jobs run instead, and ends with 3 if nowhere.
        """
        verbose = kwargs.get("verbose", args[0] if args else True)
        sync = kwargs.get("sync", args[3] if len(args) > 3 else True)
        self._note("tick", why)
        if verbose and sync and threading.current_thread() is threading.main_thread():
            self._answer(why)
        return 0

    def tell(self, about: str, what: str) -> bool:
        """Log what is wrong, once until it is something else; whether that is so. An empty text:
        nothing is wrong (any more)."""
        with self._lock:
            new = self._said.get(about, "") != what
            self._said[about] = what
        if new and what:
            log.error("%s", what)
        return new

    def body(self, job: Mapping[str, Any], whole: bool, why: str) -> Any:
        """A run that nobody claimed, in the shape that Hermes' own function returns."""
        text = f"refused: {why}"
        log.warning("job %s: %s", job.get("name", job.get("id")), text)
        hermes_api.close_execution(job.get("execution_id"), text)
        self._write("run", why, job=str(job.get("name") or job.get("id")))
        return False if whole else (False, "", "", text)

    def fence(self, what: str) -> None:
        """The fence had to be put up again."""
        self._write("fence", what)

    def _answer(self, why: str) -> None:
        jobs, owner = self._due_in_words(), self._owner()
        if owner is not None:
            who, socket = owner
            heard = nudge(socket, {"nudge": "tick"}, 0.5)
            asked = "it was asked to look now" if heard else "it looks once a minute"
            print(f"queued for {who}: {jobs}; {asked}.")
            return
        home = self._seat.home
        if self._seat.profile is None:
            print(f"refused: the jobs of {home.profile} are not run by this process ({jobs}).")
            print(f"  {why}")
            print("  `tenure hermes status` says more")
        else:
            print(f"refused: no process that may run the jobs of {home.profile} is there ({jobs}).")
            print(f"  The gateway may: start it with: {self.how_to_start()}")
            print(f"  This process may not: {why}")
        sys.stdout.flush()
        raise SystemExit(3)

    def how_to_start(self) -> str:
        """What a person types: the service's start where the rules name one."""
        command = f"{self._seat.home.command} gateway"
        try:
            with self._seat.opened() as profile:
                named = any(rule.service for rule in profile.policy().rules)
                return profile.settings().start or f"{command} {'start' if named else 'run'}"
        except TenureError:
            return f"{command} run"

    def _due(self) -> list[str] | None:
        try:
            return self._seat.due_now()
        except Exception:  # noqa: BLE001  a damaged jobs.json is told of elsewhere
            return None

    def _due_in_words(self) -> str:
        due = self._due()
        if due is None:
            return "its jobs cannot be read"
        return f"{len(due)} job{'' if len(due) == 1 else 's'} due"

    def _owner(self) -> tuple[str, str | None] | None:
        """Who owns, in words, and where it listens; None if nobody does."""
        profile = self._seat.profile
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
        """Log it where it is new; write it down if jobs were due, now and then."""
        self.tell(what, f"this process does not run the jobs of {self._seat.home.path}: {why}")
        with self._lock:
            self._count[what] = self._count.get(what, 0) + 1
            said, at = self._told.get(what, ("", 0.0))
        if said == why and time.monotonic() - at < AGAIN_AFTER:
            return
        due = self._due()
        if not due:
            return
        with self._lock:
            self._told[what] = (why, time.monotonic())
            count, self._count[what] = self._count[what], 0
        self._write(what, why, jobs=due[:20], times=count)

    def _write(self, what: str, why: str, **facts: Any) -> None:
        profile, scheduler = self._seat.profile, self._seat.scheduler
        if profile is None:
            return
        try:
            profile.store.record_event(
                EventKind.CLAIM_REFUSED,
                datetime.now(UTC),
                process=None if scheduler is None else scheduler.member.id,
                facts={"what": what, "why": why, **facts},
            )
        except Exception as error:  # noqa: BLE001  what cannot be written down is refused all the same
            log.warning("a refusal could not be written down: %s", error)
