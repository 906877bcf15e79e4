"""How a scheduler process notices that it can do no more, and how it exits then.

    the loop raises or returns --> the thread itself calls ``ended``, as its last act
    the thread is gone, or has been at one piece of work for too long --> a :class:`Watch` finds it

A thread can end silently (out of memory while it handles an error, an exception that a debugger or
a host threw into it), and it can be stuck for ever (a log handler of the host, a device that does
not answer). So each thread that ownership depends on is also watched by another.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tenure.domain.durations import format_duration
from tenure.domain.ownership import HUNG_AFTER
from tenure.host.clocks import Clock

log = logging.getLogger("tenure")

STUCK_AFTER_S = HUNG_AFTER.total_seconds()
"""Awake time at one piece of work after which a thread counts as stuck."""
MOST_PER_LOOK_S = 2.0
"""What one look counts at most: the whole process may have been stopped meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """``text`` is a sentence without its full stop. ``exit_code``: how ``tenure serve`` ends, so
    that its service manager starts it again."""

    text: str
    remedy: str
    exit_code: int


def lost_store(text: str, remedy: str) -> Failure:
    """A file of the store is gone, replaced or cut short."""
    return Failure(text=text, remedy=remedy, exit_code=75)


def lost_thread(text: str) -> Failure:
    """A thread that ownership depends on ended, or makes no progress."""
    return Failure(
        text=text, remedy="start this process again; its log says what happened", exit_code=70
    )


class WatchedThread:
    """Thread-safe. Does one piece of work after the other, and rests in between."""

    def __init__(
        self,
        work: Callable[[], bool],
        rest: Callable[[], object],
        *,
        name: str,
        is_stopping: Callable[[], bool],
        ended: Callable[[str], None],
    ) -> None:
        """``work`` should end soon; it returns whether the thread goes on. ``ended`` is called with
        the reason if the thread ends while ``is_stopping`` is false."""
        self.name = name
        self._work = work
        self._rest = rest
        self._is_stopping = is_stopping
        self._ended = ended
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.ident: int | None = None
        """As of :mod:`threading`; None before the start."""
        self._started = False
        self._steps = 0
        self._in_step = False

    def start(self) -> None:
        """Raises RuntimeError if no thread can be started, or it was started before."""
        self._thread.start()
        self._started = True

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def is_current(self) -> bool:
        return threading.current_thread() is self._thread

    def join(self, timeout: float) -> None:
        """Wait for its end, unless called by itself or never started."""
        if self._started and not self.is_current():
            self._thread.join(timeout)

    @property
    def current_step(self) -> int | None:
        """The number of the piece of work that it does now; None while it rests."""
        return self._steps if self._in_step else None

    def has_ended_unexpectedly(self) -> bool:
        return self._started and not self._thread.is_alive() and not self._is_stopping()

    def _run(self) -> None:
        error: BaseException | None = None
        self.ident = threading.get_ident()
        try:
            goes_on = True
            while goes_on:
                self._steps += 1
                self._in_step = True
                goes_on = self._work()
                self._in_step = False
                if goes_on:
                    self._rest()
        except BaseException as raised:  # noqa: BLE001 - whatever ends it is reported
            error = raised
        if self._is_stopping():
            return
        why = f"{type(error).__name__}: {error}" if error is not None else "its loop returned"
        try:
            self._ended(f"the thread {self.name} ended ({why})")
        finally:  # logging last: a log handler of the host may hang
            log.critical("the thread %s ended", self.name, exc_info=error)


class Watch:
    """What one thread sees of another. Used by one thread."""

    def __init__(self, thread: WatchedThread, clock: Clock) -> None:
        self._thread = thread
        self._clock = clock
        self._step: int | None = None
        self._seen_s = 0.0
        self._at = 0.0

    def problem(self, awake: float | None = None) -> str | None:
        """Why the thread cannot be relied on, as a clause; None while it can.

        ``awake``: the awake clock, if the caller has just read it.
        """
        if self._thread.has_ended_unexpectedly():
            return f"the thread {self._thread.name} ended"
        step, awake = self._thread.current_step, self._clock.awake() if awake is None else awake
        if step is None or step != self._step:
            self._step, self._seen_s = step, 0.0
        else:
            self._seen_s += min(max(0.0, awake - self._at), MOST_PER_LOOK_S)
        self._at = awake
        if self._seen_s < STUCK_AFTER_S:
            return None
        return (
            f"the thread {self._thread.name} has made no progress for {format_duration(HUNG_AFTER)}"
        )
