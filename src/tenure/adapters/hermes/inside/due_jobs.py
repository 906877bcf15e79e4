"""The jobs that Hermes finds due, and the fires of them that this owner has claimed.

Hermes itself decides not to run some fires: older versions move a recurring job that is later than
its grace on to its next fire without a record; newer ones do it after the zone was changed. No
process claims those fires, but the record must have them (C5): a job that was due before Hermes
looked, and is neither found due nor still due, was skipped by Hermes, and is recorded as missed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from tenure.adapters.hermes.inside import hermes_api
from tenure.adapters.hermes.inside.fires import announced, instant_of
from tenure.adapters.hermes.inside.membership import ProfileMembership
from tenure.adapters.hermes.inside.run_handoff import HostContext, RunHandoff
from tenure.domain.omission import FireRange, OmissionKind
from tenure.domain.planning.external import Announced
from tenure.domain.planning.plan import Plan
from tenure.runtime.dispatch.turn import Mandate
from tenure.store.contract import Store

log = logging.getLogger("tenure.hermes")

SKIPPED_BY_HERMES = "Hermes passed over it: it was too late"

Theirs = Mapping[str, Any]


class DueJobs:
    """Of one host. Used by the thread that ticks."""

    def __init__(self, context: HostContext, handoff: RunHandoff) -> None:
        self._membership = context.membership
        self._refusals = context.refusals
        self._handoff = handoff

    def claimed(self, find: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Of the jobs that Hermes finds due, those whose fire this owner has claimed."""
        thread = self._handoff.thread
        if not thread.ticking:
            return []
        if thread.only is not None:
            job = hermes_api.find_job(thread.only)
            return [] if job is None else [job]
        asked: dict[str, Announced] = {}
        jobs: dict[str, dict[str, Any]] = {}
        before, found = _due_at(datetime.now(UTC)), find()
        self._record_skipped(before, {str(job["id"]) for job in found})
        mirrored = self._membership.mirrored
        for job in found:
            id = str(job["id"])
            ours, fire = mirrored.jobs.get(id), announced_fire(job)
            if ours is None or fire is None:
                self._leave_due(job, mirrored.problems.get(id, "it is new, or names no instant"))
            else:
                asked[ours.id], jobs[ours.id] = fire, job
        return self._claim(asked, jobs) if asked else []

    def _claim(
        self, asked: Mapping[str, Announced], jobs: Mapping[str, dict[str, Any]]
    ) -> list[dict[str, Any]]:
        scheduler, why = self._membership.scheduler, "this process is not the owner any more"
        try:
            answers = None if scheduler is None else scheduler.external_fires.claim(asked)
        except Exception as error:  # noqa: BLE001  a store that is blocked, a disk that is full
            answers, why = None, str(error)
        if answers is None:
            self._refusals.tell("claim", f"nothing can be claimed, nothing is run: {why}")
            hermes_api.give_back(list(jobs.values()))
            return []
        self._refusals.tell("claim", "")
        taken = []
        for id, answer in answers.items():
            job = jobs[id]
            if answer.settled:
                self._refusals.tell(str(job["id"]), "")
            if answer.handle is not None and self._handoff.take(str(job["id"]), answer.handle):
                taken.append(job)
            elif answer.settled:
                log.info("job %s is not run: %s", job.get("name"), answer.why)
                hermes_api.advance(job["id"])
            else:
                self._leave_due(job, answer.why)
        return taken

    def _leave_due(self, job: dict[str, Any], why: str) -> None:
        """Its fire has no record yet: the next tick must find the job due again."""
        self._refusals.tell(str(job["id"]), f"job {job.get('name')} is not run: {why}")
        hermes_api.give_back([job])

    # -- fires that Hermes skipped -------------------------------------------------------------
    def _record_skipped(self, before: Mapping[str, Theirs], found: Collection[str]) -> None:
        """A fire that cannot be recorded is made due again, for the next tick."""
        left = {id: job for id, job in before.items() if id not in found}
        if not left:
            return
        now = datetime.now(UTC)
        for job in hermes_api.load_jobs():
            was = left.get(str(job.get("id")))
            ours = self._membership.mirrored.jobs.get(str(job.get("id")))
            if was is None or ours is None or not _moved_on(was, job, now):
                continue
            fire = announced_fire(was, now)
            if fire is not None and not self._record_missed(ours.id, fire):
                hermes_api.give_back([was])

    def _record_missed(self, id: str, fire: Announced) -> bool:
        scheduler, profile = self._membership.scheduler, self._membership.profile
        if scheduler is None or profile is None:
            return False

        def write(mandate: Mandate) -> bool:
            plan = _missed(profile.store, id, fire)
            if plan is not None:
                profile.store.claim(mandate.authority, [plan], datetime.now(UTC))
            return True

        try:
            return bool(scheduler.dispatcher.under_mandate(write))
        except Exception as error:  # noqa: BLE001  a store that is blocked: at the next tick
            self._refusals.tell(
                "skipped fires", f"fires that Hermes skipped cannot be recorded: {error}"
            )
            return False


def skip_due_fire(membership: ProfileMembership, job_id: str) -> None:
    """Let a triggered run replace a fire that is already due.

    Hermes moves on to the next fire, and this one is recorded as skipped, since a run of the job
    is active.
    """
    scheduler, profile = membership.scheduler, membership.profile
    job = hermes_api.find_job(job_id)
    fire = None if job is None else announced_fire(job)
    if fire is None or scheduler is None or profile is None:
        return
    ours = membership.mirrored.jobs.get(job_id)
    if ours is None:  # it is newer than the last tick
        ours = membership.follow(profile, whole=False).jobs.get(job_id)
    if ours is not None:
        scheduler.external_fires.claim({ours.id: fire})


def announced_fire(job: Theirs, now: datetime | None = None) -> Announced | None:
    """The latest fire of a due job by Hermes' own arithmetic. ``now`` is UTC."""
    return announced(job, now or datetime.now(UTC), hermes_api.zone(), hermes_api.croniter())


def _due_at(now: datetime) -> dict[str, Theirs]:
    """The jobs that are due at this moment, by id."""
    return {
        str(job.get("id")): job
        for job in hermes_api.load_jobs()
        if job.get("enabled", True)
        and (at := instant_of(job.get("next_run_at"))) is not None
        and at <= now
    }


def _moved_on(was: Theirs, job: Theirs, now: datetime) -> bool:
    """Whether Hermes moved it to a later fire, and not an edit or a run."""
    kept = ("schedule", "enabled", "last_run_at", "fire_claim", "run_claim")
    at = instant_of(job.get("next_run_at"))
    return at is not None and at > now and all(was.get(key) == job.get(key) for key in kept)


def _missed(store: Store, id: str, fire: Announced) -> Plan | None:
    job = store.job(id)
    if fire.fire <= job.watermark:
        return None
    first, _, count = fire.since(job.watermark).passed or (fire.fire, fire.fire, 0)
    missed = FireRange(
        kind=OmissionKind.MISSED,
        first=first,
        last=fire.fire,
        count=count + 1,
        reason=SKIPPED_BY_HERMES,
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
