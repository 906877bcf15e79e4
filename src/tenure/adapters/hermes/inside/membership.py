"""This process's membership of the Tenure profile of one adopted home.

The process joins at its first tick. Whether it may own is decided by the profile's rules and the
operating system's evidence; nothing here decides it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from tenure.adapters.hermes.facts.adoption_record import AdoptionLink
from tenure.adapters.hermes.inside import hermes_api
from tenure.adapters.hermes.inside.fires import due_at
from tenure.adapters.hermes.inside.mirror import Mirror, Mirrored
from tenure.domain.errors import OutcomeUnknown
from tenure.runtime.dispatch.context import HostProgram
from tenure.runtime.profile import Profile
from tenure.runtime.scheduler import Scheduler

DECISION_WAIT_S = 3.0
"""How long the first tick waits for the decision who owns; the next tick comes in a minute."""
APP = "hermes"
GATEWAY, DESKTOP = "hermes gateway", "hermes desktop backend"
"""The roles that processes of Hermes state."""


class ProfileMembership:
    """Thread-safe. Made for one adoption."""

    def __init__(self, link: AdoptionLink) -> None:
        self.link = link
        self.home = link.home
        self.mirrored = Mirrored({}, {})
        """Hermes' jobs as the last tick of the owner wrote them to the profile."""
        self.decision_deadline = 0.0
        """On the monotonic clock: until then the first tick waits for the decision who owns."""
        self._lock = threading.RLock()
        self._profile: Profile | None = None
        self._scheduler: Scheduler | None = None

    @property
    def profile(self) -> Profile | None:
        """None before the first tick."""
        return self._profile

    @property
    def scheduler(self) -> Scheduler | None:
        """None before the first tick."""
        return self._scheduler

    def owns(self) -> bool:
        """Whether this process owns, and has begun to claim."""
        scheduler = self._scheduler
        return scheduler is not None and scheduler.dispatcher.owns(scheduler.keeper.authority)

    def join(
        self, functions: Mapping[str, Callable[..., Any]], on_nudge: Callable[[str], None]
    ) -> Scheduler:
        """Join once. Raises what opening the profile and starting the scheduler raise."""
        with self._lock:
            if self._scheduler is not None and self._scheduler.failure is not None:
                self.leave(drain=0.0)
            if self._profile is not None and not self._profile.store.is_same_file():
                self.leave()  # the folder was replaced or removed
            if self._scheduler is None:
                self._profile, self._scheduler = self._start(functions, on_nudge)
                self.decision_deadline = time.monotonic() + DECISION_WAIT_S
            return self._scheduler

    def _start(
        self, functions: Mapping[str, Callable[..., Any]], on_nudge: Callable[[str], None]
    ) -> tuple[Profile, Scheduler]:
        with contextlib.ExitStack() as undo:
            profile = Profile.open(self.link.tenure_profile, home=self.link.tenure_home)
            undo.callback(profile.close)
            program = HostProgram(
                app=APP,
                app_version=hermes_api.version(),
                functions=functions,
                on_nudge=on_nudge,
            )
            scheduler = Scheduler(profile, program, role=role())
            undo.callback(scheduler.stop, 0.0, why="it could not start")
            scheduler.start()
            undo.pop_all()
        return profile, scheduler

    def leave(self, drain: float = 1.0) -> None:
        """Hand over at once; close when active runs have ended, or after ``drain`` seconds."""
        with self._lock:
            scheduler, self._scheduler = self._scheduler, None
            profile, self._profile = self._profile, None
        if scheduler is not None:
            scheduler.stop(drain, why="its process stops")
        if profile is not None:
            profile.close()

    def forget_in_child(self) -> None:
        """After a fork, in the child: ownership and threads stay with the parent."""
        self._lock = threading.RLock()
        scheduler, self._scheduler, self._profile = self._scheduler, None, None
        if scheduler is not None:
            scheduler.forget_in_child()

    @contextlib.contextmanager
    def opened(self) -> Iterator[Profile]:
        """The Tenure profile on a connection of its own."""
        # A caller that waits in the owner's process sees the owner's commits only that way.
        profile = Profile.open(self.link.tenure_profile, home=self.link.tenure_home)
        try:
            yield profile
        finally:
            profile.close()

    # -- Hermes' jobs --------------------------------------------------------------------------
    def follow(self, profile: Profile, *, whole: bool) -> Mirrored:
        """Write Hermes' jobs to the profile. Raises what reading them raises."""
        mirror = Mirror(profile.store, self.home, by="hermes", timezone=hermes_api.zone_name())
        return mirror.follow(self._jobs, datetime.now(UTC), whole=whole)

    def due_now(self) -> list[str]:
        """The names of the jobs that are due at this moment."""
        due = due_at(self._jobs() or (), datetime.now(UTC))
        return [str(job.get("name") or id) for id, job in due.items()]

    def _jobs(self) -> list[dict[str, Any]] | None:
        """None if the file does not exist. Raises OutcomeUnknown while Hermes works elsewhere."""
        # Older dashboards switch all their threads to another profile for a moment.
        before, jobs = hermes_api.home_of_jobs(), hermes_api.load_jobs()
        if {before, hermes_api.home_of_jobs()} != {self.home}:
            raise OutcomeUnknown(
                "Hermes is working on another profile at this moment",
                remedy="Tenure tries again in a minute",
            )
        return jobs if jobs or self.home.jobs_file.exists() else None


def role() -> str:
    """The role that this process states. For display: no rule that protects relies on it."""
    if hermes_api.holds_gateway_lock():
        return GATEWAY
    return DESKTOP if os.environ.get("HERMES_DESKTOP") == "1" else "hermes"
