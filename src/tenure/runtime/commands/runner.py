"""Runs of commands, in one thread: spawn at the gate, watch, end on timeout or cancel, report.

    submit --> at its gate --> (the dispatcher commits 'started', opens) --> ended --> report
    adopt  ----------------------------------------------------------------->

The dispatcher opens the gate after its commit; this thread never does. How a command ended is read
from its exit record: a host may have taken the wait status, and an adopted command is not a child
of this process.

Failure: what fails for now (no free descriptor, say) stays on its list and is tried again. A run
stays active here until its end is reported. It takes a slot while its command may live. A run whose
command has ended and whose record cannot be read waits without a slot, still active, so that its
job's overlap rule holds; the reason is noted with the run, and the record is read again until it
can be.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from tenure.domain.durations import format_duration
from tenure.domain.errors import OutcomeUnknown
from tenure.domain.job import Command, Definition
from tenure.domain.policy.evidence import Identity
from tenure.domain.run import Result, Run, RunState
from tenure.host.clocks import Clock
from tenure.runtime.commands.child import Children, how_it_ended
from tenure.runtime.commands.gate import (
    CommandNotStarted,
    JobEnvironment,
    spawn_gated,
)
from tenure.runtime.commands.inbox import Inbox
from tenure.runtime.commands.terminate import Termination, members_of
from tenure.runtime.failure import Failure, WatchedThread, lost_thread
from tenure.runtime.output import OutputCap

log = logging.getLogger("tenure.commands")

KILL_GRACE = timedelta(seconds=10)
"""Between TERM and KILL."""
_ERROR_DELAY_S = 0.1
_MAX_READ_DELAY_S = 5.0
"""Between two reads of a record that cannot be read, at most; the first follows _ERROR_DELAY_S."""
GIVE_UP_AFTER_S = 60.0
"""For which such a record is read although the run was cancelled meanwhile."""
_ADOPT_RETRY_S = 1.0
_CAP_EVERY_S = 0.5
_CAP_SOON_S = 0.02


@dataclass(slots=True)
class _Active:
    run: Run
    exit_path: Path
    cap: OutputCap
    timeout: timedelta | None
    deadline: float | None
    """Awake time at which it times out."""
    termination: Termination | None = None
    """Made when the run is to be ended."""
    step_at: float | None = None
    over: RunState | None = None
    """Decided before its end: timed out or cancelled."""
    why: str = ""
    gone: float | None = None
    """Awake time at which its shell ended; reading and reporting remain."""
    gone_at: datetime | None = None
    read_at: float = 0.0
    pause: float = _ERROR_DELAY_S
    cancelled: bool = False
    """Cancelled after its shell had ended."""


class CommandRunner:
    """Thread-safe. The thread starts with the first command."""

    def __init__(
        self,
        *,
        process: str,
        logs: Path,
        slots: int,
        log_size: int,
        environment: Callable[[], Mapping[str, str]],
        clock: Clock,
        inbox: Inbox,
        grace: timedelta = KILL_GRACE,
        fail: Callable[[Failure], None] = lambda failure: None,
    ) -> None:
        self._process = process
        self._logs = logs
        self._slots = slots
        self._log_size = log_size
        self._environment = JobEnvironment(environment, clock)
        self._clock = clock
        self._inbox = inbox
        self._grace = grace
        self._children = Children()
        self._new: deque[tuple[Run, Definition]] = deque()
        self._adopted: deque[tuple[Run, Definition]] = deque()
        self._to_cancel: deque[str] = deque()
        self._ended: deque[str] = deque()
        """Runs whose shell has ended, until that is noted."""
        self._timeout: float | None = 0.0
        """For how long to wait for the next end, in seconds; None until one comes."""
        self._active: dict[str, _Active] = {}
        self._held: dict[str, bool] = {}
        """The runs in hand, and whether each takes a slot."""
        self._spawning = ""
        self._lock = threading.Lock()
        self._stopping = False
        self.thread = WatchedThread(
            self._work,
            self._await_ends,
            name="tenure-commands",
            is_stopping=lambda: self._stopping,
            ended=lambda why: fail(lost_thread(why)),
        )
        self._is_started = False
        self._next_cap = 0.0
        self._leftovers: list[tuple[Termination, float]] = []

    def room(self) -> int:
        """How many more commands may be claimed now."""
        with self._lock:
            return max(0, self._slots - sum(self._held.values()))

    def runs(self) -> frozenset[str]:
        """The runs that this object is working on. A run that only keeps a slot is not among them:
        recovery has to see it."""
        waiting = [run.id for run, _ in (*self._new, *self._adopted)]
        return frozenset((*self._active, *waiting, self._spawning)) - {""}

    def forget(self, run_id: str) -> None:
        """Free the slot of a run that :meth:`runs` does not name."""
        with self._lock:
            self._held.pop(run_id, None)

    def active(self) -> int:
        with self._lock:
            return len(self._held)

    def submit(self, run: Run, definition: Definition) -> None:
        """Spawn a claimed run at its gate; ``at_gate`` is called from the runner's thread."""
        self._take(run, definition, self._new)

    def adopt(self, run: Run, definition: Definition) -> None:
        """Watch a command that another process started and that still lives."""
        self._take(run, definition, self._adopted)

    def cancel(self, run_id: str) -> bool:
        """End a run; False if this object does not work on it."""
        with self._lock:
            if run_id not in self._held:
                return False
        self._to_cancel.append(run_id)
        self._children.wake()
        return True

    def forget_in_child(self) -> None:
        """After a fork, in the child."""
        self._children.forget_in_child()

    def close(self) -> None:
        """Stop watching. Commands continue; the next owner adopts them."""
        self._stopping = True
        self._children.wake()
        self.thread.join(timeout=5)
        self._children.close()

    # -- the thread --------------------------------------------------------------------------
    def _take(self, run: Run, definition: Definition, where: deque[tuple[Run, Definition]]) -> None:
        with self._lock:
            if not self._is_started:
                self.thread.start()  # may raise; then no run was taken
                self._is_started = True
            self._held[run.id] = True
            where.append((run, definition))
        self._children.wake()

    def _work(self) -> bool:
        try:
            self._turn()
        except Exception:  # an error with one command must not stop the others' watch
            log.exception("error in the command runner; it continues")
            self._timeout = _ERROR_DELAY_S
        return not self._stopping

    def _turn(self) -> None:
        """Do what is due, and decide for how long to wait for an end."""
        while self._ended:
            self._note_gone(self._ended.popleft())
        for _ in range(len(self._adopted)):
            self._watch_adopted(*self._adopted.popleft())
        for _ in range(len(self._to_cancel)):
            self._cancel(self._to_cancel.popleft())
        if self._new:
            self._spawn(*self._new.popleft())
        timeout = self._keep_time()
        self._timeout = 0.0 if self._new else timeout

    def _await_ends(self) -> None:
        try:
            # The poller names each end once: it is kept until it is noted.
            self._ended.extend(self._children.poll(self._timeout))
        except Exception:  # deadlines are kept also where no end can be seen now
            log.exception("error in the command runner; it continues")
            time.sleep(_ERROR_DELAY_S)

    def _spawn(self, run: Run, definition: Definition) -> None:
        if run.id not in self._held:
            return
        self._spawning = run.id
        try:
            self._spawn_and_watch(run, definition)
        finally:
            self._spawning = ""

    def _spawn_and_watch(self, run: Run, definition: Definition) -> None:
        action, folder = definition.action, self._logs / run.id
        assert isinstance(action, Command)
        try:
            spec = self._environment.spec(run, action, folder / f"{run.attempt}.exit")
            gated = spawn_gated(spec, folder=folder, attempt=run.attempt)
        except Exception as error:  # for whatever reason, the run must not stay claimed
            if not isinstance(error, CommandNotStarted):
                log.exception("%s could not be started", run.id)
            self._finish(run, RunState.FAILED, f"not started: {error}")
            return
        try:
            self._watch(replace(run, identity=gated.identity), definition, definition.timeout)
        except Exception as error:  # out of descriptors, say: its end would go unnoticed
            log.exception("%s could not be watched", run.id)
            gated.abandon()
            self._children.reap(gated.identity)
            self._finish(run, RunState.NEVER_RAN, f"it could not be watched: {error}")
            return
        self._inbox.at_gate(run, gated)

    def _watch_adopted(self, run: Run, definition: Definition) -> None:
        if run.id in self._active:
            return
        left = definition.timeout
        if left is not None:
            left -= self._clock.now() - (run.started_at or run.claimed_at)
        try:
            self._watch(run, definition, left)
        except Exception as error:  # noqa: BLE001  out of descriptors, say: try again later
            log.warning("%s cannot be watched yet: %s", run.id, error)
            self._adopted.append((run, definition))

    def _watch(self, run: Run, definition: Definition, left: timedelta | None) -> None:
        """``left``: the time until it times out. Raises whatever the watch raises."""
        assert run.identity is not None
        folder, deadline = self._logs / run.id, None
        if left is not None:
            deadline = self._clock.awake() + max(left.total_seconds(), 0.0)
        if not self._active:
            self._next_cap = self._clock.awake() + _CAP_EVERY_S
        self._active[run.id] = _Active(
            run=run,
            exit_path=folder / f"{run.attempt}.exit",
            cap=OutputCap(folder / f"{run.attempt}.log", self._log_size),
            timeout=definition.timeout,
            deadline=deadline,
        )
        try:
            self._children.add(run.id, run.identity)
        except Exception:
            del self._active[run.id]
            raise

    def _note_gone(self, run_id: str) -> None:
        active = self._active.get(run_id)
        if active is None:
            return
        active.gone = active.read_at = self._clock.awake()
        active.gone_at = self._clock.now()
        if active.over is not None:
            # Its shell is gone; its other processes that ignored TERM must still be ended.
            assert active.termination is not None
            self._leftovers.append((active.termination, active.step_at or 0.0))

    def _report_end(self, active: _Active) -> None:
        with contextlib.suppress(OSError):  # the result counts even if the log cannot be capped
            active.cap.check()
        try:
            state, reason, code, number = how_it_ended(active.run, active.exit_path)
        except Exception as error:  # noqa: BLE001  no error here shows how the command ended
            self._read_again(active, error)
            return
        if state is RunState.LOST:
            assert active.run.identity is not None
            reason += _survivors(active.run.identity)
        if active.over is not None:
            # It was being ended; the status shows the result of that.
            reason = self._describe_termination(active.why, reason, number)
            state = active.over
        self._finish(active.run, state, reason, code, number, at=active.gone_at)

    def _describe_termination(self, why: str, reason: str, number: int | None) -> str:
        """``why`` it was ended, and by which signal it ended."""
        if number == signal.SIGKILL:
            return f"{why}; killed (SIGKILL) {self._grace.total_seconds():g} s later"
        if number == signal.SIGTERM:
            return f"{why}; ended by SIGTERM"
        return f"{why} ({reason})" if reason else why

    def _read_again(self, active: _Active, error: Exception) -> None:
        """Its command has ended and its record cannot be read now: it waits, without a slot."""
        run, now = active.run, self._clock.awake()
        assert active.gone is not None
        if active.cancelled and now - active.gone >= GIVE_UP_AFTER_S:
            why = f"cancelled on request; how its command ended is not known: {error}"
            self._finish(run, RunState.CANCELLED, why, at=active.gone_at)
            return
        active.read_at = now + active.pause
        active.pause = min(2 * active.pause, _MAX_READ_DELAY_S)
        with self._lock:
            first, self._held[run.id] = self._held[run.id], False
        if first:
            log.warning("%s of %s has ended, but %s; trying again", run.id, run.job_name, error)
            self._inbox.note(run, f"its command has ended, and {error}; it is read again")

    def _finish(
        self,
        run: Run,
        state: RunState,
        reason: str,
        exit_code: int | None = None,
        number: int | None = None,
        at: datetime | None = None,
    ) -> None:
        with self._lock:
            self._held[run.id] = False  # before the report, which wakes the dispatcher
        self._inbox.report(
            Result(
                run=run.id,
                attempt=run.attempt,
                process=self._process,
                state=state,
                at=at or self._clock.now(),
                reason=reason,
                exit_code=exit_code,
                signal=number,
            )
        )
        # Last: the run stays active here until it is reported, whatever fails before.
        self._active.pop(run.id, None)
        with self._lock:
            self._held.pop(run.id, None)

    def _cancel(self, run_id: str) -> None:
        active = self._active.get(run_id)
        if active is not None:
            active.cancelled = active.gone is not None
            self._end(active, RunState.CANCELLED, "cancelled on request")
        elif run_id in self._held:  # not spawned or not watched yet
            self._to_cancel.append(run_id)

    def _end(self, active: _Active, state: RunState, why: str) -> None:
        if active.over is not None or active.gone is not None:
            return
        assert active.run.identity is not None
        active.over, active.why = state, why
        active.termination = Termination(active.run.identity, grace=self._grace)
        active.step_at = self._clock.awake()

    def _keep_time(self) -> float | None:
        """Do what is due; the seconds until more is, None for never."""
        now = self._clock.awake()
        is_capping = now >= self._next_cap
        if is_capping:
            self._next_cap = now + _CAP_EVERY_S
        self._leftovers = [
            (ending, again)
            for ending, at in self._leftovers
            if (again := self._step(ending, now) if at <= now else at) is not None
        ]
        nexts = [again for _, again in self._leftovers]
        if self._adopted:
            nexts.append(now + _ADOPT_RETRY_S)
        for active in list(self._active.values()):
            if active.gone is not None:
                if active.read_at <= now:
                    self._report_end(active)
                if active.run.id in self._active:
                    nexts.append(active.read_at)
                continue
            if is_capping:
                with contextlib.suppress(OSError):
                    if active.cap.check():
                        self._next_cap = now + _CAP_SOON_S  # it writes fast: check more often
            if active.over is None and active.deadline is not None and active.deadline <= now:
                assert active.timeout is not None
                timeout = format_duration(active.timeout)
                self._end(active, RunState.TIMED_OUT, f"timed out after {timeout}")
            if active.step_at is not None and active.step_at <= now:
                assert active.termination is not None
                active.step_at = self._step(active.termination, now)
            nexts.append(self._next_cap)
            if active.over is None and active.deadline is not None:
                nexts.append(active.deadline)
            if active.step_at is not None:
                nexts.append(active.step_at)
        return max(0.0, min(nexts) - now) if nexts else None

    def _step(self, ending: Termination, now: float) -> float | None:
        """When to step again; a step that fails is repeated."""
        try:
            again = ending.step(now)
        except Exception as error:  # noqa: BLE001  the processes must still be ended
            if not ending.failed:
                log.warning("pid %s cannot be ended now: %s", ending.leader.pid, error)
            ending.failed = True
            return now + _ERROR_DELAY_S
        ending.failed = False
        return again


def _survivors(leader: Identity) -> str:
    try:
        left = members_of(leader)
    except (OSError, OutcomeUnknown) as error:
        return f"; which of its processes still live is unknown: {error}"
    if not left:
        return ""
    pids = ", ".join(str(member.pid) for member in left[:10])
    return f"; of its processes these still live: {pids}"
