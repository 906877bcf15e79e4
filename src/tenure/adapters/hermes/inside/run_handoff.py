"""The handoff of claimed runs to Hermes. A run without a claim is refused.

tick      Of the jobs that Hermes finds due, it gets those whose fire this owner has claimed. A
          claim waits here until the run starts, and ends when Hermes records how the run ended.
request   Tenure hands over a claimed run. Hermes fires that job as it fires one itself.

Hermes itself decides not to run some fires: older versions move a recurring job that is later than
its grace on to its next fire without a record; newer ones do it after the zone was changed. No
process claims those fires, but the record must have them (C5): a job that was due before Hermes
looked, and is neither found due nor still due, was skipped by Hermes, and is recorded as missed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tenure.adapters.hermes.facts.jobs_file import instant_of
from tenure.adapters.hermes.inside import hermes_api
from tenure.adapters.hermes.inside.fires import announced, due_at
from tenure.adapters.hermes.inside.hermes_api import TickerCall
from tenure.adapters.hermes.inside.membership import ProfileMembership
from tenure.adapters.hermes.inside.refusals import Refusals
from tenure.domain.errors import RunFailed
from tenure.domain.omission import FireRange, OmissionKind
from tenure.domain.planning.external import Announced
from tenure.domain.planning.plan import Plan
from tenure.domain.run import RunState
from tenure.runtime.callables.runner import RunHandle
from tenure.runtime.dispatch.turn import Mandate
from tenure.runtime.tracebacks import reason_of
from tenure.store.contract import Store

log = logging.getLogger("tenure.hermes")

TICK_WAIT_S = 30.0
"""How long a triggered run waits for the current tick, where a tick must carry it."""
CLEANUP_WAIT_S = 2.0
"""Hermes counts a run as running until its thread cleans up, just after the end."""

UNCLAIMED = "only the owner may run it, and only what it has claimed"
SKIPPED_BY_HERMES = "Hermes skipped it: it was too late"

End = Callable[[RunState, str], None]
_Ends = list[tuple[RunState, str]]
HermesJob = Mapping[str, Any]


class ThreadState(threading.local):
    """What the current thread does. Without slots: threads would share those."""

    ticking: bool = False
    only: str | None = None
    """The one job that this tick must run."""
    claimed: tuple[str, ...] = ()
    """The jobs whose fires this tick has claimed."""


@dataclass(slots=True)
class _ActiveRun:
    """A run that Hermes executes."""

    end: End
    thread: int
    recorded: tuple[bool, str] | None = None
    """The outcome that Hermes recorded."""
    result: tuple[bool, str] | None = None
    """The outcome, where Hermes delivers and records it only later."""


class RunHandoff:
    """The runs of one host. Thread-safe."""

    def __init__(
        self,
        membership: ProfileMembership,
        refusals: Refusals,
        originals: hermes_api.Originals,
    ) -> None:
        self.ticker_call = TickerCall()
        self.thread = ThreadState()
        self._membership = membership
        self._refusals = refusals
        self._originals = originals
        self._waiting: dict[str, RunHandle] = {}
        """Claimed runs that have not started; by Hermes' job id."""
        self._fired: dict[str, End] = {}
        """Triggered runs that a tick must carry."""
        self._active: dict[str, _ActiveRun] = {}

    def active(self) -> int:
        """The number of runs that are active or about to start."""
        return len(self._active) + len(self._waiting) + len(self._fired)

    # -- the due jobs of a tick ----------------------------------------------------------------
    def claimed(self, find: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """The jobs that Hermes finds due and that this owner has claimed."""
        if not self.thread.ticking:
            return []
        if self.thread.only is not None:
            job = hermes_api.find_job(self.thread.only)
            return [] if job is None else [job]
        fires: dict[str, Announced] = {}
        jobs: dict[str, dict[str, Any]] = {}
        before, due = due_at(hermes_api.load_jobs(), datetime.now(UTC)), find()
        self._record_skipped(before, {str(job["id"]) for job in due})
        mirrored = self._membership.mirrored
        for job in due:
            id = str(job["id"])
            ours, fire = mirrored.jobs.get(id), announced_fire(job)
            if ours is None or fire is None:
                self._leave_due(job, mirrored.problems.get(id, "it is new, or has no next run"))
            else:
                fires[ours.id], jobs[ours.id] = fire, job
        return self._claim(fires, jobs) if fires else []

    def _claim(
        self, fires: Mapping[str, Announced], jobs: Mapping[str, dict[str, Any]]
    ) -> list[dict[str, Any]]:
        scheduler, why = self._membership.scheduler, "this process is not the owner any more"
        try:
            answers = None if scheduler is None else scheduler.external_fires.claim(fires)
        except Exception as error:  # noqa: BLE001  a store that is blocked, a disk that is full
            answers, why = None, str(error)
        if answers is None:
            self._refusals.log_change("claim", f"no run can be claimed, so no job runs: {why}")
            hermes_api.give_back(list(jobs.values()))
            return []
        self._refusals.log_change("claim", "")
        taken = []
        for ours, answer in answers.items():
            job, id = jobs[ours], str(jobs[ours]["id"])
            if answer.settled:
                self._refusals.log_change(id, "")
            if answer.handle is not None and self.take(id, answer.handle):
                taken.append(job)
            elif answer.settled:
                log.info("job %s is not run: %s", job.get("name"), answer.why)
                hermes_api.advance(job["id"])
            else:
                self._leave_due(job, answer.why)
        return taken

    def take(self, job_id: str, handle: RunHandle) -> bool:
        """Keep a claimed run until Hermes has dispatched it, and return whether it will."""
        # Hermes skips a job that it still counts as running: for a moment after a run has ended,
        # and during a run without a claim.
        if not _wait_for_cleanup(job_id):
            handle.end(RunState.NEVER_RAN, "Hermes is already running it")
            return False
        self._waiting[job_id] = handle
        self.thread.claimed += (job_id,)
        return True

    def _leave_due(self, job: dict[str, Any], why: str) -> None:
        # The fire has no record yet, so the next tick must find the job due again.
        self._refusals.log_change(str(job["id"]), f"job {job.get('name')} is not run: {why}")
        hermes_api.give_back([job])

    def settle(self) -> None:
        """After a tick, end the claims that Hermes did not dispatch to a thread of its own."""
        # Only claims of this tick: other threads may be between claim and dispatch.
        claimed, self.thread.claimed = self.thread.claimed, ()
        running = hermes_api.running_job_ids()
        for id in claimed:
            if id not in running and (handle := self._waiting.pop(id, None)):
                handle.end(RunState.NEVER_RAN, "Hermes did not dispatch it")
        for id, run in list(self._active.items()):
            if run.result is not None and id not in running:
                self._finish(id, run, *run.result)

    # -- fires that Hermes skipped -------------------------------------------------------------
    def _record_skipped(self, before: Mapping[str, HermesJob], due: Collection[str]) -> None:
        """A fire that cannot be recorded is made due again, for the next tick."""
        left = {id: job for id, job in before.items() if id not in due}
        if not left:
            return
        now = datetime.now(UTC)
        for job in hermes_api.load_jobs():
            was = left.get(str(job.get("id")))
            ours = self._membership.mirrored.jobs.get(str(job.get("id")))
            if was is None or ours is None or not _moved_on(was, job, now):
                continue
            fire = announced_fire(was, now)
            if fire is not None and not self._record_missed(ours.id, fire):
                hermes_api.give_back([was])

    def _record_missed(self, id: str, fire: Announced) -> bool:
        scheduler, profile = self._membership.scheduler, self._membership.profile
        if scheduler is None or profile is None:
            return False

        def write(mandate: Mandate) -> bool:
            plan = _missed(profile.store, id, fire)
            if plan is not None:
                profile.store.claim(mandate.authority, [plan], datetime.now(UTC))
            return True

        try:
            return bool(scheduler.dispatcher.under_mandate(write))
        except Exception as error:  # noqa: BLE001  a store that is blocked: at the next tick
            self._refusals.log_change(
                "skipped fires", f"runs that Hermes skipped cannot be recorded: {error}"
            )
            return False

    def _skip_due_fire(self, job_id: str) -> None:
        """Let a triggered run replace a fire that is already due."""
        # Hermes moves on to the next fire, and this one is recorded as skipped, since a run of the
        # job is active.
        membership = self._membership
        scheduler, profile = membership.scheduler, membership.profile
        job = hermes_api.find_job(job_id)
        fire = None if job is None else announced_fire(job)
        if fire is None or scheduler is None or profile is None:
            return
        ours = membership.mirrored.jobs.get(job_id)
        if ours is None:  # it is newer than the last tick
            ours = membership.follow(profile, whole=False).jobs.get(job_id)
        if ours is not None:
            scheduler.external_fires.claim({ours.id: fire})

    # -- a run -------------------------------------------------------------------------------
    def body(self, job: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One run, if it was claimed."""
        end = self._start(str(job["id"]))
        if isinstance(end, str):
            return self._refusals.body(job, self._originals.whole, end)
        return self._run(job, args, kwargs, end)

    def _start(self, id: str) -> End | str:
        """The function that reports its end; or, as text, why it may not start."""
        fired = self._fired.get(id)
        if fired is not None:
            return fired
        handle = self._waiting.pop(id, None)
        if handle is None:
            return self._membership.link.refusal or UNCLAIMED
        return handle.end if handle.enter() else "its owner lost ownership before it began"

    def _run(
        self, job: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any], end: End
    ) -> Any:
        """Hermes' own run; its outcome is recorded."""
        id = str(job["id"])
        run = self._active[id] = _ActiveRun(end, threading.get_ident())
        try:
            result = self._originals.body(job, *args, **kwargs)
        except BaseException as error:  # Hermes itself logs its traceback
            self._finish(id, run, False, reason_of(error))
            raise
        if self._originals.whole:
            self._finish(id, run, *(run.recorded or (False, "Hermes did not report how it ended")))
        else:
            run.result = bool(result[0]), str(result[3] or "")
        return result

    def part(
        self, original: Callable[..., Any], job: Mapping[str, Any],
        args: tuple[Any, ...], kwargs: dict[str, Any],
    ) -> Any:  # fmt: skip
        """``run_job``: a whole run, or the part of one that executes the job."""
        if not self._originals.whole:
            return self.body(job, args, kwargs)
        if str(job["id"]) in self._active:
            return original(job, *args, **kwargs)
        return self._refusals.body(job, False, UNCLAIMED)

    def marked(self, job_id: str, success: bool, error: object, delivery: object) -> None:
        """Hermes has recorded how a run ended."""
        run = self._active.get(str(job_id))
        if run is None:
            return
        reason = str(error or ("" if success else "failed"))
        if delivery:
            reason = f"{reason}; " * bool(reason) + f"it ran, but was not delivered: {delivery}"
        run.recorded = bool(success), reason
        # Another thread records it when Hermes is about to stop: then Hermes does not wait for it.
        if run.result is not None or run.thread != threading.get_ident():
            self._finish(str(job_id), run, *run.recorded)

    def _finish(self, id: str, run: _ActiveRun, success: bool, reason: str) -> None:
        # Hermes may have started the job again: only this run's own entry goes.
        if self._active.get(id) is run:
            del self._active[id]
        try:
            run.end(RunState.SUCCEEDED if success else RunState.FAILED, reason)
        except Exception:  # Hermes has run the job all the same
            log.exception("job %s: its outcome could not be recorded", id)

    # -- on request --------------------------------------------------------------------------
    def run_now(self, job_id: str) -> None:
        """Carry out a triggered run, on a thread of Tenure's. Raises RunFailed."""
        ends: _Ends = []
        with hermes_api.scoped(self._membership.home):
            if self.ticker_call.draining():
                raise RunFailed("Hermes is shutting down and starts no run")
            if not _wait_for_cleanup(job_id):
                raise RunFailed("Hermes is already running it")
            _must_be_on(job_id)
            self._skip_due_fire(job_id)
            fire = self._fire if self._originals.whole else self._fire_by_tick
            fire(job_id, ends)
        state, reason = ends[0]
        if state is not RunState.SUCCEEDED:
            raise RunFailed(reason)
        if reason:
            log.warning("job %s: %s", job_id, reason)

    def _fire(self, job_id: str, ends: _Ends) -> None:
        """As Hermes fires one job: its own claim, its own record, its own delivery."""
        with hermes_api.marked_as_running(job_id):
            # Tenure gave this run its claim, so an older one of Hermes' is of a process that died.
            hermes_api.drop_fire_claim(job_id)
            if not hermes_api.claim_for_fire(job_id):
                raise RunFailed("Hermes does not run it: it is paused, or was removed")
            job = _must_be_on(job_id)
            execution = hermes_api.create_execution(job_id, source="tenure")
            if execution is not None:
                job["execution_id"] = execution
            self._run(job, (), self.ticker_call.delivery(), _into(ends))

    def _fire_by_tick(self, job_id: str, ends: _Ends) -> None:
        """Where a run is a part of the tick: a tick that finds this job due, and no other."""
        thread, deadline = self.thread, time.monotonic() + TICK_WAIT_S
        self._fired[job_id] = _into(ends)
        thread.ticking, thread.only = True, job_id
        try:
            while True:
                self._originals.tick(verbose=False, sync=True, **self.ticker_call.delivery())
                if not ends:  # it ran, and Hermes recorded nothing: its result counts
                    self.settle()
                if ends:
                    return
                _must_be_on(job_id)
                if time.monotonic() >= deadline:
                    raise RunFailed("another tick took too long")
                time.sleep(0.1)
        finally:
            thread.ticking, thread.only = False, None
            self._fired.pop(job_id, None)


def _into(ends: _Ends) -> End:
    return lambda state, reason: ends.append((state, reason))


def _must_be_on(job_id: str) -> dict[str, Any]:
    """The job as Hermes has it. Raises RunFailed if it is off or removed."""
    job = hermes_api.find_job(job_id)
    if job is None:
        raise RunFailed("Hermes has removed it")
    if not job.get("enabled", True) or job.get("state") == "paused":
        raise RunFailed("it is paused in Hermes, or has run for the last time")
    return job


def _wait_for_cleanup(job_id: str) -> bool:
    """Whether Hermes no longer counts the job as running."""
    deadline = time.monotonic() + CLEANUP_WAIT_S
    while job_id in hermes_api.running_job_ids():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.005)
    return True


def announced_fire(job: HermesJob, now: datetime | None = None) -> Announced | None:
    """The latest fire of a due job by Hermes' own arithmetic. ``now`` is UTC."""
    return announced(job, now or datetime.now(UTC), hermes_api.zone(), hermes_api.croniter())


def _moved_on(was: HermesJob, job: HermesJob, now: datetime) -> bool:
    """Whether Hermes moved it to a later fire, and not an edit or a run."""
    kept = ("schedule", "enabled", "last_run_at", "fire_claim", "run_claim")
    at = instant_of(job.get("next_run_at"))
    return at is not None and at > now and all(was.get(key) == job.get(key) for key in kept)


def _missed(store: Store, id: str, fire: Announced) -> Plan | None:
    job = store.job(id)
    if fire.fire <= job.watermark:
        return None
    first, _, count = fire.since(job.watermark).passed or (fire.fire, fire.fire, 0)
    missed = FireRange(
        kind=OmissionKind.MISSED,
        first=first,
        last=fire.fire,
        count=count + 1,
        reason=SKIPPED_BY_HERMES,
    )
    return Plan(
        job=job.id,
        revision=job.revision,
        was=job.watermark,
        watermark=fire.fire,
        due_at=job.due_at,
        omissions=(missed,),
        waiting=job.waiting,
    )
