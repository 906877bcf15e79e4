"""A process that joined a profile, and its status there (C9)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tenure.domain.policy.evidence import Evidence


class ProcessStatus(StrEnum):
    OWNER = "owner"
    CANDIDATE = "candidate"
    """Admitted by the policy; waits."""
    REFUSED = "refused"
    """Could execute and wants to; the policy says no."""
    OBSERVER = "observer"
    """Looks and asks; never executes."""
    FOREIGN = "foreign"
    """A scheduler that does not speak Tenure."""


class Activity(StrEnum):
    """Whether a living process can do anything at this moment, by the kernel's word."""

    RUNNING = "running"
    """It runs, or waits for something that will come."""
    STOPPED = "stopped"
    """By a signal (SIGSTOP, Ctrl-Z) or a debugger, until it is continued."""
    FROZEN = "frozen"
    """Its cgroup is frozen (a paused container), until that is thawed."""
    UNKNOWN = "unknown"
    """It cannot be read from here, or the process has ended."""

    @property
    def halted(self) -> bool:
        """Whether it does nothing until it is let go on."""
        return self in (Activity.STOPPED, Activity.FROZEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """As the store keeps it. Whether it lives is asked of the kernel, not read here."""

    id: str
    evidence: Evidence
    joined_at: datetime
    executes: bool
    """False: an observer by its own choice."""
    standing: ProcessStatus
    why: str
    role: str | None = None
    rule: int | None = None
    """The rank of the rule that admits or refuses it."""
    app: str | None = None
    app_version: str | None = None
    socket: str | None = None
    """Path of its control socket."""
    left_at: datetime | None = None

    @property
    def pid(self) -> int:
        return self.evidence.identity.pid
