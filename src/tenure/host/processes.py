"""What the operating system proves about processes: identity, ancestry, evidence.

Authority: only the kernel and the service manager are asked. Environment, arguments, the name a
process gives itself and pid files never enter an answer (C2).

Three answers: a fact, 'absent', or 'unknown'. What may not be read, what another pid namespace
hides and what a platform does not show is unknown, never guessed. If even the existence of a
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
from tenure.host.linux import proc


class _Platform(Protocol):
    """What each platform answers; the functions of this module are its methods."""

    def boot_id(self) -> str:
        """The id of this boot of the machine; '' where the OS has no such thing.

        Raises OutcomeUnknown where it cannot be read now; once read it is kept.
        """

    def identity_of(self, pid: int) -> Identity | None:
        """The identity of the process that ``pid`` names here and now; None if there is none.

        A zombie has ended: None. Raises OutcomeUnknown where the process exists but is hidden.
        """

    def own_identity(self) -> Identity:
        """The identity of the calling process."""

    def is_alive(self, identity: Identity) -> bool | None:
        """Whether exactly this process lives. None: cannot be verified from here.

        Another boot, a reused pid and a zombie are False. Another pid or time namespace is None:
        its pids mean nothing here. A stopped (SIGSTOP) process is alive.
        """

    def activity_of(self, identity: Identity) -> Activity:
        """Whether exactly this process runs, was stopped (by a signal or a debugger), or is frozen
        with its cgroup.

        UNKNOWN for a process that has ended, and where it cannot be read from here.
        """

    def observe(self, pid: int | None, now: datetime | None) -> Evidence: ...

    def account_of(self, pid: int) -> tuple[int | None, str | None, str | None]:
        """The uid, the user's name and the executable of a process; None for what is unknown.

        A fraction of what :func:`observe` reads. Raises NotFound as that does.
        """

    def chain_of(self, pid: int) -> tuple[tuple[ChainLink, ...], bool]:
        """The ancestry of a process, itself first, and whether it is complete.

        Each link is checked: a parent has started no later than its child. The chain is incomplete
        if it breaks off before the top of the pid namespace, or if a launcher is evidently gone
        and the process was handed to an adopter (init or a subreaper); the adopter, an ancestor
        too, is then listed next. Raises NotFound as :func:`observe` does.
        """


def _of_this_platform() -> _Platform:
    # Plain imports: those that are put together at run time are not seen by PyInstaller, which
    # would leave the module out.
    platform: str = sys.platform
    if platform == "darwin":
        from tenure.host.macos.processes import MacHost

        return MacHost()
    if platform == "win32":
        from tenure.host.windows.processes import WindowsHost

        return WindowsHost()
    from tenure.host.linux import processes

    return processes


_platform = _of_this_platform()
boot_id = _platform.boot_id
identity_of = _platform.identity_of
own_identity = _platform.own_identity
is_alive = _platform.is_alive
activity_of = _platform.activity_of
chain_of = _platform.chain_of
account_of = _platform.account_of


def observe(pid: int | None = None, *, now: datetime | None = None) -> Evidence:
    """Everything the OS shows about a process, by default the calling one.

    ``now`` (UTC) is the instant to record, by default the wall clock's. Raises NotFound if there
    is no such process, or it ended or was replaced while it was looked at.
    """
    return _platform.observe(pid, now)


def machine_id() -> str | None:
    """The OS's own id of this installation (macOS: of the hardware); None where none can be
    read."""
    platform: str = sys.platform
    if platform == "darwin":
        from tenure.host.macos.processes import host_id

        return host_id()
    return proc.machine_id() if platform == "linux" else None


def replaced_program(identity: Identity) -> str | None:
    """The path of exactly this process's program, if its file was deleted or replaced since the
    process started. None also where that cannot be read from here, as on macOS and Windows."""
    if sys.platform != "linux":
        return None
    executable, _ = proc.executable_of(identity.pid)
    # A process that lives after the look is the one that was looked at.
    if executable is None or not executable.deleted or not proc.is_alive(identity):
        return None
    return executable.path


def has_ended(link: ChainLink) -> bool:
    """Whether exactly this process of a chain has ended. False where that cannot be read now."""
    if link.start is None:
        return False
    try:
        identity = identity_of(link.pid)
    except (OutcomeUnknown, OSError):
        return False
    return identity is None or identity.start != link.start


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
