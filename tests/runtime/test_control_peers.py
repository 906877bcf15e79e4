"""The control socket hears its own user and root, by what the kernel says of the peer.

Its folder keeps other users away; this is the second lock, for a folder that was opened to them.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tenure.runtime.ownership import control
from tenure.runtime.ownership.control import ControlSocket, nudge
from waiting import DEADLINE

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="other kernels tell the peer in another way"
)

ROOT, ADA, BOB = 0, 1000, 1001
Heard = list[tuple[dict[str, Any], int | None]]


@pytest.fixture
def heard() -> Heard:
    return []


@pytest.fixture
def listener(heard: Heard) -> Iterator[ControlSocket]:
    made = ControlSocket("p1", lambda message, pid: heard.append((message, pid)))
    yield made
    made.close()


def send(path: str) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.connect(path)
    peer.sendall(b'{"v": 1, "nudge": "jobs"}\n')
    return peer


@pytest.mark.parametrize(
    ("owner", "peer", "is_heard"),
    [
        (ADA, ADA, True),
        (ADA, ROOT, True),
        (ADA, BOB, False),
        (ADA, 2**32 - 2, False),
        (ROOT, ROOT, True),
        (ROOT, ADA, False),
    ],
)
def test_who_is_heard(
    listener: ControlSocket,
    heard: Heard,
    monkeypatch: pytest.MonkeyPatch,
    owner: int,
    peer: int,
    is_heard: bool,
) -> None:
    """Not even the message of another user is looked at, and no answer is given."""

    class Kernel(socket.socket):
        def getsockopt(self, level: int, name: int, *size: int) -> Any:
            if (level, name) == (socket.SOL_SOCKET, socket.SO_PEERCRED):
                return struct.pack("3I", 4242, peer, peer)
            return super().getsockopt(level, name, *size)

    real = listener._listener.accept

    def accept() -> tuple[socket.socket, Any]:
        accepted, address = real()
        return Kernel(fileno=accepted.detach()), address

    monkeypatch.setattr(listener, "_listener", Accepting(listener._listener, accept))
    monkeypatch.setattr(control.os, "geteuid", lambda: owner)
    with send(listener.path) as sock:
        listener.accept_all()
        sock.settimeout(DEADLINE)
        answer = sock.recv(100)
    assert heard == ([({"v": 1, "nudge": "jobs"}, 4242)] if is_heard else [])
    assert bool(answer) is is_heard


class Accepting:
    """The listening socket, whose ``accept`` gives other sockets."""

    def __init__(self, listener: socket.socket, accept: Any) -> None:
        self._listener, self.accept = listener, accept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)


@pytest.mark.root
@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_not_heard_though_the_folder_is_open_to_it(
    listener: ControlSocket, heard: Heard
) -> None:
    os.chmod(os.path.dirname(listener.path), 0o755)
    os.chmod(listener.path, 0o666)
    source = (
        "import os, socket, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        's.sendall(b\'{"v": 1, "nudge": "jobs"}\\n\'); print(\'sent\', flush=True)\n'
        f"s.settimeout({DEADLINE})\n"
        "try: print(s.recv(100))\n"
        "except ConnectionResetError: print(b'')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source, listener.path], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "sent\n"
        listener.accept_all()
        assert other.stdout.read() == "b''\n"
    assert heard == []
    with send(listener.path):
        listener.accept_all()
    assert heard == [({"v": 1, "nudge": "jobs"}, os.getpid())]


def test_the_socket_is_its_users_alone(listener: ControlSocket) -> None:
    folder = os.path.dirname(listener.path)
    for path, mode in ((folder, 0o700), (listener.path, 0o600)):
        status = os.stat(path)
        assert stat.S_IMODE(status.st_mode) == mode
        assert status.st_uid == os.geteuid()


def test_a_runtime_folder_that_others_may_enter_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("r")
    short = base if len(str(base)) < 60 else None
    if short is None:
        pytest.skip("the temporary folder's path is too long for a socket")
    for mode, used in ((0o700, True), (0o750, False), (0o707, False), (0o777, False)):
        os.chmod(short, mode)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
        made = ControlSocket("p1", lambda message, pid: None)
        assert (os.path.dirname(os.path.dirname(made.path)) == str(short)) is used, oct(mode)
        made.close()
    os.chmod(short, 0o700)
    monkeypatch.setattr(control.os, "geteuid", lambda: os.getuid() + 1)
    assert control._runtime_folder() != str(short), "another user's"


def test_a_closed_socket_is_no_error(listener: ControlSocket) -> None:
    path = listener.path
    listener.close()
    assert nudge(path, {"nudge": "jobs"}, 0.2) is None
