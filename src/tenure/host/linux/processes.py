"""Linux: the evidence of a process, from /proc.

*Ancestry* is followed parent by parent and checked link by link. *Membership* is the cgroup,
which survives double forks and new sessions and which an ordinary user cannot choose outside of
what was delegated to him. What is hidden by permissions is 'unknown'.
"""

from __future__ import annotations

import os
import pwd
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tenure.domain.errors import OutcomeUnknown
from tenure.domain.policy.evidence import ChainLink, Evidence
from tenure.host.linux.held_locks import held_locks
from tenure.host.linux.proc import (
    FIRST_USER_NAMESPACE,
    Executable,
    ProcStatus,
    Stat,
    activity_of,
    boot_id,
    executable_of,
    folder,
    identity_of,
    is_alive,
    machine_id,
    namespace,
    no_such,
    own_identity,
    parse_status,
    proc_is_ours,
    read,
    service_of_process,
    stat_of,
)

__all__ = [
    "account_of",
    "activity_of",
    "boot_id",
    "chain_of",
    "identity_of",
    "is_alive",
    "observe",
    "own_identity",
]

_OVERFLOW_UID = 65534
_TICKS = os.sysconf("SC_CLK_TCK")
_LONGEST_CHAIN = 512


def chain_of(pid: int) -> tuple[tuple[ChainLink, ...], bool]:
    lineage = lineage_of(pid)
    return lineage.links, lineage.complete


def observe(pid: int | None, now: datetime | None) -> Evidence:
    subject = os.getpid() if pid is None else pid
    before = identity_of(subject)
    if before is None:
        raise no_such(subject)
    facts, unknown = _facts_of(subject)
    lineage = lineage_of(subject)
    if subject != os.getpid() and identity_of(subject) != before:
        raise no_such(subject)
    parent = lineage.links[1].pid if len(lineage.links) > 1 else None
    if not lineage.complete:
        unknown.add("chain")
        if parent is None:
            unknown.add("init")
    if lineage.unreadable:
        unknown.add("chain.executable")
    return Evidence(
        identity=before,
        observed_at=now or datetime.now(UTC),
        started_at=lineage.links[0].started_at,
        init=subject == 1 or (parent == 1 and not lineage.adopted),
        session=lineage.first.session,
        chain=lineage.links,
        unknown=frozenset(unknown),
        **facts,
    )


def account_of(pid: int) -> tuple[int | None, str | None, str | None]:
    before = identity_of(pid)
    uid = _known_uid(_status_of(pid))
    executable, _ = executable_of(pid)
    if before is None or identity_of(pid) != before:
        raise no_such(pid)
    user = None if uid is None else _user_name(uid)
    return uid, user, None if executable is None else executable.path


def _facts_of(pid: int) -> tuple[dict[str, Any], set[str]]:
    """What was read about one process, and the fields whose reads were refused."""
    status = _status_of(pid)
    uid = _known_uid(status)
    executable, _ = executable_of(pid)
    facts: dict[str, Any] = {
        "uid": uid,
        "user": None if uid is None else _user_name(uid),
        "groups": status.groups,
        "confinement": status.confinement,
        "executable": None if executable is None else executable.path,
        "host": machine_id(),
    }
    unknown = {name for name, value in facts.items() if value is None}
    facts = {name: value for name, value in facts.items() if value is not None}
    try:
        facts["cgroup"], facts["service"] = service_of_process(pid)
        # Above the root of our own cgroup namespace the unit is not known.
        if (facts["cgroup"] or "").startswith("/.."):
            unknown.add("service")
    except OSError:
        unknown.update(("cgroup", "service"))
    locks = held_locks(pid)
    facts["locks"] = locks.paths
    facts["executable_deleted"] = executable is not None and executable.deleted
    facts["hostname"] = os.uname().nodename
    return facts, unknown | locks.unknown


def _status_of(pid: int) -> ProcStatus:
    try:
        return parse_status(read(f"{folder(pid)}/status"))
    except OSError:
        return ProcStatus(uid=None, groups=None, confinement=None)


def _known_uid(status: ProcStatus) -> int | None:
    if status.uid == _OVERFLOW_UID and namespace("user") != FIRST_USER_NAMESPACE:
        return None  # a user that our user namespace does not know
    return status.uid


def _user_name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return None  # no entry, or the directory service does not answer: not known which


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    first: Stat
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
        above = _parent_of(links[-1].pid, child) if len(links) < _LONGEST_CHAIN else None
        if above is None:
            complete = False
            break
        parent, program, readable = above
        unreadable = unreadable or not readable
        if _is_adopted(child, parent):
            complete = False
            adopted = adopted or len(links) == 1
        links.append(_link(parent.pid, parent, program))
        child = parent
    return Lineage(
        first=stat, links=tuple(links), complete=complete, adopted=adopted, unreadable=unreadable
    )


def _link(pid: int, stat: Stat, program: Executable | None) -> ChainLink:
    return ChainLink(
        pid=pid,
        name=stat.name,
        executable=None if program is None else program.path,
        start=stat.start,
        started_at=_instant(stat.start),
    )


def _parent_of(pid: int, child: Stat) -> tuple[Stat, Executable | None, bool] | None:
    """The parent and its program, if it is certain: older, and still the parent."""
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


def _is_adopted(child: Stat, parent: Stat) -> bool:
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
