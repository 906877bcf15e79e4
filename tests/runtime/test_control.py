"""The control socket: a nudge either way, and who the kernel says is asking."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenure.client import presence
from tenure.runtime import daemon
from tenure.runtime.ownership.control import ControlSocket, nudge, remove_leftover
from waiting import DEADLINE, eventually, promptly


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, Any], int | None]] = []
        self.control = ControlSocket("p1", lambda message, pid: self.heard.append((message, pid)))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        import select

        while not self._stop.is_set():
            if select.select([self.control], [], [], 0.05)[0]:
                self.control.accept_all()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(DEADLINE)
        self.control.close()


def told(listener: Listener, message: dict[str, Any]) -> dict[str, Any] | None:
    """The answer. Who takes a tenth of a second to say its line is not waited for: it asks again,
    as whoever nudges may."""
    return eventually(lambda: nudge(listener.control.path, message, DEADLINE), "an answer")


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def test_a_nudge_is_answered_and_the_kernel_names_who_asked(listener: Listener) -> None:
    assert told(listener, {"nudge": "request", "request": "q1"}) == {"v": 1, "ok": True}
    heard = ({"v": 1, "nudge": "request", "request": "q1"}, os.getpid())
    assert [one for one in listener.heard if one != heard] == []
    assert heard in listener.heard


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"not json\n",
        b"[1]\n",
        b'{"v": 2}\n',
        b"x" * 10_000,
        b'{"v": 1',
        b"\xff\xfe\n",
        b"[" * 4000 + b"\n",
    ],
)
def test_a_hostile_line_is_heard_by_nobody_and_the_next_is_served(
    listener: Listener, line: bytes
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(listener.control.path)
        with contextlib.suppress(OSError):  # the other end may have had enough
            sock.sendall(line)
            sock.shutdown(socket.SHUT_WR)
        sock.settimeout(DEADLINE)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
    assert listener.heard == []
    assert told(listener, {"nudge": "jobs"}) == {"v": 1, "ok": True}


def test_nobody_there_is_no_error(listener: Listener) -> None:
    assert nudge(None, {"nudge": "jobs"}) is None
    assert nudge("/nonexistent/socket", {"nudge": "jobs"}) is None


def test_the_folder_is_private_and_goes_with_the_socket() -> None:
    control = ControlSocket("p1", lambda message, pid: None)
    folder = os.path.dirname(control.path)
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert len(control.path) < 100
    control.close()
    assert not os.path.exists(folder)


def test_the_socket_of_a_dead_process_is_cleared_away_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "tenure-abc"
    other = tmp_path / "precious"
    for place in (folder, other):
        place.mkdir()
        (place / "s").touch()
    (folder / "kept").touch()
    remove_leftover(str(folder / "s"))
    assert [path.name for path in folder.iterdir()] == ["kept"], "a folder in use stays"
    (folder / "kept").unlink()
    for path in (str(folder / "s"), str(folder / "s"), str(other / "s"), None, "", "s"):
        remove_leftover(path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert (other / "s").exists()


@pytest.fixture
def control() -> Iterator[ControlSocket]:
    made = ControlSocket("p1", lambda message, pid: None)
    yield made
    made.close()


@contextlib.contextmanager
def connected(control: ControlSocket, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        peers = []
        for _ in range(count):
            peers.append(stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)))
            peers[-1].connect(control.path)
        yield peers


def test_a_peer_that_sends_byte_by_byte_does_not_keep_the_keeper(control: ControlSocket) -> None:
    ended = threading.Event()

    def trickle(peer: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the other end has had enough
            while not ended.wait(0.02):
                peer.sendall(b" ")

    with connected(control, 1) as (peer,):
        thread = threading.Thread(target=trickle, args=(peer,))
        thread.start()
        try:
            promptly(control.accept_all, "serving", within=DEADLINE)
        finally:
            ended.set()
            thread.join()


def test_any_number_of_silent_peers_does_not_keep_the_keeper(control: ControlSocket) -> None:
    """It is to look between two rounds. (64 of them, a tenth of a second each, are six.)"""
    with connected(control, 60) as peers:
        promptly(control.accept_all, "serving", within=DEADLINE)
        # Counted, not timed: on a slow machine they are fewer.
        assert 0 < len([peer for peer in peers if was_closed(peer)]) < 20
        promptly(control.accept_all, "serving the next", within=DEADLINE)


def was_closed(peer: socket.socket) -> bool:
    """By the other end."""
    peer.setblocking(False)
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False


def test_an_owner_that_answers_byte_by_byte_does_not_keep_who_nudges(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        ended = threading.Event()

        def trickle() -> None:
            peer, _ = listener.accept()
            with peer, contextlib.suppress(OSError):
                while not ended.wait(0.02):
                    peer.sendall(b" ")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            answer = promptly(
                lambda: [nudge(str(tmp_path / "s"), {}, 0.2)], "nudging", within=DEADLINE
            )
            assert answer == [None]
        finally:
            ended.set()
            thread.join()


def test_a_supervisor_that_takes_no_messages_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd's socket, full: its messages are lost, and the process goes on, and ends."""
    monkeypatch.setattr(daemon, "NOTIFY_TIMEOUT_S", 0.05)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "s"))
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other,
    ):
        supervisor.bind(str(tmp_path / "s"))
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"READY=1", str(tmp_path / "s"))
        promptly(lambda: [daemon._notify("READY=1")], "telling the supervisor")


def test_a_crowd_that_stands_still_is_not_waited_for_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[float] = []

    def waits(path: str | None, message: dict[str, Any], timeout: float) -> Any:
        given.append(timeout)
        return nudge(path, message, timeout)

    monkeypatch.setattr(presence, "nudge", waits)
    with contextlib.ExitStack() as stack:
        crowd = [ControlSocket(f"p{n}", lambda message, pid: None) for n in range(30)]
        for one in crowd:
            stack.callback(one.close)
        presence.nudge_each([one.path for one in crowd], "jobs")
        assert len(given) == 30
        assert sum(given) < presence.NOTIFY_TOTAL_TIMEOUT_S + 0.6, (
            "a fifth of a second each would be six"
        )
        for one in crowd:  # each was told, and hears it when it wakes
            heard: list[object] = []
            one._heard = lambda message, pid, heard=heard: heard.append(message)
            one.accept_all()
            assert heard == [{"v": 1, "nudge": "jobs"}]
