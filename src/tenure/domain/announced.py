"""What an owner does about a fire that a foreign scheduler announces. Pure, given ``now``.

The other scheduler says that its job is due; whether it runs, and what is written down, is decided
here by the same contract as for jobs that are planned here (C4, C5, C8):

1. A fire at or before the job's watermark was accounted for: nothing is done.
2. A protected job under an owner that may not run it: held, with what was missed before it.
3. The previous run is still active: skipped.
4. Else it is claimed. Fires that passed unannounced before it (nobody was there to announce them)
   are missed, and older holds are superseded by it.

Times are UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tenure.domain.job import Job
from tenure.domain.omission import Omitted, Stretch
from tenure.domain.plan import Due, Fire, HoldResolution, Plan, Standing
from tenure.domain.planner import SUPERSEDED
from tenure.domain.run import Cause

STILL_ACTIVE = "the previous run was still active"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A fire that is due now, and what passed before it without being announced."""

    fire: datetime
    passed: tuple[datetime, datetime, int] | None = None
    """The first and the last fire before it that are unaccounted for, and how many they are."""


def plan_announced(
    due: Due, announced: Announced, standing: Standing, now: datetime
) -> Plan | None:
    """The plan; None where there is nothing to do: accounted for already, or not due yet."""
    job, fire = due.job, announced.fire
    if fire <= job.watermark or fire > now:
        return None
    why_held = standing.why_held(job)
    if why_held is not None:
        return _plan(job, fire, omissions=(_all(announced, Omitted.HELD, why_held),))
    if due.active:
        return _plan(job, fire, omissions=(_all(announced, Omitted.SKIPPED, STILL_ACTIVE),))
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


def _missed(announced: Announced) -> tuple[Stretch, ...]:
    if announced.passed is None:
        return ()
    first, last, count = announced.passed
    return (Stretch(kind=Omitted.MISSED, first=first, last=last, count=count, reason=SUPERSEDED),)


def _all(announced: Announced, kind: Omitted, reason: str) -> Stretch:
    first, _, count = announced.passed or (announced.fire, announced.fire, 0)
    return Stretch(kind=kind, first=first, last=announced.fire, count=count + 1, reason=reason)


def _plan(
    job: Job,
    fire: datetime,
    *,
    claims: tuple[Fire, ...] = (),
    omissions: tuple[Stretch, ...] = (),
    holds: tuple[HoldResolution, ...] = (),
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
    )
