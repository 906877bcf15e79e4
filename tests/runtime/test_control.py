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

from tenure.runtime.control import ControlSocket, nudge, remove_leftover


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
        self._thread.join(timeout=5)
        self.control.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def test_a_nudge_is_answered_and_the_kernel_names_who_asked(listener: Listener) -> None:
    answer = nudge(listener.control.path, {"nudge": "request", "request": "q1"})
    assert answer == {"v": 1, "ok": True}
    assert listener.heard == [({"v": 1, "nudge": "request", "request": "q1"}, os.getpid())]


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
        sock.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
    assert listener.heard == []
    assert nudge(listener.control.path, {"nudge": "jobs"}) == {"v": 1, "ok": True}


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
