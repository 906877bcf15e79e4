"""Hermes' jobs, mirrored in a Tenure profile.

Hermes keeps the definitions. The profile follows them, so that runs, requests and refusals have a
job to belong to. A job is known by Hermes' own id, ``hermes:<id>``; its name may change.
Whether it is protected is kept beside Hermes' file, since Hermes rewrites that one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from tenure.adapters.hermes.facts.home import HermesHome
from tenure.adapters.hermes.facts.jobs_file import instant_of
from tenure.adapters.hermes.facts.protection import Protection, read_protection
from tenure.domain.errors import Conflict, InvalidInput, NotFound
from tenure.domain.job import MAX_NAME, Call, Definition, Job, JobState
from tenure.domain.schedule.model import Schedule, ScheduleKind, at_schedule, foreign_schedule
from tenure.store.contract import Page, Store

PREFIX = "hermes:"
GRACE = timedelta(minutes=3)
"""Hermes looks once a minute: later than this is a catch-up."""
_DEFINING = (
    "prompt", "skills", "skill", "model", "provider", "base_url", "script", "no_agent",
    "context_from", "schedule", "deliver", "enabled_toolsets", "workdir", "profile",
)  # fmt: skip
"""The fields of a Hermes job that define it; the others are its state."""
_INSTANT = timedelta(microseconds=1)
MAX_ID = 40
"""Hermes' ids have 12 characters; longer ones may have been put in by hand."""


def hermes_id(job: Job) -> str | None:
    """Hermes' id of a mirrored job; None for another kind of job."""
    action = job.definition.action
    if isinstance(action, Call) and action.target.startswith(PREFIX):
        return action.target.removeprefix(PREFIX)
    return None


def definition_of(
    job: Mapping[str, Any], name: str, protection: Protection, timezone: str, command: str
) -> Definition:
    """A Hermes job as a definition. Raises InvalidInput for what cannot be one.

    ``command``: how a person calls Hermes for this profile.
    """
    id = str(job["id"])
    requires = protection.get(id)
    return Definition(
        name=name,
        schedule=_schedule(job, timezone),
        action=Call(target=PREFIX + id, args={**_shown(job), "command": command}),
        protected=requires is not None,
        requires=requires or (),
        grace=GRACE,
        tags=("hermes", "script" if job.get("no_agent") else "agent"),
    )


def _schedule(job: Mapping[str, Any], timezone: str) -> Schedule:
    schedule = job.get("schedule")
    if isinstance(schedule, Mapping) and schedule.get("kind") == "once":
        ended = job.get("state") == "completed" and not job.get("enabled", True)
        at = instant_of(schedule.get("run_at"))
        if ended and at is not None:
            return at_schedule(at, timezone, text=_display(job))
    return foreign_schedule(_display(job), timezone)


def _display(job: Mapping[str, Any]) -> str:
    schedule = job.get("schedule")
    shown = schedule.get("display") if isinstance(schedule, Mapping) else None
    text = str(job.get("schedule_display") or shown or "as Hermes plans it")
    return _printable(text)[:200].strip() or "as Hermes plans it"


def _shown(job: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader needs to know the job again, and a digest of all that makes it what it is:
    a job that was changed in Hermes is a new revision here. Prompts stay with Hermes."""
    fields = {key: job.get(key) for key in _DEFINING}
    times = job.get("repeat")
    fields["times"] = times.get("times") if isinstance(times, Mapping) else times
    if isinstance(fields["schedule"], Mapping):
        fields["schedule"] = {k: v for k, v in fields["schedule"].items() if k != "display"}
    text = json.dumps(fields, sort_keys=True, default=str)
    shown: dict[str, Any] = {"digest": hashlib.sha256(text.encode()).hexdigest()[:16]}
    for key in ("script", "workdir", "deliver"):
        if job.get(key):
            shown[key] = _printable(str(job[key]))[:500]
    return shown


@dataclass(frozen=True, slots=True)
class Mirrored:
    """The jobs in the profile, by Hermes' id, and why others could not be mirrored."""

    jobs: Mapping[str, Job]
    problems: Mapping[str, str]


Theirs = Mapping[str, Any]


class Mirror:
    """Brings a profile in line with what Hermes has. Thread-safe as its store is.

    Any process may do it: definitions are the store's transactions (C7), and two that do it at
    once agree.
    """

    def __init__(self, store: Store, home: HermesHome, *, by: str, timezone: str) -> None:
        self._store = store
        self._home = home
        self._by = by
        self._timezone = timezone

    def follow(
        self, load: Callable[[], Sequence[Theirs] | None], now: datetime, *, whole: bool = True
    ) -> Mirrored:
        """Add, revise, pause, resume; with ``whole`` also remove what Hermes has no more, unless
        ``load`` returns None: the file is missing, and may come back.

        Hermes' jobs are loaded after those that stand here were read: so one that another process
        has just made, and mirrored, is not taken for one that is gone.

        A job that cannot be mirrored is reported and stops no other. Jobs without an id, which
        Hermes itself cannot run, are left out. Raises what the store and ``load`` raise, and
        InvalidInput for a sidecar that cannot be read: then nothing may run.
        """
        protection = read_protection(self._home)
        view = _View.of(self._store)
        loaded = load()
        theirs = {str(job["id"]): job for job in loaded or () if job.get("id")}
        if whole and loaded is not None:  # first of all, so that their names are free
            for gone in view.without(theirs.keys()):
                with contextlib.suppress(NotFound):  # another process was faster
                    self._store.set_job_state(gone.id, JobState.REMOVED, by=self._by, now=now)
        wanted, problems = self._definitions(theirs, protection)
        new = {id: wanted[id] for id in wanted if id not in view.jobs}
        if new:
            view = self._add(new, theirs, now)
        seen: dict[str, Job] = {}
        for id, definition in wanted.items():
            try:
                seen[id] = self._follow_one(view, definition, id, theirs[id], now)
            except (Conflict, NotFound) as error:  # another process changes it at this moment
                problems[id] = error.text
        return Mirrored(seen, problems)

    def _definitions(
        self, theirs: Mapping[str, Theirs], protection: Protection
    ) -> tuple[dict[str, Definition], dict[str, str]]:
        """By id; and why one cannot be made."""
        made: dict[str, Definition] = {}
        problems: dict[str, str] = {}
        twice = {name for name, n in Counter(map(_name, theirs.values())).items() if n > 1}
        for id, job in theirs.items():
            try:
                id.encode()  # half a character cannot be stored
                definition = definition_of(
                    job, _name(job), protection, self._timezone, self._home.command
                )
                made[id] = _with_suffix(definition, id) if definition.name in twice else definition
            except (InvalidInput, ValueError) as error:
                problems[id] = str(error)
        return made, problems

    def _add(
        self, new: Mapping[str, Definition], theirs: Mapping[str, Theirs], now: datetime
    ) -> _View:
        # The second look is in the same transaction: another process may add the job at this
        # moment, and two jobs here for one there would run twice.
        with self._store.batch():
            view = _View.of(self._store)
            for id, definition in new.items():
                if id not in view.jobs:
                    fits, since = view.fitting(definition, id), _since(theirs[id], now)
                    view.put(id, self._store.add_job(fits, by=self._by, now=now, since=since))
        return view

    def _follow_one(
        self, view: _View, wanted: Definition, id: str, theirs: Theirs, now: datetime
    ) -> Job:
        """The job afterwards. Raises Conflict if another process changes it at this moment."""
        job = view.jobs[id]
        wanted = view.fitting(wanted, id)
        if wanted != job.definition:
            # A change of a foreign schedule leaves its watermark; from another kind it would not.
            foreign = job.definition.schedule.kind is ScheduleKind.FOREIGN
            at = now if foreign else max(_since(theirs, now), job.edited_at, job.watermark)
            job = self._store.edit_job(job.id, job.revision, wanted, by=self._by, now=at)
        on = theirs.get("enabled", True) and theirs.get("state") != "paused"
        state = JobState.ACTIVE if on else JobState.PAUSED
        if job.state in (JobState.ACTIVE, JobState.PAUSED) and job.state is not state:
            job = self._store.set_job_state(job.id, state, by=self._by, now=now)
        view.put(id, job)
        return job


def _since(theirs: Theirs, now: datetime) -> datetime:
    # A fire that is already due belongs to the definition that is written now, not to the one
    # before it.
    pending = instant_of(theirs.get("next_run_at"))
    return now if pending is None or pending > now else pending - _INSTANT


class _View:
    """The jobs of a profile: Hermes' by their id, and all names."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self.jobs: dict[str, Job] = {}
        self._more: list[Job] = []
        self._names: dict[str, str] = {}
        for job in sorted(jobs, key=lambda job: job.id):
            self._names[job.name] = job.id
            id = hermes_id(job)
            if id is not None and self.jobs.setdefault(id, job) is not job:
                self._more.append(job)

    @staticmethod
    def of(store: Store) -> _View:
        every: list[Job] = []
        cursor: str | None = None
        while True:
            jobs, cursor = store.jobs(page=Page(limit=500, cursor=cursor))
            every += jobs
            if cursor is None:
                return _View(every)

    def without(self, ids: Collection[str]) -> list[Job]:
        """Take out the jobs that are not among these, or that exist twice."""
        gone = [self.jobs.pop(id) for id in list(self.jobs) if id not in ids] + self._more
        for job in gone:
            self._names.pop(job.name, None)
        return gone

    def fitting(self, wanted: Definition, id: str) -> Definition:
        """With another name, if that one is taken: by a job of ours, or by one of Hermes' that is
        to get another name itself."""
        own = self.jobs.get(id)
        free, fits = (None, own and own.id), wanted
        for n in count(1):
            if self._names.get(fits.name) in free:
                break
            fits = _with_suffix(wanted, id if n == 1 else f"{_short(id)[: MAX_ID - 8]} {n}")
        return fits

    def put(self, id: str, job: Job) -> None:
        old = self.jobs.get(id)
        if old is not None and self._names.get(old.name) == old.id:
            del self._names[old.name]
        self.jobs[id], self._names[job.name] = job, job.id


def _with_suffix(wanted: Definition, by: str) -> Definition:
    name = f"{wanted.name[: MAX_NAME - MAX_ID - 3].strip()} ({_short(by)})"
    return wanted.with_changes(name=name)


def _name(job: Theirs) -> str:
    return _printable(str(job.get("name") or ""))[:MAX_NAME].strip() or _short(str(job["id"]))


def _short(id: str) -> str:
    """An id as Hermes makes it, whole; the beginning of another."""
    return _printable(id)[:MAX_ID].strip() or "?"


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).strip()
