"""Hermes' jobs, seen in a Tenure profile.

Hermes keeps the definitions; what stands here follows them, so that runs, requests and refusals
have a job to belong to. A job is known by Hermes' own id, ``hermes:<id>``; its name may change.
Whether it is protected is kept beside Hermes' file, since Hermes rewrites that one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from tenure.adapters.hermes.fires import instant_of
from tenure.adapters.hermes.home import HermesHome
from tenure.domain.errors import Conflict, InvalidInput, TenureError
from tenure.domain.job import MAX_NAME, Call, Definition, Job, State
from tenure.domain.schedule import Schedule, at_schedule, foreign_schedule
from tenure.store.contract import Page, Store

PREFIX = "hermes:"
GRACE = timedelta(minutes=3)
"""Hermes looks once a minute: later than this is a catch-up."""
_WANTED = (
    "prompt",
    "skills",
    "skill",
    "model",
    "provider",
    "base_url",
    "script",
    "no_agent",
    "context_from",
    "schedule",
    "deliver",
    "enabled_toolsets",
    "workdir",
    "profile",
)
"""What of a Hermes job is its definition. The rest is what became of it."""
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Protection:
    """The sidecar: which jobs are protected, and what they require."""

    jobs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_protection(home: HermesHome) -> Protection:
    """Without a sidecar nothing is protected. Raises InvalidInput for one that is damaged."""
    try:
        record = json.loads(home.sidecar.read_text(encoding="utf-8"))
        return Protection(
            {
                str(id): tuple(str(name) for name in entry.get("requires", ()))
                for id, entry in record["protected"].items()
            }
        )
    except FileNotFoundError:
        return Protection()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"{home.sidecar}, which says which jobs are protected, cannot be read: {error}",
            remedy="restore it, or delete it and protect the jobs again: tenure hermes protect JOB",
        ) from None


def target_of(job_id: str) -> str:
    return PREFIX + job_id


def hermes_id(job: Job) -> str | None:
    """Hermes' id of a mirrored job; None for another kind of job."""
    action = job.definition.action
    if isinstance(action, Call) and action.target.startswith(PREFIX):
        return action.target.removeprefix(PREFIX)
    return None


def definition_of(
    job: Mapping[str, Any], name: str, protection: Protection, timezone: str, zone: tzinfo
) -> Definition:
    """A Hermes job as a definition. Raises InvalidInput for what cannot be one."""
    id = str(job["id"])
    requires = protection.jobs.get(id)
    return Definition(
        name=name,
        schedule=_schedule(job, timezone, zone),
        action=Call(target=target_of(id), args=_told(job)),
        protected=requires is not None,
        requires=requires or (),
        grace=GRACE,
        tags=("hermes", "script" if job.get("no_agent") else "agent"),
    )


def _schedule(job: Mapping[str, Any], timezone: str, zone: tzinfo) -> Schedule:
    schedule = job.get("schedule")
    kind = schedule.get("kind") if isinstance(schedule, Mapping) else None
    if kind == "once" and job.get("state") == "completed" and not job.get("enabled", True):
        at = instant_of(schedule.get("run_at"), zone) if isinstance(schedule, Mapping) else None
        if at is not None:
            return at_schedule(at, timezone, text=_display(job))
    return foreign_schedule(_display(job), timezone)


def _display(job: Mapping[str, Any]) -> str:
    schedule = job.get("schedule")
    shown = schedule.get("display") if isinstance(schedule, Mapping) else None
    text = str(job.get("schedule_display") or shown or "as Hermes plans it")
    return "".join(c for c in text if c.isprintable()).strip()[:200] or "as Hermes plans it"


def _told(job: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader needs to know the job again, and a digest of all that makes it what it is:
    a job that was changed in Hermes is a new revision here. Prompts stay with Hermes."""
    wanted = {key: job.get(key) for key in _WANTED}
    times = job.get("repeat")
    wanted["times"] = times.get("times") if isinstance(times, Mapping) else times
    if isinstance(wanted["schedule"], Mapping):
        wanted["schedule"] = {k: v for k, v in wanted["schedule"].items() if k != "display"}
    text = json.dumps(wanted, sort_keys=True, default=str)
    told: dict[str, Any] = {"digest": hashlib.sha256(text.encode()).hexdigest()[:16]}
    for key in ("script", "workdir", "deliver"):
        if job.get(key):
            told[key] = str(job[key])[:500]
    return told


def wanted_state(job: Mapping[str, Any]) -> State:
    return (
        State.ACTIVE if job.get("enabled", True) and job.get("state") != "paused" else State.PAUSED
    )


@dataclass(frozen=True, slots=True)
class Mirrored:
    """The jobs that stand in the profile, by Hermes' id, and what could not be mirrored."""

    jobs: Mapping[str, Job]
    problems: Mapping[str, str]


class Mirror:
    """Brings a profile in line with what Hermes has. Thread-safe as its store is.

    Any process may do it: definitions are the store's transactions (C7), and two that do it at
    once agree, or one of them finds a Conflict and looks again the next time.
    """

    def __init__(self, store: Store, home: HermesHome, *, by: str, timezone: str) -> None:
        self._store = store
        self._home = home
        self._by = by
        self._timezone = timezone

    def follow(
        self, jobs: Sequence[Mapping[str, Any]], now: datetime, zone: tzinfo, *, whole: bool = True
    ) -> Mirrored:
        """Add, revise, pause, resume; with ``whole`` also remove what Hermes has no more.

        A job that cannot be mirrored is told of and stops no other. Raises what the store raises,
        and InvalidInput for a sidecar that cannot be read: then nothing may run.
        """
        protection = read_protection(self._home)
        there = self._there()
        seen: dict[str, Job] = {}
        problems: dict[str, str] = {}
        names = self._names(jobs, there)
        for job in jobs:
            id = str(job.get("id") or "")
            if not id:
                continue
            try:
                wanted = definition_of(job, names[id], protection, self._timezone, zone)
                seen[id] = self._follow_one(there.get(id), wanted, job, now, zone)
            except Conflict:
                continue  # another process was faster: the next look finds its work
            except TenureError as error:
                problems[id] = error.text
        if whole:
            for id in there.keys() - {str(job.get("id")) for job in jobs}:
                self._store.set_job_state(there[id].id, State.REMOVED, by=self._by, now=now)
        return Mirrored(seen, problems)

    def _there(self) -> dict[str, Job]:
        found: dict[str, Job] = {}
        cursor: str | None = None
        while True:
            jobs, cursor = self._store.jobs(page=Page(limit=500, cursor=cursor))
            found.update({id: job for job in jobs if (id := hermes_id(job)) is not None})
            if cursor is None:
                return found

    def _names(self, jobs: Sequence[Mapping[str, Any]], there: Mapping[str, Job]) -> dict[str, str]:
        """Hermes' names; where two are alike, or one is taken by a job of ours, the id is added."""
        plain = {str(job.get("id")): _name(job) for job in jobs}
        others = {job.name for id, job in there.items() if id not in plain}
        count: dict[str, int] = {}
        for name in plain.values():
            count[name] = count.get(name, 0) + 1
        return {
            id: name if count[name] == 1 and name not in others else f"{name} ({id})"
            for id, name in plain.items()
        }

    def _follow_one(
        self,
        job: Job | None,
        wanted: Definition,
        theirs: Mapping[str, Any],
        now: datetime,
        zone: tzinfo,
    ) -> Job:
        # A fire that is due already belongs to what is written down now, not to what was before.
        pending = instant_of(theirs.get("next_run_at"), zone)
        at = now if pending is None or pending > now else pending - _INSTANT
        if job is None:
            job = self._store.add_job(wanted, by=self._by, now=at)
        elif wanted != job.definition:
            at = max(at, job.edited_at, job.watermark)
            job = self._store.edit_job(job.id, job.revision, wanted, by=self._by, now=at)
        state = wanted_state(theirs)
        if job.state in (State.ACTIVE, State.PAUSED) and job.state is not state:
            at = max(at, job.edited_at, job.watermark)
            job = self._store.set_job_state(job.id, state, by=self._by, now=at)
        return job


def _name(job: Mapping[str, Any]) -> str:
    text = "".join(c for c in str(job.get("name") or "") if c.isprintable()).strip()
    return text[: MAX_NAME - 20].strip() or str(job.get("id"))


def utc_now() -> datetime:
    return datetime.now(UTC)
