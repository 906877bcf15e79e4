"""Waiting with a deadline, what the kernel says of a lock, one process, one run, one request."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
from canary import stat_of

from waiting import DEADLINE


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
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


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
        if self.alive:
            self.process.send_signal(number)
        self.wait_end(within)

    def wait_end(self, within: float = DEADLINE) -> None:
        """What it started ends with it; AssertionError, and a kill, where it does not end."""
        below: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            below = psutil.Process(self.pid).children(recursive=True)
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


def free_port() -> int:
    """A port of the loopback device that nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, token: str, method: str, path: str, body: object) -> tuple[int, Any]:
    """HTTP over the loopback device, no proxies."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
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
