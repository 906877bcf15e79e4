"""What an owner does about a fire that a foreign scheduler announces. Pure, given ``now``.

The other scheduler says that its job is due; whether it runs, and what is written down, is decided
here by the same contract as for jobs that are planned here (C4, C5, C8):

1. A fire at or before the job's watermark was accounted for, one after ``now`` is not due yet:
   nothing is done.
2. A protected job under an owner that may not run it: held, with what was missed before it.
3. The previous run is still active: skipped.
4. Else it is claimed, however late: whether a late fire is to run, the other scheduler has
   decided. Fires that passed before it without being announced are missed, and it supersedes older
   holds.

Times are UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tenure.domain.errors import InvalidInput
from tenure.domain.job import Job
from tenure.domain.omission import FireRange, OmissionKind
from tenure.domain.planning.plan import Due, Fire, HoldResolution, OwnerCapabilities, Plan
from tenure.domain.planning.planner import SUPERSEDED
from tenure.domain.run import Cause

STILL_ACTIVE = "the previous run was still active"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A fire that is due now, and what passed before it without being announced.

    Instants are aware, and kept in UTC. Raises :class:`InvalidInput`.
    """

    fire: datetime
    passed: tuple[datetime, datetime, int] | None = None
    """The first and the last of the fires before it that were not announced, and how many."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "fire", _utc(self.fire))
        if self.passed is None:
            return
        first, last, count = _utc(self.passed[0]), _utc(self.passed[1]), self.passed[2]
        if not first <= last < self.fire or count < 1 or (count == 1) != (first == last):
            raise InvalidInput(
                f"{count} runs from {first.isoformat()} to {last.isoformat()} cannot have "
                f"passed before {self.fire.isoformat()}",
                field="passed",
            )
        object.__setattr__(self, "passed", (first, last, count))

    def since(self, watermark: datetime) -> Announced:
        """Without what is accounted for already. Where the watermark lies among what passed, how
        the fires lie there is not known: only the last of them is sure to be after it."""
        if self.passed is None or self.passed[0] > watermark:
            return self
        last = self.passed[1]
        return Announced(fire=self.fire, passed=(last, last, 1) if last > watermark else None)


def plan_announced(
    due: Due, announced: Announced, standing: OwnerCapabilities, now: datetime
) -> Plan | None:
    """The plan; None where there is nothing to do: accounted for already, or not due yet."""
    job, fire = due.job, announced.fire
    if fire <= job.watermark or fire > now:
        return None
    announced = announced.since(job.watermark)
    why_held = standing.why_held(job)
    if why_held is not None:
        return _plan(job, fire, omissions=(_all(announced, OmissionKind.HELD, why_held),))
    if due.active:
        # What is held still waits for its turn: the end of that run wakes the job.
        skipped = _all(announced, OmissionKind.SKIPPED, STILL_ACTIVE)
        return _plan(job, fire, omissions=(skipped,), waiting=bool(due.holds))
    on_time = now - fire <= job.definition.grace
    return _plan(
        job,
        fire,
        claims=(Fire(at=fire, cause=Cause.SCHEDULE if on_time else Cause.CATCH_UP),),
        omissions=_missed(announced),
        holds=tuple(
            HoldResolution(omission=h.id, claimed=0, missed_reason=SUPERSEDED) for h in due.holds
        ),
    )


def _missed(announced: Announced) -> tuple[FireRange, ...]:
    if announced.passed is None:
        return ()
    first, last, count = announced.passed
    return (
        FireRange(kind=OmissionKind.MISSED, first=first, last=last, count=count, reason=SUPERSEDED),
    )


def _all(announced: Announced, kind: OmissionKind, reason: str) -> FireRange:
    first, _, count = announced.passed or (announced.fire, announced.fire, 0)
    return FireRange(kind=kind, first=first, last=announced.fire, count=count + 1, reason=reason)


def _plan(
    job: Job,
    fire: datetime,
    *,
    claims: tuple[Fire, ...] = (),
    omissions: tuple[FireRange, ...] = (),
    holds: tuple[HoldResolution, ...] = (),
    waiting: bool = False,
) -> Plan:
    return Plan(
        job=job.id,
        revision=job.revision,
        was=job.watermark,
        watermark=fire,
        due_at=None,
        claims=claims,
        omissions=omissions,
        holds=holds,
        waiting=waiting,
    )


def _utc(instant: datetime) -> datetime:
    if instant.utcoffset() is None:
        raise InvalidInput(f"the instant {instant.isoformat()} has no time zone", field="fire")
    return instant.astimezone(UTC)
