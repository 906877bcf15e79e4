"""What the operating system vouches for about processes: identity, ancestry, evidence.

Authority: only the kernel and the service manager are asked. Environment, arguments, the name a
process gives itself and pid files never enter an answer (C2).

Three answers: a fact, 'absent', or 'unknown'. What may not be read, what another pid namespace
hides and what a platform cannot tell is unknown, never guessed. If even the existence of a
process cannot be determined, :class:`~tenure.domain.errors.OutcomeUnknown` is raised.

The functions here are safe to call from any thread and after a fork. The platform's module is
loaded by ``sys.platform``; on Linux nothing but the standard library is imported and no other
program is started.
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Protocol

from tenure.domain.errors import OutcomeUnknown
from tenure.domain.policy.evidence import ChainLink, Evidence, Identity
from tenure.domain.process import Activity


class _Platform(Protocol):
    def boot_id(self) -> str: ...
    def identity_of(self, pid: int) -> Identity | None: ...
    def own_identity(self) -> Identity: ...
    def is_alive(self, identity: Identity) -> bool | None: ...
    def activity_of(self, identity: Identity) -> Activity: ...
    def observe(self, pid: int | None, now: datetime | None) -> Evidence: ...
    def chain_of(self, pid: int) -> tuple[tuple[ChainLink, ...], bool]: ...


def _of_this_platform() -> _Platform:
    # Plain imports: those that are put together at run time are not seen by PyInstaller, which
    # would leave the module out.
    platform: str = sys.platform
    if platform == "darwin":
        from tenure.host.macos import processes as processes_macos

        return processes_macos
    if platform == "win32":
        from tenure.host.windows import processes as processes_windows

        return processes_windows
    from tenure.host.linux import processes as processes_linux

    return processes_linux


_platform = _of_this_platform()


def boot_id() -> str:
    """What tells this boot of the machine from every other; '' where the OS has no such thing.

    Raises OutcomeUnknown where it cannot be read now; once read it is kept.
    """
    return _platform.boot_id()


def identity_of(pid: int) -> Identity | None:
    """The identity of the process that ``pid`` names here and now; None if there is none.

    A zombie has ended: None. Raises OutcomeUnknown where the process exists but is hidden.
    """
    return _platform.identity_of(pid)


def own_identity() -> Identity:
    """The identity of the calling process."""
    return _platform.own_identity()


def is_alive(identity: Identity) -> bool | None:
    """Whether exactly this process lives. None: cannot be verified from here.

    Another boot, a reused pid and a zombie are False. Another pid or time namespace is None: its
    pids mean nothing here. A stopped (SIGSTOP) process is alive.
    """
    return _platform.is_alive(identity)


def activity_of(identity: Identity) -> Activity:
    """Whether exactly this process runs, was stopped, or is frozen with its cgroup.

    UNKNOWN for a process that has ended, and where it cannot be read from here.
    """
    return _platform.activity_of(identity)


def is_stopped(identity: Identity) -> bool:
    """Whether exactly this process was stopped by a signal (SIGSTOP, SIGTSTP) or a debugger, or
    is frozen with its cgroup.

    False for a process that has ended, and where it cannot be read from here.
    """
    return activity_of(identity).halted


def has_ended(link: ChainLink) -> bool:
    """Whether exactly this process of a chain has ended. False where that cannot be read now."""
    if link.start is None:
        return False
    try:
        found = _platform.identity_of(link.pid)
    except (OutcomeUnknown, OSError):
        return False
    return found is None or found.start != link.start


def observe(pid: int | None = None, *, now: datetime | None = None) -> Evidence:
    """Everything the OS tells about a process, by default the calling one.

    ``now`` (UTC) is the instant to record, by default the wall clock's. Raises NotFound if there
    is no such process, or it ended or was replaced while it was looked at.
    """
    return _platform.observe(pid, now)


def chain_of(pid: int) -> tuple[tuple[ChainLink, ...], bool]:
    """The ancestry of a process, itself first, and whether it is complete.

    Each link is checked: a parent has started no later than its child. The chain is incomplete
    if it breaks off before the top of the pid namespace, or if a launcher is evidently gone and
    the process was handed to an adopter (init or a subreaper); the adopter, an ancestor too,
    is then listed next. Raises NotFound as :func:`observe` does.
    """
    return _platform.chain_of(pid)


def descends_from(pid: int, ancestor: Identity) -> bool | None:
    """Whether ``pid`` is ``ancestor`` or has it in its ancestry. None: cannot be verified."""
    here = own_identity()
    if ancestor.boot_id and here.boot_id and ancestor.boot_id != here.boot_id:
        return False
    if ancestor.pid_namespace != here.pid_namespace:
        return None
    chain, complete = chain_of(pid)
    if any(link.pid == ancestor.pid and link.start == ancestor.start for link in chain):
        return True
    return False if complete else None
