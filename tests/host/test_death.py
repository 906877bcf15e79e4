"""The kernel tells of a death at once (C11)."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import sys
import threading
import time

import pytest

from tenure.host import death, processes
from tenure.host.death import DeathWatch
from waiting import DEADLINE

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform == "win32", reason="signals")]

WAIT = "import sys; print('ready', flush=True); sys.stdin.read()"


def watch_on(child) -> DeathWatch:
    child.line()
    identity = processes.identity_of(child.pid)
    assert identity is not None
    watch = DeathWatch.open(identity)
    assert watch is not None
    assert watch.verifiable
    return watch


def test_a_death_is_told_at_once_and_for_ever(spawn) -> None:
    child = spawn(WAIT)
    with watch_on(child) as watch:
        assert watch.wait(0) is False
        os.kill(child.pid, signal.SIGSTOP)
        assert watch.wait(0.05) is False, "frozen is not dead"
        begin = time.monotonic()
        os.kill(child.pid, signal.SIGKILL)
        assert watch.wait(120) is True, "the zombie counts as dead"
        assert time.monotonic() - begin < DEADLINE, "it was woken, and did not look at the end only"
        child.process.wait()
        assert watch.wait(0) is True
    assert watch.wait(0) is True
    watch.close()


def test_the_descriptor_polls_readable(spawn) -> None:
    child = spawn(WAIT)
    with watch_on(child) as watch:
        assert select.select([watch.fileno()], [], [], 0)[0] == []
        child.kill()
        assert select.select([watch.fileno()], [], [], DEADLINE)[0] == [watch.fileno()]
        assert watch.wait(0) is True
    assert watch.fileno() == -1


def test_a_dead_or_recycled_process_gives_no_watch(spawn) -> None:
    child = spawn(WAIT)
    child.line()
    identity = processes.identity_of(child.pid)
    assert identity is not None
    recycled = dataclasses.replace(identity, start=identity.start - 1)
    assert DeathWatch.open(recycled) is None, "the pid is another's now"
    assert DeathWatch.open(dataclasses.replace(identity, boot_id="another")) is None
    child.kill()
    assert DeathWatch.open(identity) is None


def test_no_descriptor_is_left_behind(spawn) -> None:
    child = spawn(WAIT)
    child.line()
    identity = processes.identity_of(child.pid)
    assert identity is not None
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        watch = DeathWatch.open(identity)
        assert watch is not None
        watch.close()
    child.kill()
    for _ in range(20):
        assert DeathWatch.open(identity) is None
    assert len(os.listdir("/dev/fd")) == before


def test_what_cannot_be_verified_is_never_told_dead() -> None:
    foreign = dataclasses.replace(processes.own_identity(), pid_namespace="pid:[1]")
    with DeathWatch(foreign) as watch:
        assert not watch.verifiable
        assert watch.fileno() == -1
        assert watch.wait(0.02) is False


def test_without_the_kernels_help_it_looks_again(spawn, monkeypatch) -> None:
    def filtered(pid: int) -> int:
        raise PermissionError("pidfd_open is filtered")

    monkeypatch.setattr(death, "_open", filtered)
    monkeypatch.setattr(death, "_POLL_INTERVAL_S", 0.01)
    child = spawn(WAIT)
    with watch_on(child) as watch:
        assert watch.fileno() == -1
        assert watch.wait(0.03) is False
        child.kill()
        assert watch.wait(DEADLINE) is True

    other = spawn(WAIT)
    watch = watch_on(other)
    ender = threading.Timer(0.05, watch.close)
    ender.start()
    assert watch.wait(None) is False, "closing ends the wait"
    ender.join()
