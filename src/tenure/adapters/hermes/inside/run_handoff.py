"""The handoff of claimed runs to Hermes. A run without a claim is refused.

tick      Hermes dispatches a job whose fire was claimed. The claim waits here until the run
          starts, and ends when Hermes records how the run ended.
request   Tenure hands over a claimed run. Hermes fires that job as it fires one itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tenure.adapters.hermes.inside import hermes_api
from tenure.adapters.hermes.inside.membership import ProfileMembership, TickerCall
from tenure.adapters.hermes.inside.refusals import Refusals
from tenure.domain.errors import RunFailed
from tenure.domain.run import RunState
from tenure.runtime.callables.runner import RunHandle
from tenure.runtime.tracebacks import reason_of

log = logging.getLogger("tenure.hermes")

TICK_WAIT_S = 30.0
"""How long a triggered run waits for the current tick, where a tick must carry it."""
CLEANUP_WAIT_S = 2.0
"""Hermes counts a run as running until its thread cleans up, just after the end."""

UNCLAIMED = "only the owner may run it, and only what it has claimed"

End = Callable[[RunState, str], None]
_Ends = list[tuple[RunState, str]]


@dataclass(frozen=True, slots=True)
class Originals:
    """Hermes' own functions, which are called once Tenure has said yes."""

    tick: Callable[..., int]
    body: Callable[..., Any]
    """``run_one_job``, or ``run_job`` where there is none."""
    whole: bool
    """Whether ``body`` is the whole of a run, with its delivery and its record."""


@dataclass(frozen=True, slots=True)
class HostContext:
    """What the parts of a host share."""

    membership: ProfileMembership
    refusals: Refusals
    ticker_call: Callable[[], TickerCall]


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
        self, context: HostContext, originals: Originals, skip_due_fire: Callable[[str], None]
    ) -> None:
        self._membership = context.membership
        self._refusals = context.refusals
        self._ticker_call = context.ticker_call
        self._originals = originals
        self._skip_due_fire = skip_due_fire
        self._waiting: dict[str, RunHandle] = {}
        """Claimed runs that have not started; by Hermes' job id."""
        self._fired: dict[str, End] = {}
        """Triggered runs that a tick must carry."""
        self._active: dict[str, _ActiveRun] = {}
        self.thread = ThreadState()

    def active(self) -> int:
        """The number of runs that are active or about to start."""
        return len(self._active) + len(self._waiting) + len(self._fired)

    # -- handed out by a tick ------------------------------------------------------------------
    def take(self, job_id: str, lent: RunHandle) -> bool:
        """Keep a claimed run until Hermes has dispatched it, and return whether it will.

        Hermes skips a job that it still counts as running: for a moment after a run has ended, and
        during a run without a claim.
        """
        if not _wait_for_cleanup(job_id):
            lent.end(RunState.NEVER_RAN, "Hermes is running it already")
            return False
        self._waiting[job_id] = lent
        self.thread.claimed += (job_id,)
        return True

    def settle(self) -> None:
        """After a tick, end the claims that Hermes did not dispatch to a thread of its own.

        Only claims of this tick: other threads may be between claim and dispatch.
        """
        claimed, self.thread.claimed = self.thread.claimed, ()
        running = hermes_api.running_job_ids()
        for id in claimed:
            if id not in running and (lent := self._waiting.pop(id, None)):
                lent.end(RunState.NEVER_RAN, "Hermes did not dispatch it")
        for id, run in list(self._active.items()):
            if run.result is not None and id not in running:
                self._finish(id, run, *run.result)

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
        lent = self._waiting.pop(id, None)
        if lent is None:
            return self._membership.link.refusal or UNCLAIMED
        return lent.end if lent.enter() else "its owner lost ownership before it began"

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
            self._finish(id, run, *(run.recorded or (False, "Hermes did not say how it ended")))
        else:
            run.result = bool(result[0]), str(result[3] or "")
        return result

    def part(
        self, original: Callable[..., Any], job: Mapping[str, Any],
        args: tuple[Any, ...], kwargs: dict[str, Any],
    ) -> Any:  # fmt: skip
        """The part of a run that executes the job, where a run has more parts."""
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
        if self._active.get(id) is run:
            del self._active[id]
        try:
            run.end(RunState.SUCCEEDED if success else RunState.FAILED, reason)
        except Exception:  # Hermes has run it, and goes on
            log.exception("job %s: its outcome could not be recorded", id)

    # -- on request --------------------------------------------------------------------------
    def run_now(self, job_id: str) -> None:
        """Carry out a triggered run, on a thread of Tenure's. Raises RunFailed."""
        ends: _Ends = []
        with hermes_api.scoped(self._membership.home):
            if self._ticker_call().draining():
                raise RunFailed("Hermes is about to stop, and starts no run")
            if not _wait_for_cleanup(job_id):
                raise RunFailed("Hermes is running it already")
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
            if not hermes_api.jobs_module().claim_job_for_fire(job_id):
                raise RunFailed("Hermes would not fire it: it is paused, or gone")
            job = _must_be_on(job_id)
            execution = hermes_api.create_execution(job_id, source="tenure")
            if execution is not None:
                job["execution_id"] = execution
            self._run(job, (), self._ticker_call().delivery(), _into(ends))

    def _fire_by_tick(self, job_id: str, ends: _Ends) -> None:
        """Where a run is a part of the tick: a tick that finds this job due, and no other."""
        thread, deadline = self.thread, time.monotonic() + TICK_WAIT_S
        self._fired[job_id] = _into(ends)
        thread.ticking, thread.only = True, job_id
        try:
            while True:
                self._originals.tick(verbose=False, sync=True, **self._ticker_call().delivery())
                if not ends:  # it ran, and Hermes recorded nothing: its result counts
                    self.settle()
                if ends:
                    return
                _must_be_on(job_id)
                if time.monotonic() >= deadline:
                    raise RunFailed("another tick was under way for too long")
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
