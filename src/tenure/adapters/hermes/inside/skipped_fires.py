"""Fires that Hermes itself decides not to run, written down as missed.

Older versions move a recurring job that is late by more than its grace on to its next fire and say
nothing; newer ones do it after the zone was changed. Nobody claims those fires, and nothing of
them may be lost from the record (C5): what was due before Hermes looked, and is neither found due
nor due any more, was passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tenure.adapters.hermes.inside import hermes_api
from tenure.adapters.hermes.inside.fires import announced, instant_of
from tenure.domain.omission import Omitted, Stretch
from tenure.domain.planning.external import Announced
from tenure.domain.planning.plan import Plan
from tenure.runtime.dispatch.dispatcher import Mandate
from tenure.store.contract import Store

if TYPE_CHECKING:
    from tenure.adapters.hermes.inside.host import Seat

REASON = "Hermes passed over it: it was too late"

Theirs = Mapping[str, Any]


def due_before(now: datetime) -> dict[str, Theirs]:
    """The jobs that are due at this moment, by id."""
    return {
        str(job.get("id")): job
        for job in hermes_api.load_jobs()
        if job.get("enabled", True)
        and (at := instant_of(job.get("next_run_at"))) is not None
        and at <= now
    }


def note(seat: Seat, before: Mapping[str, Theirs], found: Collection[str]) -> None:
    """Write down what was passed over. What cannot be written down is due again, for next time."""
    left = {id: job for id, job in before.items() if id not in found}
    if not left:
        return
    now = datetime.now(UTC)
    for job in hermes_api.load_jobs():
        was = left.get(str(job.get("id")))
        mirrored = seat.mirrored.jobs.get(str(job.get("id")))
        if was is None or mirrored is None or not _moved_on(was, job, now):
            continue
        fire = announced(was, now, hermes_api.zone(), hermes_api.croniter())
        if fire is not None and not _write(seat, mirrored.id, fire):
            hermes_api.give_back([was])


def _moved_on(was: Theirs, job: Theirs, now: datetime) -> bool:
    """Not by somebody who edits it, nor by a run of it."""
    kept = ("schedule", "enabled", "last_run_at", "fire_claim", "run_claim")
    at = instant_of(job.get("next_run_at"))
    return at is not None and at > now and all(was.get(key) == job.get(key) for key in kept)


def _write(seat: Seat, id: str, fire: Announced) -> bool:
    scheduler, profile = seat.scheduler, seat.profile
    if scheduler is None or profile is None:
        return False

    def write(mandate: Mandate) -> bool:
        plan = _plan(profile.store, id, fire)
        if plan is not None:
            profile.store.claim(mandate.authority, [plan], datetime.now(UTC))
        return True

    try:
        return bool(scheduler.dispatcher.under_mandate(write))
    except Exception as error:  # noqa: BLE001  a store that is blocked: next time
        seat.refusals.tell("passed over", f"fires passed over cannot be written down: {error}")
        return False


def _plan(store: Store, id: str, fire: Announced) -> Plan | None:
    job = store.job(id)
    if fire.fire <= job.watermark:
        return None
    first, _, count = fire.since(job.watermark).passed or (fire.fire, fire.fire, 0)
    missed = Stretch(
        kind=Omitted.MISSED, first=first, last=fire.fire, count=count + 1, reason=REASON
    )
    return Plan(
        job=job.id,
        revision=job.revision,
        was=job.watermark,
        watermark=fire.fire,
        due_at=job.due_at,
        omissions=(missed,),
        waiting=job.waiting,
    )
