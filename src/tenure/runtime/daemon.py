"""``tenure serve``: a scheduler process in the foreground.

SIGTERM and SIGINT hand the ownership over at once, let running jobs finish for a while, and exit 0;
a second signal exits immediately. Started by systemd with Type=notify, it reports when it has
joined.

A process that has failed exits by itself, so that its manager starts it again: with 75 where a
file of the store was removed, replaced or truncated, with 70 where one of its threads ended or
makes no progress.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING

from tenure.domain.errors import InvalidInput, TenureError
from tenure.domain.process import ProcessStatus
from tenure.domain.schedule.zones import INSTALL_ZONES, has_zones
from tenure.host.clocks import SystemClock
from tenure.host.orphans import Orphans, adopts_orphans
from tenure.runtime.dispatch.context import HostProgram
from tenure.runtime.failure import Watch, lost_thread
from tenure.runtime.inherited_state import small_limits
from tenure.runtime.scheduler import DRAIN_S, Scheduler

if TYPE_CHECKING:
    from tenure.runtime.profile import Profile

SETTLE_S = 1.0
"""After joining, the time in which ownership is usually settled."""

WATCH_EVERY_S = 5.0
"""Between two checks of the other threads by the main thread."""
REAP_EVERY_S = 0.5
"""The same where it also reaps processes that jobs leave behind."""
FAILED_PATIENCE_S = 15.0
"""For which a process that has failed tries to leave cleanly."""

NOTIFY_TIMEOUT_S = 1.0
"""How long to wait for a supervisor that does not read its messages."""
MAX_WAITING_LINES = 1000
"""Lines that wait to be written, at most; further lines are dropped, counted and reported."""
FLUSH_TIMEOUT_S = 1.0
"""For the lines that wait when the process exits."""

log = logging.getLogger("tenure")

_STANDINGS = {
    ProcessStatus.REFUSED: "this process may not become owner: %s",
    ProcessStatus.CANDIDATE: "this process is a candidate: %s",
    ProcessStatus.OBSERVER: "this process only observes: %s",
    ProcessStatus.FOREIGN: "this process is a foreign scheduler: %s",
}


def serve(
    profile: Profile,
    *,
    role: str | None = None,
    app: str | None = None,
    drain: float = DRAIN_S,
    beside: Callable[[], Callable[[], None]] | None = None,
) -> int:
    """Run until a signal or a failure ends it; returns the exit code. Main thread only.

    ``app`` is ``package.module:name`` of a :class:`tenure.Tenure` whose declared jobs this
    process can then run. ``beside`` starts something else after this process has joined, and
    returns what stops it; if it fails, that is logged and the scheduler continues. Raises
    InvalidInput for an app that cannot be loaded, and what joining raises.
    """
    _log_to_stderr()
    if not has_zones():
        log.warning("this machine has no time zone data: only UTC works (%s)", INSTALL_ZONES)
    for problem in small_limits():
        log.error("%s", problem)
    orphans = _adopted_orphans()
    ended = threading.Event()
    program = _program_of(profile, app) if app else None
    scheduler = Scheduler(profile, program, role=role, on_failure=lambda failure: ended.set())

    received: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        if ended.is_set():
            os._exit(128 + number)
        received.append(number)
        ended.set()

    before = {n: signal.signal(n, on_signal) for n in (signal.SIGTERM, signal.SIGINT)}
    end_beside: Callable[[], None] | None = None
    try:
        scheduler.start()
        _notify("READY=1")
        log.info("joined profile %s as %s, pid %s", profile.name, scheduler.member.id, os.getpid())
        if not ended.wait(SETTLE_S):
            _say_why_not(profile, scheduler.member.id)
        if beside is not None and not ended.is_set():
            end_beside = _begin(beside)
        watches = [Watch(thread, SystemClock()) for thread in scheduler.threads()]
        while not ended.wait(WATCH_EVERY_S if orphans is None else REAP_EVERY_S):
            if orphans is not None:
                orphans.reap()
            for problem in filter(None, (watch.problem() for watch in watches)):
                _end_within(FAILED_PATIENCE_S, lost_thread(problem).exit_code)
                scheduler.fail(lost_thread(problem))
        if scheduler.failure is not None:
            _end_within(FAILED_PATIENCE_S, scheduler.failure.exit_code)
    finally:
        _notify("STOPPING=1")
        if ended.is_set() and scheduler.failure is None:
            again = "Ctrl-C again" if received == [signal.SIGINT] else "send the signal again"
            log.info(
                "shutting down: waiting up to %g s for running jobs; %s to exit now", drain, again
            )
        names = " and ".join(signal.Signals(number).name for number in received)
        why = scheduler.failure.text if scheduler.failure else f"received {names}"
        if not scheduler.stop(drain, why=why):
            log.warning("jobs were still running; the next owner adopts their commands")
        if end_beside is not None:
            end_beside()
        for number, handler in before.items():
            signal.signal(number, handler)
    return scheduler.failure.exit_code if scheduler.failure is not None else 0


def _adopted_orphans() -> Orphans | None:
    """Reaps orphaned processes, where the kernel reparents them to this process."""
    if not adopts_orphans():
        return None
    orphans = Orphans()
    if orphans.can_reap():
        return orphans
    log.warning(
        "processes that jobs leave behind become children of this process, and this kernel cannot "
        "distinguish them from its own: they stay as zombies (use an init: docker run --init)"
    )
    return None


def _end_within(seconds: float, code: int) -> None:
    """Exit even if a stuck thread keeps the others waiting, by a lock it holds for example."""
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()


def _begin(beside: Callable[[], Callable[[], None]]) -> Callable[[], None] | None:
    try:
        return beside()
    except Exception as error:  # noqa: BLE001 - the scheduler continues without it
        log.error("%s; the scheduler continues", error)
        return None


def _say_why_not(profile: Profile, process: str) -> None:
    """The user has just started it and wants to know; the keeper logs later changes."""
    with contextlib.suppress(TenureError):
        found = profile.store.process(process)
        if found.standing is not ProcessStatus.OWNER:
            level = logging.WARNING if found.standing is ProcessStatus.REFUSED else logging.INFO
            log.log(level, _STANDINGS[found.standing], found.why)


def _program_of(profile: Profile, target: str) -> HostProgram:
    module_name, _, attribute = target.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module_name), attribute or "tenure")
        program_for = found._host_program
    except (ImportError, AttributeError) as error:
        raise InvalidInput(
            f"cannot load {target!r}: {error}",
            field="app",
            remedy="pass --app package.module:name, where name is a tenure.Tenure",
        ) from error
    program: HostProgram = program_for(profile)
    return program


def _log_to_stderr() -> None:
    level = os.environ.get("TENURE_LOG", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise InvalidInput(
            f"{level[:40]!r} is not a log level",
            field="TENURE_LOG",
            remedy="use DEBUG, INFO, WARNING or ERROR",
        )
    if not logging.getLogger().handlers:
        logging.basicConfig(
            level=level,
            format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
            handlers=[StderrLog()],
        )


def _notify(text: str) -> None:
    """Notify systemd, where it requested that (sd_notify(3): one datagram)."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        # The queue of a supervisor that hangs is full.
        sock.settimeout(NOTIFY_TIMEOUT_S)
        sock.sendto(text.encode(), address)


class StderrLog(logging.Handler):
    """Log lines to standard error that never block the logging thread. Thread-safe.

    Standard error is often a pipe to another process (``| less``, a log collector), which stays
    full when that process hangs. A scheduler must go on then, and exit on a signal. So a thread of
    its own writes, to the descriptor and not through ``sys.stderr``, whose lock it would hold at
    the interpreter's exit. A forked child writes by itself.
    """

    def __init__(self, descriptor: int = 2) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._dropped = 0
        self._pid: int | None = os.getpid()
        try:
            threading.Thread(target=self._write_lines, name="tenure-log", daemon=True).start()
        except RuntimeError:  # no thread available
            self._pid = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001  arguments that do not fit, as in every handler
            self.handleError(record)
            return
        if self._pid != os.getpid():
            self._write(line)
        elif self._lines.qsize() >= MAX_WAITING_LINES:
            self._dropped += 1
        else:
            if self._dropped:
                self._lines.put(b"(%d lines were dropped: no process read them)\n" % self._dropped)
                self._dropped = 0
            self._lines.put(line)

    def flush(self) -> None:
        """Wait until all lines are written, or FLUSH_TIMEOUT_S if no process reads them."""
        if self._pid == os.getpid():
            written = threading.Event()
            self._lines.put(written)
            written.wait(FLUSH_TIMEOUT_S)

    def _write_lines(self) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
            else:
                self._write(line)

    def _write(self, line: bytes) -> None:
        while line:
            try:
                line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:  # another process made it non-blocking
                time.sleep(0.02)
            except OSError:  # no process reads it
                return
