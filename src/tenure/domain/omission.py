"""A fire that did not become a run, and why (C5).

    skipped   the job's own rules said no: the previous run was active, the job was paused
    missed    it did not run in time, and catch-up does not include it
    held      only an authoritative owner may run it, and there was none (C8)

A long stretch is one record: the first and the last fire, how many, one reason. ``held`` stays
open until an authoritative owner is back and makes it a run or ``missed``; then ``resolution``
says which. ``cut_at`` marks a record written under a wrong clock: it counts only up to there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class OmissionKind(StrEnum):
    SKIPPED = "skipped"
    MISSED = "missed"
    HELD = "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class FireRange:
    """What the planner decided: not yet in the store. Instants are UTC, both ends included."""

    kind: OmissionKind
    first: datetime
    last: datetime
    count: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Omission:
    """A stretch as the store keeps it."""

    id: int
    job: str
    job_name: str
    revision: int
    kind: OmissionKind
    first: datetime
    last: datetime
    count: int
    reason: str
    decided_at: datetime
    decided_by: str
    """The process that decided, or the editor."""
    term: int
    """0 where no owner was concerned (an edit)."""
    resolved_at: datetime | None = None
    resolution: str = ""
    """For held fires: 'missed: ...', or 'run r...; n missed: ...'."""
    claimed: int = 0
    """How many of the held fires became runs."""
    settled_until: datetime | None = None
    """For an open stretch: fires up to here are settled already."""
    cut_at: datetime | None = None

    @property
    def open(self) -> bool:
        return self.kind is OmissionKind.HELD and self.resolved_at is None


def resolution(*, claimed: int, missed: int, reason: str = "", run: str | None = None) -> str:
    """The outcome of a held range as text; ``run`` names the run if exactly one ran."""
    ran = f"run {run}" if claimed == 1 and run else f"{claimed} ran" if claimed else ""
    if not missed:
        return ran
    return f"{ran}; {missed} missed: {reason}" if ran else f"missed: {reason}"
