"""How a command is ended: asked first, then killed, its shell last.

    ASKED    the signal (TERM) and CONT to the whole group and to who left it
      │ grace
    KILLING  KILL to all but the shell, again and again, so that it records the true status
      │ nobody left and the shell gone, or SETTLE
    LAST     KILL to the shell too; the record stays 'open', which reads as lost
      │ gone, or SETTLE
    DONE     :attr:`Ending.survivors` says who could not be ended (uninterruptible, not ours)

The shell survives the group's signals by handling them (see :mod:`.gate`). At the gate the first
signal ends it, with the record 'never'.

Authority: nothing is signalled whose identity is not verified at that moment; a command of
another boot, or of another pid namespace, is never signalled.

No function here sleeps or reads a clock: the caller gives ``now`` in seconds of awake time (a
clock that stops in suspend, so that a grace is not slept away) and calls again when told.

Failure: where the processes cannot be looked at now (no descriptor free), :meth:`Ending.step`
raises and the phase stays as it is; called again, it goes on from there. Nothing is taken for
ended that was only not seen.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum

from tenure.domain.policy.evidence import Identity
from tenure.host.processes import boot_id, identity_of, is_alive
from tenure.runtime.commands.session import Member, members_of, signal_member

SETTLE = 2.0
"""Seconds that KILLING, and again LAST, may take before going on."""
_AGAIN = 0.02


class Phase(StrEnum):
    BEGIN = "begin"
    ASKED = "asked"
    KILLING = "killing"
    LAST = "last"
    DONE = "done"


def stop(
    leader: Identity, *, number: signal.Signals = signal.SIGTERM, seen: tuple[Member, ...] = ()
) -> tuple[Member, ...]:
    """Send one signal to a command: its group at once, then members that left the group.

    Returns the members found. KILL goes to all but the shell. Any thread; never raises for a
    command that has ended, or that another boot or namespace hides. Raises OSError and
    OutcomeUnknown where it cannot be looked at now: nothing was signalled then.
    """
    if leader.boot_id != boot_id():
        return ()
    alive = is_alive(leader)
    if alive is None:
        identity_of(leader.pid)  # raises where it is unknown only for now
        return ()
    members = members_of(leader, seen=seen)
    if number is signal.SIGKILL:
        for member in members:
            signal_member(member, number)
        if alive:
            with contextlib.suppress(OSError):
                os.kill(leader.pid, signal.SIGCONT)  # a stopped shell could not record
        return members
    outside = members
    if alive:
        outside = tuple(member for member in members if not _in_group(member, leader.pid))
        with contextlib.suppress(OSError):
            os.killpg(leader.pid, number)
            os.killpg(leader.pid, signal.SIGCONT)  # a stopped job could not obey
    for member in outside:
        signal_member(member, number)
        signal_member(member, signal.SIGCONT)
    return members


def _in_group(member: Member, group: int) -> bool:
    try:
        return os.getpgid(member.pid) == group
    except OSError:
        return False


def kill_shell(leader: Identity) -> None:
    """KILL the shell itself, whose record then stays as it is."""
    if is_alive(leader):
        with contextlib.suppress(OSError):
            os.kill(leader.pid, signal.SIGKILL)


class Ending:
    """One command's end, driven by whoever polls. Not thread-safe.

    ``grace``: how long the job has between the first signal and KILL; zero kills at once.
    """

    def __init__(
        self,
        leader: Identity,
        *,
        grace: timedelta,
        number: signal.Signals = signal.SIGTERM,
        send: Callable[..., tuple[Member, ...]] = stop,
        kill_leader: Callable[[Identity], None] = kill_shell,
        alive: Callable[[Identity], bool | None] = is_alive,
    ) -> None:
        self.leader = leader
        self.phase = Phase.BEGIN
        self.survivors: tuple[Member, ...] = ()
        self.failed = False
        """Whether its last step raised; for the one that calls it."""
        self._grace = grace.total_seconds()
        self._number = number
        self._until = 0.0
        self._seen: tuple[Member, ...] = ()
        self._send, self._kill_leader, self._alive = send, kill_leader, alive

    def step(self, now: float) -> float | None:
        """Do what is due at ``now``; when to be called again, or None once it is done.

        Raises OSError and OutcomeUnknown: call again later, nothing is forgotten.
        """
        if self.phase is Phase.BEGIN:
            if self._grace > 0:
                self._seen = self._send(self.leader, number=self._number)
            self._enter(Phase.ASKED, now, self._grace)
        if self.phase is Phase.ASKED:
            if now < self._until:
                return self._until
            self._enter(Phase.KILLING, now, SETTLE)
        if self.phase is Phase.KILLING:
            if self._kill() or now < self._until:
                return self._again(now)
            self._enter(Phase.LAST, now, SETTLE)
        if self.phase is Phase.LAST:
            self._kill_leader(self.leader)
            if self._kill() or now < self._until:
                return self._again(now)
            self._enter(Phase.DONE, now, 0.0)
        return None

    def hasten(self) -> None:
        """End the grace now: the next step kills."""
        self._grace = 0.0
        self._until = 0.0

    def _enter(self, phase: Phase, now: float, seconds: float) -> None:
        self.phase, self._until = phase, now + seconds

    def _kill(self) -> bool:
        """KILL everybody but the shell; True, and DONE, if nobody and no shell is left."""
        self._seen = self.survivors = self._send(
            self.leader, number=signal.SIGKILL, seen=self._seen
        )
        if not self.survivors and self._alive(self.leader) is False:
            self.phase = Phase.DONE
            return True
        return False

    def _again(self, now: float) -> float | None:
        return None if self.phase is Phase.DONE else now + _AGAIN
