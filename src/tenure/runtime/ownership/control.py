"""The control socket: a nudge, and the kernel's word on who asks.

The store is the truth and polling suffices (a request is a durable row first); the socket only
makes the owner look at once, and lets it read from the kernel who is on the other end. One line
of JSON each way:

    {"v": 1, "nudge": "request", "request": "q..."}   look at this request; who asks is observed
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
LONGEST = 4096
PATIENCE = 1.0
_PEERS_PATIENCE = 0.1
"""Seconds for the whole line of one peer."""
_SERVING = 0.5
"""Seconds of one round of serving; who waits then is served after the keeper's next look."""
_PREFIX = "tenure-"


def nudge(
    path: str | None, message: dict[str, Any], timeout: float = PATIENCE
) -> dict[str, Any] | None:
    """Tell a process to look, and wait up to ``timeout`` seconds for its word.

    None when nobody answers; that is no error, because the store has the truth.
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


def tell(path: str, message: dict[str, Any]) -> None:
    """The same without waiting for a word: who is told may be about to end."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(0.05)  # a connection is taken by the kernel, unless many wait already
        sock.connect(path)
        sock.sendall(json.dumps({"v": 1, **message}).encode() + b"\n")


class ControlSocket:
    """The listening end. The keeper's thread accepts; nothing here starts a thread."""

    def __init__(self, process_id: str, heard: Callable[[dict[str, Any], int | None], None]):
        """``heard`` gets each message and the pid that the kernel names, None if it does not."""
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
        """Serve those who wait. A slow or hostile peer costs a tenth of a second, and all of them
        together no more than half a second before this returns."""
        until = time.monotonic() + _SERVING
        while time.monotonic() < until:
            try:
                peer, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor, say: the peer still waits, and would ring at once
                time.sleep(_PEERS_PATIENCE)
                return
            # RecursionError is the parser's word for brackets nested a thousand deep.
            with peer, contextlib.suppress(OSError, ValueError, RecursionError):
                message = json.loads(_line(peer, _PEERS_PATIENCE))
                if isinstance(message, dict) and message.get("v") == 1:
                    self._heard(message, _peer_pid(peer))
                    peer.settimeout(_PEERS_PATIENCE)
                    peer.sendall(b'{"v": 1, "ok": true}\n')

    def close(self) -> None:
        self._listener.close()
        if os.getpid() == self._pid:
            with contextlib.suppress(OSError):
                os.unlink(self._folder / "s")
            with contextlib.suppress(OSError):
                os.rmdir(self._folder)


def remove_leftover(path: str | None) -> None:
    """Remove the socket of a process that is dead, which could not do it, and its folder.

    Does nothing where the path does not look like one that :class:`ControlSocket` made.
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
    """One line, at most LONGEST bytes, within so many seconds however it comes. ValueError if it
    is longer or breaks off, OSError if it is late."""
    text, until = b"", time.monotonic() + patience
    while not text.endswith(b"\n"):
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        part = sock.recv(LONGEST)
        if not part or len(text) + len(part) > LONGEST:
            raise ValueError("no whole line")
        text += part
    return text


def _peer_pid(sock: socket.socket) -> int | None:
    """The pid that connected, as the kernel kept it at connect; None where it does not say."""
    if _PLATFORM == "linux":
        pid, uid, _ = struct.unpack(
            "3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        )
        if uid not in (os.geteuid(), 0):
            raise ValueError("another user")
        return int(pid) or None
    if _PLATFORM == "darwin":
        # SOL_LOCAL, LOCAL_PEERPID. It names the last process that used the peer's end, so it is
        # recorded, never authorised from. Untested: no Mac here.
        with contextlib.suppress(OSError):
            return int(struct.unpack("i", sock.getsockopt(0, 2, 4))[0])
    return None


def _runtime_folder() -> str | None:
    """A folder of this user alone where paths are short: the session's, else the temporary one."""
    folder = os.environ.get("XDG_RUNTIME_DIR")
    if folder and len(folder) < 60:
        with contextlib.suppress(OSError):
            status = os.stat(folder)
            if status.st_uid == os.geteuid() and not status.st_mode & 0o077:
                return folder
    return "/tmp" if len(tempfile.gettempdir()) > 60 and os.path.isdir("/tmp") else None
