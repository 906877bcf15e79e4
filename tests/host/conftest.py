"""Real child processes for tests: each says a line when it is ready and waits to be ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from waiting import DEADLINE


class Child:
    """A child that runs Python source; its standard output is read line by line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid
        self._rest = b""

    def line(self) -> str:
        """The next line it prints; fails, saying so, after the deadline."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        until = time.monotonic() + DEADLINE
        while b"\n" not in self._rest:
            ready, _, _ = select.select([descriptor], [], [], max(0, until - time.monotonic()))
            assert ready, f"waited {DEADLINE} s for a line of child {self.pid}"
            part = os.read(descriptor, 65536)
            assert part, f"child {self.pid} ended; it had printed {self._rest!r}"
            self._rest += part
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()

    def tell(self, text: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


Spawn = Callable[..., Child]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start children with ``spawn(source, *argv, wrapper=())``; all are ended afterwards."""
    children: list[Child] = []

    def start(
        source: str,
        *arguments: str,
        wrapper: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        python: str = sys.executable,
    ) -> Child:
        process = subprocess.Popen(
            [*wrapper, python, "-c", source, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=None if environment is None else {**os.environ, **environment},
        )
        children.append(Child(process))
        return children[-1]

    yield start
    for child in children:
        child.close()
