"""End a command: find its processes, ask them to stop, then kill them, the shell last.

    ASKED    the signal (TERM) and CONT to the whole group and to members that left it,
      │ grace  again while the job's program has not begun
    KILLING  KILL to all but the shell, repeatedly, so that it records the true status
      │ no member left and the shell gone, or SETTLE_S
    LAST     KILL to the shell too; the record stays 'open', which reads as lost
      │ gone, or SETTLE_S
    DONE     :attr:`Termination.survivors`: processes that could not be ended (uninterruptible,
             or another user's)

The shell survives the group's signals by handling them (see :mod:`.gate`). At the gate the first
signal ends it, with the record 'never'. Between the gate and the exec of the job's program it
swallows them, and so does its copy that becomes the job: hence the repetition.

Members: the shell leads a session, and every descendant stays in it unless it calls setsid(2).
A process that did is still found while its parent lives, up the chain of parent pids. A process
that left and whose parent has ended (a daemon's double fork) cannot be found: only a cgroup
keeps track of it, and Tenure makes none. The caller remembers members seen earlier, so that a
daemon seen in time does not escape. A session's number is not reused while a process is in it,
so members are found also after the shell itself was killed; if the number has passed to another
process, the old session is over. Processes hidden from this user are not listed.

Authority: nothing is signalled whose identity is not verified at that moment; a command of
another boot, or of another pid namespace, is never signalled.

Time: except in :func:`abort_at_gate`, no function here sleeps or reads a clock. The caller passes
``now`` in seconds of awake time (a clock that stops in suspend, so that a grace is not slept
away) and calls again at the time returned.

Failure: where the processes cannot be listed now (no free descriptor), :meth:`Termination.step`
raises and the phase stays as it is; the next call continues from there. An incomplete list is
never used.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from tenure.domain.policy.evidence import Identity
from tenure.host.linux.proc import read_stat
from tenure.host.processes import boot_id, identity_of, is_alive
from tenure.runtime.commands.child import ExitRecord, Stage, read_exit

_HAS_PROC = sys.platform == "linux"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionMember:
    """One living process. ``start`` is compared with the like of the same platform only."""

    pid: int
    start: int
    parent: int
    session: int


def members_of(
    leader: Identity, *, seen: Iterable[SessionMember] = ()
) -> tuple[SessionMember, ...]:
    """Every living process of the leader's command, except the leader itself.

    ``seen``: members found earlier; those that still live count, with their descendants. The
    caller has made sure that the leader's boot and namespaces are ours. Any thread. Raises
    OSError and OutcomeUnknown where the processes cannot be listed now.
    """
    table = _list_processes()
    holder = table.get(leader.pid)
    reused = holder is not None and identity_of(leader.pid) not in (leader, None)
    members = {
        member.pid: member
        for member in table.values()
        if not reused and member.session == leader.pid and member.pid != leader.pid
    }
    members |= {old.pid: old for old in seen if table.get(old.pid, old).start == old.start}
    members = {pid: table[pid] for pid in members if pid in table}
    _add_descendants(members, table, () if reused or holder is None else (holder,))
    members.pop(leader.pid, None)
    return tuple(members.values())


def _add_descendants(
    members: dict[int, SessionMember],
    table: dict[int, SessionMember],
    roots: Iterable[SessionMember],
) -> None:
    children: dict[int, list[SessionMember]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process)
    waiting = [*members.values(), *roots]
    while waiting:
        parent = waiting.pop()
        for child in children.get(parent.pid, ()):
            # A child is never older than its parent: an older one was misread.
            if child.pid not in members and child.start >= parent.start:
                members[child.pid] = child
                waiting.append(child)


def _list_processes() -> dict[int, SessionMember]:
    """Every living process that can be looked at, by pid."""
    if not _HAS_PROC:
        return _list_with_psutil()
    inspected = (_inspect(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {member.pid: member for member in inspected if member is not None}


def _inspect(pid: int) -> SessionMember | None:
    """Linux: None if it has ended or is hidden. Raises OSError."""
    try:
        stat = read_stat(pid)
    except (FileNotFoundError, ProcessLookupError, PermissionError, ValueError):
        return None
    if stat.dead:
        return None
    return SessionMember(pid=pid, start=stat.start, parent=stat.parent, session=stat.session)


def _list_with_psutil() -> dict[int, SessionMember]:
    import psutil  # only where there is no /proc

    members = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            start = int(process.create_time() * 1_000_000)
            members[process.pid] = SessionMember(
                pid=process.pid, start=start, parent=process.ppid(), session=os.getsid(process.pid)
            )
    return members


def signal_member(member: SessionMember, number: signal.Signals) -> bool:
    """Signal exactly this process. False: it has ended, or this user cannot signal it now.

    Without pidfds, a pid reused within microseconds would be hit.
    """
    try:
        if not _HAS_PROC:
            if _list_with_psutil().get(member.pid, member).start != member.start:
                return False
            os.kill(member.pid, number)
            return True
        descriptor = os.pidfd_open(member.pid)
    except OSError:
        return False
    try:
        # The descriptor pins the process, so this check is about the process it signals.
        now = _inspect(member.pid)
        if now is None or now.start != member.start:
            return False
        signal.pidfd_send_signal(descriptor, number)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


SETTLE_S = 2.0
"""Seconds that KILLING, and again LAST, may take before going on."""
_SIGNAL_AGAIN_S = 0.02


class Phase(StrEnum):
    BEGIN = "begin"
    ASKED = "asked"
    KILLING = "killing"
    LAST = "last"
    DONE = "done"


def stop(
    leader: Identity,
    *,
    number: signal.Signals = signal.SIGTERM,
    seen: tuple[SessionMember, ...] = (),
) -> tuple[SessionMember, ...]:
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
    in_group: set[int] = set()
    if alive:
        for member in members:
            with contextlib.suppress(OSError):
                if os.getpgid(member.pid) == leader.pid:
                    in_group.add(member.pid)
        with contextlib.suppress(OSError):
            os.killpg(leader.pid, number)
            os.killpg(leader.pid, signal.SIGCONT)  # a stopped job could not obey
    for member in members:
        if member.pid not in in_group:
            signal_member(member, number)
            signal_member(member, signal.SIGCONT)
    return members


def has_begun(leader: Identity) -> bool:
    """Whether the job's program runs, or the command has ended. False while there is only the
    gate's shell, or its copy before the exec. Raises as :func:`members_of`."""
    if is_alive(leader) is not True:
        return True
    gate = _command_line(leader.pid)
    return any(_command_line(member.pid) != gate for member in members_of(leader))


def _command_line(pid: int) -> bytes:
    """Empty for a process that has ended, or hides it."""
    if not _HAS_PROC:
        import psutil

        with contextlib.suppress(psutil.Error):
            return os.fsencode("\0".join(psutil.Process(pid).cmdline()))
        return b""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def kill_shell(leader: Identity) -> None:
    """KILL the shell itself; its record then stays as it is."""
    _signal(leader, signal.SIGKILL)


class Termination:
    """One command's termination, driven by the poller. Not thread-safe.

    ``grace``: how long the job has between the first signal and KILL; zero kills at once.
    """

    def __init__(
        self,
        leader: Identity,
        *,
        grace: timedelta,
        number: signal.Signals = signal.SIGTERM,
        send: Callable[..., tuple[SessionMember, ...]] = stop,
        kill_leader: Callable[[Identity], None] = kill_shell,
        alive: Callable[[Identity], bool | None] = is_alive,
        begun: Callable[[Identity], bool] = has_begun,
    ) -> None:
        self.leader = leader
        self.phase = Phase.BEGIN
        self.survivors: tuple[SessionMember, ...] = ()
        """The processes that the last signal found."""
        self.failed = False
        """Whether the last step raised; kept for the caller."""
        self._grace = grace.total_seconds()
        self._number = number
        self._until = 0.0
        self._received = False
        """Whether the job's program had begun when it was last asked."""
        self._send, self._kill_leader = send, kill_leader
        self._alive, self._has_begun = alive, begun

    def step(self, now: float) -> float | None:
        """Do what is due at ``now``; returns when to call again, or None once it is done.

        Raises OSError and OutcomeUnknown: call again later, no state is lost.
        """
        if self.phase is Phase.BEGIN:
            if self._grace > 0:
                self._ask()
            self._enter(Phase.ASKED, now, self._grace)
        elif self.phase is Phase.ASKED and now < self._until and not self._received:
            self._ask()
        if self.phase is Phase.ASKED:
            if now < self._until:
                return self._until if self._received else min(self._until, now + _SIGNAL_AGAIN_S)
            self._enter(Phase.KILLING, now, SETTLE_S)
        if self.phase is Phase.KILLING:
            if self._kill() or now < self._until:
                return self._again(now)
            self._enter(Phase.LAST, now, SETTLE_S)
        if self.phase is Phase.LAST:
            self._kill_leader(self.leader)
            if self._kill() or now < self._until:
                return self._again(now)
            self._enter(Phase.DONE, now, 0.0)
        return None

    def _enter(self, phase: Phase, now: float, seconds: float) -> None:
        self.phase, self._until = phase, now + seconds

    def _ask(self) -> None:
        # Looked at before the signal is sent: a program that begins afterwards may have missed it.
        begun = self._has_begun(self.leader)
        self.survivors = self._send(self.leader, number=self._number)
        self._received = begun

    def _kill(self) -> bool:
        """KILL all but the shell; True, and DONE, if neither a member nor the shell is left."""
        self.survivors = self._send(self.leader, number=signal.SIGKILL, seen=self.survivors)
        if not self.survivors and self._alive(self.leader) is False:
            self.phase = Phase.DONE
            return True
        return False

    def _again(self, now: float) -> float | None:
        return None if self.phase is Phase.DONE else now + _SIGNAL_AGAIN_S


_LOOK_AGAIN_S = 0.0005


def abort_at_gate(shell: Identity, exit_path: Path, *, patience: float = 1.0) -> ExitRecord:
    """Shut a gate that another process holds; returns what the record then proves.

    An owner that froze after committing ``started`` may wake long after it lost ownership and
    open a gate that it should not. Its successor takes the gate away first: it *stops* the shell
    and reads its record while the shell cannot move. Blank: the shell has not passed the gate,
    and it is killed: the job never ran, proved. Otherwise the job is running, and the shell goes
    on. At no moment could both be true. This also serves where the holder is dead but a forked
    child of it keeps the gate from closing.

    NEVER_RAN: the job has not begun and never will. Stage OPEN with the shell alive: it runs,
    adopt it. Stage GATE: undecided after ``patience`` seconds; try again, as after
    RecordUnreadable. Usually blocks about a millisecond. Any thread, any process of the same user.
    """
    record = read_exit(exit_path)
    if record.stage is not Stage.GATE:
        return record
    if is_alive(shell) and _signal(shell, signal.SIGSTOP):
        killed = False
        try:
            if _wait(lambda: _is_stopped(shell.pid) or is_alive(shell) is False, patience):
                blank = read_exit(exit_path).stage is Stage.GATE
                killed = blank and _signal(shell, signal.SIGKILL)
        finally:
            if not killed:
                # Not verified again: it must go on even if it cannot be inspected now, and a
                # stopped process keeps its pid.
                with contextlib.suppress(OSError):
                    os.kill(shell.pid, signal.SIGCONT)
        if killed:
            _wait(lambda: is_alive(shell) is False, patience)
    # Dead because of a reboot proves nothing: what was written may be lost.
    gone = is_alive(shell) is False and shell.boot_id == boot_id()
    return read_exit(exit_path, shell_gone=gone)


def _signal(shell: Identity, number: signal.Signals) -> bool:
    if is_alive(shell):
        with contextlib.suppress(OSError):
            os.kill(shell.pid, number)
            return True
    return False


def _wait(reached: Callable[[], bool], patience: float) -> bool:
    until = time.monotonic() + patience
    while not reached():
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_AGAIN_S)
    return True


def _is_stopped(pid: int) -> bool:
    if not _HAS_PROC:
        import psutil

        try:
            return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        except psutil.Error:
            return False
    try:
        return read_stat(pid).stopped
    except (OSError, ValueError):
        return False
