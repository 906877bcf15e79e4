"""The ancestry of a Linux process, followed parent by parent and checked link by link."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from tenure.domain.errors import OutcomeUnknown
from tenure.domain.policy.evidence import ChainLink
from tenure.host.linux import procfs
from tenure.host.linux.proc import (
    Executable,
    executable_of,
    no_such,
    proc_is_ours,
    service_of_process,
    stat_of,
)

_TICKS = os.sysconf("SC_CLK_TCK")
_LONGEST_CHAIN = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    first: procfs.Stat
    links: tuple[ChainLink, ...]
    complete: bool
    adopted: bool
    """The process's own launcher is gone: its parent is one that adopted it."""
    unreadable: bool
    """An executable that matters could not be read; init's and other root's do not matter."""


def lineage_of(pid: int) -> Lineage:
    stat = stat_of(pid)
    if stat is None or stat.dead:
        raise no_such(pid)
    program, readable = executable_of(pid)
    links = [_link(pid, stat, program)]
    complete, adopted, unreadable = True, False, not readable
    child = stat
    while links[-1].pid != 1 and not (child.parent == 0 and proc_is_ours()):
        found = _parent_of(links[-1].pid, child) if len(links) < _LONGEST_CHAIN else None
        if found is None:
            complete = False
            break
        parent, program, readable = found
        unreadable = unreadable or not readable
        if _is_adopted(child, parent):
            complete = False
            adopted = adopted or len(links) == 1
        links.append(_link(parent.pid, parent, program))
        child = parent
    return Lineage(
        first=stat, links=tuple(links), complete=complete, adopted=adopted, unreadable=unreadable
    )


def _link(pid: int, stat: procfs.Stat, program: Executable | None) -> ChainLink:
    return ChainLink(
        pid=pid,
        name=stat.name,
        executable=None if program is None else program.path,
        start=stat.start,
        started_at=_instant(stat.start),
    )


def _parent_of(pid: int, child: procfs.Stat) -> tuple[procfs.Stat, Executable | None, bool] | None:
    """The parent and its program, if it is one beyond doubt: older, and still the parent."""
    try:
        parent = stat_of(child.parent)
        program, readable = executable_of(child.parent)
        again = stat_of(pid)
    except OutcomeUnknown:
        return None
    if parent is None or again is None or parent.start > child.start:
        return None
    # Its parent is unchanged after all was read: what was read was that one parent's.
    if (again.parent, again.start) != (child.parent, child.start):
        return None
    return parent, program, readable


def _is_adopted(child: procfs.Stat, parent: procfs.Stat) -> bool:
    """Whether the launcher is evidently gone, so that ``parent`` only adopted the child.

    A child is born into its launcher's session and leaves it only by leading its own. A
    process that leads none, in a session that is not its parent's, was reparented. Likewise a
    manager that forks a process puts it into a service; one in a scope was forked by others
    and came to the manager as an orphan (session scopes apart: ``login`` moves itself there).
    The reverse does not hold: an orphan that leads its own session looks like a child.
    """
    if child.session not in (child.pid, parent.session):
        return True
    # A comm may be forged, but this one only ever makes a chain incomplete.
    if parent.pid != 1 and parent.name != "systemd":
        return False
    try:
        service = service_of_process(child.pid)[1]
    except OSError:
        return True  # not known: a chain counts as whole only where that was seen
    return (
        service is not None
        and service.name.endswith(".scope")
        and service.name != "init.scope"
        and not service.name.startswith("session-")
    )


def _instant(ticks: int) -> datetime:
    """The wall-clock instant of a start stamp, to the tick. It moves with the wall clock."""
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return datetime.fromtimestamp(round(boot + ticks / _TICKS, 2), UTC)
