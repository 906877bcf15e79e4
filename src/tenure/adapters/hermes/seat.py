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
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tenure.adapters.hermes import inside
from tenure.adapters.hermes.fence import assert_fence, stands
from tenure.adapters.hermes.fires import announced, instant_of
from tenure.adapters.hermes.link import Link
from tenure.adapters.hermes.mirror import Mirror, Mirrored
from tenure.adapters.hermes.refusals import Refusals
from tenure.domain.announced import Announced
from tenure.domain.errors import Refused, RunFailed, TenureError
from tenure.domain.request import Ask, Request, Requester
from tenure.domain.run import RunState
from tenure.domain.settings import Hung
from tenure.runtime.callables import Lent
from tenure.runtime.client.asking import Wish, ask
from tenure.runtime.profile import Profile
from tenure.runtime.scheduler import Scheduler

log = logging.getLogger("tenure.hermes")

FIRST_LOOK = 3.0
"""Seconds that the first tick waits for the decision who owns; the next one comes in a minute."""
TICK_LOCK = 30.0
"""Seconds that a triggered run waits for the tick at hand, where a tick must carry it."""
APP = "hermes"


@dataclass(frozen=True, slots=True)
class Originals:
    """Hermes' own functions, which are called once Tenure has said yes."""

    tick: Callable[..., int]
    body: Callable[..., Any]
    """``run_one_job``, or ``run_job`` where there is none."""
    whole: bool
    """Whether ``body`` is the whole of a run, with its delivery and its record."""
    trigger: Callable[..., Any]


@dataclass
class _Thread(threading.local):
    """What the thread at hand is doing. Not with slots: those are shared between threads."""

    ticking: bool = False
    only: str | None = None
    """A tick that is to run this job alone."""
    end: tuple[bool, str] | None = None
    """How Hermes marked the run that this thread carries."""


class Seat:
    """Thread-safe. Made for one adoption; when that changes, a new one is made."""

    def __init__(self, link: Link, originals: Originals) -> None:
        self.link = link
        self.home = link.home
        self._originals = originals
        self._lock = threading.RLock()
        self._here = _Thread()
        self._profile: Profile | None = None
        self._scheduler: Scheduler | None = None
        self._mirrored = Mirrored({}, {})
        self._lent: dict[str, Lent] = {}
        self._ends: dict[str, tuple[RunState, str]] = {}
        """Triggered runs that a tick carries, and how they ended."""
        self._adapters: Any = None
        self._loop: Any = None
        self.refusals = Refusals(self)

    # -- ticks -------------------------------------------------------------------------------
    def tick(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """A tick of this process: Hermes' own if it owns, else refused."""
        why = self.link.refusal or self._why_not_owner()
        if why:
            return self.refusals.tick(why, args, kwargs)
        self._adapters = kwargs.get("adapters", args[1] if len(args) > 1 else None)
        self._loop = kwargs.get("loop", args[2] if len(args) > 2 else None)
        return self._tick(*args, **kwargs)

    def _tick(self, *args: Any, **kwargs: Any) -> int:
        told = assert_fence(self.home)
        if told is not None:
            log.warning("%s", told)
            self.refusals.fence(told)
        try:
            self.follow()
        except Exception as error:  # noqa: BLE001  a damaged jobs.json or sidecar: nothing may run
            log.error("the jobs cannot be followed, nothing is run: %s", error)
            return 0
        self._here.ticking = True
        try:
            return self._originals.tick(*args, **kwargs)
        finally:
            self._here.ticking = False
            self._settle_undispatched()

    def _why_not_owner(self) -> str:
        """Empty if this process owns. Joins at the first call."""
        try:
            scheduler = self._join()
        except TenureError as error:
            return f"{error.text} ({error.remedy})" if error.remedy else error.text
        until = time.monotonic() + FIRST_LOOK
        while scheduler.keeper.authority is None:
            said = scheduler.member.said
            if said is not None and str(said[0]) != "candidate":
                return said[1]
            if time.monotonic() >= until:
                return said[1] if said is not None else "it is not decided yet who owns"
            time.sleep(0.02)
        return ""

    def lock_paths(self, folder: Any, path: Any) -> tuple[Any, Any]:
        """Where a tick is to lock: the owner's own file beside the fence, else the fence.

        Where there is no fence and none can be put up, Hermes' own lock: it is all that is left
        between this process and those that do not know of Tenure.
        """
        if self._here.ticking and stands(self.home):
            return folder, self.home.tenure / "tick.lock"
        return folder, path

    # -- what is due ---------------------------------------------------------------------------
    def due(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of the jobs that Hermes finds due, those whose fire this owner has claimed."""
        if not self._here.ticking:
            return found
        if self._here.only is not None:
            return [job for job in found if job.get("id") == self._here.only]
        asked: dict[str, Announced] = {}
        jobs: dict[str, dict[str, Any]] = {}
        for job in found:
            mirrored = self._mirrored.jobs.get(str(job["id"]))
            fire = self._announced(job)
            if mirrored is None or fire is None:
                problem = self._mirrored.problems.get(str(job["id"]), "it names no instant")
                log.error("job %s is not run: %s", job.get("name"), problem)
                continue
            asked[mirrored.id], jobs[mirrored.id] = fire, job
        return self._claim(asked, jobs)

    def _claim(
        self, asked: Mapping[str, Announced], jobs: Mapping[str, dict[str, Any]]
    ) -> list[dict[str, Any]]:
        if not asked or self._scheduler is None:
            return []
        try:
            answers = self._scheduler.announcing.claim(asked)
        except TenureError as error:
            log.error("nothing can be claimed, nothing is run: %s", error)
            return []
        taken = []
        for id, answer in (answers or {}).items():
            job = jobs[id]
            if answer.lent is not None:
                self._lent[str(job["id"])] = answer.lent
                taken.append(job)
            else:
                log.info("job %s is not run: %s", job.get("name"), answer.why)
                inside.advance(str(job["id"]))
        return taken

    def _settle_undispatched(self) -> None:
        """What Hermes did not pass on to a thread of its own will not run any more."""
        for id in list(self._lent):
            if id not in inside.running_job_ids() and (lent := self._lent.pop(id, None)):
                lent.end(RunState.NEVER_RAN, "Hermes did not dispatch it")

    # -- runs --------------------------------------------------------------------------------
    def body(self, job: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One run, if it was claimed."""
        id = str(job["id"])
        if id in self._ends:
            state, reason, result = self._carry(job, args, kwargs)
            self._ends[id] = (state, reason)
            return result
        lent = self._lent.pop(id, None)
        if lent is None:
            return self.refusals.body(job, self._originals.whole)
        if not lent.enter():
            why = "its owner was deposed before it began"
            return self.refusals.body(job, self._originals.whole, why)
        try:
            state, reason, result = self._carry(job, args, kwargs)
        except BaseException:
            lent.end(RunState.FAILED, traceback.format_exc())
            raise
        lent.end(state, reason)
        return result

    def _carry(
        self, job: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[RunState, str, Any]:
        """Hermes' own run, and how it ended."""
        self._here.end = None
        result = self._originals.body(job, *args, **kwargs)
        if not self._originals.whole:
            success, error = bool(result[0]), str(result[3] or "")
        else:
            success, error = self._here.end or (False, "Hermes did not say how it ended")
        return RunState.SUCCEEDED if success else RunState.FAILED, error, result

    def marked(self, success: bool, error: str | None, delivery: str | None) -> None:
        """Hermes writes down how the run of this thread ended."""
        told = error or ("" if success else "failed")
        if delivery:
            told = f"{told}; " * bool(told) + f"it ran, but was not delivered: {delivery}"
        self._here.end = (success, told)

    def run_now(self, job_id: str) -> None:
        """Carry a triggered run, on a thread of Tenure's. Raises RunFailed."""
        with inside.scoped(self.home):
            fire = self._fire if self._originals.whole else self._fire_by_tick
            state, reason = fire(job_id)
        if state is not RunState.SUCCEEDED:
            raise RunFailed(reason)
        if reason:
            log.warning("job %s: %s", job_id, reason)

    def _fire(self, job_id: str) -> tuple[RunState, str]:
        """As Hermes fires one job: its own claim, its own record, its own delivery."""
        jobs = inside.jobs_module()
        with inside.marked_as_running(job_id) as free:
            if not free:
                raise RunFailed("Hermes is running it already")
            self._forgo(job_id)
            if not jobs.claim_job_for_fire(job_id):
                raise RunFailed("Hermes would not fire it: it is paused, gone, or being fired")
            job = dict(jobs.get_job(job_id) or {})
            if not job:
                raise RunFailed("Hermes has removed it")
            execution = inside.create_execution(job_id, source="tenure")
            if execution is not None:
                job["execution_id"] = execution
            state, reason, _ = self._carry(job, (), self._delivery())
        return state, reason

    def _forgo(self, job_id: str) -> None:
        """A fire that is due already gives way to the triggered run: Hermes moves on to the next,
        and it is written down as skipped, since a run of the job is active."""
        mirrored, job = self._mirrored.jobs.get(job_id), inside.find_job(job_id)
        fire = None if job is None else self._announced(job)
        if mirrored is not None and fire is not None and self._scheduler is not None:
            self._scheduler.announcing.claim({mirrored.id: fire})

    def _announced(self, job: Mapping[str, Any]) -> Announced | None:
        return announced(job, datetime.now(UTC), inside.zone(), inside.croniter())

    def _fire_by_tick(self, job_id: str) -> tuple[RunState, str]:
        """Where a run is a part of the tick: a tick that finds this job due, and runs it alone."""
        self._ends[job_id] = (RunState.NEVER_RAN, "Hermes did not dispatch it")
        self._originals.trigger(job_id)
        self._here.ticking, self._here.only = True, job_id
        until = time.monotonic() + TICK_LOCK
        try:
            while not self._originals.tick(verbose=False, sync=True, **self._delivery()):
                if time.monotonic() >= until:
                    raise RunFailed("another tick was under way for too long")
                time.sleep(0.1)
        finally:
            self._here.ticking, self._here.only = False, None
            end = self._ends.pop(job_id)
        return end

    def _delivery(self) -> dict[str, Any]:
        """The live adapters of the gateway, as its own ticker was given them."""
        return {"adapters": self._adapters, "loop": self._loop}

    # -- requests ----------------------------------------------------------------------------
    def ask(self, job: Mapping[str, Any], via: str) -> Request:
        """Ask the owner to run a job now. Raises Refused and what else asking raises."""
        if self.link.refusal:
            raise Refused(self.link.refusal, remedy="`tenure hermes status` says more")
        with self._opened() as profile:
            mirrored = self._mirror(profile).follow(
                inside.load_jobs(), datetime.now(UTC), inside.zone(), whole=False
            )
            id = str(job["id"])
            mine = mirrored.jobs.get(id)
            if mine is None:
                raise Refused(mirrored.problems.get(id, "the job is gone"))
            return ask(profile, Wish(kind=Ask.TRIGGER, job=mine.id), _me(via))

    def who_runs(self, request: Request) -> str:
        """An accepted request in words."""
        with self._opened() as profile:
            if request.run is None:
                return "queued for the owner"
            run = profile.store.run(request.run)
            pid = profile.store.process(run.process).evidence.identity.pid
            return f"queued for the gateway (pid {pid}, term {run.term}): run {run.id}"

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Profile]:
        with self._lock:
            mine = self._profile
        if mine is not None:
            yield mine
            return
        profile = Profile.open(self.link.tenure_profile, home=self.link.tenure_home)
        try:
            yield profile
        finally:
            profile.close()

    # -- membership --------------------------------------------------------------------------
    def _join(self) -> Scheduler:
        with self._lock:
            if self._scheduler is None:
                profile = Profile.open(self.link.tenure_profile, home=self.link.tenure_home)
                scheduler = Scheduler(
                    profile,
                    role=role(),
                    executes=True,
                    app=APP,
                    app_version=inside.version(),
                    functions=_Functions(self),
                    on_nudge=self._nudged,
                    default_hung=Hung.WARN,
                )
                try:
                    scheduler.start()
                except BaseException:
                    scheduler.stop(0.0, why="it could not start")
                    profile.close()
                    raise
                self._profile, self._scheduler = profile, scheduler
            return self._scheduler

    def follow(self) -> None:
        """Bring the profile in line with Hermes' jobs. Raises what reading them raises."""
        assert self._profile is not None
        self._mirrored = self._mirror(self._profile).follow(
            inside.load_jobs(), datetime.now(UTC), inside.zone()
        )
        for id, problem in self._mirrored.problems.items():
            log.warning("job %s cannot be mirrored: %s", id, problem)

    def _mirror(self, profile: Profile) -> Mirror:
        return Mirror(profile.store, self.home, by="hermes", timezone=inside.zone_name())

    def _nudged(self, nudge: str) -> None:
        """Somebody asks for a tick: on a thread of its own, for a tick may wait for a lock."""
        if nudge == "tick" and self._scheduler is not None and self._scheduler.keeper.authority:
            threading.Thread(
                target=self._tick,
                kwargs={"verbose": False, "sync": False, **self._delivery()},
                name="tenure-hermes-tick",
                daemon=True,
            ).start()

    @property
    def profile(self) -> Profile | None:
        return self._profile

    @property
    def scheduler(self) -> Scheduler | None:
        return self._scheduler

    def due_now(self) -> list[str]:
        """The names of jobs that are due at this moment."""
        now, zone = datetime.now(UTC), inside.zone()
        return [
            str(job.get("name") or job.get("id"))
            for job in inside.load_jobs()
            if job.get("enabled", True)
            and (at := instant_of(job.get("next_run_at"), zone)) is not None
            and at <= now
        ]

    def close(self, drain: float = 1.0) -> None:
        """Hand over and leave."""
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

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    def __getitem__(self, target: str) -> Callable[..., Any]:
        app, _, id = target.partition(":")
        if app != APP or not id:
            raise KeyError(target)
        return lambda **_: self._seat.run_now(id)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def role() -> str:
    """What this process calls itself. A name for people: no rule that protects stands on it."""
    if inside.holds_gateway_lock():
        return "hermes gateway"
    if os.environ.get("HERMES_DESKTOP") == "1":
        return "hermes desktop backend"
    return "hermes"


def _me(via: str) -> Requester:
    uid = getattr(os, "getuid", lambda: None)()
    return Requester(pid=os.getpid(), uid=uid, executable=sys.executable, via=via)
