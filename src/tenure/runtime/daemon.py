"""``tenure serve``: a scheduler process in the foreground.

SIGTERM and SIGINT hand the ownership over at once, give runs their time to end, and exit 0; a
second signal does not wait. Started by systemd with Type=notify it says when it has joined.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from tenure.domain.errors import InvalidInput, TenureError
from tenure.domain.process import Standing
from tenure.runtime.scheduler import DRAIN, Scheduler
from tenure.runtime.stderr_log import StderrLog

if TYPE_CHECKING:
    from tenure.runtime.profile import Profile

SOON = 1.0
"""Seconds after joining in which an ownership is usually settled."""

NOTIFYING = 1.0
"""Seconds for which a supervisor that takes no messages is waited for."""

log = logging.getLogger("tenure")


def serve(
    profile: Profile,
    *,
    role: str | None = None,
    app: str | None = None,
    drain: float = DRAIN,
    beside: Callable[[], Callable[[], None]] | None = None,
) -> int:
    """Run until a signal ends it; the exit code. Call from the main thread.

    ``app`` is ``package.module:name`` of a :class:`tenure.Tenure` whose declared jobs this
    process then carries. ``beside`` starts something once this process has joined, and gives what
    ends it; if it fails that is logged, and the scheduler goes on. Raises InvalidInput for an app
    that cannot be loaded, and what joining raises.
    """
    _log_to_stderr()
    scheduler = _of_app(profile, app, role) if app else Scheduler(profile, role=role)
    ended = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if ended.is_set():
            os._exit(128 + number)
        ended.set()

    before = {n: signal.signal(n, on_signal) for n in (signal.SIGTERM, signal.SIGINT)}
    end_beside: Callable[[], None] | None = None
    try:
        scheduler.start()
        _notify("READY=1")
        log.info("joined %s as %s, pid %s", profile.name, scheduler.member.id, os.getpid())
        if not ended.wait(SOON):
            _say_why_not(profile, scheduler.member.id)
        if beside is not None and not ended.is_set():
            end_beside = _begin(beside)
        while not ended.wait(3600):
            pass
    finally:
        _notify("STOPPING=1")
        if ended.is_set():
            log.info(
                "stopping; active runs have %g s, and a second signal waits for none",
                drain,
            )
        if not scheduler.stop(drain, why="its process was told to stop"):
            log.warning("runs were still active; the next owner takes up their commands")
        if end_beside is not None:
            end_beside()
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _begin(beside: Callable[[], Callable[[], None]]) -> Callable[[], None] | None:
    try:
        return beside()
    except Exception as error:  # noqa: BLE001 - whatever it is, the scheduler goes on
        log.error("%s; the scheduler goes on", error)
        return None


def _say_why_not(profile: Profile, process: str) -> None:
    """Somebody has just started it and wants to know; later news is the keeper's."""
    with contextlib.suppress(TenureError):
        found = profile.store.process(process)
        if found.standing is not Standing.OWNER:
            level = logging.WARNING if found.standing is Standing.REFUSED else logging.INFO
            log.log(level, "it is %s: %s", found.standing, found.why)


def _of_app(profile: Profile, target: str, role: str | None) -> Scheduler:
    module_name, _, attribute = target.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module_name), attribute or "tenure")
        carried = found.carried
    except (ImportError, AttributeError) as error:
        raise InvalidInput(
            f"{target!r} cannot be loaded: {error}",
            field="app",
            remedy="--app package.module:name, where name is a tenure.Tenure",
        ) from error
    return Scheduler(profile, role=role, **carried(profile))


def _log_to_stderr() -> None:
    if not logging.getLogger().handlers:
        logging.basicConfig(
            level=os.environ.get("TENURE_LOG", "INFO").upper(),
            format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
            handlers=[StderrLog()],
        )


def _notify(text: str) -> None:
    """Tell systemd, where it asked to be told (sd_notify(3): one datagram)."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(NOTIFYING)  # a supervisor that stands still leaves its queue full
        sock.sendto(text.encode(), address)
