"""What ``tenure dashboard`` and ``tenure serve --web`` share, loaded without the extra."""

from __future__ import annotations

import os
import shlex
from importlib.util import find_spec
from pathlib import Path
from socket import socket

from tenure.domain.errors import InvalidInput, Refused, TenureError
from tenure.store.folder.user_home import default_home

HOST, PORT = "127.0.0.1", 8787
_NEEDS = ("fastapi", "pydantic_core", "uvicorn", "jinja2", "prometheus_client", "python_multipart")


def check_extra() -> None:
    """Raises Refused, with what to type, where the extra is not installed."""
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise Refused(
            f"the page needs packages that are not installed: {', '.join(missing)}",
            remedy="pip install 'tenure[web]'",
            missing=missing,
        )


def read_address(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``[::1]:PORT``, a host or a port alone. Raises InvalidInput."""
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = ("", text) if text.isdecimal() else (text, "")
    elif text.endswith("]") or (":" in host and not host.startswith("[")):
        host, port = text, ""  # an address of IPv6 without a port
    host = host.removeprefix("[").removesuffix("]") or HOST
    if port and not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise InvalidInput(
            f"{text[:80]!r} is not an address", field="web", remedy=f"such as {HOST}:{PORT}"
        )
    return host, int(port) if port else PORT


def link_command(sock: socket, home: Path, profile: str | None, *, read_only: bool = False) -> str:
    """What prints the link of a page that listens on ``sock``, with its token."""
    host, port = sock.getsockname()[:2]
    words = ["tenure", "dashboard", "--link", "--port", str(port)]
    if host != HOST:
        words += ["--host", host]
    if home != _home_by_default():
        words += ["--home", str(home)]
    if profile is not None:
        words += ["--profile", profile]
    if read_only:
        words.append("--read-only")
    return shlex.join(words)


def _home_by_default() -> Path | None:
    try:
        return default_home(os.environ)
    except TenureError:  # this user has none
        return None


def exposed(host: str) -> str:
    """A warning for an address that other machines can reach."""
    return (
        f"{host} can be reached from other machines, and what is sent is not encrypted: the token "
        "can be read on the way. Put a proxy with TLS before it (docs/web.md), or listen on "
        f"{HOST} and use `ssh -L`"
    )
