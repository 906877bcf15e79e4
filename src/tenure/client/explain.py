"""Would this job run now, under which process, and if not, why not.

The same questions in the same order as the planner's and the store's: the job's state, its
schedule, an owner that lives and works, the policy and protection, the probe, the approval, the
previous run. Each is answered, also after the first no, so that nothing is found out one by one.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
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
    """The latest of the fires that did not run, newest first."""

    @property
    def would_run(self) -> bool:
        return all(check.ok is not False for check in self.checks)


def explain(profile: Profile, ref: str, now: datetime) -> Explanation:
    """Explain one job. Raises NotFound."""
    store = profile.store
    job = store.job(ref)
    health = examine(profile, now)
    active, _ = store.runs(RunFilter(job=job.id, states=ACTIVE), Page(limit=10))
    omissions, _ = store.omissions(job=job.id, page=Page(limit=10))
    checks = [
        _state(job),
        *_readable(job, profile),
        _schedule(job, now),
        _identity(profile),
        _owner(profile, health),
        *_protection(profile, job, health),
        *_capabilities(job, health),
        *_code(job, health, omissions),
        _overlap(job, active),
        *_slots(profile, job, health, now),
    ]
    return Explanation(
        job=job,
        at=now,
        checks=tuple(checks),
        owner=health.owner.process if health.owner is not None and health.owned else None,
        term=health.ownership.term if health.owned else None,
        omissions=omissions,
    )


def explanation_document(found: Explanation) -> ExplanationReply:
    owner = found.owner
    under = None
    if owner is not None:
        under = OwnerAtRun(process=owner.id, pid=owner.pid, term=found.term)
    return ExplanationReply(
        job=found.job.id,
        job_name=found.job.name,
        would_run=found.would_run,
        under=under,
        checks=[
            CheckDocument(check=c.name, ok=c.ok, text=c.text, remedy=c.remedy or None)
            for c in found.checks
        ],
        next_fire=found.job.next_fire,
        not_run=[omission_document(o) for o in found.omissions],
        held=sum(o.count for o in found.omissions if o.kind is OmissionKind.HELD and o.open),
    )


def _state(job: Job) -> Check:
    remedies = {
        JobState.PAUSED: change_there(job, "resume")
        if is_foreign(job)
        else f"tenure resume {job.name}",
        JobState.DORMANT: "its app no longer declares it; start a version that does",
        JobState.DONE: _another_schedule(job),
        JobState.REMOVED: "add it again",
    }
    return Check(
        name="state",
        ok=job.state is JobState.ACTIVE,
        text=f"the job is {job.state}",
        remedy=remedies.get(job.state, ""),
    )


def _another_schedule(job: Job) -> str:
    if is_foreign(job):
        return change_there(job, "edit")
    if job.app is not None:
        return f"give it another schedule in the code of the app {job.app}"
    return f"tenure edit {shlex.quote(job.name)} --schedule SCHEDULE"


def _readable(job: Job, profile: Profile) -> list[Check]:
    if job.damage is None:
        return []
    option = "" if profile.name == "default" else f" --profile {profile.name}"
    remedy = remedy_for_unreadable(job, option)
    return [Check(name="definition", ok=False, text=why_unreadable(job), remedy=remedy)]


def _schedule(job: Job, now: datetime) -> Check:
    if job.damage is not None:
        return Check(name="schedule", ok=None, text=f"stored as {job.definition.schedule.text!r}")
    if job.definition.schedule.kind is ScheduleKind.FOREIGN:
        text = f"{job.definition.schedule.describe()}: {planner_of(job)} says when it is due"
        return Check(name="schedule", ok=True, text=text)
    upcoming = job.definition.schedule.next_after(max(now, job.watermark))
    if upcoming is None and job.due_at is None:
        return Check(
            name="schedule",
            ok=False,
            text="its schedule has no runs left",
            remedy=_another_schedule(job),
        )
    pending = job.next_fire
    if pending is not None and pending <= now:
        text = f"the run scheduled for {instant(pending)} is due"
        if job.waiting:
            text += " and waits for the previous run"
        return Check(name="schedule", ok=True, text=text)
    return Check(
        name="schedule",
        ok=True,
        text=f"{job.definition.schedule.describe()}; not due; "
        f"next scheduled run: {instant(upcoming)}",
    )


def _identity(profile: Profile) -> Check:
    problem = profile.identity_problem()
    if problem is None:
        return Check(name="profile", ok=True, text="folder and database belong together")
    return Check(name="profile", ok=False, text=problem.text, remedy=problem.remedy)


def _owner(profile: Profile, health: Health) -> Check:
    owner = health.owner
    if owner is None or owner.life is HolderLife.DEAD:
        return Check(
            name="owner",
            ok=False,
            text=f"no process owns the profile: {why_no_owner(health)}. "
            f"Expected owner: {expected_owner(health.policy)}",
            remedy=next_command(health, profile.name),
        )
    who = f"pid {owner.process.pid}" + (f" ({owner.process.role})" if owner.process.role else "")
    if health.halted:
        return Check(
            name="owner",
            ok=False,
            text=what_is_halted(health),
            remedy=how_to_continue(health, profile.name),
        )
    if health.hung:
        return Check(
            name="owner",
            ok=False,
            text=f"the owner, {who}, is not making progress",
            remedy="`tenure owner take` gives the ownership to the best candidate",
        )
    if owner.life is HolderLife.UNVERIFIABLE:
        return Check(
            name="owner",
            ok=None,
            text=f"whether the owner, {who}, is alive cannot be verified from here",
        )
    return Check(
        name="owner",
        ok=True,
        text=f"{who}, term {health.ownership.term}: {owner.process.why}",
    )


def _protection(profile: Profile, job: Job, health: Health) -> list[Check]:
    wants = job.definition
    if not wants.needs_authority:
        return [Check(name="protection", ok=True, text="any owner may run it")]
    why = "protected" if wants.protected else "in need of a capability"
    if health.owned and health.ownership.authoritative:
        found = [Check(name="protection", ok=True, text=f"it is {why}; the owner is authoritative")]
    elif health.policy.open:
        found = [
            Check(
                name="protection",
                ok=False,
                text=f"it is {why}, and the profile names no authoritative owner, so it is on hold",
                remedy=f"write an [[owner]] rule in {profile.folder.toml}",
            )
        ]
    else:
        found = [
            Check(
                name="protection",
                ok=False,
                text=f"it is {why}, and no authoritative owner is running, so it is on hold",
                remedy=how_to_authorise(health.policy),
            )
        ]
    if profile.settings().approve_protected and job.approved_revision < job.revision:
        found.append(
            Check(
                name="approval",
                ok=False,
                text=f"revision {job.revision} by {job.edited_by} waits for approval",
                remedy=f"tenure edit {job.name} --approve",
            )
        )
    return found


def _capabilities(job: Job, health: Health) -> list[Check]:
    """The owner's own probe decides; from here only this process can be asked."""
    found = []
    for name in job.definition.requires:
        answer = probe(name)
        found.append(
            Check(
                name="capability",
                ok=None if answer is not ProbeAnswer.GRANTED or health.owned else True,
                text=f"{name}: {answer} for this process; the owner asks for itself",
            )
        )
    return found


def _code(job: Job, health: Health, omissions: Sequence[Omission]) -> list[Check]:
    held = [o for o in omissions if o.open and o.kind is OmissionKind.HELD]
    if job.app is not None and held and not job.definition.needs_authority:
        remedy = f"start a process of version {job.app_version}, or `tenure remove {job.name}`"
        return [Check(name="code", ok=False, text=held[0].reason, remedy=remedy)]
    action = job.definition.action
    if not isinstance(action, Call) or health.owner is None or not health.owned:
        return []
    carries = health.owner.process.app == action.app
    what = f"the jobs of {planner_of(job)}" if is_foreign(job) else f"the app {action.app!r}"
    remedy = "tenure serve --app package.module:tenure"
    if is_foreign(job):
        remedy = f"have a process own that {planner_of(job)} runs in"
    return [
        Check(
            name="code",
            ok=carries,
            text=f"the owner {'carries' if carries else 'does not carry'} {what}",
            remedy="" if carries else remedy,
        )
    ]


def _slots(profile: Profile, job: Job, health: Health, now: datetime) -> list[Check]:
    """Asked only where all are taken: with a free slot there is nothing to say."""
    taken = taken_slots(profile, health, job.definition.runner)
    if taken is None:
        return []
    text = f"it would wait for a slot: {slots_taken(taken, now)}"
    return [Check(name="slots", ok=False, text=text, remedy=free_a_slot(taken, profile))]


def _overlap(job: Job, active: tuple[Run, ...]) -> Check:
    if not active:
        return Check(name="overlap", ok=True, text="no run is active")
    run = active[0]
    what = {
        Overlap.SKIP: "a run due now would be skipped",
        Overlap.QUEUE: "a run due now would wait for its end",
        Overlap.ALLOW: "another may run at the same time",
        Overlap.CANCEL: "a run due now would cancel it",
    }[job.definition.overlap]
    ok = {Overlap.SKIP: False, Overlap.QUEUE: None}.get(job.definition.overlap, True)
    return Check(
        name="overlap",
        ok=ok,
        text=f"run {run.id} is {run.state}: {what}",
        remedy="" if ok else f"wait, or tenure cancel {run.id}",
    )
