"""``tenure list``, ``show``, ``next``, ``pause``, ``resume`` and ``remove``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import click

from tenure.client.apply import all_jobs
from tenure.client.definitions import next_fires
from tenure.client.documents import instant
from tenure.client.documents.jobs import job_document
from tenure.client.edits import set_states
from tenure.client.foreign_jobs import change_there, is_foreign, planner_of
from tenure.client.health import examine
from tenure.client.job_fields import FIELDS, masked
from tenure.client.status import next_runs
from tenure.client.warnings import find_liveness_warnings
from tenure.domain.errors import InvalidInput
from tenure.domain.job import Command, Job, JobState, remedy_for_unreadable, why_unreadable
from tenure.domain.schedule.model import ScheduleKind
from tenure.runtime.profile import Profile
from tenure.store.contract import Page
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import JOB, Verb, Where, now
from tenure.surfaces.cli.output import local, relative, when
from tenure.surfaces.cli.status import print_warning


@click.command("list", cls=Verb)
@click.option("--state", "states", multiple=True, type=click.Choice([str(s) for s in JobState]))
@click.option("--tag", "tags", multiple=True, help="Only jobs with this tag.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), help="Maximum number to show.")
@click.option("--cursor", help="Continue after the previous page (its 'next').")
@click.option("--show-secrets", is_flag=True, help="Do not mask secrets.")
@click.pass_obj
def list_jobs(
    where: Where,
    states: tuple[str, ...],
    tags: tuple[str, ...],
    limit: int | None,
    cursor: str | None,
    show_secrets: bool,
) -> None:
    """List the jobs by name; removed ones only with --state removed."""
    wanted = frozenset(JobState(s) for s in states) or None
    with where.open(readonly=True) as profile:
        if limit is None and cursor is None and not where.json:
            jobs, following = all_jobs(profile.store, wanted), None
        else:
            page, following = profile.store.jobs(
                states=wanted, page=Page(limit=limit or 100, cursor=cursor)
            )
            jobs = list(page)
        at = now()
        warnings = list(find_liveness_warnings(profile, examine(profile, at), at))
    jobs = [job for job in jobs if set(tags) <= set(job.definition.tags)]
    if where.json:
        documents = [job_document(job, show_secrets=show_secrets) for job in jobs]
        document: dict[str, Any] = {"jobs": documents, "next": following}
        document["warnings"] = [
            {"code": w.code, "text": w.text, "remedy": w.remedy} for w in warnings
        ]
        output.print_json(document)
        return
    for warning in warnings:
        print_warning(warning)
        output.say()
    if not jobs and following is None:
        some = wanted or tags or cursor
        output.say("none" if some else "no jobs; `tenure add SCHEDULE -- COMMAND` adds one")
        return
    rows = [_row(job, at) for job in jobs]
    output.table(["name", "state", "schedule", "next", "command"], rows, states=frozenset({1}))
    warn_of_unreadable(jobs, where)
    if following is not None:
        output.say(f"more: --cursor {shlex.quote(following)}")


def _row(job: Job, at: datetime) -> list[str]:
    wants = job.definition
    fire = job.next_fire
    upcoming = (
        decided_elsewhere(job) or "-"
        if fire is None
        else f"{local(fire, wants.schedule.timezone)} ({relative(fire, at)})"
    )
    command = wants.action.describe()
    short = command if len(command) <= 60 else command[:57] + "..."
    name = job.name + (" [protected]" if wants.needs_authority else "")
    return [name, str(job.state), wants.schedule.text, upcoming, short]


def warn_of_unreadable(jobs: Iterable[Job], where: Where) -> None:
    """Warn of jobs that cannot be read, with the reason and the remedy."""
    option = "" if where.name == "default" else f" --profile {where.name}"
    for job in jobs:
        if job.damage is not None:
            output.warn(why_unreadable(job), remedy_for_unreadable(job, option))


def decided_elsewhere(job: Job) -> str | None:
    """Who decides when an active job is due, where it is not planned here, or why none can."""
    if job.damage is not None:
        return "cannot be read"
    announced = (
        job.state is JobState.ACTIVE and job.definition.schedule.kind is ScheduleKind.FOREIGN
    )
    return f"{planner_of(job)} decides" if announced else None


@click.command(cls=Verb)
@click.argument("job", type=JOB)
@click.option("--show-secrets", is_flag=True, help="Do not mask secrets.")
@click.option("--revisions", is_flag=True, help="Also list who changed it and when.")
@click.pass_obj
def show(where: Where, job: str, show_secrets: bool, revisions: bool) -> None:
    """Show a job's full definition, by name or id."""
    with where.open(readonly=True) as profile:
        found = profile.store.job(job)
        history = profile.store.revisions(found.id) if revisions else ()
    at = now()
    if where.json:
        document: dict[str, Any] = {"job": job_document(found, show_secrets=show_secrets)}
        document["next"] = [instant(fire) for fire in next_fires(found, at, 5)]
        if revisions:
            document["revisions"] = [
                {
                    "revision": r.revision,
                    "edited_at": instant(r.edited_at),
                    "edited_by": r.edited_by,
                }
                for r in history
            ]
        output.print_json(document)
        return
    _print_job(found, at, show_secrets)
    zone = found.definition.schedule.timezone
    for old in history:
        output.say(
            f"revision {old.revision}: {when(old.edited_at, zone, at)} by "
            f"{output.safe(old.edited_by)}"
        )


def _print_job(job: Job, at: datetime, show_secrets: bool) -> None:
    wants, zone = job.definition, job.definition.schedule.timezone
    action = wants.action
    output.say(f"{output.paint(output.safe(job.name), 'bold')}  {output.state(job.state)}")
    if job.damage is not None:
        output.warn(why_unreadable(job), remedy_for_unreadable(job))
    words, note = wants.schedule.describe(), wants.schedule.either_day()
    if wants.schedule.kind is not ScheduleKind.FOREIGN:
        words = f"{wants.schedule.text}: {words}"
    upcoming = decided_elsewhere(job) or when(job.next_fire, zone, at)
    changed_by = change_there(job, "edit") if is_foreign(job) else None
    output.facts(
        [
            ("id", job.id),
            ("schedule", output.safe(words)),
            ("note", f"{note[0]}; {note[1]}" if note is not None else None),
            ("next", upcoming),
            ("command", output.safe(action.describe())),
            *_field_rows(job, show_secrets),
            ("app", job.app),
            ("revision", f"{job.revision}, {when(job.edited_at, zone, at)}"),
            ("edited by", output.safe(job.edited_by)),
            ("change it", None if changed_by is None else output.safe(changed_by)),
        ],
        indent="  ",
    )
    if isinstance(action, Command):
        for name, value in masked(action.env, show=show_secrets).items():
            output.say(f"  env        {output.safe(name)}={output.safe(value)}")


def _field_rows(job: Job, show_secrets: bool) -> list[tuple[str, str | None]]:
    rows = []
    for field in FIELDS:
        if field.shown_as:
            text = field.describe(job.definition)
            if text and field.name == "protected":
                approved = job.approved_revision == job.revision
                text = f"yes, revision {'approved' if approved else 'not approved'}"
            elif text and field.name == "stdin":
                hidden = f"{len(text)} characters, not shown: --show-secrets shows them"
                text = output.safe(text) if show_secrets else hidden
            rows.append((field.shown_as, text))
    return rows


def _change_state(where: Where, names: tuple[str, ...], every: bool, state: JobState) -> int:
    past = {JobState.PAUSED: "paused", JobState.ACTIVE: "resumed", JobState.REMOVED: "removed"}[
        state
    ]
    if every == bool(names):
        text = "give job names" + ("" if state is JobState.REMOVED else " or --all")
        raise InvalidInput(text, field="job", remedy="`tenure list` shows them")
    verb, left = past.removesuffix("d"), []
    with where.open() as profile:
        if every:
            old = JobState.ACTIVE if state is JobState.PAUSED else JobState.PAUSED
            all_of_them = all_jobs(profile.store, frozenset({old}))
            found = [job for job in all_of_them if not is_foreign(job)]
            left = [job for job in all_of_them if is_foreign(job)]
        else:
            found = [profile.store.job(name) for name in dict.fromkeys(names)]
        changed = set_states(profile, found, state, via=f"tenure {verb}", now=now())
    if where.json:
        document: dict[str, Any] = {"jobs": [job_document(job) for _, job in changed]}
        if left:
            document["left"] = [job_document(job) for job in left]
        output.print_json(document)
        return 3 if left else 0
    for before, after in changed:
        already = " already" if before.state is after.state else ""
        output.say(f"{past}{already}: {output.safe(after.name)}")
    for job in left:
        why = f"not {past}: {job.name}, which {planner_of(job)} plans"
        output.warn(why, change_there(job, verb))
    if not changed and not left:
        output.say("nothing to do")
    return 3 if left else 0


@click.command(cls=Verb)
@click.argument("jobs", nargs=-1, type=JOB)
@click.option("--all", "every", is_flag=True, help="Every active job.")
@click.pass_obj
def pause(where: Where, jobs: tuple[str, ...], every: bool) -> int:
    """Pause jobs. Their scheduled runs are recorded as skipped meanwhile.

    A job that another scheduler plans must be paused there; --all names such jobs and exits
    with 3.
    """
    return _change_state(where, jobs, every, JobState.PAUSED)


@click.command(cls=Verb)
@click.argument("jobs", nargs=-1, type=JOB)
@click.option("--all", "every", is_flag=True, help="Every paused job.")
@click.pass_obj
def resume(where: Where, jobs: tuple[str, ...], every: bool) -> int:
    """Resume paused jobs, from now on."""
    return _change_state(where, jobs, every, JobState.ACTIVE)


@click.command(cls=Verb)
@click.argument("jobs", nargs=-1, type=JOB)
@click.pass_obj
def remove(where: Where, jobs: tuple[str, ...]) -> int:
    """Remove jobs. Their history stays; active runs continue."""
    return _change_state(where, jobs, False, JobState.REMOVED)


@click.command("next", cls=Verb)
@click.argument("job", required=False, type=JOB)
@click.option("-n", "--count", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.pass_obj
def upcoming(where: Where, job: str | None, count: int) -> None:
    """Show the next scheduled runs, of one job or of all, without jitter."""
    at = now()
    with where.open(readonly=True) as profile:
        only = profile.store.job(job) if job else None
        fires = next_runs(profile, at, count, only)
        unreadable = [] if job else profile.store.unreadable_jobs()
        others = [] if job or where.json or len(fires) == count else _announced(profile)
    if where.json:
        output.print_json(
            {
                "next_fires": [
                    {"job": each.id, "job_name": each.name, "fire_time": instant(fire)}
                    for fire, each in fires
                ],
                "next": None,
            }
        )
        return
    if not fires and not unreadable:
        output.say("none" + _why_none(only))
    rows = []
    for fire, each in fires:
        zone = each.definition.schedule.timezone
        rows.append([each.name, local(fire, zone), relative(fire, at)])
    if rows:
        output.table(["job", "at", "when"], rows)
    if only and (note := only.definition.schedule.either_day()) is not None:
        output.warn(*note)
    warn_of_unreadable(unreadable, where)
    if others:
        planners = sorted({planner_of(job) for job in others})
        number = "1 job is" if len(others) == 1 else f"{len(others)} jobs are"
        decide = "decides" if len(planners) == 1 else "decide"
        output.say(f"{number} planned by {' and '.join(planners)}, which {decide} when")


def _why_none(job: Job | None) -> str:
    if job is None:
        return ""
    if job.state is not JobState.ACTIVE:
        return f": the job is {job.state}"
    decides = decided_elsewhere(job)
    return f": {decides} when it is due" if decides else ""


def _announced(profile: Profile) -> list[Job]:
    jobs = all_jobs(profile.store, frozenset({JobState.ACTIVE}))
    return [job for job in jobs if job.definition.schedule.kind is ScheduleKind.FOREIGN]
