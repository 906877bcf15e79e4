"""Runs of commands, in one thread: spawn at the gate, watch, end what is out of time, report.

    submit --> at its gate --> (the dispatcher commits 'started', opens) --> ended --> report
    adopt  ----------------------------------------------------------------->

Who opens the gate is the dispatcher, after its commit; this thread never does. How a command
ended is read from its exit record, because a wait status may have been taken by the host and an
adopted command is nobody's child here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tenure.domain.evidence import Identity
from tenure.domain.job import Command, Definition
from tenure.domain.run import Result, Run, RunState
from tenure.host.clocks import Clock
from tenure.host.processes import boot_id
from tenure.runtime.children import Children
from tenure.runtime.commands import CommandNotStarted, CommandSpec, GatedCommand
from tenure.runtime.exits import Outcome, read_exit
from tenure.runtime.gate import spawn_gated
from tenure.runtime.output import OutputCap
from tenure.runtime.session import members_of
from tenure.runtime.terminate import Ending
from tenure.store.user_home import job_folder

log = logging.getLogger("tenure.commands")

GRACE = timedelta(seconds=10)
"""Between TERM and KILL."""
_AFTER_AN_ERROR = 0.1
_AGAIN = 1.0
_CAP_EVERY = 0.5
_BASE_EVERY = 1.0
_CAP_SOON = 0.02
_NOT_INHERITED = frozenset(
    (
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "XPC_SERVICE_NAME",
    )
)
"""What a service manager tells one process: a job is not that process."""


@dataclass(slots=True)
class _Active:
    run: Run
    exit_path: Path
    cap: OutputCap
    deadline: float | None
    ending: Ending | None = None
    again: float | None = None
    over: RunState | None = None
    why: str = ""


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
        report: Callable[[Result], None],
        at_gate: Callable[[Run, GatedCommand], None],
        grace: timedelta = GRACE,
    ) -> None:
        self._process = process
        self._logs = logs
        self._slots = slots
        self._log_size = log_size
        self._environment = environment
        self._clock = clock
        self._report = report
        self._at_gate = at_gate
        self._grace = grace
        self._children = Children()
        self._new: deque[tuple[Run, Definition]] = deque()
        self._adopted: deque[tuple[Run, Definition]] = deque()
        self._to_cancel: deque[str] = deque()
        self._active: dict[str, _Active] = {}
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._next_cap = 0.0
        self._base: dict[str, str] = {}
        self._base_until = 0.0
        self._leftovers: list[tuple[Ending, float]] = []

    def room(self) -> int:
        """How many more commands may be claimed now."""
        with self._lock:
            return max(0, self._slots - len(self._held))

    def runs(self) -> frozenset[str]:
        """The runs that are in its hands."""
        with self._lock:
            return frozenset(self._held)

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
        """End a run; whether it is one of ours."""
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
        """Stop watching. Commands go on; the next owner adopts them."""
        self._stopping = True
        self._children.wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)
        self._children.close()

    # -- the thread --------------------------------------------------------------------------
    def _take(self, run: Run, definition: Definition, where: deque[tuple[Run, Definition]]) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._loop, name="tenure-commands", daemon=True)
                thread.start()  # raises where no thread is to be had: then nothing was taken
                self._thread = thread
            self._held.add(run.id)
            where.append((run, definition))
        self._children.wake()

    def _loop(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except Exception:  # one command's trouble must not end the watch over the others
                log.exception("the command runner met an error and goes on")
                time.sleep(_AFTER_AN_ERROR)

    def _turn(self) -> None:
        for _ in range(len(self._adopted)):
            self._watch_adopted(*self._adopted.popleft())
        while self._to_cancel:
            self._end(self._to_cancel.popleft(), RunState.CANCELLED, "cancelled on request")
        if self._new:
            self._spawn(*self._new.popleft())
        timeout = 0.0 if self._new else self._until_next()
        for key in self._children.poll(timeout):
            try:
                self._ended(str(key))
            except Exception:  # the others that ended are told of only this once
                log.exception("the end of %s could not be read", key)
        self._keep_time()

    def _spawn(self, run: Run, definition: Definition) -> None:
        if run.id not in self._held:
            return
        folder = self._logs / run.id
        try:
            spec = self._spec(run, definition)
            gated = spawn_gated(spec, folder=folder, attempt=run.attempt)
        except Exception as error:  # whatever stands in the way, the run must not stay claimed
            if not isinstance(error, CommandNotStarted):
                log.exception("%s could not be started", run.id)
            self._finish(run, RunState.FAILED, f"not started: {error}")
            return
        try:
            self._watch(run, definition, gated)
        except Exception as error:  # out of descriptors, say: nobody could tell its end
            log.exception("%s could not be watched", run.id)
            self._active.pop(run.id, None)
            gated.abandon()
            self._finish(run, RunState.NEVER_RAN, f"it could not be watched: {error}")
            return
        self._at_gate(run, gated)

    def _watch(self, run: Run, definition: Definition, gated: GatedCommand) -> None:
        timeout = definition.timeout
        self._active[run.id] = _Active(
            run=run,
            exit_path=gated.exit_path,
            cap=OutputCap(gated.log_path, self._log_size),
            deadline=self._clock.awake() + timeout.total_seconds() if timeout else None,
        )
        self._active[run.id].ending = Ending(gated.identity, grace=self._grace)
        self._children.add(run.id, gated.identity)

    def _watch_adopted(self, run: Run, definition: Definition) -> None:
        assert run.identity is not None
        folder = self._logs / run.id
        deadline = None
        if definition.timeout is not None:
            since = run.started_at or run.claimed_at
            left = definition.timeout - (self._clock.now() - since)
            deadline = self._clock.awake() + max(left.total_seconds(), 0.0)
        self._active[run.id] = _Active(
            run=run,
            exit_path=folder / f"{run.attempt}.exit",
            cap=OutputCap(folder / f"{run.attempt}.log", self._log_size),
            deadline=deadline,
            ending=Ending(run.identity, grace=self._grace),
        )
        try:
            self._children.add(run.id, run.identity)
        except OSError as error:  # out of descriptors, say: it runs on, and is tried again
            log.warning("%s cannot be watched yet: %s", run.id, error)
            self._active.pop(run.id, None)
            self._adopted.append((run, definition))

    def _spec(self, run: Run, definition: Definition) -> CommandSpec:
        action = definition.action
        assert isinstance(action, Command)
        env = self._inherited()
        env.update(self._environment())
        env.update(action.env)
        env["TENURE_RUN"] = run.id
        env["TENURE_JOB"] = run.job_name
        env["TENURE_TERM"] = str(run.term)
        env["TENURE_FIRE_TIME"] = run.fire_time.isoformat()
        env["TENURE_ATTEMPT"] = str(run.attempt)
        return CommandSpec(
            argv=action.argv,
            shell=action.shell,
            env=env,
            cwd=action.cwd or job_folder(os.environ),
            stdin=action.stdin.encode() if action.stdin is not None else None,
        )

    def _inherited(self) -> dict[str, str]:
        """A fresh copy of what a command inherits of our environment, at most a second old."""
        now = self._clock.awake()
        if now >= self._base_until:
            self._base = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
            self._base_until = now + _BASE_EVERY
        return dict(self._base)

    def _ended(self, run_id: str) -> None:
        active = self._active.pop(run_id, None)
        if active is None:
            return
        if active.over is not None and active.ending is not None:
            # Its shell is gone; what else it started, and ignored TERM, is ended still.
            self._leftovers.append((active.ending, active.again or 0.0))
        self._report_end(active)

    def _report_end(self, active: _Active) -> None:
        with contextlib.suppress(OSError):  # a log that cannot be capped costs no result
            active.cap.check()
        leader = active.ending.leader if active.ending else None
        same_boot = leader is not None and leader.boot_id == boot_id()
        state, reason, code, number = how_it_ended(active.exit_path, same_boot)
        if state is RunState.LOST and leader is not None:
            reason += _who_is_left(leader)
        if active.over is not None:
            # It was being ended, and its status says how it took that.
            reason = active.why + (f" ({reason})" if reason else "")
            state = active.over
        self._finish(active.run, state, reason, code, number)

    def _finish(
        self,
        run: Run,
        state: RunState,
        reason: str,
        exit_code: int | None = None,
        number: int | None = None,
    ) -> None:
        with self._lock:
            self._held.discard(run.id)
        self._report(
            Result(
                run=run.id,
                attempt=run.attempt,
                process=self._process,
                state=state,
                at=self._clock.now(),
                reason=reason,
                exit_code=exit_code,
                signal=number,
            )
        )

    def _end(self, run_id: str, state: RunState, why: str) -> None:
        active = self._active.get(run_id)
        if active is None or active.over is not None:
            return
        active.over, active.why = state, why
        active.again = self._clock.awake()

    def _until_next(self) -> float | None:
        if not self._active and not self._leftovers:
            return _AGAIN if self._adopted else None
        now = self._clock.awake()
        nexts = [self._next_cap, *(again for _, again in self._leftovers)]
        for active in self._active.values():
            if active.over is None and active.deadline is not None:
                nexts.append(active.deadline)
            if active.again is not None:
                nexts.append(active.again)
        return max(0.0, min(nexts) - now)

    def _keep_time(self) -> None:
        now = self._clock.awake()
        capping = now >= self._next_cap
        if capping:
            self._next_cap = now + _CAP_EVERY
        self._leftovers = [
            (ending, again)
            for ending, at in self._leftovers
            if (again := ending.step(now) if at <= now else at) is not None
        ]
        for active in list(self._active.values()):
            if capping:
                with contextlib.suppress(OSError):
                    if active.cap.check():
                        self._next_cap = now + _CAP_SOON  # it writes fast: look more often
            if active.over is None and active.deadline is not None and active.deadline <= now:
                self._end(active.run.id, RunState.TIMED_OUT, "not done in time")
            if active.again is not None and active.again <= now and active.ending is not None:
                active.again = active.ending.step(now)


def _who_is_left(leader: Identity) -> str:
    left = members_of(leader)
    if not left:
        return ""
    pids = ", ".join(str(member.pid) for member in left[:10])
    return f"; of its processes these still live: {pids}"


def how_it_ended(exit_path: Path, same_boot: bool) -> tuple[RunState, str, int | None, int | None]:
    """The state, reason, exit code and signal of a command whose shell is gone."""
    record = read_exit(exit_path, shell_gone=same_boot)
    if record.outcome is Outcome.NEVER_RAN:
        return RunState.NEVER_RAN, "the gate never opened", None, None
    if record.outcome is Outcome.NO_RECORD:
        why = "it left no exit record: killed, or the machine stopped"
        return RunState.LOST, why, None, None
    if record.exit_code == 0:
        return RunState.SUCCEEDED, "", 0, None
    said = f"exit code {record.exit_code}"
    if record.signal is not None:
        said += f", signal {record.signal}"
    return RunState.FAILED, said, record.exit_code, record.signal
