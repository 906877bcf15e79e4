"""A plan: what an owner found about one job, what it may do, and what it decided.

:mod:`tenure.domain.planning.planner` makes plans; a store carries them out, all or nothing.
Times are UTC.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from datetime import datetime

from tenure.domain.job import Job
from tenure.domain.omission import FireRange, Omission
from tenure.domain.run import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerCapabilities:
    """What the owner is allowed: authoritative, and what its probes deny."""

    authoritative: bool
    denied: frozenset[str] = frozenset()
    approve_protected: bool = False
    carried: Container[str] | None = field(default=None, compare=False)
    """Names of the declared jobs that its code has; None: that is not asked."""

    def why_held(self, job: Job) -> str | None:
        """The reason why this owner must not run the job; None if it may."""
        definition = job.definition
        if job.app is not None and self.carried is not None and job.name not in self.carried:
            return f"the owner's code does not have it: version {job.app_version} declares it"
        if not definition.needs_authority:
            return None
        if not self.authoritative:
            return "only an authoritative owner may run it"
        for capability in definition.requires:
            if capability in self.denied:
                return f"the OS denies the owner {capability!r}"
        if self.approve_protected and job.approved_revision < job.revision:
            return f"revision {job.revision} waits for approval"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A job as the owner finds it."""

    job: Job
    active: int = 0
    """Runs of it that are claimed, running or waiting to be retried."""
    holds: tuple[Omission, ...] = ()
    """Its open held stretches, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fire:
    """A fire to claim."""

    at: datetime
    cause: Cause
    hold: int | None = None
    """The held omission it comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldResolution:
    """What becomes of an open held stretch: how many became runs, and why the rest did not."""

    omission: int
    claimed: int
    missed_reason: str = ""
    settled_until: datetime | None = None
    """Fires up to here are settled and the rest stays open; None closes the whole stretch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do about one job, all or nothing. ``was`` is the watermark that it assumes."""

    job: str
    revision: int
    was: datetime
    watermark: datetime
    due_at: datetime | None
    claims: tuple[Fire, ...] = ()
    omissions: tuple[FireRange, ...] = ()
    holds: tuple[HoldResolution, ...] = ()
    waiting: bool = False
    deferred: bool = False
    done: bool = False
    cancel_previous: bool = False
