"""Everything a profile's store knows, as dictionaries of frozen values.

Values are never changed in place, so a copy of the dictionaries is a whole copy: that is what a
transaction keeps in order to undo itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields, replace
from datetime import datetime

from tenure.domain.event import Event
from tenure.domain.history_clock import HistoryClock
from tenure.domain.job import Job
from tenure.domain.omission import Omission
from tenure.domain.ownership import Ownership, Term
from tenure.domain.policy.admission import OPEN, Policy
from tenure.domain.process import Process
from tenure.domain.request import Request
from tenure.domain.run import Run
from tenure.store.contract import Absence, Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Fire times, both ends included, within which retention deleted runs."""

    first: datetime
    last: datetime

    def overlaps(self, other: Span) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(slots=True, kw_only=True)
class Tables:
    """The state. Dictionaries keep the order of insertion, oldest first."""

    policy: Policy = OPEN
    ownership: Ownership = field(default_factory=Ownership)
    processes: dict[str, Process] = field(default_factory=dict)
    absences: dict[int, Absence] = field(default_factory=dict)
    terms: dict[int, Term] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    revisions: dict[str, tuple[Revision, ...]] = field(default_factory=dict)
    accounted_from: dict[str, datetime] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    fires: dict[tuple[str, datetime], str] = field(default_factory=dict)
    """The run of each claimed (job, fire time) that retention has left."""
    spans: dict[str, tuple[Span, ...]] = field(default_factory=dict)
    omissions: dict[int, Omission] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    events: dict[int, Event] = field(default_factory=dict)
    history: HistoryClock | None = None
    numbers: Counter[str] = field(default_factory=Counter)
    """The last number given to a thing of each kind; never given twice."""

    def copy(self) -> Tables:
        """The same values, independent of later changes."""
        copied = replace(self)
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, dict):
                setattr(copied, each.name, value.copy())
        return copied
