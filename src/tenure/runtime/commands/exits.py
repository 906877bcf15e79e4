"""The record that a command's own shell leaves of how it ended.

Authority: the record, never a wait status. A host that reaps with ``waitpid(-1)`` takes the
status away, and a later owner was never the parent. Only the gate's shell writes here
(:mod:`tenure.runtime.commands.gate`); the owner makes the file, everybody else reads.

The file is made with its space already taken: :data:`SPACE` NUL bytes, overwritten from the
front, so that a disk that fills up while the job runs cannot swallow the status. It grows so::

    (NULs)                  at the gate: the job has not begun
    open\\n                  passed the gate: the job may have begun
    open\\nexit 7\\n          it ended; 7 is the shell's ``$?``
    never\\n                 the gate closed unopened: the job never began, and never will

A line counts only whole, with its end; anything else is no record. What is missing is never
guessed: a shell that was killed leaves 'open', and that run is lost.

A record that is there and cannot be read now (no descriptor free, no permission, a failing disk)
says nothing: :class:`RecordUnreadable`. The reader asks again; it is never taken for missing.

An exit code above 128 is the shell's word for death by signal, and ``exit 143`` says the same.
Both are reported, ``exit_code=143, signal=15``: the ambiguity is the shell's own and is not
resolved here.
"""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from tenure.domain.errors import OutcomeUnknown
from tenure.store.folder.files import NotRegular, open_regular

SPACE = 64
"""Bytes that the owner writes in advance; the longest record is 14."""

_EXITED = re.compile(rb"open\nexit (\d{1,3})\n")
_SIGNAL_BASE = 128
_HIGHEST_SIGNAL = 64


class RecordUnreadable(OutcomeUnknown):
    """The record could not be read now, whatever it says: ask again."""

    code = "record_unreadable"


class Outcome(StrEnum):
    """What the record proves."""

    EXITED = "exited"
    NEVER_RAN = "never_ran"
    NO_RECORD = "no_record"


class Stage(StrEnum):
    """How far the record has come. Without a living shell, OPEN means lost."""

    MISSING = "missing"
    """No such file, or one that nobody of us wrote."""
    GATE = "gate"
    OPEN = "open"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """A record as read. ``exit_code`` and ``signal`` are None unless the job exited."""

    outcome: Outcome
    stage: Stage
    exit_code: int | None = None
    signal: int | None = None
    finished_at: datetime | None = None
    """When the record was written (UTC, the file's modification time, a few ms coarse)."""


def read_exit(exit_path: Path, *, shell_gone: bool = False) -> Exit:
    """Read the record; safe at any moment, from any process and thread.

    Raises RecordUnreadable, and never OSError. Only a file that does not exist, or that is no
    regular file, is missing.

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
        return Exit(outcome=Outcome.NO_RECORD, stage=Stage.MISSING)
    except OSError as error:
        raise RecordUnreadable(
            f"the exit record {exit_path} cannot be read: {error.strerror or error}",
            errno=error.errno,
        ) from error
    return parse_exit(text, finished_at=_instant(modified), shell_gone=shell_gone)


def parse_exit(text: bytes, *, finished_at: datetime, shell_gone: bool = False) -> Exit:
    """The meaning of a record's bytes; pure. See :func:`read_exit`."""
    record = text.rstrip(b"\0")
    if not record:
        if not text:
            return Exit(outcome=Outcome.NO_RECORD, stage=Stage.MISSING)
        outcome = Outcome.NEVER_RAN if shell_gone else Outcome.NO_RECORD
        return Exit(outcome=outcome, stage=Stage.GATE)
    if record == b"never\n":
        return Exit(outcome=Outcome.NEVER_RAN, stage=Stage.DONE, finished_at=finished_at)
    if match := _EXITED.fullmatch(record):
        status = int(match[1])
        return Exit(
            outcome=Outcome.EXITED,
            stage=Stage.DONE,
            exit_code=status,
            signal=signal_of(status),
            finished_at=finished_at,
        )
    return Exit(outcome=Outcome.NO_RECORD, stage=Stage.OPEN)


def signal_of(status: int) -> int | None:
    """The signal that a shell's ``$?`` stands for, or None for an ordinary exit."""
    number = status - _SIGNAL_BASE
    if not 0 < number <= _HIGHEST_SIGNAL:
        return None
    return number if number in signal.valid_signals() else None


def _instant(stamp: float) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)
