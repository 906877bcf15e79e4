"""Runs of Python callables: a bounded pool of threads, and one event loop for coroutines.

A callable has no gate: its claim is durable before it is entered, and whether it was entered
cannot be disproved afterwards. A process that was frozen between claim and entry may have been
deposed meanwhile, so a claim that is older than :data:`FRESH` of continuous time is checked
against the store again before the function is entered.

A coroutine that runs out of time is cancelled. A thread cannot be: its run is recorded as timed
out, the thread is reported and keeps its slot until it returns, and it never blocks exit.

A run can also be *lent* to another scheduler in this process, which carries it in a thread of its
own: it takes no slot here, and the borrower says when it is entered and how it ended.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenure.domain.errors import RunFailed
from tenure.domain.job import Call, Runner
from tenure.domain.ownership import Authority
from tenure.domain.run import Result, Run, RunState
from tenure.host.clocks import Clock
from tenure.runtime.capture import captured
from tenure.runtime.context import asks_for_context, context_of

if TYPE_CHECKING:
    import asyncio  # loaded with the first coroutine: most programs have none

FRESH = 1.0
"""Seconds within which a claim is taken for current without asking the store again."""
NOTED_AFTER = timedelta(seconds=0.5)
"""A function that runs for so long is recorded as running; a shorter one only when it ends."""
COROUTINES = 256
"""How many coroutines may be active at once."""
_LONGEST_REASON = 8000

Report = Callable[[Result], None]


@dataclass(slots=True)
class _Active:
    run: Run
    runner: Runner
    authority: Authority
    claimed: float
    """Continuous time of the claim."""
    function: Callable[..., Any]
    args: Mapping[str, Any]
    deadline: float | None = None
    """Awake time."""
    timeout: timedelta | None = None
    entered: datetime | None = None
    noted: bool = False
    over: RunState | None = None
    """TIMED_OUT or CANCELLED, once that was decided."""
    reported: bool = False
    lent: bool = False
    task: asyncio.Task[Any] | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Callables:
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
        self._queue: queue.SimpleQueue[_Active | None] = queue.SimpleQueue()
        self._active: dict[str, _Active] = {}
        self._threads = 0
        self._idle = 0
        self._waiting = 0
        """Submitted and not yet taken by a thread. The queue's own size will not do: an entry has
        left it a moment before its thread stops counting as idle."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def knows(self, target: str) -> bool:
        return target in self._functions

    def room(self, runner: Runner) -> int:
        """How many more runs of this kind may be claimed now."""
        with self._lock:
            used = sum(1 for a in self._active.values() if a.runner is runner and not a.lent)
        return max(0, (COROUTINES if runner is Runner.ASYNC else self._slots) - used)

    def long_running(self, now: datetime) -> list[tuple[str, int, datetime]]:
        """Runs entered a while ago, each told once: run, attempt, instant. Most are over before."""
        with self._lock:
            found = [
                (a, a.entered)
                for a in self._active.values()
                if a.entered is not None and not a.noted and now - a.entered > NOTED_AFTER
            ]
        for active, _ in found:
            active.noted = True
        return [(a.run.id, a.run.attempt, entered) for a, entered in found]

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
        active = _Active(
            run=run,
            runner=call.runner,
            authority=authority,
            claimed=claimed,
            function=function,
            args=call.args,
            timeout=timeout,
        )
        with self._lock:
            self._active[run.id] = active
        if call.runner is Runner.ASYNC:
            import asyncio

            asyncio.run_coroutine_threadsafe(self._run_async(active), self._event_loop())
        else:
            with self._lock:
                self._waiting += 1
            self._queue.put(active)
            self._grow(active)

    def lend(self, run: Run, authority: Authority, claimed: float) -> Lent:
        """Put a claimed run into the hands of another scheduler in this process."""
        active = _Active(
            run=run,
            runner=Runner.THREAD,
            authority=authority,
            claimed=claimed,
            function=_carried_elsewhere,
            args={},
            lent=True,
        )
        with self._lock:
            self._active[run.id] = active
        return Lent(self, active)

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
        following: float | None = None
        with self._lock:
            timed = [a for a in self._active.values() if a.deadline is not None and not a.over]
        for active in timed:
            assert active.deadline is not None
            if active.deadline <= awake:
                self._give_up(active, RunState.TIMED_OUT, f"not done after {active.timeout}")
            elif following is None or active.deadline < following:
                following = active.deadline
        return following

    def close(self) -> None:
        """Let idle threads end; busy ones end with the process."""
        with self._lock:
            threads, loop = self._threads, self._loop
        for _ in range(threads):
            self._queue.put(None)
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    # -- threads -----------------------------------------------------------------------------
    def _grow(self, active: _Active) -> None:
        with self._lock:
            if self._idle >= self._waiting or self._threads >= self._slots:
                return
            self._threads += 1
            number = self._threads
        thread = threading.Thread(target=self._work, name=f"tenure-job-{number}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the limit of threads; one that gets free takes it up
            with self._lock:
                self._threads -= 1
                nobody = not self._threads
                if nobody:
                    self._active.pop(active.run.id, None)
            if nobody:
                active.over = RunState.NEVER_RAN
                self._end(active, RunState.NEVER_RAN, f"no thread could be started: {error}", None)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            active = self._queue.get()
            with self._lock:
                self._idle -= 1
                self._waiting -= active is not None
            if active is None:
                return
            try:
                self._run_sync(active)
            except BaseException:  # noqa: BLE001  a run that is never reported is never over
                self._end(active, RunState.LOST, traceback.format_exc()[-_LONGEST_REASON:], None)
            finally:
                with self._lock:
                    self._active.pop(active.run.id, None)

    def _run_sync(self, active: _Active) -> None:
        if not self._enter(active):
            return
        started = active.entered = self._clock.now()
        state, reason = RunState.SUCCEEDED, ""
        try:
            with captured(self._output_of(active.run), self._log_size):
                active.function(**self._arguments(active))
        except RunFailed as error:
            state, reason = RunState.FAILED, str(error)[:_LONGEST_REASON]
        except SystemExit as error:
            if error.code not in (None, 0):
                state, reason = RunState.FAILED, f"SystemExit: {error.code}"
        except BaseException:  # noqa: BLE001  whatever a job raises is its result
            state, reason = RunState.FAILED, traceback.format_exc()[-_LONGEST_REASON:]
        self._end(active, state, reason, started)

    # -- coroutines --------------------------------------------------------------------------
    def _event_loop(self) -> asyncio.AbstractEventLoop:
        import asyncio

        host = self._host_loop()
        if host is not None and host.is_running():
            return host
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_run_loop, args=(self._loop,), name="tenure-async", daemon=True
                ).start()
            return self._loop

    async def _run_async(self, active: _Active) -> None:
        import asyncio

        # Before it is entered, so that a cancel finds it here or is found there.
        active.task = asyncio.current_task()
        try:
            if not self._enter(active):
                return
            started = active.entered = self._clock.now()
            state, reason = RunState.SUCCEEDED, ""
            try:
                with captured(self._output_of(active.run), self._log_size):
                    await active.function(**self._arguments(active))
            except asyncio.CancelledError:
                state = active.over or RunState.CANCELLED
                reason = (
                    f"not done after {active.timeout}"
                    if state is RunState.TIMED_OUT
                    else "cancelled"
                )
            except RunFailed as error:
                state, reason = RunState.FAILED, str(error)[:_LONGEST_REASON]
            except BaseException:  # noqa: BLE001  whatever a job raises is its result
                state, reason = RunState.FAILED, traceback.format_exc()[-_LONGEST_REASON:]
            self._end(active, state, reason, started)
        finally:
            with self._lock:
                self._active.pop(active.run.id, None)

    # -- both --------------------------------------------------------------------------------
    def _output_of(self, run: Run) -> Path | None:
        return None if self._logs is None else self._logs / run.id / f"{run.attempt}.log"

    def _arguments(self, active: _Active) -> Mapping[str, Any]:
        """The job's own, and the run's context where the function asks for it."""
        wants = asks_for_context(active.function)
        if wants is None or wants in active.args:
            return active.args
        return {**active.args, wants: context_of(active.run, active.cancelled)}

    def _enter(self, active: _Active) -> bool:
        if self._clock.continuous() - active.claimed > FRESH and not self._still_owner(
            active.authority
        ):
            reason = "its owner was deposed, or could not tell, before the function was entered"
            self._end(active, RunState.NEVER_RAN, reason, None)
            return False
        if active.over is not None:
            self._end(active, active.over, "ended before the function was entered", None)
            return False
        if active.timeout is not None:
            active.deadline = self._clock.awake() + active.timeout.total_seconds()
        return True

    def _forget(self, active: _Active) -> None:
        with self._lock:
            self._active.pop(active.run.id, None)

    def _give_up(self, active: _Active, state: RunState, reason: str) -> None:
        if active.over is not None:  # told once: a coroutine may be tidying up after itself
            return
        active.over = state
        active.cancelled.set()
        if active.runner is Runner.ASYNC:
            if active.task is not None:
                with contextlib.suppress(RuntimeError):
                    active.task.get_loop().call_soon_threadsafe(active.task.cancel)
            return
        runs_on = f"{reason}; its thread cannot be ended and runs on"
        self._end(active, state, runs_on if active.entered else reason, active.entered)

    def _end(self, active: _Active, state: RunState, reason: str, started: Any) -> None:
        with active.lock:
            if active.reported:
                return
            # Counted as active until it is handed on: a drain that sees none has every end.
            self._report(self._result(active.run, state, reason, started))
            active.reported = True

    def _result(self, run: Run, state: RunState, reason: str, started: Any = None) -> Result:
        return Result(
            run=run.id,
            attempt=run.attempt,
            process=self._process,
            state=state,
            at=self._clock.now(),
            started_at=started,
            reason=reason,
        )


class Lent:
    """A claimed run in the hands of a borrower. Its methods are called by one thread at a time."""

    def __init__(self, callables: Callables, active: _Active) -> None:
        self._callables = callables
        self._active = active

    @property
    def run(self) -> Run:
        return self._active.run

    @property
    def over(self) -> RunState | None:
        """Whether it was ended meanwhile, cancelled say: nobody waits for its end any more."""
        return self._active.over

    def enter(self) -> bool:
        """Whether it may be entered now; if not it has ended, as never run or cancelled."""
        callables, active = self._callables, self._active
        try:
            entered = callables._enter(active)
        except Exception as error:  # noqa: BLE001  nothing is entered then, and that is known
            reason = f"whether its owner still owns could not be told: {error}"
            callables._end(active, RunState.NEVER_RAN, reason, None)
            entered = False
        if not entered:
            callables._forget(active)
            return False
        active.entered = callables._clock.now()
        return True

    def end(self, state: RunState, reason: str = "") -> None:
        """How it ended. Said twice, the first stays."""
        callables, active = self._callables, self._active
        callables._end(active, state, reason[-_LONGEST_REASON:], active.entered)
        callables._forget(active)


def _carried_elsewhere() -> None:
    """What a lent run's function is here: nothing calls it."""


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    import asyncio

    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
