"""How somebody other than the holder shuts a gate: an owner that found the holder frozen.

An owner that froze after committing ``started`` may wake long after it was deposed and open a
gate that it should not. Its successor takes the gate away first: the shell is *stopped*, and
while it stands still its record is read. Blank means that it has not passed the gate, nor can
it any more, and it is killed: the job never ran, proved. Otherwise the job is running, and the
shell goes on. There is no moment in which both could be true.

It serves as well where the holder is dead but a forked child of its keeps the gate from closing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tenure.domain.policy.evidence import Identity
from tenure.host.linux import procfs
from tenure.host.processes import boot_id, is_alive
from tenure.runtime.commands.exits import Exit, Stage, read_exit

_LOOK_AGAIN = 0.0005
_HAS_PROC = sys.platform == "linux"


def withdraw(shell: Identity, exit_path: Path, *, patience: float = 1.0) -> Exit:
    """Shut the gate of a shell that another process holds; what its record then proves.

    NEVER_RAN: the job has not begun and never will. Stage OPEN with the shell alive: it runs,
    adopt it. Stage GATE: could not tell within ``patience`` seconds; try again, as after
    RecordUnreadable. Blocks about a millisecond as a rule. Any thread, any process of the same
    user.
    """
    record = read_exit(exit_path)
    if record.stage is not Stage.GATE:
        return record
    if is_alive(shell) and _signal(shell, signal.SIGSTOP):
        killed = False
        try:
            if _wait(lambda: _is_stopped(shell.pid) or is_alive(shell) is False, patience):
                blank = read_exit(exit_path).stage is Stage.GATE
                killed = blank and _signal(shell, signal.SIGKILL)
        finally:
            if not killed:
                # Not verified again: where it cannot be looked at now, it must go on all the
                # same, and a process that is stopped keeps its number.
                with contextlib.suppress(OSError):
                    os.kill(shell.pid, signal.SIGCONT)
        if killed:
            _wait(lambda: is_alive(shell) is False, patience)
    # Dead by another boot is another matter: what was written then may be lost.
    gone = is_alive(shell) is False and shell.boot_id == boot_id()
    return read_exit(exit_path, shell_gone=gone)


def _signal(shell: Identity, number: signal.Signals) -> bool:
    if is_alive(shell):
        with contextlib.suppress(OSError):
            os.kill(shell.pid, number)
            return True
    return False


def _wait(reached: Callable[[], bool], patience: float) -> bool:
    until = time.monotonic() + patience
    while not reached():
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_AGAIN)
    return True


def _is_stopped(pid: int) -> bool:
    if not _HAS_PROC:
        import psutil

        try:
            return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        except psutil.Error:
            return False
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return procfs.parse_stat(file.read()).state in ("T", "t")
    except (OSError, ValueError):
        return False
