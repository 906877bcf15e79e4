"""Suspend a process; when the call returns, all of its threads have stopped."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tenure.host.write_lock import write_lock_holder
from waiting import eventually


def is_frozen(pid: int) -> bool:
    """Whether each thread has stopped. A stop reaches the threads one after the other, as each
    leaves the kernel; until then a thread may take a lock."""
    try:
        states = [
            (thread / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            for thread in Path(f"/proc/{pid}/task").iterdir()
        ]
    except FileNotFoundError:
        return False  # a thread has just ended
    return bool(states) and set(states) <= {"T", "t"}


def freeze(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: is_frozen(pid), f"pid {pid} to stop")


def freeze_between_transactions(pid: int, database: Path) -> None:
    """Suspend a process outside a transaction, so that it does not block the store."""

    def frozen() -> bool:
        freeze(pid)
        if write_lock_holder(database) != pid:
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    eventually(frozen, f"a moment between two transactions of pid {pid}")
