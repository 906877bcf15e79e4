"""This process's place in an adopted Hermes home: what its ticks, runs and requests become.

    tick     the owner's: with a lock of its own, each due job claimed before Hermes runs it
             anybody else's: refused, and said
    run      only with a claimed run in hand; any other way in is refused
    request  a trigger, asked of the owner; also in the owner itself, so that there is one way

The process joins the Tenure profile at its first tick. Whether it may own is decided there, by
evidence; nothing in this module asks who it is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tenure.adapters.hermes.adopt.fence import assert_fence, stands
from tenure.adapters.hermes.facts.link import Link
from tenure.adapters.hermes.inside import hermes_api
from tenure.adapters.hermes.inside.due_jobs import Dues
from tenure.adapters.hermes.inside.fires import instant_of
from tenure.adapters.hermes.inside.mirror import Mirror, Mirrored
from tenure.adapters.hermes.inside.refusals import DESKTOP, GATEWAY, Refusals
from tenure.adapters.hermes.inside.run_handoff import Carrying, Originals
from tenure.domain.errors import TenureError, Undetermined
from tenure.domain.process import Standing
from tenure.domain.settings import Hung
from tenure.runtime.profile import Profile
from tenure.runtime.scheduler import Scheduler

log = logging.getLogger("tenure.hermes")

FIRST_LOOK = 3.0
"""Seconds that the first tick waits for the decision who owns; the next one comes in a minute."""
ON_A_LOOP = timedelta(seconds=2)
"""For how long a request may be waited for on the thread of an event loop."""
SETTLING = 3.0
"""Seconds that a tick waits for an owner that has the term and does not claim yet."""
APP = "hermes"


class Seat:
    """Thread-safe. Made for one adoption; when that changes, a new one is made."""

    def __init__(self, link: Link, originals: Originals) -> None:
        self.link = link
        self.home = link.home
        self._originals = originals
        self._lock = threading.RLock()
        self._profile: Profile | None = None
        self._scheduler: Scheduler | None = None
        self._look_until = 0.0
        self.mirrored = Mirrored({}, {})
        self._delivery: dict[str, Any] = {"adapters": None, "loop": None}
        self._gate: dict[str, Any] = {}
        """Hermes' own word on whether it may dispatch, where its ticker brings one."""
        self._asking = threading.Lock()
        self._asked: bool | None = None
        """Whether a tick was asked for; None while no thread is there to see to it."""
        self.refusals = Refusals(self)
        self.carrying = Carrying(self, originals)
        self.dues = Dues(self)

    # -- ticks -------------------------------------------------------------------------------
    def tick(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """A tick of this process: Hermes' own if it owns, else refused."""
        why = self.link.refusal or self._why_not_owner()
        if why:
            return self.refusals.tick(why, args, kwargs)
        self._delivery = {
            "adapters": kwargs.get("adapters", args[1] if len(args) > 1 else None),
            "loop": kwargs.get("loop", args[2] if len(args) > 2 else None),
        }
        self._gate = {name: kwargs[name] for name in ("can_dispatch",) if kwargs.get(name)}
        return self._tick(*args, **kwargs)

    def _tick(self, *args: Any, **kwargs: Any) -> int:
        told = assert_fence(self.home)
        if self.refusals.tell("fence", told or "") and told:
            self.refusals.fence(told)
        try:
            assert self._profile is not None
            self.mirrored = self.follow(self._profile, whole=True)
        except Exception as error:  # noqa: BLE001  a damaged jobs.json or sidecar: nothing may run
            self.refusals.tell("follow", f"the jobs cannot be followed, nothing is run: {error}")
            return 0
        self.refusals.tell("follow", "")
        for id, problem in self.mirrored.problems.items():
            self.refusals.tell(id, f"job {id} cannot be mirrored, and is not run: {problem}")
        here = self.carrying.here
        here.ticking, here.claimed = True, ()
        try:
            return self._originals.tick(*args, **kwargs)
        finally:
            here.ticking = False
            self.carrying.settle()

    def _why_not_owner(self) -> str:
        """Empty if this process owns. Joins at the first call, and gives the decision time then."""
        try:
            scheduler = self._join()
        except TenureError as error:
            return f"{error.text} ({error.remedy})" if error.remedy else error.text
        except Exception as error:  # noqa: BLE001  a full disk, say: who cannot join runs nothing
            return f"it cannot join the Tenure profile: {type(error).__name__}: {error}"
        asked = time.monotonic()
        while not self.owns():
            said = scheduler.member.said
            standing, why = said or (Standing.CANDIDATE, "it is not decided yet who owns")
            if standing is Standing.OWNER:  # it has become that, and is just about to claim
                until, why = asked + SETTLING, "it has only just become the owner"
            else:
                until = self._look_until if standing is Standing.CANDIDATE else 0.0
            if time.monotonic() >= until:
                return why
            time.sleep(0.02)
        return ""

    def owns(self) -> bool:
        """Whether this process owns, and claims by now."""
        scheduler = self._scheduler
        return scheduler is not None and scheduler.dispatcher.owns(scheduler.keeper.authority)

    def lock_paths(self, folder: Any, path: Any) -> tuple[Any, Any]:
        """Where a tick is to lock: the owner's own file beside the fence, else the fence.

        Where there is no fence and none can be put up, Hermes' own lock: it is all that is left
        between this process and those that do not know of Tenure.
        """
        if self.carrying.here.ticking and stands(self.home):
            return folder, self.home.tenure / "tick.lock"
        return folder, path

    # -- as its ticker was called ------------------------------------------------------------
    def draining(self) -> bool:
        """Whether Hermes takes up no work at the moment, since it is about to stop."""
        may = self._gate.get("can_dispatch")
        return may is not None and not may()

    def delivery(self) -> dict[str, Any]:
        """The live adapters of the gateway, as its own ticker was given them."""
        return dict(self._delivery)

    # -- the profile -------------------------------------------------------------------------
    @contextlib.contextmanager
    def opened(self) -> Iterator[Profile]:
        """The Tenure profile, opened anew: who waits for an answer in the owner's own process
        hears of the owner's commits only on a connection of its own."""
        profile = Profile.open(self.link.tenure_profile, home=self.link.tenure_home)
        try:
            yield profile
        finally:
            profile.close()

    # -- membership --------------------------------------------------------------------------
    def _join(self) -> Scheduler:
        with self._lock:
            if self._scheduler is not None and self._scheduler.failure is not None:
                self.close(drain=0.0)  # it can do no more: begin again
            if self._profile is not None and not self._profile.store.is_same_file():
                self.close()  # another folder stands there by now, or none: begin anew
            if self._scheduler is None:
                self._profile, self._scheduler = self._joined()
                self._look_until = time.monotonic() + FIRST_LOOK
            return self._scheduler

    def _joined(self) -> tuple[Profile, Scheduler]:
        with contextlib.ExitStack() as undo:
            profile = Profile.open(self.link.tenure_profile, home=self.link.tenure_home)
            undo.callback(profile.close)
            scheduler = Scheduler(
                profile,
                role=role(),
                executes=True,
                app=APP,
                app_version=hermes_api.version(),
                functions=_Functions(self.carrying.run_now),
                on_nudge=self._nudged,
                default_hung=Hung.WARN,
            )
            undo.callback(scheduler.stop, 0.0, why="it could not start")
            scheduler.start()
            undo.pop_all()
        return profile, scheduler

    def follow(self, profile: Profile, *, whole: bool) -> Mirrored:
        """Bring the profile in line with Hermes' jobs. Raises what reading them raises."""
        mirror = Mirror(profile.store, self.home, by="hermes", timezone=hermes_api.zone_name())
        return mirror.follow(self._jobs, datetime.now(UTC), whole=whole)

    def _jobs(self) -> list[dict[str, Any]] | None:
        """None if there is no file of them. Older dashboards turn Hermes to another profile for a
        moment, in all their threads: Undetermined."""
        before, jobs = hermes_api.home_of_jobs(), hermes_api.load_jobs()
        if {before, hermes_api.home_of_jobs()} != {self.home}:
            raise Undetermined(
                "Hermes is at work on another profile at this moment",
                remedy="it looks again in a minute",
            )
        return jobs if jobs or self.home.jobs_file.exists() else None

    def _nudged(self, nudge: str) -> None:
        """Somebody asks for a tick: on a thread of its own, for a tick may wait for a lock; one
        at a time, and once more if it was asked for meanwhile."""
        if nudge != "tick" or not self.owns():
            return
        with self._asking:
            idle, self._asked = self._asked is None, True
        if idle:
            threading.Thread(
                target=self._tick_as_asked, name="tenure-hermes-tick", daemon=True
            ).start()

    def _tick_as_asked(self) -> None:
        while True:
            with self._asking:
                self._asked = False if self._asked else None
                if self._asked is None:
                    return
            try:
                with hermes_api.scoped(self.home):
                    self._tick(verbose=False, sync=False, **self.delivery(), **self._gate)
            except Exception:
                log.exception("the tick that was asked for")

    @property
    def profile(self) -> Profile | None:
        return self._profile

    @property
    def scheduler(self) -> Scheduler | None:
        return self._scheduler

    def due_now(self) -> list[str]:
        """The names of jobs that are due at this moment."""
        now = datetime.now(UTC)
        return [
            str(job.get("name") or job.get("id"))
            for job in self._jobs() or ()
            if job.get("enabled", True)
            and (at := instant_of(job.get("next_run_at"))) is not None
            and at <= now
        ]

    def close(self, drain: float = 1.0) -> None:
        """Hand over at once; leave when the runs under way have ended, or after ``drain`` s."""
        with self._lock:
            scheduler, self._scheduler = self._scheduler, None
            profile, self._profile = self._profile, None
        if scheduler is not None:
            scheduler.stop(drain, why="its process stops")
        if profile is not None:
            profile.close()

    def forget_in_child(self) -> None:
        """After a fork, in the child: ownership and threads stay the parent's."""
        self._lock = threading.RLock()
        scheduler, self._scheduler, self._profile = self._scheduler, None, None
        if scheduler is not None:
            scheduler.forget_in_child()


class _Functions(Mapping[str, Callable[..., Any]]):
    """Every ``hermes:<id>`` is carried here."""

    def __init__(self, run: Callable[[str], None]) -> None:
        self._run = run

    def __getitem__(self, target: str) -> Callable[..., Any]:
        app, _, id = target.partition(":")
        if app != APP or not id:
            raise KeyError(target)
        return lambda **_: self._run(id)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def role() -> str:
    """What this process calls itself. A name for people: no rule that protects stands on it."""
    if hermes_api.holds_gateway_lock():
        return GATEWAY
    return DESKTOP if os.environ.get("HERMES_DESKTOP") == "1" else "hermes"
