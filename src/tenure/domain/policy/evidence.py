"""What the operating system vouches for about one process.

Authority: evidence is *observed*, by asking the kernel or the service manager. A process's own
word (environment, argv, comm, a pid file) never enters here; C2 and C10 stand on that.

Known, absent and unknown are three answers. A field that is ``None`` and not listed in
:attr:`Evidence.unknown` is absent (this process belongs to no service). A field listed there
could not be read, and must not be taken for absent: it fails a rule that admits and satisfies a
rule that refuses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Manager(StrEnum):
    """Who keeps a service alive. Names follow the OS's own domains."""

    SYSTEMD_SYSTEM = "systemd"
    SYSTEMD_USER = "systemd-user"
    LAUNCHD = "launchd"
    WINDOWS = "windows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A unit, label or service name as its manager reports it."""

    name: str
    manager: Manager
    attested: bool = True
    """False where the user himself may move processes into it (a systemd user unit), or load
    another job of that name (launchd, unless its own job is this process or above it)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which process this is, for ever: a pid alone is reused, these together are not.

    ``start`` is the kernel's own start stamp, compared and never interpreted: clock ticks since
    boot on Linux, the unique id or start microseconds elsewhere.
    """

    boot_id: str
    pid: int
    start: int
    pid_namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLink:
    """One process of an ancestry chain."""

    pid: int
    name: str | None = None
    executable: str | None = None
    start: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    """When it was seen to have ended, after the process at the chain's foot was first observed;
    None while it lives."""

    def lived(self, at: datetime | None = None) -> bool:
        """Whether it lived ``at`` that instant, by default when it was last looked at."""
        return self.ended_at is None or (at is not None and self.ended_at > at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything observed about one process at one moment. Instants are UTC."""

    identity: Identity
    observed_at: datetime
    started_at: datetime | None = None
    host: str = ""
    """The machine id, so that two machines that share a name stay apart."""
    hostname: str = ""
    uid: int | None = None
    user: str | None = None
    groups: tuple[int, ...] = ()
    """Effective and supplementary group ids."""
    executable: str | None = None
    """The program the kernel runs, resolved."""
    executable_as_run: str | None = None
    """The path by which it was started, where the OS itself keeps it; else None."""
    executable_deleted: bool = False
    """The file was removed or replaced after the process started it (an upgrade, say)."""
    service: Service | None = None
    app: str | None = None
    """macOS: the bundle id of the app that the process belongs to."""
    cgroup: str | None = None
    init: bool = False
    """Process 1 of its pid namespace, or that process's child."""
    session: int | None = None
    responsible_pid: int | None = None
    """macOS: the process that TCC charges."""
    coalition: str | None = None
    signature: str | None = None
    """macOS: team id or designated requirement; see host for its form."""
    confinement: tuple[str, ...] = ()
    """What restricts it, where readable: 'seccomp', 'no_new_privs', 'landlock'..."""
    locks: tuple[str, ...] = ()
    """Files on which this very process took an exclusive flock that it still has; resolved paths.
    A file that was deleted or replaced since is not listed."""
    chain: tuple[ChainLink, ...] = ()
    """The process itself first, then parent after parent, as far as could be followed."""
    unknown: frozenset[str] = field(default_factory=frozenset)
    """Names of the fields above that could not be read.

    'chain' if it breaks off early or a launcher in it is gone; 'chain.executable' if a program
    in it could not be read, other than init's and root's; 'locks' also if it may hold more than
    are listed; 'locks.other' if only files named ``*.lock`` were looked at.
    """

    def ancestors(self) -> tuple[ChainLink, ...]:
        """The chain strictly above the process itself."""
        return self.chain[1:]
