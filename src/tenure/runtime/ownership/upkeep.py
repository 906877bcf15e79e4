"""The owner's upkeep: stored due times kept by the rules of time zones, history kept within bounds.

A job's next due time is stored, computed by the process that wrote it, with the zone rules it had
loaded. Those rules are replaced on disk from time to time, under running programs; and a profile's
``timezone`` moves the jobs that name no zone. The owner checks the jobs when it takes ownership,
when either changed, and periodically, because another process may have written by older rules. A
job whose stored due time differs from its schedule is planned again from its watermark: no fire is
lost, and no fire time is claimed twice (C5, C13).

Used by the keeper's thread.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from tenure.domain.errors import Conflict, InvalidInput
from tenure.domain.job import Definition, Job, JobState, jitter_of
from tenure.domain.ownership import Authority
from tenure.domain.schedule.model import ScheduleKind, cron_schedule
from tenure.host.live import sweep
from tenure.runtime.dispatch.context import OwnerContext
from tenure.store.contract import Page, PurgeLimits

log = logging.getLogger("tenure.keeper")

JOBS_PER_LOOK = 200
"""Jobs that one look checks."""
EVERY_S = 30.0
"""Awake seconds between two passes, at least."""
IDLE_SHARE = 200
"""The pause after a pass, at least, as a multiple of its duration."""
EDITOR = "profile.toml"
_STATES = frozenset({JobState.ACTIVE, JobState.PAUSED})
PURGE_EVERY_S = 60.0
PURGE_MORE_S = 1.0
"""The same where a purge left more to delete."""
_FULL_PURGE = 500
"""Runs that one purge deletes at most."""


class Replanner:
    """One owner's passes over the jobs. Not thread-safe."""

    def __init__(self, context: OwnerContext, replanned: Callable[[], None]) -> None:
        """``replanned`` is called when other times were stored."""
        self._profile = context.profile
        self._store = context.store
        self._clock = context.clock
        self._replanned = replanned
        self._cause: tuple[int, str | None] | None = None
        """The term and the profile's zone of the last pass."""
        self._cursor: str | None = None
        self._under_way = False
        self._next = 0.0
        self._took = 0.0

    def begin_again(self) -> None:
        """Start a pass at the next look: rules were replaced."""
        self._under_way, self._cursor, self._took = True, None, 0.0

    def look(self, authority: Authority) -> bool:
        """Check some jobs, if it is time to. Returns whether the pass continues at the next look.

        Raises StaleTerm.
        """
        cause = (authority.term, self._profile.settings().timezone)
        if cause != self._cause or (not self._under_way and self._clock.awake() >= self._next):
            self.begin_again()
            self._cause = cause
        if not self._under_way:
            return False
        began = time.monotonic()
        self._go_through(authority, cause[1])
        self._took += time.monotonic() - began
        self._under_way = self._cursor is not None
        if not self._under_way:
            self._next = self._clock.awake() + max(EVERY_S, IDLE_SHARE * self._took)
        return self._under_way

    def _go_through(self, authority: Authority, zone: str | None) -> None:
        page = Page(limit=JOBS_PER_LOOK, cursor=self._cursor)
        jobs, self._cursor = self._store.jobs(states=_STATES, page=page)
        now = self._clock.now()
        if zone is not None:
            self._move(jobs, zone, now)
        stale = [job.id for job in jobs if is_stale(job, now)]
        if stale:
            log.info("%d jobs are planned again: the rules of their time zones changed", len(stale))
            self._store.replan(authority, stale, now)
            self._replanned()

    def _move(self, jobs: tuple[Job, ...], zone: str, now: datetime) -> None:
        changed = [(job, moved) for job in jobs if (moved := in_zone(job.definition, zone))]
        if not changed:
            return
        names = []
        with self._store.batch():
            for job, moved in changed:
                # One that was edited meanwhile is seen by the next pass.
                with contextlib.suppress(Conflict):
                    self._store.edit_job(job.id, job.revision, moved, by=EDITOR, now=now)
                    names.append(job.name)
        if names:
            self._replanned()
            log.info("%d jobs follow the profile's timezone to %s", len(names), zone)


def in_zone(definition: Definition, zone: str) -> Definition | None:
    """The definition with its schedule in the profile's zone; None where that changes nothing, or
    where it would never fire there."""
    schedule = definition.schedule
    if (
        definition.damage is not None
        or not schedule.follows_profile
        or schedule.kind is not ScheduleKind.CRON
        or schedule.timezone == zone
    ):
        return None
    try:
        moved = cron_schedule(schedule.expression or "", zone, schedule.dst, text=schedule.text)
    except InvalidInput as error:
        log.warning("%s does not follow the profile's timezone: %s", definition.name, error)
        return None
    return replace(definition, schedule=replace(moved, follows_profile=True))


def is_stale(job: Job, now: datetime) -> bool:
    """Whether a job waits for another time than its schedule says. One that waits for something
    else than its next fire (an end, a place in a catch-up) is planned when that comes."""
    schedule = job.definition.schedule
    if (
        job.definition.damage is not None
        or job.state is not JobState.ACTIVE
        or schedule.kind is not ScheduleKind.CRON
        or job.due_at is None
        or job.waiting
        or job.deferred
        or job.due_at <= now
    ):
        return False
    upcoming = schedule.next_after(job.watermark)
    jitter = jitter_of(job.id, job.definition.jitter)
    return upcoming is not None and job.due_at != upcoming + jitter


class HistoryPurge:
    """Keeps the history within its bounds, and the folder of live locks tidy."""

    def __init__(self, context: OwnerContext) -> None:
        self._context = context
        self._next = context.clock.awake() + PURGE_EVERY_S
        self._last: tuple[int, float] | None = None
        """Term and continuous time of the last purge."""

    def look(self, authority: Authority) -> None:
        """Purge if it is time to; one comparison otherwise."""
        awake = self._context.clock.awake()
        if awake < self._next:
            return
        profile, store = self._context.profile, self._context.store
        kept = profile.settings().retention
        purged = store.purge(
            PurgeLimits(runs_per_job=kept.runs, days=kept.days, events=kept.events),
            store.history_now(self._context.clock.now(), self._elapsed(authority.term)),
        )
        for run in purged.runs:
            shutil.rmtree(profile.folder.logs / run, ignore_errors=True)
        sweep(profile.folder.live, {p.id for p in store.processes()})
        self._next = awake + (PURGE_MORE_S if len(purged.runs) >= _FULL_PURGE else PURGE_EVERY_S)

    def _elapsed(self, term: int) -> timedelta:
        """Real time since the last call in this term: other owners count their own."""
        before, self._last = self._last, (term, self._context.clock.continuous())
        if before is None or before[0] != term:
            return timedelta(0)
        return timedelta(seconds=self._last[1] - before[1])
