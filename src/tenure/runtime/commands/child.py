"""How a command ended: that its shell is gone, from the kernel; with which status, from its record.

The exit record is the authority on the status, never a wait status. A host that reaps with
``waitpid(-1)`` (gunicorn's arbiter) takes the status away, and a later owner was never the
parent. Only the gate's shell writes the record (:mod:`tenure.runtime.commands.gate`); the owner
creates the file, every other process reads it.

The file is created with its space already taken: :data:`SPACE` NUL bytes, overwritten from the
front, so that a disk that fills up while the job runs cannot swallow the status. It grows so::

    (NULs)                  at the gate: the job has not begun
    open\\n                  passed the gate: the job may have begun
    open\\nexit 7\\n          it ended; 7 is the shell's ``$?``
    never\\n                 the gate closed unopened: the job never began, and never will

A line counts only if it is complete; anything else is no record. What is missing is never
guessed: a shell that was killed leaves 'open', and that run is lost.

An exit code above 128 is how a shell reports death by signal, and ``exit 143`` looks the same.
Both are reported, ``exit_code=143, signal=15``: the shell cannot distinguish them either.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from tenure.domain.errors import OutcomeUnknown
from tenure.domain.policy.evidence import Identity
from tenure.domain.run import Run, RunState
from tenure.host.death import DeathWatch
from tenure.host.linux.proc import read_stat
from tenure.host.processes import boot_id
from tenure.runtime.tracebacks import one_line
from tenure.store.folder.files import NotRegular, open_regular

SPACE = 64  # bytes; the longest record is 14

_EXITED = re.compile(rb"open\nexit (\d{1,3})\n")


class RecordUnreadable(OutcomeUnknown):
    """The record could not be read now: try again."""

    code = "record_unreadable"


class Outcome(StrEnum):
    """What the record proves."""

    EXITED = "exited"
    NEVER_RAN = "never_ran"
    NO_RECORD = "no_record"


class Stage(StrEnum):
    """How far the record has come. Without a living shell, OPEN means lost."""

    MISSING = "missing"
    """No such file, or a file that Tenure did not write."""
    GATE = "gate"
    OPEN = "open"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRecord:
    """A record as read. ``exit_code`` and ``signal`` are None unless the job exited."""

    outcome: Outcome
    stage: Stage
    exit_code: int | None = None
    signal: int | None = None
    finished_at: datetime | None = None
    """When the record was written (UTC, the file's modification time, a few ms coarse)."""


def read_exit(exit_path: Path, *, shell_gone: bool = False) -> ExitRecord:
    """Read the record; safe at any moment, from any process and thread.

    Raises RecordUnreadable, and never OSError. Only a file that does not exist, or that is not a
    regular file, counts as missing.

    ``shell_gone``: the caller knows from the kernel, *in the boot that started it*,
    that the shell is dead. Then a record that is still blank proves that the job never ran,
    because the shell writes 'open' before it begins the job. After a reboot it proves nothing:
    what was written may have been lost with the page cache.
    """
    try:
        with open_regular(exit_path) as file:
            text = file.read(SPACE * 2)
            modified = os.fstat(file.fileno()).st_mtime
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, NotRegular):
        return ExitRecord(outcome=Outcome.NO_RECORD, stage=Stage.MISSING)
    except OSError as error:
        raise RecordUnreadable(
            f"the exit record {exit_path} cannot be read: {error.strerror or error}",
            errno=error.errno,
        ) from error
    finished_at = datetime.fromtimestamp(modified, UTC)
    return parse_exit(text, finished_at=finished_at, shell_gone=shell_gone)


def parse_exit(text: bytes, *, finished_at: datetime, shell_gone: bool = False) -> ExitRecord:
    """The meaning of a record's bytes; pure. See :func:`read_exit`."""
    record = text.rstrip(b"\0")
    if not record:
        if not text:
            return ExitRecord(outcome=Outcome.NO_RECORD, stage=Stage.MISSING)
        outcome = Outcome.NEVER_RAN if shell_gone else Outcome.NO_RECORD
        return ExitRecord(outcome=outcome, stage=Stage.GATE)
    if record == b"never\n":
        return ExitRecord(outcome=Outcome.NEVER_RAN, stage=Stage.DONE, finished_at=finished_at)
    if match := _EXITED.fullmatch(record):
        status = int(match[1])
        return ExitRecord(
            outcome=Outcome.EXITED,
            stage=Stage.DONE,
            exit_code=status,
            signal=signal_of(status),
            finished_at=finished_at,
        )
    return ExitRecord(outcome=Outcome.NO_RECORD, stage=Stage.OPEN)


def signal_of(status: int) -> int | None:
    """The signal that a shell's ``$?`` reports, or None for an ordinary exit."""
    number = status - 128
    return number if 0 < number <= 64 and number in signal.valid_signals() else None


def how_it_ended(run: Run, exit_path: Path) -> tuple[RunState, str, int | None, int | None]:
    """The state, reason, exit code and signal of a command whose shell is gone.

    Raises RecordUnreadable: try again, it may have succeeded.
    """
    record = read_exit(exit_path)
    started = run.identity
    # Blank, and not a reboot's loss: its shell, which is gone, had not passed the gate.
    blank = record.stage is Stage.GATE and started is not None and started.boot_id == boot_id()
    if blank or record.outcome is Outcome.NEVER_RAN:
        return RunState.NEVER_RAN, "the gate never opened", None, None
    if record.outcome is Outcome.NO_RECORD:
        why = "it left no exit record: killed, or the machine stopped"
        return RunState.LOST, why, None, None
    if record.exit_code == 0:
        return RunState.SUCCEEDED, "", 0, None
    reason = f"exit code {record.exit_code}"
    if record.signal is not None:
        reason += f", signal {record.signal}"
    state, reason = RunState.FAILED, _reason_from_child(exit_path) or reason
    if run.cancel_requested_at is not None:
        state, reason = RunState.CANCELLED, f"cancelled on request ({reason})"
    return state, reason, record.exit_code, record.signal


def reason_file(exit_path: Path) -> Path:
    """Where a function in a process of its own writes why it failed."""
    return exit_path.with_suffix(".reason")


def _reason_from_child(exit_path: Path) -> str:
    try:
        with open_regular(reason_file(exit_path)) as file:
            return one_line((file.read(4096) or b"").decode("utf-8", "replace"))
    except OSError:  # not a function, or killed: the status is all that is known
        return ""


REAP_RETRY_S = 0.25
"""Between two checks of processes for which the kernel gives no descriptor, or that could not be
inspected or reaped."""


class Notice(Protocol):
    """A death notice. ``fileno`` is -1 where it can only be polled."""

    def fileno(self) -> int: ...
    def wait(self, timeout: float | None = None) -> bool: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class _Watched:
    identity: Identity
    notice: Notice
    descriptor: int
    is_polled: bool = False
    """The selector does not report its end."""


class Children:
    """Watches processes by run id. Each is reported once, then forgotten.

    Every one has a death notice (:class:`tenure.host.death.DeathWatch`), which works for any
    process, so that adopted commands are watched like own children. Own children are reaped,
    named by their notice where the kernel can (``waitid(P_PIDFD)``), so that no other child of
    the host is ever reaped in their place.

    Threads: :meth:`poll` is called by one thread at a time; everything else from any.
    """

    def __init__(self, watch: Callable[[Identity], Notice | None] = DeathWatch.open) -> None:
        self._watch = watch
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._watched: dict[str, _Watched] = {}
        self._ended: list[str] = []
        self._unreaped: list[Identity] = []
        self._woken = False
        self._closed = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)

    def add(self, run_id: str, identity: Identity) -> None:
        """Watch a process. One that has already ended is reported by the next poll.

        Raises ValueError for a run that is already watched, RuntimeError once closed, and
        whatever the death notice raises if the process cannot be watched.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the poller is closed")
            if run_id in self._watched:
                raise ValueError(f"already watched: {run_id!r}")
            notice = self._watch(identity)
            if notice is None:
                self._ended.append(run_id)
                self._reap(identity, -1)
            else:
                watched = _Watched(identity, notice, notice.fileno())
                self._watched[run_id] = watched
                if watched.descriptor >= 0:
                    try:
                        # epoll and kqueue take a descriptor while another thread waits in them.
                        self._selector.register(watched.descriptor, selectors.EVENT_READ, run_id)
                        return
                    except OSError:  # no memory, or too many watches of this user
                        pass
                watched.is_polled = True
        self.wake()

    def reap(self, identity: Identity) -> None:
        """Reap, once it has ended, a child that is not watched and is about to end."""
        with self._lock:
            self._unreaped.append(identity)
        self.wake()

    def poll(self, timeout: float | None) -> list[str]:
        """Wait up to ``timeout`` seconds for ends; returns the runs that ended, own children
        reaped.

        0 returns at once, None never times out. Returns early, possibly with nothing, after
        :meth:`wake` and :meth:`close`.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if until is None else max(0.0, until - time.monotonic())
            ended, woken = self._look(left)
            late = until is not None and time.monotonic() >= until
            if ended or woken or late or self._closed:
                return ended

    def _look(self, timeout: float | None) -> tuple[list[str], bool]:
        with self._lock:
            if self._ended:
                timeout = 0
            elif self._unreaped or any(watched.is_polled for watched in self._watched.values()):
                timeout = REAP_RETRY_S if timeout is None else min(timeout, REAP_RETRY_S)
        ready = [] if self._closed else self._selector.select(timeout)
        with self._lock:
            woken = any(chosen.data is None for chosen, _ in ready)
            if woken:
                self._woken = False
                with contextlib.suppress(BlockingIOError):
                    while os.read(self._wake_read, 64):
                        pass
            signalled = {chosen.data for chosen, _ in ready}
            for run_id, watched in list(self._watched.items()):
                if (watched.is_polled or run_id in signalled) and _has_ended(watched.notice):
                    self._ended.append(run_id)
                    self._reap(watched.identity, watched.descriptor)
                    self._forget(run_id)
            waiting, self._unreaped = self._unreaped, []
            for identity in waiting:
                self._reap(identity, -1)
            # An end leaves the list only here, on its way to the caller.
            ended, self._ended = self._ended, []
        return ended, woken

    def wake(self) -> None:
        """Make the poll that is waiting, or else the next poll, return now."""
        with self._lock:
            if not self._woken and not self._closed:
                self._woken = True
                with contextlib.suppress(BlockingIOError):
                    os.write(self._wake_write, b"!")

    def close(self) -> None:
        """Stop watching everything; processes go on. Not while another thread polls."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for run_id in list(self._watched):
                self._forget(run_id)
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def forget_in_child(self) -> None:
        """After a fork, in the child. Nothing is unregistered: parent and child share the kernel's
        selector."""
        if self._closed:
            return
        self._closed = True
        self._selector.close()
        for watched in self._watched.values():
            watched.notice.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget(self, run_id: str) -> None:
        watched = self._watched.pop(run_id)
        if not watched.is_polled:
            with contextlib.suppress(OSError, ValueError, KeyError):
                self._selector.unregister(watched.descriptor)
        with contextlib.suppress(OSError):
            watched.notice.close()

    def _reap(self, identity: Identity, descriptor: int) -> None:
        """Reap an own child; a failure is tried again at the next poll."""
        try:
            done = _reaped(identity, descriptor)
        except (FileNotFoundError, ProcessLookupError, ChildProcessError, ValueError):
            done = True  # not an own child, or reaped already
        except OSError:
            done = False
        if not done:
            self._unreaped.append(identity)


def _has_ended(notice: Notice) -> bool:
    try:
        return notice.wait(0)
    except OSError:  # it cannot be inspected now; the next poll tries again
        return False


def _reaped(identity: Identity, descriptor: int) -> bool:
    """Whether nothing is left to reap. ``descriptor``: the process's pidfd, -1 for none.

    Raises OSError; ChildProcessError if it is not an own child.
    """
    if not hasattr(os, "P_PIDFD"):
        return os.waitpid(identity.pid, os.WNOHANG)[0] != 0
    if descriptor >= 0:
        return os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG) is not None
    descriptor = os.pidfd_open(identity.pid)
    try:
        # The descriptor pins the process, so this check is about the one that is reaped.
        if read_stat(identity.pid).start != identity.start:
            return True
        return os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG) is not None
    finally:
        os.close(descriptor)
