"""``tenure serve``: a scheduler process in the foreground.

SIGTERM and SIGINT hand the ownership over at once, give runs their time to end, and exit 0; a
second signal does not wait. Started by systemd with Type=notify it says when it has joined.

A process that can do no more for its profile ends by itself, for its manager to start it again:
with 75 where a file of the store was removed, replaced or cut short, with 70 where one of its
threads ended or makes no progress.
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
from typing import TYPE_CHECKING, Any

from tenure.domain.errors import InvalidInput, TenureError
from tenure.domain.process import ProcessStatus
from tenure.domain.schedule.zones import INSTALL_ZONES, has_zones
from tenure.host.clocks import SystemClock
from tenure.host.orphans import Orphans, adopts_orphans
from tenure.runtime.failure import lost_thread
from tenure.runtime.inherited_state import small_limits
from tenure.runtime.scheduler import DRAIN_S, Scheduler
from tenure.runtime.stderr_log import StderrLog
from tenure.runtime.watched_thread import Watch

if TYPE_CHECKING:
    from tenure.runtime.profile import Profile

SOON = 1.0
"""Seconds after joining in which an ownership is usually settled."""

WATCH_EVERY_S = 5.0
"""Between two looks of the main thread at the others."""
REAP_EVERY_S = 0.5
"""The same where it also reaps what jobs leave behind."""
FAILED_PATIENCE_S = 15.0
"""For which a process that has failed tries to leave in order."""

NOTIFYING = 1.0
"""Seconds for which a supervisor that takes no messages is waited for."""

log = logging.getLogger("tenure")


def serve(
    profile: Profile,
    *,
    role: str | None = None,
    app: str | None = None,
    drain: float = DRAIN_S,
    beside: Callable[[], Callable[[], None]] | None = None,
) -> int:
    """Run until a signal ends it, or a failure; the exit code. Call from the main thread.

    ``app`` is ``package.module:name`` of a :class:`tenure.Tenure` whose declared jobs this
    process then carries. ``beside`` starts something once this process has joined, and gives what
    ends it; if it fails that is logged, and the scheduler goes on. Raises InvalidInput for an app
    that cannot be loaded, and what joining raises.
    """
    _log_to_stderr()
    if not has_zones():
        log.warning("this machine has no time zone data: only UTC is known (%s)", INSTALL_ZONES)
    for problem in small_limits():
        log.error("%s", problem)
    orphans = _adopted_orphans()
    ended = threading.Event()
    options: dict[str, Any] = {"role": role, "on_failure": lambda failure: ended.set()}
    scheduler = _of_app(profile, app, options) if app else Scheduler(profile, **options)

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
        watches = [Watch(thread, SystemClock()) for thread in scheduler.threads()]
        while not ended.wait(WATCH_EVERY_S if orphans is None else REAP_EVERY_S):
            if orphans is not None:
                orphans.reap()
            for problem in filter(None, (watch.problem() for watch in watches)):
                _end_within(FAILED_PATIENCE_S, lost_thread(problem).exit_code)
                scheduler.fail(lost_thread(problem))
        if scheduler.failure is not None:
            _end_within(FAILED_PATIENCE_S, scheduler.failure.exit_code)
    finally:
        _notify("STOPPING=1")
        if ended.is_set() and scheduler.failure is None:
            log.info(
                "stopping; active runs have %g s, and a second signal waits for none",
                drain,
            )
        why = "its process was told to stop"
        if not scheduler.stop(drain, why=scheduler.failure.text if scheduler.failure else why):
            log.warning("runs were still active; the next owner takes up their commands")
        if end_beside is not None:
            end_beside()
        for number, handler in before.items():
            signal.signal(number, handler)
    return scheduler.failure.exit_code if scheduler.failure is not None else 0


def _adopted_orphans() -> Orphans | None:
    """What reaps them, where the kernel hands them to this process."""
    if not adopts_orphans():
        return None
    orphans = Orphans()
    if orphans.can_reap():
        return orphans
    log.warning(
        "processes that jobs leave behind come to this one, and this kernel does not tell them "
        "from its own: they stay as zombies (start it under an init: docker run --init)"
    )
    return None


def _end_within(seconds: float, code: int) -> None:
    """Whatever a thread that is held keeps from the others, a lock say: this process ends."""
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()


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
        if found.standing is not ProcessStatus.OWNER:
            level = logging.WARNING if found.standing is ProcessStatus.REFUSED else logging.INFO
            log.log(level, "it is %s: %s", found.standing, found.why)


def _of_app(profile: Profile, target: str, options: dict[str, Any]) -> Scheduler:
    module_name, _, attribute = target.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module_name), attribute or "tenure")
        options_of = found._scheduler_options
    except (ImportError, AttributeError) as error:
        raise InvalidInput(
            f"{target!r} cannot be loaded: {error}",
            field="app",
            remedy="--app package.module:name, where name is a tenure.Tenure",
        ) from error
    return Scheduler(profile, **options, **options_of(profile))


def _log_to_stderr() -> None:
    level = os.environ.get("TENURE_LOG", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise InvalidInput(
            f"{level[:40]!r} is not a level of the log",
            field="TENURE_LOG",
            remedy="use DEBUG, INFO, WARNING or ERROR",
        )
    if not logging.getLogger().handlers:
        logging.basicConfig(
            level=level,
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
