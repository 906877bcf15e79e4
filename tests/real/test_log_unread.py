"""The owner's log goes to a process that stands still: the owner owns, and ends when told to."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from kit import TENURE, Started, World

from freezing import freeze
from tenure.domain.process import ProcessStatus
from waiting import DEADLINE

pytestmark = pytest.mark.real


def test_an_owner_whose_log_nobody_reads_hands_over_when_it_is_ended(world: World) -> None:
    """``tenure serve 2>&1 | less``, or a log collector that hangs: the pipe is full."""
    reads, writes = os.pipe()

    reader = subprocess.Popen(["/bin/cat"], stdin=reads, stdout=subprocess.DEVNULL)
    try:
        freeze(reader.pid)
        os.set_blocking(writes, False)
        for size in (4096, 1):
            try:
                while True:
                    os.write(writes, b"x" * size)
            except BlockingIOError:
                pass
        os.set_blocking(writes, True)
        process = subprocess.Popen(
            [TENURE, "serve"],
            stdin=subprocess.DEVNULL,
            stdout=writes,
            stderr=writes,
            env=world.environ(),
            start_new_session=True,
        )
        owner = Started(process, world.folder / "none.log")
        world.processes.append(owner)
        world.wait_owner(owner)
        other = world.serve()
        world.wait_standing(other, ProcessStatus.CANDIDATE)
        owner.signal(signal.SIGTERM)
        world.wait_owner(other)
        assert process.wait(DEADLINE) == 0
    finally:
        os.close(reads)
        os.close(writes)
        reader.kill()
        reader.wait()
