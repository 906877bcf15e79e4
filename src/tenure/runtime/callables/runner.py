"""Runs of Python callables: a bounded pool of threads, and one event loop for coroutines.

A callable has no gate: its claim is durable before it is entered, and whether it was entered
cannot be disproved afterwards. A process that froze between claim and entry may have lost
ownership meanwhile, so a claim older than :data:`FRESH_S` of continuous time is checked against
the store again before the function is entered.

A coroutine that times out is cancelled. A thread cannot be cancelled: its run is recorded as timed
out (or cancelled), and the thread runs on. Another thread takes its place meanwhile, so that jobs
that hang do not stop the others; but only for as many as there are slots. Beyond that, each thread
that hangs occupies a slot. A thread that returns at last makes the pool smaller again. None blocks
the exit of the process.

A run can also be given to another scheduler in this process as a :class:`RunHandle`. That
scheduler runs it in a thread of its own and reports when it is entered and how it ended; it takes
no slot here.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenure.domain.durations import format_duration
from tenure.domain.job import Call, Runner
from tenure.domain.ownership import Authority
from tenure.domain.run import Result, Run, RunState
from tenure.host.clocks import Clock
from tenure.runtime.callables.capture import Capture, captured
from tenure.runtime.callables.thread_pool import ThreadPool
from tenure.runtime.run_context import context_of, context_parameter
from tenure.runtime.tracebacks import one_line, outcome_of, reason_of

if TYPE_CHECKING:
    import asyncio  # loaded with the first coroutine: most programs have none

log = logging.getLogger("tenure.callables")

FRESH_S = 1.0
"""Age below which a claim counts as current without asking the store again."""
NOTED_AFTER = timedelta(seconds=0.5)
"""A function that runs longer is recorded as running; a shorter one only when it ends."""
MAX_COROUTINES = 256
"""Coroutines that may be active at once."""
CANCEL_GRACE_S = 5.0
"""For which a cancelled coroutine may clean up before its run is recorded as ended anyway."""
BLOCKED_AFTER_S = 5.0
"""After which a coroutine that could not begin is logged."""


@dataclass(slots=True)
class ActiveCall:
    """One run. ``lock`` guards the decisions whether it is entered and how it ended."""

    run: Run
    runner: Runner
    authority: Authority
    claimed: float
    """Continuous time of the claim."""
    submitted: float
    """Awake time."""
    function: Callable[..., Any] = lambda: None
    args: Mapping[str, Any] = field(default_factory=dict)
    deadline: float | None = None
    """Awake time: of its timeout, or of the end of a cancelled coroutine's grace."""
    timeout: timedelta | None = None
    entered: datetime | None = None
    noted: bool = False
    blocked_logged: bool = False
    """That it cannot begin was logged."""
    over: RunState | None = None
    """TIMED_OUT or CANCELLED, once decided."""
    reason: str = ""
    """Why, of a coroutine that may clean up first."""
    reported: bool = False
    runs_on: bool = False
    """Its run was ended, and its thread could not be."""
    is_external: bool = False
    """Another scheduler in this process runs it, in a thread of its own."""
    task: asyncio.Task[Any] | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def waits(self) -> bool:
        """Whether its function has neither been entered nor given up."""
        return self.entered is None and self.over is None


class CallableRunner:
    """Thread-safe. ``functions`` maps a target (``app:name``) to what it calls."""

    def __init__(
        self,
        functions: Mapping[str, Callable[..., Any]],
        *,
        process: str,
        slots: int,
        clock: Clock,
        report: Callable[[Result], None],
        still_owner: Callable[[Authority], bool],
        logs: Path | None = None,
        log_size: int = 10_000_000,
        host_loop: Callable[[], asyncio.AbstractEventLoop | None] = lambda: None,
    ) -> None:
        """``logs``: the folder of the runs' output. ``host_loop``: the loop for coroutines; None
        for a loop of their own."""
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
        self._threads = ThreadPool(self._run_in_thread, allowed=self._allowed, name="tenure-job")
        self._loop: asyncio.AbstractEventLoop | None = None

    def room(self, runner: Runner) -> int:
        """How many more runs of this kind may be claimed now."""
        with self._lock:
            used = sum(1 for a in self._active.values() if a.runner is runner and not a.is_external)
        return max(0, (MAX_COROUTINES if runner is Runner.ASYNC else self._allowed()) - used)

    def exhausted(self) -> bool:
        """Whether all threads allowed run on after their runs have ended: no further function that
        needs a thread runs here."""
        return self._running_on() >= 2 * self._slots

    def long_running(self, now: datetime) -> list[tuple[str, int, datetime]]:
        """Runs entered a while ago (run, attempt, instant) and not yet recorded as running, see
        :meth:`note_running`. Most end earlier."""
        with self._lock:
            return [
                (a.run.id, a.run.attempt, a.entered)
                for a in self._active.values()
                if a.entered is not None and not a.noted and now - a.entered > NOTED_AFTER
            ]

    def note_running(self, runs: Iterable[tuple[str, int, datetime]]) -> None:
        """These are now recorded as running."""
        with self._lock:
            for run_id, _, _ in runs:
                if (active := self._active.get(run_id)) is not None:
                    active.noted = True

    def runs(self) -> frozenset[str]:
        """The runs that this object is working on."""
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
            reason = f"this owner does not have the function {call.target}"
            self._report(self._result(run, RunState.FAILED, reason))
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
            self.end(active, active.over, f"it could not be started: {error}")
            self.forget(active)

    def issue(self, run: Run, authority: Authority, claimed: float) -> RunHandle:
        """Give a claimed run to another scheduler in this process."""
        active = ActiveCall(
            run=run,
            runner=Runner.THREAD,
            authority=authority,
            claimed=claimed,
            submitted=self._clock.awake(),
            is_external=True,
        )
        with self._lock:
            self._active[run.id] = active
        return RunHandle(self, active)

    def cancel(self, run_id: str) -> bool:
        """End a run as far as possible; False if this object does not work on it."""
        with self._lock:
            active = self._active.get(run_id)
        if active is None:
            return False
        self._give_up(active, RunState.CANCELLED, "cancelled on request")
        return True

    def expire(self, awake: float) -> float | None:
        """End runs that are out of time; returns the awake time of the next deadline."""
        with self._lock:
            timed = [a for a in self._active.values() if a.deadline is not None and not a.reported]
        self._log_blocked_loop(awake)
        for active in timed:
            assert active.deadline is not None
            if active.deadline > awake:
                continue
            if active.over is None:
                timeout = format_duration(active.timeout) if active.timeout else ""
                self._give_up(active, RunState.TIMED_OUT, f"timed out after {timeout}")
            elif active.runner is Runner.ASYNC:
                reason = f"{active.reason}; it ignores the cancel and runs on"
                self.end(active, active.over, reason)
        ahead = (a.deadline for a in timed if a.deadline is not None and not a.reported)
        return min(ahead, default=None)

    def _log_blocked_loop(self, awake: float) -> None:
        """A coroutine that never awaits blocks its loop for the others, and no timeout ends it."""
        with self._lock:
            waiting = [a for a in self._active.values() if a.runner is Runner.ASYNC and a.waits]
            inside = [
                a.run for a in self._active.values() if a.runner is Runner.ASYNC and a.entered
            ]
        for active in waiting:
            if active.blocked_logged or awake - active.submitted <= BLOCKED_AFTER_S:
                continue
            active.blocked_logged = True
            log.error(
                "%s (run %s) cannot begin: its event loop is blocked, perhaps by %s. Make a job "
                "that computes or waits without `await` a plain function",
                active.run.job_name,
                active.run.id,
                ", ".join(f"{run.job_name} (run {run.id})" for run in inside) or "its host's tasks",
            )

    def close(self) -> None:
        """Let idle threads end; busy threads end with the process."""
        self._threads.close()
        with self._lock:
            loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    # -- threads -----------------------------------------------------------------------------
    def _allowed(self) -> int:
        """Threads allowed: the slots, plus one for each thread that outlives its run, up to twice
        the slots."""
        return self._slots + min(self._running_on(), self._slots)

    def _running_on(self) -> int:
        with self._lock:
            return sum(1 for active in self._active.values() if active.runs_on)

    def _run_in_thread(self, active: ActiveCall) -> None:
        try:
            if self.enter(active):
                state, reason = RunState.SUCCEEDED, ""
                with captured(self._output_of(active.run), self._log_size) as output:
                    try:
                        active.function(**self._arguments(active))
                    except BaseException as error:  # noqa: BLE001  any of a job's is its result
                        state, reason = _ended_by(error, output)
                self.end(active, state, reason)
        except BaseException as error:  # noqa: BLE001  an unreported run would never be over
            self._end_lost(active, error)
        self.forget(active)
        if active.runs_on:
            run = active.run
            took = self._clock.now() - (active.entered or run.claimed_at)
            log.info("the thread of %s (run %s) has returned, after %s", run.job_name, run.id, took)

    def _end_lost(self, active: ActiveCall, error: BaseException) -> None:
        """An error around the function."""
        log.error("%s of %s failed", active.run.id, active.run.job_name, exc_info=error)
        self.end(active, RunState.LOST, reason_of(error))

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

        # Set before it is entered: a cancel either finds the task or is seen by enter().
        active.task = asyncio.current_task()
        try:
            if not self.enter(active):
                return
            state, reason = RunState.SUCCEEDED, ""
            with captured(self._output_of(active.run), self._log_size) as output:
                try:
                    await active.function(**self._arguments(active))
                except asyncio.CancelledError:
                    state, reason = active.over or RunState.CANCELLED, active.reason or "cancelled"
                except BaseException as error:  # noqa: BLE001  any of a job's is its result
                    state, reason = _ended_by(error, output)
            self.end(active, state, reason)
        except BaseException as error:  # noqa: BLE001  an unreported run would never be over
            self._end_lost(active, error)
        finally:
            self.forget(active)

    # -- both --------------------------------------------------------------------------------
    def _output_of(self, run: Run) -> Path | None:
        return None if self._logs is None else self._logs / run.id / f"{run.attempt}.log"

    def _arguments(self, active: ActiveCall) -> Mapping[str, Any]:
        """The job's own, plus the run's context where the function asks for it."""
        name = context_parameter(active.function)
        if name is None or name in active.args:
            return active.args
        return {**active.args, name: context_of(active.run, active.cancelled)}

    def enter(self, active: ActiveCall) -> bool:
        """Whether its function may be entered now; if not, its run is ended."""
        if not self._is_current(active):
            reason = "its owner lost ownership, or could not confirm it, before the function began"
            self.end(active, RunState.NEVER_RAN, reason)
            return False
        with active.lock:  # against a cancel or timeout meanwhile
            over = active.over
            if over is None:
                active.entered = self._clock.now()
                if active.timeout is not None:
                    active.deadline = self._clock.awake() + active.timeout.total_seconds()
        if over is not None:
            self.end(active, over, "ended before the function was entered")
        return over is None

    def _is_current(self, active: ActiveCall) -> bool:
        if self._clock.continuous() - active.claimed <= FRESH_S:
            return True
        try:
            return self._still_owner(active.authority)
        except Exception:  # unknown counts as no: then it is certain that nothing was entered
            log.exception("cannot confirm that the owner of %s still owns", active.run.id)
            return False

    def forget(self, active: ActiveCall) -> None:
        """Its function has returned, or will never be entered."""
        with self._lock:
            self._active.pop(active.run.id, None)

    def _give_up(self, active: ActiveCall, state: RunState, reason: str) -> None:
        with active.lock:
            if active.over is not None:  # once only: a coroutine may be cleaning up
                return
            active.over = state
            active.runs_on = (
                active.entered is not None
                and active.runner is Runner.THREAD
                and not (active.is_external or active.reported)
            )
        active.cancelled.set()
        if active.runner is Runner.ASYNC:
            active.reason, active.deadline = reason, self._clock.awake() + CANCEL_GRACE_S
            if active.task is not None:
                with contextlib.suppress(RuntimeError):
                    active.task.get_loop().call_soon_threadsafe(active.task.cancel)
            return
        if active.entered is not None:
            reason += "; its thread cannot be ended and runs on"
        self.end(active, state, reason)
        if active.runs_on:
            run = active.run
            log.warning("the thread of %s (run %s) runs on after its end", run.job_name, run.id)
            threads, most = self._running_on(), 2 * self._slots
            if threads >= self._slots:
                log.error(
                    "%d threads run on after their runs have ended%s. Restart this process; let "
                    "these jobs check context.cancelled, or declare them with process=True",
                    threads,
                    "; no further function will run here" if threads >= most else f", of {most}",
                )

    def end(self, active: ActiveCall, state: RunState, reason: str) -> None:
        """Report how its run ended. Only the first call counts."""
        with active.lock:
            if active.reported:
                return
            # Counted as active until reported: a drain that sees none has every end.
            self._report(self._result(active.run, state, reason, active.entered))
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
    """The state and the reason; writes the traceback to the run's output."""
    state, reason, text = outcome_of(error)
    if text and output is not None:
        output.write(text)
    return state, reason


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    import asyncio

    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


class RunHandle:
    """A claimed run that another scheduler runs. One thread at a time calls its methods."""

    def __init__(self, runner: CallableRunner, active: ActiveCall) -> None:
        self._runner = runner
        self._active = active

    @property
    def run(self) -> Run:
        return self._active.run

    @property
    def over(self) -> RunState | None:
        """The state in which it was ended meanwhile, by a cancel say: its end is recorded."""
        return self._active.over

    def enter(self) -> bool:
        """Whether it may be entered now; if not, it has ended as never run or cancelled."""
        try:
            entered = self._runner.enter(self._active)
        except Exception as error:  # noqa: BLE001  then it is certain that nothing was entered
            reason = f"could not confirm that its owner still owns: {error}"
            self._runner.end(self._active, RunState.NEVER_RAN, reason)
            entered = False
        if not entered:
            self._runner.forget(self._active)
        return entered

    def end(self, state: RunState, reason: str = "") -> None:
        """Report how it ended. Only the first call counts."""
        self._runner.end(self._active, state, reason)
        self._runner.forget(self._active)
