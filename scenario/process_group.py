"""The processes that the scenario started: watched, signalled and ended by pid, never by name.

On Linux the driver is a subreaper: a process that outlives its parent becomes the driver's child.
So no process gets lost, and none is left at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scenario.canary import look

_PR_SET_CHILD_SUBREAPER = 36
_DEADLINE = 10.0
_GUARD = Path(__file__).resolve().parent / "guard.py"


class ProcessGroup:
    """Thread-safe. Starts all processes, so that its own can be distinguished from orphans."""

    def __init__(self, sockets: Path) -> None:
        self._lock = threading.RLock()
        self._ours: dict[int, subprocess.Popen[Any]] = {}
        self.complete = sys.platform == "linux"
        """Whether orphans become our children."""
        if self.complete:
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), str(sockets)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def start(self, argv: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
        """In a session of its own, so that it and its children can be ended together."""
        with self._lock:
            process = subprocess.Popen(argv, start_new_session=True, **options)
            self._ours[process.pid] = process
            assert self._guard.stdin is not None
            with contextlib.suppress(OSError, ValueError, IndexError):
                self._guard.stdin.write(f"{process.pid} {look(process.pid)[1]}\n")
                self._guard.stdin.flush()
            return process

    def run(
        self, argv: Sequence[str | Path], *, timeout: float = 60, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run to its end, with its output. TimeoutExpired after ending it."""
        process = self.start(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            stdin=subprocess.DEVNULL, **options,
        )  # fmt: skip
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.end(process)
            process.communicate()
            raise
        self.forget(process)
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def forget(self, process: subprocess.Popen[Any]) -> None:
        """It has ended."""
        with self._lock:
            self._ours.pop(process.pid, None)

    def end(self, process: subprocess.Popen[Any]) -> None:
        """Kill a process of ours with its group, and reap it."""
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait(_DEADLINE)
        self.forget(process)

    def reap(self) -> None:
        """Take leave of orphans that have ended."""
        if not self.complete:
            return
        with self._lock:
            for pid in _children():
                if pid not in self._ours and pid != self._guard.pid:
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(pid, os.WNOHANG)

    def end_all(self) -> list[int]:
        """End everything; the pids that would not go, which should be none."""
        for process in list(self._ours.values()):
            self.end(process)
        until = time.monotonic() + _DEADLINE
        left = []
        while self.complete and (left := _children(but=self._guard.pid)):
            if time.monotonic() > until:
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            self.reap()
            time.sleep(0.02)
        self._guard.communicate(timeout=_DEADLINE)
        return left


def signal_exactly(pid: int, start: int, number: signal.Signals) -> bool:
    """Signal this process and no other that has its number now. False if it is gone."""
    if not hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            os.kill(pid, number)
            return True
        return False
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if look(pid)[1] != start:
            return False
        signal.pidfd_send_signal(descriptor, number)
    except (OSError, ValueError, IndexError):
        return False
    finally:
        os.close(descriptor)
    return True


class Kept:
    """A backend and the supervisor that keeps it alive: a loop in a launcher's shell.

    The supervisor itself writes down each backend it starts, pid and start stamp: the scenario's
    own knowledge of who belongs to which chain.
    """

    LOOP = """\
log=$1 pids=$2 pause=$3
shift 3
while :; do
  "$@" >>"$log" 2>&1 </dev/null &
  { cat "/proc/$!/stat" 2>/dev/null || echo "$!"; } >>"$pids"
  wait "$!"
  sleep "$pause"
done
"""

    def __init__(
        self,
        group: ProcessGroup,
        name: str,
        argv: Sequence[str],
        *,
        folder: Path,
        executable: str | None,
        environment: Mapping[str, str],
    ) -> None:
        """``argv`` ends where the shell's script is to stand: see :meth:`start`."""
        self.name = name
        self._group, self._argv, self._executable = group, list(argv), executable
        self._environment = dict(environment)
        self.log, self.pids = folder / f"{name}.log", folder / f"{name}.pids"
        self.supervisor: subprocess.Popen[Any] | None = None
        self._command: list[str] = []
        self._pause = 2.0

    def start(self, command: Sequence[str | Path], *, pause: float = 2.0) -> None:
        """Keep ``command`` alive, ``pause`` seconds after each end."""
        self._command, self._pause = [str(word) for word in command], pause
        self.restart()

    def restart(self) -> None:
        """A new supervisor; the old one must have gone."""
        self.supervisor = self._group.start(
            [*self._argv, "-c", self.LOOP, "sh", str(self.log), str(self.pids), str(self._pause),
             *self._command],
            executable=self._executable,
            env=self._environment,
            cwd=self.log.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def kept(self) -> bool:
        """Whether the supervisor lives."""
        return self.supervisor is not None and self.supervisor.poll() is None

    def backends(self) -> list[tuple[int, int]]:
        """Every backend that was ever started: pid and start stamp, the newest last."""
        try:
            text = self.pids.read_text(errors="replace")
        except FileNotFoundError:
            return []
        found = []
        for line in text.splitlines():
            fields = line.rpartition(")")[2].split()
            found.append((int(line.split()[0]), int(fields[19]) if len(fields) > 19 else 0))
        return found

    def living(self) -> list[tuple[int, int]]:
        """Those that live, the newest last: also ones whose supervisor was killed."""
        found = []
        for pid, start in self.backends():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if not start or look(pid)[1] == start:
                    found.append((pid, start))
        return found

    def backend(self) -> tuple[int, int] | None:
        """The newest that lives."""
        living = self.living()
        return living[-1] if living else None

    def signal_supervisor(self, number: signal.Signals) -> bool:
        if not self.kept:
            return False
        assert self.supervisor is not None
        self.supervisor.send_signal(number)
        if number == signal.SIGKILL:
            self.supervisor.wait(_DEADLINE)
            self._group.forget(self.supervisor)
        return True

    def boot_out(self) -> None:
        """Supervisor and backends, as ``launchctl bootout`` would, only less gently."""
        self.signal_supervisor(signal.SIGKILL)
        for backend in self.living():
            signal_exactly(*backend, signal.SIGKILL)


def _children(*, but: int = 0) -> list[int]:
    """Our direct children, zombies too."""
    me, found = os.getpid(), []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != but:
            with contextlib.suppress(OSError, ValueError, IndexError):
                if look(int(name))[0] == me:
                    found.append(int(name))
    return found
