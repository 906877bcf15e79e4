"""The control socket: makes a process look at once, and shows it the peer's identity.

The store is the truth and polling suffices (a request is a durable row first). The socket only
makes the owner look at once, and lets it read from the kernel which process is at the other end.
One line of JSON each way:

    {"v": 1, "nudge": "request", "request": "q..."}   look at this request, observe its requester
    {"v": 1, "nudge": "ownership" | "jobs" | "policy"}  something changed, look now
    {"v": 1, "ok": true}                              looked

It lies in a private folder with a short path, because socket paths are limited to about a
hundred bytes; the path is kept in the process's row.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PLATFORM: str = sys.platform
MAX_LINE_BYTES = 4096
TIMEOUT_S = 1.0
_PEER_TIMEOUT_S = 0.1
"""For the whole line of one peer."""
_SERVE_FOR_S = 0.5
"""Length of one round of serving; peers that still wait are served after the next look."""
_PREFIX = "tenure-"


def nudge(
    path: str | None, message: dict[str, Any], timeout: float = TIMEOUT_S
) -> dict[str, Any] | None:
    """Make a process look, and wait up to ``timeout`` seconds for its answer.

    None without an answer; not an error, because the store has the truth.
    """
    if path is None:
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout)
            sock.connect(path)
            sock.sendall(json.dumps({"v": 1, **message}).encode() + b"\n")
            answer = json.loads(_line(sock, timeout))
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None


def send(path: str, message: dict[str, Any]) -> None:
    """The same without waiting for an answer: the receiver may be about to end."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        # A connection is taken by the kernel, unless many wait already.
        sock.settimeout(0.05)
        sock.connect(path)
        sock.sendall(json.dumps({"v": 1, **message}).encode() + b"\n")


class ControlSocket:
    """The listening end. The keeper's thread accepts; nothing here starts a thread."""

    def __init__(self, process_id: str, heard: Callable[[dict[str, Any], int | None], None]):
        """``heard`` gets each message and the peer's pid from the kernel, None where unknown."""
        self._heard = heard
        self._pid = os.getpid()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_runtime_folder()))
        except OSError:
            self._listener.close()
            raise
        self.path = str(self._folder / "s")
        try:
            self._listener.bind(self.path)
            os.chmod(self.path, 0o600)
            self._listener.listen(64)
            self._listener.setblocking(False)
        except OSError:
            self.close()
            raise
        self.process_id = process_id

    def fileno(self) -> int:
        return self._listener.fileno()

    def accept_all(self) -> None:
        """Serve the peers that wait. A slow or hostile peer costs a tenth of a second, all of them
        together at most half a second."""
        until = time.monotonic() + _SERVE_FOR_S
        while time.monotonic() < until:
            try:
                peer, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor, say: the peer would wake us again at once
                time.sleep(_PEER_TIMEOUT_S)
                return
            # RecursionError: brackets nested a thousand deep.
            with peer, contextlib.suppress(OSError, ValueError, RecursionError):
                message = json.loads(_line(peer, _PEER_TIMEOUT_S))
                if isinstance(message, dict) and message.get("v") == 1:
                    self._heard(message, _peer_pid(peer))
                    peer.settimeout(_PEER_TIMEOUT_S)
                    peer.sendall(b'{"v": 1, "ok": true}\n')

    def close(self) -> None:
        self._listener.close()
        if os.getpid() == self._pid:
            with contextlib.suppress(OSError):
                os.unlink(self._folder / "s")
            with contextlib.suppress(OSError):
                os.rmdir(self._folder)


def remove_leftover(path: str | None) -> None:
    """Remove the socket of a dead process, and its folder.

    Does nothing where the path does not look like one made by :class:`ControlSocket`.
    """
    folder, name = os.path.split(path or "")
    if name != "s" or not os.path.basename(folder).startswith(_PREFIX):
        return
    with contextlib.suppress(OSError):
        status = os.lstat(folder)
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))
            os.rmdir(folder)


def _line(sock: socket.socket, patience: float) -> bytes:
    """One line, of at most MAX_LINE_BYTES, within ``patience`` seconds. ValueError if it is longer
    or breaks off, OSError if it is late."""
    text, until = b"", time.monotonic() + patience
    while not text.endswith(b"\n"):
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        part = sock.recv(MAX_LINE_BYTES)
        if not part or len(text) + len(part) > MAX_LINE_BYTES:
            raise ValueError("not a complete line")
        text += part
    return text


def _peer_pid(sock: socket.socket) -> int | None:
    """The pid that connected, from the kernel; None where the kernel does not say."""
    if _PLATFORM == "linux":
        pid, uid, _ = struct.unpack(
            "3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        )
        if uid not in (os.geteuid(), 0):
            raise ValueError("another user")
        return int(pid) or None
    if _PLATFORM == "darwin":
        # SOL_LOCAL, LOCAL_PEERPID: the last process that used the peer's end. So it is recorded
        # but authorises nothing. Untested on macOS.
        with contextlib.suppress(OSError):
            return int(struct.unpack("i", sock.getsockopt(0, 2, 4))[0])
    return None


def _runtime_folder() -> str | None:
    """A private folder with a short path: the session's, else the temporary one."""
    folder = os.environ.get("XDG_RUNTIME_DIR")
    if folder and len(folder) < 60:
        with contextlib.suppress(OSError):
            status = os.stat(folder)
            if status.st_uid == os.geteuid() and not status.st_mode & 0o077:
                return folder
    return "/tmp" if len(tempfile.gettempdir()) > 60 and os.path.isdir("/tmp") else None
