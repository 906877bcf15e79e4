"""A run: one execution of a job, in one or more attempts.

    claimed --> running --> succeeded | failed | timed_out | cancelled
       |           |    --> retrying --> claimed   (the next attempt, claimed again)
       |           +------> lost                   (its owner died; nothing tells how it ended)
       +------------------> never_ran              (proved: the gate never opened)
       +------------------> lost                   (a callable: start cannot be disproved)

The fire (job, fire time) is claimed before the first instruction and never again (C4). A result
is fenced by its run and attempt, not by who owns now (C6): the first final state stays, and what
arrives for a run already declared lost is kept beside it as *late*.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tenure.domain.errors import IllegalTransition
from tenure.domain.policy.evidence import Identity


class RunState(StrEnum):
    """The state of a run. The last six are final."""

    CLAIMED = "claimed"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"
    NEVER_RAN = "never_ran"


ACTIVE = frozenset({RunState.CLAIMED, RunState.RUNNING, RunState.RETRYING})
FINAL = frozenset(RunState) - ACTIVE
ENDED_BADLY = FINAL - {RunState.SUCCEEDED}

_ENDS = frozenset(RunState) - {RunState.CLAIMED, RunState.RUNNING}
TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.CLAIMED: _ENDS | {RunState.RUNNING},
    RunState.RUNNING: _ENDS,
    RunState.RETRYING: frozenset({RunState.CLAIMED, RunState.CANCELLED, RunState.FAILED}),
}
"""From a state to those it may become. A state that is missing here is final."""


def check_transition(now: RunState, then: RunState) -> None:
    """Raise IllegalTransition, changing nothing, unless the table has the arrow."""
    if then not in TRANSITIONS.get(now, frozenset()):
        raise IllegalTransition(f"a run that is {now} cannot become {then}")


class Cause(StrEnum):
    """Why a run was claimed."""

    SCHEDULE = "schedule"
    CATCH_UP = "catch_up"
    HELD = "held"
    REQUEST = "request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try. ``signal`` follows the shell's convention (exit code 128 + n); see docs."""

    number: int
    claimed_at: datetime
    term: int
    process: str
    started_at: datetime | None = None
    finished_at: datetime | None = None
    state: RunState = RunState.CLAIMED
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """A result that came after its run had been declared lost."""

    at: datetime
    state: RunState
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution, as the store keeps it. Instants are UTC."""

    id: str
    job: str
    job_name: str
    revision: int
    fire_time: datetime
    cause: Cause
    state: RunState
    term: int
    process: str
    """Who claimed the current attempt: its provenance."""
    holder: str
    """Who watches it now: the claimer, or the owner that adopted it."""
    policy_version: int
    protected: bool
    attempt: int
    claimed_at: datetime
    retry_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    identity: Identity | None = None
    """Of the started command (its gate, the leader of its process group)."""
    log: str | None = None
    request: str | None = None
    cancel_requested_at: datetime | None = None
    late: Late | None = None
    earlier: tuple[Attempt, ...] = ()
    damage: str = ""
    """Why its record cannot be read whole; what is missing then has no value, and a state that
    is not known reads as lost."""

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts, the current one last."""
        return (
            *self.earlier,
            Attempt(
                number=self.attempt,
                claimed_at=self.claimed_at,
                term=self.term,
                process=self.process,
                started_at=self.started_at,
                finished_at=self.finished_at,
                state=self.state,
                reason=self.reason,
                exit_code=self.exit_code,
                signal=self.signal,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A command waits at its gate: commit this before the gate opens."""

    run: str
    attempt: int
    at: datetime
    identity: Identity | None
    log: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How an attempt ended, as its holder saw it."""

    run: str
    attempt: int
    process: str
    """Who reports it: the run's holder."""
    state: RunState
    at: datetime
    started_at: datetime | None = None
    """For callables, which have no gate: when the function was entered."""
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    retry_at: datetime | None = None
    """With RETRYING: when the next attempt may be claimed."""

    def __post_init__(self) -> None:
        # A file name that is not UTF-8, in an exception's text, must not keep an end from being
        # written down, and with it every end of the same commit.
        if not self.reason.isascii():
            text = self.reason.encode("utf-8", "backslashreplace").decode()
            object.__setattr__(self, "reason", text)


class FinishOutcome(StrEnum):
    """What became of a finish: three answers, never two (C6)."""

    TAKEN = "taken"
    ALREADY = "already"
    """The run had ended before; the first result stays."""
    LATE = "late"
    """The run had been declared lost; the result is kept beside it."""
    NOT_HELD = "not_held"
    """The run is held by another process now, or is at another attempt."""
