"""The runs that this process carries: each entered with a claim in hand, and not without.

tick      Hermes dispatches a job whose fire was claimed: the claim waits here until it is
          entered, and ends as Hermes writes down how the run ended
request   Tenure hands over a claimed run: Hermes fires that one job, as it fires one itself
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenure.adapters.hermes.inside import hermes_api
from tenure.domain.errors import RunFailed
from tenure.domain.run import RunState
from tenure.runtime.callables.run_handle import Lent
from tenure.runtime.tracebacks import reason_of

if TYPE_CHECKING:
    from tenure.adapters.hermes.inside.host import Seat

log = logging.getLogger("tenure.hermes")

TICK_LOCK = 30.0
"""Seconds that a triggered run waits for the tick at hand, where a tick must carry it."""
PUTTING_AWAY = 2.0
"""Seconds in which Hermes puts a run away that has ended: its thread does so just after."""

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


class Here(threading.local):
    """What the thread at hand is doing. Without slots: those are shared between threads."""

    ticking: bool = False
    only: str | None = None
    """A tick that is to run this job alone."""
    claimed: tuple[str, ...] = ()
    """The jobs whose fires this tick has claimed."""


@dataclass(slots=True)
class _Carried:
    """A run under way."""

    end: End
    thread: int
    said: tuple[bool, str] | None = None
    """How Hermes wrote it down."""
    result: tuple[bool, str] | None = None
    """How it ended, where Hermes delivers and writes it down only after that."""


class Carrying:
    """The runs of one seat. Thread-safe."""

    def __init__(self, seat: Seat, originals: Originals) -> None:
        self._seat = seat
        self._originals = originals
        self._lent: dict[str, Lent] = {}
        """Claimed, and not entered yet; by Hermes' job id."""
        self._fired: dict[str, End] = {}
        """Triggered runs that a tick is to carry."""
        self._carried: dict[str, _Carried] = {}
        self.here = Here()

    def active(self) -> int:
        """How many runs are under way or about to be."""
        return len(self._carried) + len(self._lent) + len(self._fired)

    # -- handed out by a tick ------------------------------------------------------------------
    def take(self, job_id: str, lent: Lent) -> bool:
        """Keep a claimed run until Hermes has dispatched it; whether it will.

        Hermes passes over a job that it still counts as running. That is so for a moment after a
        run has ended, and as long as a run goes on that nobody claimed.
        """
        if not _put_away(job_id):
            lent.end(RunState.NEVER_RAN, "Hermes is running it already")
            return False
        self._lent[job_id] = lent
        self.here.claimed += (job_id,)
        return True

    def settle(self) -> None:
        """After a tick: what Hermes did not pass on to a thread of its own will not run any more.

        Only what this very tick has claimed: others may be between claim and dispatch.
        """
        claimed, self.here.claimed = self.here.claimed, ()
        running = hermes_api.running_job_ids()
        for id in claimed:
            if id not in running and (lent := self._lent.pop(id, None)):
                lent.end(RunState.NEVER_RAN, "Hermes did not dispatch it")
        for id, carried in list(self._carried.items()):
            if carried.result is not None and id not in running:
                self._finish(id, carried, *carried.result)

    # -- a run -------------------------------------------------------------------------------
    def body(self, job: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One run, if it was claimed."""
        id = str(job["id"])
        end = self._enter(id)
        if isinstance(end, str):
            return self._seat.refusals.body(job, self._originals.whole, end)
        return self._carry(job, args, kwargs, end)

    def _enter(self, id: str) -> End | str:
        """How to say that it ended; a text, why it may not be entered."""
        fired = self._fired.get(id)
        if fired is not None:
            return fired
        lent = self._lent.pop(id, None)
        if lent is None:
            return self._seat.link.refusal or UNCLAIMED
        return lent.end if lent.enter() else "its owner was deposed before it began"

    def _carry(
        self, job: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any], end: End
    ) -> Any:
        """Hermes' own run, and how it ended."""
        id = str(job["id"])
        carried = self._carried[id] = _Carried(end, threading.get_ident())
        try:
            result = self._originals.body(job, *args, **kwargs)
        except BaseException as error:  # Hermes itself logs its traceback
            self._finish(id, carried, False, reason_of(error))
            raise
        if self._originals.whole:
            said = carried.said or (False, "Hermes did not say how it ended")
            self._finish(id, carried, *said)
        else:
            carried.result = bool(result[0]), str(result[3] or "")
        return result

    def part(
        self, original: Callable[..., Any], job: Mapping[str, Any],
        args: tuple[Any, ...], kwargs: dict[str, Any],
    ) -> Any:  # fmt: skip
        """The part of a run that does the job, where it is not the whole of it."""
        if str(job["id"]) in self._carried:
            return original(job, *args, **kwargs)
        return self._seat.refusals.body(job, False, UNCLAIMED)

    def marked(self, job_id: str, success: bool, error: object, delivery: object) -> None:
        """Hermes has written down how a run ended: this one, if it is carried here."""
        carried = self._carried.get(str(job_id))
        if carried is None:
            return
        told = str(error or ("" if success else "failed"))
        if delivery:
            told = f"{told}; " * bool(told) + f"it ran, but was not delivered: {delivery}"
        carried.said = bool(success), told
        # By another thread: Hermes is about to stop, and does not wait for this run.
        if carried.result is not None or carried.thread != threading.get_ident():
            self._finish(str(job_id), carried, *carried.said)

    def _finish(self, id: str, carried: _Carried, success: bool, told: str) -> None:
        if self._carried.get(id) is carried:
            del self._carried[id]
        try:
            carried.end(RunState.SUCCEEDED if success else RunState.FAILED, told)
        except Exception:  # Hermes has run it, and goes on
            log.exception("job %s: how it ended could not be kept", id)

    # -- on request --------------------------------------------------------------------------
    def run_now(self, job_id: str) -> None:
        """Carry a triggered run, on a thread of Tenure's. Raises RunFailed."""
        ends: _Ends = []
        with hermes_api.scoped(self._seat.home):
            if self._seat.draining():
                raise RunFailed("Hermes is about to stop, and takes up no work")
            if not _put_away(job_id):
                raise RunFailed("Hermes is running it already")
            _must_be_on(job_id)
            self._seat.dues.forgo(job_id)
            fire = self._fire if self._originals.whole else self._fire_by_tick
            fire(job_id, ends)
        state, told = ends[0]
        if state is not RunState.SUCCEEDED:
            raise RunFailed(told)
        if told:
            log.warning("job %s: %s", job_id, told)

    def _fire(self, job_id: str, ends: _Ends) -> None:
        """As Hermes fires one job: its own claim, its own record, its own delivery."""
        with hermes_api.marked_as_running(job_id):
            # A claim of Hermes' that still stands is of a process that died: Tenure's was given.
            hermes_api.drop_fire_claim(job_id)
            if not hermes_api.jobs_module().claim_job_for_fire(job_id):
                raise RunFailed("Hermes would not fire it: it is paused, or gone")
            job = _must_be_on(job_id)
            execution = hermes_api.create_execution(job_id, source="tenure")
            if execution is not None:
                job["execution_id"] = execution
            self._carry(job, (), self._seat.delivery(), _into(ends))

    def _fire_by_tick(self, job_id: str, ends: _Ends) -> None:
        """Where a run is a part of the tick: a tick that finds this job due, and no other."""
        here, until = self.here, time.monotonic() + TICK_LOCK
        self._fired[job_id] = _into(ends)
        here.ticking, here.only = True, job_id
        try:
            while True:
                self._originals.tick(verbose=False, sync=True, **self._seat.delivery())
                if not ends:  # it ran, and Hermes said nothing: what it returned counts
                    self.settle()
                if ends:
                    return
                _must_be_on(job_id)
                if time.monotonic() >= until:
                    raise RunFailed("another tick was under way for too long")
                time.sleep(0.1)
        finally:
            here.ticking, here.only = False, None
            self._fired.pop(job_id, None)


def _into(ends: _Ends) -> End:
    return lambda state, told: ends.append((state, told))


def _must_be_on(job_id: str) -> dict[str, Any]:
    """The job as Hermes has it. Raises RunFailed for one that is not to run, or gone."""
    job = hermes_api.find_job(job_id)
    if job is None:
        raise RunFailed("Hermes has removed it")
    if not job.get("enabled", True) or job.get("state") == "paused":
        raise RunFailed("it is paused in Hermes, or has run for the last time")
    return job


def _put_away(job_id: str) -> bool:
    """Whether Hermes does not count the job as running (any more)."""
    until = time.monotonic() + PUTTING_AWAY
    while job_id in hermes_api.running_job_ids():
        if time.monotonic() >= until:
            return False
        time.sleep(0.005)
    return True
