"""Waiting with a deadline, what the kernel says of a lock, one process, one run, one request."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
from canary import stat_of

from freezing import is_frozen
from waiting import DEADLINE, eventually


def holder_of(path: Path) -> int | None:
    """The pid that holds a lock on this file, by the kernel's list; None if nobody does."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if "->" not in fields and fields[5] == device:
            return int(fields[4])
    return None


@dataclass(frozen=True)
class Run:
    """One line of the log, with the name of the process that ran it."""

    job: str
    at: float
    by: str
    """``gateway-0``, ``desktop-3``, ``cli`` ...; ``?`` if it was none that we started."""
    read: bool
    desktop: bool
    """Whether HERMES_DESKTOP was 1 in its environment."""

    @property
    def role(self) -> str:
        return self.by.partition("-")[0]


class Started:
    """A process of ours and, for a desktop, its port."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path, port: int) -> None:
        self.name, self.process, self.log, self.port = name, process, log, port
        self.key = (process.pid, stat_of(process.pid)[1])

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, number: signal.Signals = signal.SIGTERM, within: float = DEADLINE) -> None:
        """Signal it and wait for its end; see :meth:`wait_end`."""
        below: list[psutil.Process] = []
        if self.alive:
            if number is signal.SIGKILL:  # so that what it starts can be told before it is gone
                self._freeze()
            below = self._below()
            self.process.send_signal(number)
        self.wait_end(within, below)

    def _freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        eventually(
            lambda: not self.alive or is_frozen(self.pid), f"pid {self.pid} to stand still or end"
        )

    def _below(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children(recursive=True)
        return []

    def wait_end(self, within: float = DEADLINE, below: Sequence[psutil.Process] = ()) -> None:
        """What it started ends with it, and what is ``below`` it; AssertionError, and a kill, where
        it does not end."""
        below = [*below, *self._below()]
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(DEADLINE)
            raise AssertionError(f"{self.name} did not end within {within} s") from None
        finally:
            for child in below:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()


def roles(runs: Iterable[Run]) -> Counter[str]:
    """How many runs each role had."""
    return Counter(run.role for run in runs)


def ask(port: int, token: str, method: str, path: str, body: object) -> tuple[int, Any]:
    """HTTP over the loopback device, no proxies."""
    connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        sent = None if body is None else json.dumps(body)
        headers = {"X-Hermes-Session-Token": token, "Content-Type": "application/json"}
        connection.request(method, path, sent, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(text)
        return answer.status, text
    finally:
        connection.close()
