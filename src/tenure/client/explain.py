"""Would this job run now, under which process, and if not, why not.

The same questions in the same order as the planner's and the store's: the job's state, its
schedule, an owner that lives and works, the policy and protection, the probe, the approval, the
previous run. Each is answered, also after the first no, so that nothing is found out one by one.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tenure.client.documents import instant
from tenure.client.documents.reports import CheckDocument, ExplanationReply, OwnerAtRun
from tenure.client.documents.runs import omission_document
from tenure.client.foreign_jobs import change_there, is_foreign, planner_of
from tenure.client.health import (
    Health,
    examine,
    expected_owner,
    how_to_continue,
    next_command,
    profile_option,
    taken_slots,
    what_is_halted,
    why_no_owner,
)
from tenure.client.warnings import free_a_slot, how_to_authorise, slots_taken
from tenure.domain.job import (
    Call,
    Job,
    JobState,
    Overlap,
    remedy_for_unreadable,
    why_unreadable,
)
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.ownership import HolderLife
from tenure.domain.process import Process
from tenure.domain.run import ACTIVE, Run
from tenure.domain.schedule.model import ScheduleKind
from tenure.host.capabilities import ProbeAnswer, probe
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter


@dataclass(frozen=True, slots=True)
class Check:
    """One question. ``ok`` None: unknown, or it does not prevent the run."""

    name: str
    ok: bool | None
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    job: Job
    at: datetime
    checks: tuple[Check, ...]
    owner: Process | None
    term: int | None
    omissions: tuple[Omission, ...]
    """The latest scheduled runs that did not happen, newest first."""

    @property
    def would_run(self) -> bool:
        return all(check.ok is not False for check in self.checks)


def explain(
    profile: Profile, ref: str, now: datetime, *, health: Health | None = None
) -> Explanation:
    """Explain one job. ``health`` is what was examined at ``now``. Raises NotFound."""
    store = profile.store
    job = store.job(ref)
    health = health or examine(profile, now)
    active, _ = store.runs(RunFilter(job=job.id, states=ACTIVE), Page(limit=10))
    omissions, _ = store.omissions(job=job.id, page=Page(limit=10))
    return Explanation(
        job=job,
        at=now,
        checks=tuple(_checks(profile, job, health, active, omissions, now)),
        owner=health.owner.process if health.owner is not None and health.owned else None,
        term=health.ownership.term if health.owned else None,
        omissions=omissions,
    )


def explanation_document(explanation: Explanation) -> ExplanationReply:
    job, owner, omissions = explanation.job, explanation.owner, explanation.omissions
    under = None
    if owner is not None:
        under = OwnerAtRun(process=owner.id, pid=owner.pid, term=explanation.term)
    return ExplanationReply(
        job=job.id,
        job_name=job.name,
        would_run=explanation.would_run,
        under=under,
        checks=[
            CheckDocument(check=c.name, ok=c.ok, text=c.text, remedy=c.remedy or None)
            for c in explanation.checks
        ],
        next_fire=job.next_fire,
        not_run=[omission_document(o) for o in omissions],
        held=sum(o.count for o in omissions if o.kind is OmissionKind.HELD and o.open),
    )


def _checks(
    profile: Profile,
    job: Job,
    health: Health,
    active: Sequence[Run],
    omissions: Sequence[Omission],
    now: datetime,
) -> Iterator[Check]:
    yield _state(job)
    if job.damage is not None:
        remedy = remedy_for_unreadable(job, profile_option(profile.name))
        yield Check("definition", False, why_unreadable(job), remedy)
    yield _schedule(job, now)
    if health.problem is None:
        yield Check("profile", True, "folder and database belong together")
    else:
        yield Check("profile", False, health.problem.text, health.problem.remedy)
    yield _owner(profile, health)
    yield from _protection(profile, job, health)
    for capability in job.definition.requires:
        answer = probe(capability)
        # The owner's own probe decides; from here only this process can be asked.
        granted = answer is ProbeAnswer.GRANTED and not health.owned
        text = f"{capability}: {answer} for this process; the owner asks for itself"
        yield Check("capability", True if granted else None, text)
    yield from _code(job, health, omissions)
    yield _overlap(job, active)
    # With a free slot there is nothing to say.
    if (taken := taken_slots(profile, health, job.definition.runner)) is not None:
        text = f"it would wait for a slot: {slots_taken(taken, now)}"
        yield Check("slots", False, text, free_a_slot(taken, profile))


def _state(job: Job) -> Check:
    resume = change_there(job, "resume") if is_foreign(job) else f"tenure resume {job.name}"
    remedies = {
        JobState.PAUSED: resume,
        JobState.DORMANT: "its app no longer declares it; start a version that does",
        JobState.DONE: _another_schedule(job),
        JobState.REMOVED: "add it again",
    }
    active = job.state is JobState.ACTIVE
    return Check("state", active, f"the job is {job.state}", remedies.get(job.state, ""))


def _another_schedule(job: Job) -> str:
    if is_foreign(job):
        return change_there(job, "edit")
    if job.app is not None:
        return f"give it another schedule in the code of the app {job.app}"
    return f"tenure edit {shlex.quote(job.name)} --schedule SCHEDULE"


def _schedule(job: Job, now: datetime) -> Check:
    schedule = job.definition.schedule
    if job.damage is not None:
        return Check("schedule", None, f"stored as {schedule.text!r}")
    description = schedule.describe()
    if schedule.kind is ScheduleKind.FOREIGN:
        return Check("schedule", True, f"{description}: {planner_of(job)} says when it is due")
    upcoming = schedule.next_after(max(now, job.watermark))
    if upcoming is None and job.due_at is None:
        return Check("schedule", False, "its schedule has no runs left", _another_schedule(job))
    pending = job.next_fire
    if pending is None or pending > now:
        next_run = f"next scheduled run: {instant(upcoming)}"
        return Check("schedule", True, f"{description}; not due; {next_run}")
    waits = " and waits for the previous run" if job.waiting else ""
    return Check("schedule", True, f"the run scheduled for {instant(pending)} is due{waits}")


def _owner(profile: Profile, health: Health) -> Check:
    owner = health.owner
    if owner is None or owner.life is HolderLife.DEAD:
        text = (
            f"no process owns the profile: {why_no_owner(health)}. "
            f"Expected owner: {expected_owner(health.policy)}"
        )
        return Check("owner", False, text, next_command(health, profile.name))
    who = f"pid {owner.process.pid}" + (f" ({owner.process.role})" if owner.process.role else "")
    if health.halted:
        return Check("owner", False, what_is_halted(health), how_to_continue(health, profile.name))
    if health.hung:
        remedy = "`tenure owner take` gives the ownership to the best candidate"
        return Check("owner", False, f"the owner, {who}, is not making progress", remedy)
    if owner.life is HolderLife.UNVERIFIABLE:
        text = f"whether the owner, {who}, is alive cannot be verified from here"
        return Check("owner", None, text)
    return Check("owner", True, f"{who}, term {health.ownership.term}: {owner.process.why}")


def _protection(profile: Profile, job: Job, health: Health) -> Iterator[Check]:
    if not job.definition.needs_authority:
        yield Check("protection", True, "any owner may run it")
        return
    why = "protected" if job.definition.protected else "in need of a capability"
    if health.owned and health.ownership.authoritative:
        yield Check("protection", True, f"it is {why}; the owner is authoritative")
    elif health.policy.open:
        text = f"it is {why}, and the profile names no authoritative owner, so it is on hold"
        remedy = f"write an [[owner]] rule in {profile.folder.toml}"
        yield Check("protection", False, text, remedy)
    else:
        text = f"it is {why}, and no authoritative owner is running, so it is on hold"
        yield Check("protection", False, text, how_to_authorise(health.policy))
    if profile.settings().approve_protected and job.approved_revision < job.revision:
        text = f"revision {job.revision} by {job.edited_by} waits for approval"
        yield Check("approval", False, text, f"tenure edit {job.name} --approve")


def _code(job: Job, health: Health, omissions: Sequence[Omission]) -> Iterator[Check]:
    """Whether the owner has the code of a job that an app declares."""
    held = [o for o in omissions if o.open and o.kind is OmissionKind.HELD]
    action = job.definition.action
    if job.app is not None and held and not job.definition.needs_authority:
        remedy = f"start a process of version {job.app_version}, or `tenure remove {job.name}`"
        yield Check("code", False, held[0].reason, remedy)
    elif isinstance(action, Call) and health.owner is not None and health.owned:
        what, remedy = f"the app {action.app!r}", "tenure serve --app package.module:tenure"
        if is_foreign(job):
            what = f"the jobs of {planner_of(job)}"
            remedy = f"have a process own that {planner_of(job)} runs in"
        if health.owner.process.app == action.app:
            yield Check("code", True, f"the owner carries {what}")
        else:
            yield Check("code", False, f"the owner does not carry {what}", remedy)


_OVERLAP = {
    Overlap.SKIP: (False, "a run due now would be skipped"),
    Overlap.QUEUE: (None, "a run due now would wait for its end"),
    Overlap.ALLOW: (True, "another may run at the same time"),
    Overlap.CANCEL: (True, "a run due now would cancel it"),
}


def _overlap(job: Job, active: Sequence[Run]) -> Check:
    if not active:
        return Check("overlap", True, "no run is active")
    run = active[0]
    ok, what = _OVERLAP[job.definition.overlap]
    remedy = "" if ok else f"wait, or tenure cancel {run.id}"
    return Check("overlap", ok, f"run {run.id} is {run.state}: {what}", remedy)
