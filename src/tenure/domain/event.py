"""Business facts, each said once, in the transaction that makes it true.

Claims and ends of runs are not events: the run's own row is their record. Rendering happens in
one place per surface; ``facts`` holds data only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class EventKind(StrEnum):
    PROCESS_JOINED = "process_joined"
    PROCESS_LEFT = "process_left"
    PROCESS_DIED = "process_died"
    STANDING_CHANGED = "standing_changed"
    POLICY_ACCEPTED = "policy_accepted"
    OWNERSHIP_TAKEN = "ownership_taken"
    OWNERSHIP_REAFFIRMED = "ownership_reaffirmed"
    OWNERSHIP_ENDED = "ownership_ended"
    CLAIM_REFUSED = "claim_refused"
    JOB_ADDED = "job_added"
    JOB_EDITED = "job_edited"
    JOB_STATE = "job_state"
    REQUESTED = "requested"
    ANSWERED = "answered"
    RUN_ADOPTED = "run_adopted"
    RUN_LOST = "run_lost"
    LATE_RESULT = "late_result"
    CLOCK = "clock"
    PLANNING_RESTARTED = "planning_restarted"
    PROFILE_ADOPTED = "profile_adopted"
    MIGRATED = "migrated"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact. ``seq`` grows by one each; 0 before the store has given it one. UTC."""

    kind: EventKind
    at: datetime
    seq: int = 0
    term: int | None = None
    process: str | None = None
    job: str | None = None
    run: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
