"""Ports for servers that are slow to bind them, and that nobody takes meanwhile."""

from __future__ import annotations

import socket

_HELD: list[socket.socket] = []


def held_port() -> int:
    """A port of 127.0.0.1 that stays this process's until it ends: bound, and not listened on.

    A server that sets SO_REUSEADDR, as they do, can bind it beside; a probe for any free port and
    an outgoing connection are never given it (Linux).
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _HELD.append(held)
    port: int = held.getsockname()[1]
    return port
