"""Linux: processes as /proc tells them.

*Identity* is pid, start ticks and boot id, together with the namespaces that give the pid and
the ticks their meaning. *Ancestry* is followed by parent pids. *Membership* is the cgroup, which
survives double forks and new sessions and which an ordinary user cannot choose outside of what
was delegated to him.

Failure handling: a process that is gone is NotFound (or None); what is hidden by permissions is
'unknown'; a /proc of another pid namespace (mounted before ``unshare --pid``) tells only about
the calling process itself.

Source: proc(5), pid_namespaces(7), time_namespaces(7), cgroups(7).
"""

from __future__ import annotations

import os
import pwd
from datetime import UTC, datetime
from typing import Any

from tenure.domain.errors import OutcomeUnknown
from tenure.domain.policy.evidence import ChainLink, Evidence, Identity
from tenure.domain.process import Activity
from tenure.host.linux import procfs
from tenure.host.linux.held_locks import held_locks
from tenure.host.linux.lineage import Lineage, lineage_of
from tenure.host.linux.proc import (
    FIRST_USER_NAMESPACE,
    boot_id,
    executable_of,
    folder,
    is_frozen,
    machine_id,
    namespace,
    namespaces,
    no_such,
    read,
    service_of_process,
    stat_of,
)

__all__ = [
    "activity_of",
    "boot_id",
    "chain_of",
    "identity_of",
    "is_alive",
    "observe",
    "own_identity",
]

_OVERFLOW_UID = 65534


def identity_of(pid: int) -> Identity | None:
    if pid == os.getpid():
        return own_identity()
    stat = stat_of(pid)
    return None if stat is None or stat.dead else _identity(pid, stat.start)


def own_identity() -> Identity:
    stat = stat_of(os.getpid())
    assert stat is not None, "/proc does not show this very process"
    return _identity(os.getpid(), stat.start)


def is_alive(identity: Identity) -> bool | None:
    try:
        here = boot_id()
        if identity.boot_id and here and identity.boot_id != here:
            return False
        if identity.pid_namespace != namespaces():
            return None
        stat = stat_of(identity.pid)
    except OutcomeUnknown:
        return None
    if stat is None or stat.dead or stat.start != identity.start:
        return False
    # Without a boot id the same pid and ticks may be another boot's: likely, not verified.
    return True if identity.boot_id and here else None


def activity_of(identity: Identity) -> Activity:
    if is_alive(identity) is not True:
        return Activity.UNKNOWN
    try:
        stat = stat_of(identity.pid)
    except OutcomeUnknown:
        return Activity.UNKNOWN
    if stat is None or stat.start != identity.start:
        return Activity.UNKNOWN
    if stat.stopped:
        return Activity.STOPPED
    return Activity.FROZEN if is_frozen(identity.pid) else Activity.RUNNING


def chain_of(pid: int) -> tuple[tuple[ChainLink, ...], bool]:
    lineage = lineage_of(pid)
    return lineage.links, lineage.complete


def observe(pid: int | None, now: datetime | None) -> Evidence:
    subject = os.getpid() if pid is None else pid
    before = identity_of(subject)
    if before is None:
        raise no_such(subject)
    seen = _Seen(subject)
    lineage = lineage_of(subject)
    if subject != os.getpid() and identity_of(subject) != before:
        raise no_such(subject)
    return seen.evidence(before, now or datetime.now(UTC), lineage)


def _identity(pid: int, start: int) -> Identity:
    return Identity(boot_id=boot_id(), pid=pid, start=start, pid_namespace=namespaces())


class _Seen:
    """What was read about one process, and which reads were refused."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.facts: dict[str, Any] = {}
        self.unknown: set[str] = set()
        self._status()
        self._executable()
        self._cgroup()
        self._locks()
        self._machine()

    def _status(self) -> None:
        try:
            status = procfs.parse_status(read(f"{folder(self.pid)}/status"))
        except OSError:
            status = procfs.ProcStatus(uid=None, groups=None, confinement=None)
        uid = status.uid
        if uid == _OVERFLOW_UID and namespace("user") != FIRST_USER_NAMESPACE:
            uid = None  # a user that our user namespace does not know
        self._note("uid", uid)
        self._note("groups", status.groups)
        self._note("confinement", status.confinement)
        self._note("user", None if uid is None else _user_name(uid))

    def _note(self, name: str, value: object) -> None:
        if value is None:
            self.unknown.add(name)
        else:
            self.facts[name] = value

    def _executable(self) -> None:
        executable, _ = executable_of(self.pid)
        self._note("executable", None if executable is None else executable.path)
        self.facts["executable_deleted"] = executable is not None and executable.deleted

    def _cgroup(self) -> None:
        try:
            cgroup, service = service_of_process(self.pid)
        except OSError:
            self.unknown.update(("cgroup", "service"))
            return
        self.facts["cgroup"], self.facts["service"] = cgroup, service
        if cgroup is not None and cgroup.startswith("/.."):
            self.unknown.add("service")  # above the root of our own cgroup namespace

    def _locks(self) -> None:
        found = held_locks(self.pid)
        self.facts["locks"] = found.paths
        self.unknown |= found.unknown

    def _machine(self) -> None:
        self.facts["hostname"] = os.uname().nodename
        self._note("host", machine_id())

    def evidence(self, identity: Identity, now: datetime, lineage: Lineage) -> Evidence:
        if not lineage.complete:
            self.unknown.add("chain")
        parent = lineage.links[1].pid if len(lineage.links) > 1 else None
        if parent is None and not lineage.complete:
            self.unknown.add("init")
        if lineage.unreadable:
            self.unknown.add("chain.executable")
        return Evidence(
            identity=identity,
            observed_at=now,
            started_at=lineage.links[0].started_at,
            init=identity.pid == 1 or (parent == 1 and not lineage.adopted),
            session=lineage.first.session,
            chain=lineage.links,
            unknown=frozenset(self.unknown),
            **self.facts,
        )


def _user_name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return None  # no entry, or the directory service does not answer: not known which
