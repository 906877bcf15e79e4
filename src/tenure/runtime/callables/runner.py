"""Runs of Python callables: a bounded pool of threads, and one event loop for coroutines.

A callable has no gate: its claim is durable before it is entered, and whether it was entered
cannot be disproved afterwards. A process that was frozen between claim and entry may have been
deposed meanwhile, so a claim that is older than :data:`FRESH` of continuous time is checked
against the store again before the function is entered.

A coroutine that runs out of time is cancelled. A thread cannot be: its run is recorded as timed
out (or cancelled), and the thread is said to run on. Another thread takes its place meanwhile, so
that jobs that hang do not stop the others; but only for as many as there are slots, from where on
each that hangs keeps a slot. What returns at last makes the pool smaller again. None blocks exit.

A run can also be *lent* to another scheduler in this process, which carries it in a thread of its
own: it takes no slot here, and the borrower says when it is entered and how it ended.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenure.domain.job import Call, Runner
from tenure.domain.ownership import Authority
from tenure.domain.run import Result, Run, RunState
from tenure.host.clocks import Clock
from tenure.runtime.callables.capture import Capture, captured
from tenure.runtime.callables.context import asks_for_context, context_of
from tenure.runtime.callables.run_handle import ActiveCall, RunHandle
from tenure.runtime.callables.thread_pool import ThreadPool
from tenure.runtime.tracebacks import one_line, outcome_of, reason_of

if TYPE_CHECKING:
    import asyncio  # loaded with the first coroutine: most programs have none

log = logging.getLogger("tenure.callables")

FRESH = 1.0
"""Seconds within which a claim is taken for current without asking the store again."""
NOTED_AFTER = timedelta(seconds=0.5)
"""A function that runs for so long is recorded as running; a shorter one only when it ends."""
COROUTINES = 256
"""How many coroutines may be active at once."""
TIDYING = 5.0
"""Seconds that a cancelled coroutine has to tidy up, before its run is recorded as ended anyway."""
BLOCKED_AFTER = 5.0
"""Seconds after which a coroutine that could not begin is told of."""

Report = Callable[[Result], None]


class CallableRunner:
    """Thread-safe. ``functions`` maps a target (``app:name``) to what it calls."""

    def __init__(
        self,
        functions: Mapping[str, Callable[..., Any]],
        *,
        process: str,
        slots: int,
        clock: Clock,
        report: Report,
        still_owner: Callable[[Authority], bool],
        logs: Path | None = None,
        log_size: int = 10_000_000,
        host_loop: Callable[[], asyncio.AbstractEventLoop | None] = lambda: None,
    ) -> None:
        """``logs``: the folder of the runs' output. ``host_loop``: where coroutines are to run;
        None for a loop of their own."""
        self._functions = functions
        self._process = process
        self._slots = slots
        self._clock = clock
        self._report = report
        self._still_owner = still_owner
        self._logs = logs
        self._log_size = log_size
        self._host_loop = host_loop
        self._active: dict[str, ActiveCall] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPool(self._carry, allowed=self._allowed, name="tenure-job")
        self._loop: asyncio.AbstractEventLoop | None = None

    def knows(self, target: str) -> bool:
        return target in self._functions

    def room(self, runner: Runner) -> int:
        """How many more runs of this kind may be claimed now."""
        with self._lock:
            used = sum(1 for a in self._active.values() if a.runner is runner and not a.is_external)
        return max(0, (COROUTINES if runner is Runner.ASYNC else self._allowed()) - used)

    def exhausted(self) -> bool:
        """Whether every thread there may be runs on after its run has ended: nothing that needs
        one is run here any more."""
        return self._running_on() >= 2 * self._slots

    def long_running(self, now: datetime) -> list[tuple[str, int, datetime]]:
        """Runs entered a while ago: run, attempt, instant; until :meth:`note_running` says that
        they are recorded. Most are over before."""
        with self._lock:
            found = [
                (a, a.entered)
                for a in self._active.values()
                if a.entered is not None and not a.noted and now - a.entered > NOTED_AFTER
            ]
        return [(a.run.id, a.run.attempt, entered) for a, entered in found]

    def note_running(self, runs: Iterable[tuple[str, int, datetime]]) -> None:
        """These are recorded as running: it is committed."""
        with self._lock:
            for run_id, _, _ in runs:
                if (active := self._active.get(run_id)) is not None:
                    active.noted = True

    def runs(self) -> frozenset[str]:
        """The runs that are in its hands."""
        with self._lock:
            return frozenset(self._active)

    def active(self) -> int:
        """How many runs are not reported yet."""
        with self._lock:
            return sum(1 for a in self._active.values() if not a.reported)

    def submit(
        self, run: Run, call: Call, timeout: timedelta | None, authority: Authority, claimed: float
    ) -> None:
        """Enter a claimed run's function; its end is reported."""
        function = self._functions.get(call.target)
        if function is None:
            self._report(
                self._result(run, RunState.FAILED, f"this owner does not carry {call.target}")
            )
            return
        active = ActiveCall(
            run=run,
            runner=call.runner,
            authority=authority,
            claimed=claimed,
            submitted=self._clock.awake(),
            function=function,
            args=call.args,
            timeout=timeout,
        )
        with self._lock:
            self._active[run.id] = active
        try:
            if call.runner is Runner.ASYNC:
                self._submit_async(active)
            else:
                self._threads.put(active)
        except (OSError, RuntimeError) as error:  # no thread, or no descriptor for a loop
            active.over = RunState.NEVER_RAN
            self.end(active, active.over, f"it could not be entered: {error}", None)
            self.forget(active)

    def issue(self, run: Run, authority: Authority, claimed: float) -> RunHandle:
        """Put a claimed run into the hands of another scheduler in this process."""
        active = ActiveCall(
            run=run,
            runner=Runner.THREAD,
            authority=authority,
            claimed=claimed,
            submitted=self._clock.awake(),
            function=_carried_elsewhere,
            args={},
            is_external=True,
        )
        with self._lock:
            self._active[run.id] = active
        return RunHandle(self, active)

    def cancel(self, run_id: str) -> bool:
        """End a run as far as it can be ended; whether it is one of ours."""
        with self._lock:
            active = self._active.get(run_id)
        if active is None:
            return False
        self._give_up(active, RunState.CANCELLED, "cancelled on request")
        return True

    def expire(self, awake: float) -> float | None:
        """End what is out of time; the awake time of the next deadline."""
        with self._lock:
            timed = [a for a in self._active.values() if a.deadline is not None and not a.reported]
        self._tell_of_a_blocked_loop(awake)
        for active in timed:
            assert active.deadline is not None
            if active.deadline > awake:
                continue
            if active.over is None:
                self._give_up(active, RunState.TIMED_OUT, f"not done after {active.timeout}")
            elif active.runner is Runner.ASYNC:
                reason = f"{active.reason}; it does not end when it is cancelled, and runs on"
                self.end(active, active.over, reason, active.entered)
        ahead = (a.deadline for a in timed if a.deadline is not None and not a.reported)
        return min(ahead, default=None)

    def _tell_of_a_blocked_loop(self, awake: float) -> None:
        """A coroutine that never awaits keeps its loop from the others, and no timeout ends it."""
        with self._lock:
            waiting = [a for a in self._active.values() if a.runner is Runner.ASYNC and a.waits]
            inside = [
                a.run for a in self._active.values() if a.runner is Runner.ASYNC and a.entered
            ]
        late = [a for a in waiting if awake - a.submitted > BLOCKED_AFTER and not a.told]
        for active in late:
            active.told = True
            log.error(
                "%s (run %s) cannot begin: its event loop is blocked, by one of %s perhaps. A job "
                "that computes or waits without `await` is to be a plain function",
                active.run.job_name,
                active.run.id,
                ", ".join(f"{run.job_name} (run {run.id})" for run in inside) or "its host's tasks",
            )

    def close(self) -> None:
        """Let idle threads end; busy ones end with the process."""
        self._threads.close()
        with self._lock:
            loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    # -- threads -----------------------------------------------------------------------------
    def _allowed(self) -> int:
        """How many threads there may be: the slots, and one more for each that runs on after its
        run has ended, up to twice the slots."""
        return self._slots + min(self._running_on(), self._slots)

    def _running_on(self) -> int:
        with self._lock:
            return sum(1 for active in self._active.values() if active.runs_on)

    def _carry(self, active: ActiveCall) -> None:
        try:
            self._run_sync(active)
        except BaseException as error:  # noqa: BLE001  a run that is never reported is never over
            self._end_lost(active, error)
        self.forget(active)
        if active.runs_on:
            _tell_returned(
                active.run, self._clock.now() - (active.entered or active.run.claimed_at)
            )

    def _end_lost(self, active: ActiveCall, error: BaseException) -> None:
        """What is around the function failed. A run that is never reported is never over."""
        log.error("%s of %s failed", active.run.id, active.run.job_name, exc_info=error)
        self.end(active, RunState.LOST, reason_of(error), active.entered)

    def _run_sync(self, active: ActiveCall) -> None:
        if not self.enter(active):
            return
        started = active.entered
        state, reason = RunState.SUCCEEDED, ""
        with captured(self._output_of(active.run), self._log_size) as output:
            try:
                active.function(**self._arguments(active))
            except BaseException as error:  # noqa: BLE001  whatever a job raises is its result
                state, reason = _ended_by(error, output)
        self.end(active, state, reason, started)

    # -- coroutines --------------------------------------------------------------------------
    def _event_loop(self) -> asyncio.AbstractEventLoop:
        import asyncio

        host = self._host_loop()
        if host is not None and host.is_running():
            return host
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                try:
                    threading.Thread(
                        target=_run_loop, args=(loop,), name="tenure-async", daemon=True
                    ).start()
                except BaseException:
                    loop.close()
                    raise
                self._loop = loop  # only one that runs
            return self._loop

    def _submit_async(self, active: ActiveCall) -> None:
        import asyncio

        loop = self._event_loop()
        entered = self._run_async(active)
        try:
            asyncio.run_coroutine_threadsafe(entered, loop)
        except BaseException:  # a host's loop that was closed just now
            entered.close()
            raise

    async def _run_async(self, active: ActiveCall) -> None:
        import asyncio

        # Before it is entered, so that a cancel finds it here or is found there.
        active.task = asyncio.current_task()
        try:
            if not self.enter(active):
                return
            started = active.entered
            state, reason = RunState.SUCCEEDED, ""
            with captured(self._output_of(active.run), self._log_size) as output:
                try:
                    await active.function(**self._arguments(active))
                except asyncio.CancelledError:
                    state, reason = active.over or RunState.CANCELLED, active.reason or "cancelled"
                except BaseException as error:  # noqa: BLE001  whatever a job raises is its result
                    state, reason = _ended_by(error, output)
            self.end(active, state, reason, started)
        except BaseException as error:  # noqa: BLE001  a run that is never reported is never over
            self._end_lost(active, error)
        finally:
            self.forget(active)

    # -- both --------------------------------------------------------------------------------
    def _output_of(self, run: Run) -> Path | None:
        return None if self._logs is None else self._logs / run.id / f"{run.attempt}.log"

    def _arguments(self, active: ActiveCall) -> Mapping[str, Any]:
        """The job's own, and the run's context where the function asks for it."""
        wants = asks_for_context(active.function)
        if wants is None or wants in active.args:
            return active.args
        return {**active.args, wants: context_of(active.run, active.cancelled)}

    def enter(self, active: ActiveCall) -> bool:
        """Whether its function may be entered now; if not, its run has ended."""
        if not self._is_current(active):
            reason = "its owner was deposed, or could not tell, before the function was entered"
            self.end(active, RunState.NEVER_RAN, reason, None)
            return False
        with active.lock:  # against whoever gives it up meanwhile
            over = active.over
            if over is None:
                active.entered = self._clock.now()
                if active.timeout is not None:
                    active.deadline = self._clock.awake() + active.timeout.total_seconds()
        if over is not None:
            self.end(active, over, "ended before the function was entered", None)
        return over is None

    def _is_current(self, active: ActiveCall) -> bool:
        if self._clock.continuous() - active.claimed <= FRESH:
            return True
        try:
            return self._still_owner(active.authority)
        except Exception:  # unknown counts as no: nothing is entered then, for certain
            log.exception("whether the owner of %s still owns is unknown", active.run.id)
            return False

    def forget(self, active: ActiveCall) -> None:
        """Its function has returned, or is never entered."""
        with self._lock:
            self._active.pop(active.run.id, None)

    def _give_up(self, active: ActiveCall, state: RunState, reason: str) -> None:
        with active.lock:
            if active.over is not None:  # told once: a coroutine may be tidying up after itself
                return
            active.over = state
            active.runs_on = (
                active.entered is not None
                and active.runner is Runner.THREAD
                and not (active.is_external or active.reported)
            )
        active.cancelled.set()
        if active.runner is Runner.ASYNC:
            active.reason, active.deadline = reason, self._clock.awake() + TIDYING
            if active.task is not None:
                with contextlib.suppress(RuntimeError):
                    active.task.get_loop().call_soon_threadsafe(active.task.cancel)
            return
        if active.entered is not None:
            reason += "; its thread cannot be ended and runs on"
        self.end(active, state, reason, active.entered)
        if active.runs_on:
            _tell_runs_on(active.run, self._running_on(), self._slots)

    def end(
        self, active: ActiveCall, state: RunState, reason: str, started: datetime | None
    ) -> None:
        """Report how its run ended. Said twice, the first stays."""
        with active.lock:
            if active.reported:
                return
            # Counted as active until it is handed on: a drain that sees none has every end.
            self._report(self._result(active.run, state, reason, started))
            active.reported = True

    def _result(
        self, run: Run, state: RunState, reason: str, started: datetime | None = None
    ) -> Result:
        return Result(
            run=run.id,
            attempt=run.attempt,
            process=self._process,
            state=state,
            at=self._clock.now(),
            started_at=started,
            reason=one_line(reason),
        )


def _ended_by(error: BaseException, output: Capture | None) -> tuple[RunState, str]:
    """The state and the reason; the traceback goes to the run's output."""
    state, reason, text = outcome_of(error)
    if text and output is not None:
        output.write(text)
    return state, reason


def _carried_elsewhere() -> None:
    """What a lent run's function is here: nothing calls it."""


def _tell_runs_on(run: Run, threads: int, slots: int) -> None:
    log.warning("the thread of %s (run %s) runs on after its end", run.job_name, run.id)
    if threads >= slots:
        log.error(
            "%d threads run on after their runs have ended%s. Restart this process, and have these "
            "jobs look at context.cancelled, or declare them with process=True",
            threads,
            "; no further function runs here" if threads >= 2 * slots else f", of {2 * slots}",
        )


def _tell_returned(run: Run, after: timedelta) -> None:
    log.info("the thread of %s (run %s) has returned, after %s", run.job_name, run.id, after)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    import asyncio

    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
