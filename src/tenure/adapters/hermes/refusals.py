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

from tenure.adapters.hermes import inside
from tenure.domain.errors import TenureError
from tenure.domain.event import EventKind
from tenure.runtime.client.health import examine
from tenure.runtime.control import nudge

if TYPE_CHECKING:
    from tenure.adapters.hermes.seat import Seat

log = logging.getLogger("tenure.hermes")

AGAIN_AFTER = 600.0
"""Seconds after which the same refusal is written down again."""


class Refusals:
    """Of one seat. Thread-safe."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._lock = threading.Lock()
        self._told: dict[str, tuple[str, float]] = {}
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

    def body(self, job: Mapping[str, Any], whole: bool, why: str = "") -> Any:
        """A run that nobody claimed, in the shape that Hermes' own function returns."""
        why = why or "only the owner may run it, and only what it has claimed"
        text = f"refused: {why}"
        log.warning("job %s: %s", job.get("name", job.get("id")), text)
        inside.close_execution(job.get("execution_id"), text)
        self._write("run", why, job=str(job.get("name") or job.get("id")))
        return False if whole else (False, "", "", text)

    def fence(self, what: str) -> None:
        """The fence had to be put up again."""
        self._write("fence", what)

    def _answer(self, why: str) -> None:
        due = self._seat.due_now()
        jobs = f"{len(due)} job{'' if len(due) == 1 else 's'} due"
        owner = self._owner()
        if owner is not None:
            pid, socket = owner
            heard = nudge(socket, {"nudge": "tick"}, 0.5)
            asked = "it was asked to look now" if heard else "it looks once a minute"
            print(f"queued for the gateway (pid {pid}): {jobs}; {asked}.")
            return
        home = self._seat.home
        print(f"refused: no process that may run the jobs of {home.profile} is there ({jobs}).")
        print(f"  The gateway may: start it with: {home.command} gateway start")
        print(f"  This process may not: {why}")
        sys.stdout.flush()
        raise SystemExit(3)

    def _owner(self) -> tuple[int, str | None] | None:
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
        return process.evidence.identity.pid, process.socket

    def _note(self, what: str, why: str) -> None:
        """Log it where it is new; write it down if jobs were due."""
        with self._lock:
            self._count[what] = self._count.get(what, 0) + 1
            said, at = self._told.get(what, ("", 0.0))
            new = said != why
            again = time.monotonic() - at >= AGAIN_AFTER
        if new:
            log.warning("this process does not run the jobs of %s: %s", self._seat.home.path, why)
        if not (new or again):
            return
        try:
            due = self._seat.due_now()
        except Exception:  # noqa: BLE001  a damaged jobs.json is told of elsewhere
            due = []
        if not due and not new:
            return
        with self._lock:
            self._told[what] = (why, time.monotonic())
            count, self._count[what] = self._count[what], 0
        if due:
            self._write(what, why, jobs=due[:20], times=count)

    def _write(self, what: str, why: str, **facts: Any) -> None:
        profile, scheduler = self._seat.profile, self._seat.scheduler
        if profile is None:
            return
        try:
            profile.store.record(
                EventKind.CLAIM_REFUSED,
                datetime.now(UTC),
                process=None if scheduler is None else scheduler.member.id,
                facts={"what": what, "why": why, **facts},
            )
        except Exception as error:  # noqa: BLE001  what cannot be written down is refused all the same
            log.warning("a refusal could not be written down: %s", error)
