"""What Hermes finds due, and what of it this owner has claimed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tenure.adapters.hermes.inside import hermes_api
from tenure.adapters.hermes.inside.fires import announced
from tenure.adapters.hermes.inside.skipped_fires import due_before, note
from tenure.domain.planning.external import Announced

if TYPE_CHECKING:
    from tenure.adapters.hermes.inside.host import Seat

log = logging.getLogger("tenure.hermes")


class Dues:
    """Of one seat. Used by the thread that ticks, or that carries a triggered run."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    def claimed(self, find: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Of the jobs that Hermes finds due, those whose fire this owner has claimed."""
        here = self._seat.carrying.here
        if not here.ticking:
            return []
        if here.only is not None:
            job = hermes_api.find_job(here.only)
            return [] if job is None else [job]
        asked: dict[str, Announced] = {}
        jobs: dict[str, dict[str, Any]] = {}
        before, found = due_before(datetime.now(UTC)), find()
        note(self._seat, before, {str(job["id"]) for job in found})
        for job in found:
            id = str(job["id"])
            mirrored, fire = self._seat.mirrored.jobs.get(id), self._announced(job)
            if mirrored is None or fire is None:
                self._left(
                    job, self._seat.mirrored.problems.get(id, "it is new, or names no instant")
                )
            else:
                asked[mirrored.id], jobs[mirrored.id] = fire, job
        return self._claim(asked, jobs) if asked else []

    def _claim(
        self, asked: Mapping[str, Announced], jobs: Mapping[str, dict[str, Any]]
    ) -> list[dict[str, Any]]:
        scheduler, why = self._seat.scheduler, "this process does not own (any more)"
        try:
            answers = None if scheduler is None else scheduler.announcing.claim(asked)
        except Exception as error:  # noqa: BLE001  a store that is blocked, a disk that is full
            answers, why = None, str(error)
        if answers is None:
            self._seat.refusals.tell("claim", f"nothing can be claimed, nothing is run: {why}")
            hermes_api.give_back(list(jobs.values()))
            return []
        self._seat.refusals.tell("claim", "")
        taken = []
        for id, answer in answers.items():
            job = jobs[id]
            if answer.settled:
                self._seat.refusals.tell(str(job["id"]), "")
            if answer.lent is not None and self._seat.carrying.take(str(job["id"]), answer.lent):
                taken.append(job)
            elif answer.settled:
                log.info("job %s is not run: %s", job.get("name"), answer.why)
                hermes_api.advance(job["id"])
            else:
                self._left(job, answer.why)
        return taken

    def _left(self, job: dict[str, Any], why: str) -> None:
        """Its fire is not accounted for: the next tick is to find it due again."""
        self._seat.refusals.tell(str(job["id"]), f"job {job.get('name')} is not run: {why}")
        hermes_api.give_back([job])

    def forgo(self, job_id: str) -> None:
        """A fire that is due already gives way to a triggered run: Hermes moves on to the next,
        and it is written down as skipped, since a run of the job is active."""
        seat, job = self._seat, hermes_api.find_job(job_id)
        fire = None if job is None else self._announced(job)
        if fire is None or seat.scheduler is None or seat.profile is None:
            return
        mirrored = seat.mirrored.jobs.get(job_id)
        if mirrored is None:  # it is newer than the last tick
            mirrored = seat.follow(seat.profile, whole=False).jobs.get(job_id)
        if mirrored is not None:
            seat.scheduler.announcing.claim({mirrored.id: fire})

    def _announced(self, job: Mapping[str, Any]) -> Announced | None:
        return announced(job, datetime.now(UTC), hermes_api.zone(), hermes_api.croniter())
