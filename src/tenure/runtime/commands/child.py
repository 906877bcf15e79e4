"""How a command ended: that its shell is gone, from the kernel; with which status, from its record.

:class:`Children` polls all commands. Every watched process has a death notice
(:class:`tenure.host.death.DeathWatch`), which works for any process, so that adopted commands are
watched like own children. Own children are reaped, named by their notice where the kernel can
(``waitid(P_PIDFD)``), so that no other child of the host is ever reaped in their place.

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

Failure: a record that exists and cannot be read now (no free descriptor, no permission, a failing
disk) raises :class:`RecordUnreadable`; it is read again, never treated as missing. An end is taken
off the watch only once it is on its way to the caller, and a process that cannot be inspected or
reaped now is tried again every :data:`REAP_RETRY_S`.

An exit code above 128 is how a shell reports death by signal, and ``exit 143`` looks the same.
Both are reported, ``exit_code=143, signal=15``: the shell cannot tell them apart either.

Threads: :meth:`Children.poll` is called by one thread at a time; everything else from any.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import threading
import time
from collections.abc import Callable, Hashable
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

SPACE = 64
"""Bytes that the owner writes in advance; the longest record is 14."""

_EXITED = re.compile(rb"open\nexit (\d{1,3})\n")
_SIGNAL_BASE = 128
_HIGHEST_SIGNAL = 64


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

    ``shell_gone`` says that the caller knows from the kernel, *in the boot that started it*,
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
    return parse_exit(text, finished_at=_instant(modified), shell_gone=shell_gone)


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
    number = status - _SIGNAL_BASE
    if not 0 < number <= _HIGHEST_SIGNAL:
        return None
    return number if number in signal.valid_signals() else None


def _instant(stamp: float) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)


def how_it_ended(run: Run, exit_path: Path) -> tuple[RunState, str, int | None, int | None]:
    """The state, reason, exit code and signal of a command whose shell is gone.

    Raises RecordUnreadable: try again, it may have succeeded.
    """
    same_boot = run.identity is not None and run.identity.boot_id == boot_id()
    state, reason, code, number = _from_record(read_exit(exit_path, shell_gone=same_boot))
    if state is RunState.FAILED:
        reason = _reason_from_child(exit_path) or reason
    if run.cancel_requested_at is not None and state is RunState.FAILED:
        state, reason = RunState.CANCELLED, f"cancelled on request ({reason})"
    return state, reason, code, number


def reason_file(exit_path: Path) -> Path:
    """Where a function in a process of its own writes why it failed."""
    return exit_path.with_suffix(".reason")


def _reason_from_child(exit_path: Path) -> str:
    try:
        with open_regular(reason_file(exit_path)) as file:
            return one_line((file.read(4096) or b"").decode("utf-8", "replace"))
    except OSError:  # not a function, or killed: the status is all that is known
        return ""


def _from_record(record: ExitRecord) -> tuple[RunState, str, int | None, int | None]:
    if record.outcome is Outcome.NEVER_RAN:
        return RunState.NEVER_RAN, "the gate never opened", None, None
    if record.outcome is Outcome.NO_RECORD:
        why = "it left no exit record: killed, or the machine stopped"
        return RunState.LOST, why, None, None
    if record.exit_code == 0:
        return RunState.SUCCEEDED, "", 0, None
    reason = f"exit code {record.exit_code}"
    if record.signal is not None:
        reason += f", signal {record.signal}"
    return RunState.FAILED, reason, record.exit_code, record.signal


REAP_RETRY_S = 0.25
"""Between two checks of processes for which the kernel gives no descriptor."""


class Notice(Protocol):
    """A death notice. ``fileno`` is -1 where it can only be polled."""

    def fileno(self) -> int: ...
    def wait(self, timeout: float | None = None) -> bool: ...
    def close(self) -> None: ...


_WAKEUP = object()


class Children:
    """Watches processes by key. Each key is reported once, then forgotten."""

    def __init__(self, watch: Callable[[Identity], Notice | None] = DeathWatch.open) -> None:
        self._watch = watch
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._by_key: dict[Hashable, tuple[Identity, Notice]] = {}
        self._ended: list[Hashable] = []
        self._polled: set[Hashable] = set()
        self._unreaped: list[Identity] = []
        self._woken = False
        self._closed = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, _WAKEUP)

    def add(self, key: Hashable, identity: Identity) -> None:
        """Watch a process. One that has already ended is reported by the next poll.

        Raises ValueError for a key that is already watched, RuntimeError once closed, and
        whatever the death notice raises if the process cannot be watched.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the poller is closed")
            if key in self._by_key:
                raise ValueError(f"already watched: {key!r}")
            notice = self._watch(identity)
            if notice is None:
                self._ended.append(key)
                self._reap(identity, None)
            else:
                self._by_key[key] = (identity, notice)
                if self._registers(notice, key):
                    return
                self._polled.add(key)
        self.wake()

    def _registers(self, notice: Notice, key: Hashable) -> bool:
        """Whether the selector reports its end; if not, it is polled."""
        if notice.fileno() < 0:
            return False
        try:
            # epoll and kqueue take a descriptor while another thread waits in them.
            self._selector.register(notice.fileno(), selectors.EVENT_READ, key)
        except OSError:  # no memory, or too many watches of this user
            return False
        return True

    def reap(self, identity: Identity) -> None:
        """Reap, once it has ended, a child that is not watched and is about to end."""
        with self._lock:
            self._unreaped.append(identity)
        self.wake()

    def __len__(self) -> int:
        """Processes that are watched or wait to be reported."""
        return len(self._by_key) + len(self._ended)

    def discard(self, key: Hashable) -> None:
        """Stop watching; the process itself is left alone. Unknown keys are ignored."""
        with self._lock:
            self._forget(key)
            if key in self._ended:
                self._ended.remove(key)

    def poll(self, timeout: float | None) -> list[Hashable]:
        """Wait up to ``timeout`` seconds for ends; returns the keys that ended, own children
        reaped.

        0 returns at once, None never times out. Returns early, possibly with nothing, after
        :meth:`wake` and :meth:`close`.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            ended, woken = self._look(self._slice(until))
            late = until is not None and time.monotonic() >= until
            if ended or woken or late or self._closed:
                return ended

    def _slice(self, until: float | None) -> float | None:
        """How long one select may wait, in seconds."""
        if self._ended:
            return 0
        left = None if until is None else max(0.0, until - time.monotonic())
        if self._polled or self._unreaped:
            return REAP_RETRY_S if left is None else min(left, REAP_RETRY_S)
        return left

    def _look(self, timeout: float | None) -> tuple[list[Hashable], bool]:
        ready = [] if self._closed else self._selector.select(timeout)
        woken = False
        with self._lock:
            for chosen, _ in ready:
                if chosen.data is _WAKEUP:
                    woken = True
                    self._clear_wakeup()
                else:
                    self._end_if_so(chosen.data)
            for key in list(self._polled):
                self._end_if_so(key)
            waiting, self._unreaped = self._unreaped, []
            for identity in waiting:
                self._reap(identity, None)
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
            for key in list(self._by_key):
                self._forget(key)
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
        for _, notice in self._by_key.values():
            notice.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _clear_wakeup(self) -> None:
        self._woken = False
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 64):
                pass

    def _end_if_so(self, key: Hashable) -> None:
        if key not in self._by_key:  # discarded since the selector saw it
            return
        identity, notice = self._by_key[key]
        try:
            if not notice.wait(0):
                return
        except OSError:  # it cannot be inspected now; the next poll tries again
            return
        self._ended.append(key)
        self._reap(identity, notice)
        self._forget(key)

    def _forget(self, key: Hashable) -> None:
        entry = self._by_key.pop(key, None)
        if entry is None:
            return
        if key in self._polled:
            self._polled.discard(key)
        else:
            with contextlib.suppress(OSError, ValueError, KeyError):
                self._selector.unregister(entry[1].fileno())
        with contextlib.suppress(OSError):
            entry[1].close()

    def _reap(self, identity: Identity, notice: Notice | None) -> None:
        """Reap an own child; a failure is tried again at the next poll."""
        try:
            done = _reaped(identity, notice)
        except (FileNotFoundError, ProcessLookupError, ChildProcessError, ValueError):
            done = True  # not an own child, or reaped already
        except OSError:
            done = False
        if not done:
            self._unreaped.append(identity)


def _reaped(identity: Identity, notice: Notice | None) -> bool:
    """Whether nothing is left to reap. Raises OSError; ChildProcessError if not an own child."""
    if not hasattr(os, "P_PIDFD"):
        return os.waitpid(identity.pid, os.WNOHANG)[0] != 0
    if notice is not None and notice.fileno() >= 0:
        return os.waitid(os.P_PIDFD, notice.fileno(), os.WEXITED | os.WNOHANG) is not None
    return _reaped_by_number(identity)


def _reaped_by_number(identity: Identity) -> bool:
    """Linux: reap a zombie without a notice, after checking that the pid was not reused."""
    descriptor = os.pidfd_open(identity.pid)
    try:
        if read_stat(identity.pid).start != identity.start:
            return True
        return os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG) is not None
    finally:
        os.close(descriptor)


def wait_for(children: Children, keys: set[Hashable], timeout: float) -> set[Hashable]:
    """Poll until all ``keys`` ended or ``timeout`` seconds passed; returns the keys left."""
    until = time.monotonic() + timeout
    left = set(keys)
    while left and (rest := until - time.monotonic()) > 0:
        left -= set(children.poll(rest))
    return left
