"""What macOS and Windows have in common: psutil for the facts, and doubt for the rest.

Untested on real machines. A fact that cannot be read is unknown, never guessed, and a missing
function of the OS is no error. psutil is imported at the first question, not before.

Differences from Linux: there are no pid namespaces; a start stamp may be of two kinds (see
:meth:`PsutilHost.start_of`), and stamps of different kinds prove nothing.
"""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from typing import Any

from tenure.domain.errors import NotFound, OutcomeUnknown
from tenure.domain.policy.evidence import ChainLink, Evidence, Identity
from tenure.domain.process import Activity
from tenure.host.linux.held_locks import UNREAD, HeldLocks

_LONGEST_CHAIN = 512
STAMPED = 10**14
"""Start stamps from here on are microseconds of the wall clock; below, the kernel's counter."""
_TOLERANCE = 2_000_000
"""Microseconds by which psutil's start times may differ after the wall clock was stepped."""


class PsutilHost:
    """One platform's answers; see :mod:`tenure.host.processes` for what each promises."""

    def __init__(self) -> None:
        self._boot_id: str | None = None

    # What a platform adds.

    def read_boot_id(self) -> str:
        """The id of this boot, '' if unknown."""
        return ""

    def counter_of(self, pid: int) -> int | None:
        """The kernel's number of a process, never reused within a boot; None if unknown."""
        return None

    def is_parent(self, pid: int, parent: int) -> bool | None:
        """Whether ``parent`` launched ``pid``; False if it only adopted it; None if unknown."""
        return None

    def particulars(self, pid: int, chain: tuple[ChainLink, ...], complete: bool) -> dict[str, Any]:
        """The fields of Evidence that this platform knows: None for unknown, left out if absent."""
        return {}

    def locks_of(self, pid: int) -> HeldLocks:
        """The locks that a process holds on files."""
        return UNREAD

    # The common answers.

    def boot_id(self) -> str:
        if self._boot_id is None:
            self._boot_id = self.read_boot_id()
        return self._boot_id

    def start_of(self, pid: int, process: Any) -> int:
        """The kernel's counter where there is one, else microseconds of the start."""
        counter = self.counter_of(pid)
        return round(process.create_time() * 1_000_000) if counter is None else counter

    def identity_of(self, pid: int) -> Identity | None:
        import psutil

        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return Identity(boot_id=self.boot_id(), pid=pid, start=self.start_of(pid, process))
        except (psutil.ZombieProcess, psutil.NoSuchProcess, ValueError, OverflowError):
            return None
        except (psutil.Error, OSError) as error:
            raise OutcomeUnknown(f"process {pid} exists, but may not be looked at") from error

    def own_identity(self) -> Identity:
        identity = self.identity_of(os.getpid())
        if identity is None:
            raise OutcomeUnknown("this process's own identity could not be read")
        return identity

    def is_alive(self, identity: Identity) -> bool | None:
        here = self.boot_id()
        if identity.boot_id and here and identity.boot_id != here:
            return False
        if identity.pid_namespace:
            return None
        try:
            current = self.identity_of(identity.pid)
        except OutcomeUnknown:
            return None
        if current is None:
            return False
        if (current.start < STAMPED) is not (identity.start < STAMPED):
            return None
        if current.start == identity.start:
            return True if identity.boot_id and here else None
        near = current.start >= STAMPED and abs(current.start - identity.start) < _TOLERANCE
        return None if near else False

    def activity_of(self, identity: Identity) -> Activity:
        import psutil

        if self.is_alive(identity) is not True:
            return Activity.UNKNOWN
        try:
            status = psutil.Process(identity.pid).status()
        except (psutil.Error, OSError, ValueError):
            return Activity.UNKNOWN
        stopped = status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        return Activity.STOPPED if stopped else Activity.RUNNING

    def chain_of(self, pid: int) -> tuple[tuple[ChainLink, ...], bool]:
        import psutil

        complete = True
        process = _process(pid)
        links = [self._link(process)]
        while links[-1].pid > 1 and len(links) < _LONGEST_CHAIN:
            child = links[-1]
            try:
                above = process.ppid()
                if above == 0 or above == child.pid:
                    break
                process = psutil.Process(above)
                parent = self._link(process)
            except (psutil.Error, OSError, ValueError):
                return tuple(links), False
            if parent.start is None or child.start is None or parent.start > child.start:
                return tuple(links), False
            complete = complete and self.is_parent(child.pid, above) is not False
            links.append(parent)
        return tuple(links), complete and links[-1].pid <= 1

    def observe(self, pid: int | None, now: datetime | None) -> Evidence:
        import psutil

        subject = os.getpid() if pid is None else pid
        identity = self.identity_of(subject)
        if identity is None:
            raise NotFound(f"no process has pid {subject}", pid=subject)
        chain, complete = self.chain_of(subject)
        facts: dict[str, Any] = {
            "started_at": chain[0].started_at,
            "executable": chain[0].executable,
            "user": attempt(lambda: psutil.Process(subject).username()),
            "hostname": attempt(socket.gethostname),
        }
        facts |= self.particulars(subject, chain, complete)
        unknown = {name for name, value in facts.items() if value is None}
        locks = self.locks_of(subject)
        unknown |= locks.unknown
        if not complete:
            unknown.add("chain")
        if any(link.executable is None and link.pid > 1 for link in chain):
            unknown.add("chain.executable")
        if self.is_alive(identity) is False:
            raise NotFound(f"process {subject} ended while it was looked at", pid=subject)
        return Evidence(
            identity=identity,
            observed_at=now or datetime.now(UTC),
            chain=chain,
            locks=locks.paths,
            unknown=frozenset(unknown),
            **{name: value for name, value in facts.items() if value is not None},
        )

    def account_of(self, pid: int) -> tuple[int | None, str | None, str | None]:
        process = _process(pid)
        return (
            attempt(lambda: int(process.uids().effective)),
            attempt(process.username),
            attempt(process.exe) or None,
        )

    def _link(self, process: Any) -> ChainLink:
        created = attempt(process.create_time)
        return ChainLink(
            pid=process.pid,
            name=attempt(process.name),
            executable=attempt(process.exe) or None,
            start=attempt(lambda: self.start_of(process.pid, process)),
            started_at=None if created is None else datetime.fromtimestamp(created, UTC),
        )


def attempt(ask: Any) -> Any:
    """The answer, or None where the OS refuses or has no such function."""
    import psutil

    try:
        return ask()
    except (psutil.Error, OSError, AttributeError, NotImplementedError, KeyError):
        return None


def _process(pid: int) -> Any:
    """Raises NotFound, and OutcomeUnknown where it cannot be looked at."""
    import psutil

    try:
        return psutil.Process(pid)
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        raise NotFound(f"no process has pid {pid}", pid=pid) from None
    except (psutil.Error, OSError) as error:
        raise OutcomeUnknown(f"process {pid} cannot be read: {error}") from error
