"""One poller: ends are reported once, others' children too, and only ours are reaped."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from commandkit import wait_for

from tenure.domain.policy.evidence import Identity
from tenure.host.processes import identity_of
from tenure.runtime.commands import child as child_module
from tenure.runtime.commands.child import Children
from waiting import DEADLINE

WHO = Identity(boot_id="b", pid=4_000_000, start=1)


class Asked:
    """A death notice without a descriptor."""

    def __init__(self) -> None:
        self.dead = False
        self.closed = False

    def fileno(self) -> int:
        return -1

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == 0
        return self.dead

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def children() -> Iterator[Children]:
    with Children() as it:
        yield it


def test_nobody_to_watch(children: Children) -> None:
    assert children.poll(0) == []


def test_waking_is_remembered_once(children: Children) -> None:
    children.wake()
    children.wake()
    assert children.poll(None) == [], "returns although nothing ended"
    assert children.poll(0) == []


def test_waking_from_another_thread(children: Children) -> None:
    thread = threading.Thread(target=children.wake)
    thread.start()
    assert children.poll(DEADLINE) == []
    thread.join()


def test_who_is_already_dead_is_reported_by_the_next_poll() -> None:
    with Children(watch=lambda _: None) as children:
        children.add("a", WHO)
        assert children.poll(None) == ["a"]
        assert children.poll(0) == []


def test_without_a_descriptor_it_looks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "REAP_RETRY_S", 0.001)
    notice = Asked()
    with Children(watch=lambda _: notice) as children:
        children.add("a", WHO)
        assert children.poll(0) == []
        assert children.poll(0.003) == []
        threading.Timer(0.01, setattr, (notice, "dead", True)).start()
        assert children.poll(DEADLINE) == ["a"]
        assert notice.closed


def test_a_run_is_watched_once() -> None:
    with Children(watch=lambda _: Asked()) as children:
        children.add("a", WHO)
        with pytest.raises(ValueError, match="already watched"):
            children.add("a", WHO)


def test_closed_means_closed() -> None:
    notice = Asked()
    children = Children(watch=lambda _: notice)
    children.add("a", WHO)
    children.close()
    children.close()
    assert notice.closed
    assert children.poll(None) == []
    children.wake()
    with pytest.raises(RuntimeError, match="closed"):
        children.add("b", WHO)


def _child() -> tuple[subprocess.Popen[bytes], Identity]:
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    identity = identity_of(process.pid)
    assert identity is not None
    return process, identity


@pytest.mark.real
def test_an_end_is_told_at_once_and_the_child_reaped(children: Children) -> None:
    process, identity = _child()
    with process:
        children.add("a", identity)
        assert children.poll(0) == []
        assert process.stdin is not None
        process.stdin.close()
        assert children.poll(DEADLINE) == ["a"]
        with pytest.raises(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)


@pytest.mark.real
def test_watching_begins_while_another_thread_polls(children: Children) -> None:
    process, identity = _child()
    left: list[set[str]] = []
    with process:
        thread = threading.Thread(target=lambda: left.append(wait_for(children, {"a"}, DEADLINE)))
        thread.start()
        children.add("a", identity)
        process.kill()
        thread.join()
    assert left == [set()]


@pytest.mark.real
def test_only_the_watched_child_is_reaped(children: Children) -> None:
    """The host's own children keep their status for the host."""
    (ours, identity), (theirs, _) = _child(), _child()
    with ours, theirs:
        children.add("ours", identity)
        theirs.kill()
        assert os.waitid(os.P_PID, theirs.pid, os.WEXITED | os.WNOWAIT) is not None
        ours.kill()
        assert children.poll(DEADLINE) == ["ours"]
        assert theirs.wait() == -9


@pytest.mark.real
def test_a_zombie_of_ours_is_reaped_when_added(children: Children) -> None:
    process, identity = _child()
    with process:
        process.kill()
        assert os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT) is not None
        children.add("a", identity)
        assert children.poll(DEADLINE) == ["a"]
        with pytest.raises(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)
