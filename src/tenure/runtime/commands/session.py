"""Who belongs to a running command: the processes of its shell's session, and those that left.

A command's shell leads a session, and every descendant stays in it unless it calls setsid(2).
One that did is still found while its parent lives, up the chain of parent pids; one that left
and whose parent has ended (a daemon's double fork) is not, nor can it be by these means: only a
cgroup keeps such, and Tenure makes none. What was once seen is remembered by the caller and
looked up again, so that a daemon seen in time does not get away.

A session's number is not reused while one process is in it, so members are found also after the
shell itself was killed. If the number has passed to another process, the old session is over.

Linux reads /proc; elsewhere psutil. A process that is hidden from this user is not listed. Where
the look itself fails (no descriptor free), that is raised: an incomplete list is no answer.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from tenure.domain.policy.evidence import Identity
from tenure.host.linux import procfs
from tenure.host.processes import identity_of

_HAS_PROC = sys.platform == "linux"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One living process. ``start`` is compared with the like of the same platform only."""

    pid: int
    start: int
    parent: int
    session: int


def members_of(leader: Identity, *, seen: Iterable[Member] = ()) -> tuple[Member, ...]:
    """Every living process of the leader's command, the leader itself excepted.

    ``seen``: members found earlier; those that still live count, with their descendants. The
    caller has made sure that the leader's boot and namespaces are ours. Any thread. Raises
    OSError and OutcomeUnknown where the processes cannot be listed now.
    """
    table = _living()
    holder = table.get(leader.pid)
    reused = holder is not None and not _is_still(leader)
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
    members: dict[int, Member], table: dict[int, Member], roots: Iterable[Member]
) -> None:
    children: dict[int, list[Member]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process)
    waiting = [*members.values(), *roots]
    while waiting:
        parent = waiting.pop()
        for child in children.get(parent.pid, ()):
            # A child is never older than its parent; one that is has been misread.
            if child.pid not in members and child.start >= parent.start:
                members[child.pid] = child
                waiting.append(child)


def _is_still(leader: Identity) -> bool:
    """Whether the leader's pid is still the leader's; asked of the host, who knows its stamps."""
    return identity_of(leader.pid) in (leader, None)


def _living() -> dict[int, Member]:
    """Every living process that can be looked at, by pid."""
    if not _HAS_PROC:
        return _living_from_psutil()
    looked = (_look_at(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {member.pid: member for member in looked if member is not None}


def _look_at(pid: int) -> Member | None:
    """Linux: one living process; None if it has ended or is hidden. Raises OSError."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            stat = procfs.parse_stat(file.read(4096).decode("utf-8", "backslashreplace"))
    except (FileNotFoundError, ProcessLookupError, PermissionError, ValueError):
        return None
    if stat.dead:
        return None
    return Member(pid=pid, start=stat.start, parent=stat.parent, session=stat.session)


def _living_from_psutil() -> dict[int, Member]:
    import psutil  # only where there is no /proc

    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            start = int(process.create_time() * 1_000_000)
            found[process.pid] = Member(
                pid=process.pid, start=start, parent=process.ppid(), session=os.getsid(process.pid)
            )
    return found


def signal_member(member: Member, number: signal.Signals) -> bool:
    """Signal exactly this process. False: it has ended, or cannot be signalled by us now.

    Without pidfds a pid that is given to another process within microseconds would be hit.
    """
    try:
        if not _HAS_PROC:
            if _living_from_psutil().get(member.pid, member).start != member.start:
                return False
            os.kill(member.pid, number)
            return True
        descriptor = os.pidfd_open(member.pid)
    except OSError:
        return False
    try:
        # What the descriptor holds cannot change any more, so this look is about it.
        now = _look_at(member.pid)
        if now is None or now.start != member.start:
            return False
        signal.pidfd_send_signal(descriptor, number)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
