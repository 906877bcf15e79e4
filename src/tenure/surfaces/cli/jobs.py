"""``tenure list``, ``show``, ``next``, ``explain``, ``pause``, ``resume`` and ``remove``."""

from __future__ import annotations

import shlex
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
from tenure.domain.job import Command, Job, JobState
from tenure.domain.schedule.model import ScheduleKind
from tenure.runtime.profile import Profile
from tenure.store.contract import Page
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import CURSOR, JOB, SHOW_SECRETS, Verb, Where, limit_option, now
from tenure.surfaces.cli.output import local, relative, when


@click.command("list", cls=Verb)
@click.option(
    "--state", "states", multiple=True, type=click.Choice([str(s) for s in JobState]),
    help="Only jobs in this state (repeatable).",
)  # fmt: skip
@click.option(
    "--tag", "tags", multiple=True, metavar="TEXT", help="Only jobs with this tag (repeatable)."
)
@limit_option()
@CURSOR
@SHOW_SECRETS
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
        output.print_json(
            {
                "jobs": [job_document(job, show_secrets=show_secrets) for job in jobs],
                "next": following,
                "warnings": output.warning_documents(warnings),
            }
        )
        return
    for warning in warnings:
        output.print_warning(warning.code, warning.text, warning.remedy)
        output.say()
    if not jobs and following is None:
        filtered = wanted or tags or cursor
        output.say(
            "no jobs match" if filtered else "no jobs; `tenure add SCHEDULE -- COMMAND` adds one"
        )
        return
    rows = [_row(job, at) for job in jobs]
    output.table(["name", "state", "schedule", "next", "command"], rows, states=frozenset({1}))
    output.warn_of_unreadable(jobs, where.name)
    if following is not None:
        output.say(f"more: --cursor {shlex.quote(following)}")


def _row(job: Job, at: datetime) -> list[str]:
    definition = job.definition
    upcoming = (
        "-" if job.next_fire is None else when(job.next_fire, definition.schedule.timezone, at)
    )
    command = definition.action.describe()
    short = command if len(command) <= 60 else command[:57] + "..."
    name = job.name + (" [protected]" if definition.needs_authority else "")
    schedule = definition.schedule.text
    return [name, str(job.state), schedule, _decided_elsewhere(job) or upcoming, short]


def _decided_elsewhere(job: Job) -> str | None:
    """Who decides when an active job is due, where it is not planned here, or why none can."""
    if job.damage is not None:
        return "cannot be read"
    announced = (
        job.state is JobState.ACTIVE and job.definition.schedule.kind is ScheduleKind.FOREIGN
    )
    return f"{planner_of(job)} decides" if announced else None


@click.command(cls=Verb)
@click.argument("job", type=JOB)
@SHOW_SECRETS
@click.option("--revisions", is_flag=True, help="Also list who changed it and when.")
@click.pass_obj
def show(where: Where, job: str, show_secrets: bool, revisions: bool) -> None:
    """Show a job's full definition, by name or id."""
    with where.open(readonly=True) as profile:
        shown = profile.store.job(job)
        history = profile.store.revisions(shown.id) if revisions else ()
    at = now()
    if where.json:
        document: dict[str, Any] = {
            "job": job_document(shown, show_secrets=show_secrets),
            "next": [instant(fire) for fire in next_fires(shown, at, 5)],
        }
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
    _print_job(shown, at, show_secrets, where.name)
    zone = shown.definition.schedule.timezone
    for old in history:
        output.say(
            f"revision {old.revision}: {when(old.edited_at, zone, at)} by "
            f"{output.safe(old.edited_by)}"
        )


def _print_job(job: Job, at: datetime, show_secrets: bool, profile: str) -> None:
    schedule, action = job.definition.schedule, job.definition.action
    output.say(f"{output.paint(output.safe(job.name), 'bold')}  {output.state(job.state)}")
    output.warn_of_unreadable([job], profile)
    words, note = schedule.describe(), schedule.either_day()
    if schedule.kind is not ScheduleKind.FOREIGN:
        words = f"{schedule.text}: {words}"
    upcoming = _decided_elsewhere(job) or when(job.next_fire, schedule.timezone, at)
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
            ("revision", f"{job.revision}, {when(job.edited_at, schedule.timezone, at)}"),
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


_PAST = {JobState.PAUSED: "paused", JobState.ACTIVE: "resumed", JobState.REMOVED: "removed"}


def _change_state(where: Where, names: tuple[str, ...], every: bool, state: JobState) -> int:
    if every == bool(names):
        text = "give job names" + ("" if state is JobState.REMOVED else " or --all")
        raise InvalidInput(text, field="job", remedy="`tenure list` shows them")
    past = _PAST[state]
    verb, left = past.removesuffix("d"), []
    with where.open() as profile:
        if every:
            old = JobState.ACTIVE if state is JobState.PAUSED else JobState.PAUSED
            in_state = all_jobs(profile.store, frozenset({old}))
            chosen = [job for job in in_state if not is_foreign(job)]
            left = [job for job in in_state if is_foreign(job)]
        else:
            chosen = [profile.store.job(name) for name in dict.fromkeys(names)]
        changed = set_states(profile, chosen, state, via=f"tenure {verb}", now=now())
    document: dict[str, Any] = {"jobs": [job_document(job) for _, job in changed]}
    if left:
        document["left"] = [job_document(job) for job in left]
    lines = [
        f"{'already ' if before.state is after.state else ''}{past}: {output.safe(after.name)}"
        for before, after in changed
    ]
    where.answer(document, *(lines or ([] if left else ["nothing to do"])))
    for job in () if where.json else left:
        why = f"not {past}: {job.name}, which {planner_of(job)} plans"
        output.warn(why, change_there(job, verb))
    return 3 if left else 0


@click.command(cls=Verb)
@click.argument("jobs", nargs=-1, type=JOB)
@click.option("--all", "every", is_flag=True, help="Pause every active job.")
@click.pass_obj
def pause(where: Where, jobs: tuple[str, ...], every: bool) -> int:
    """Pause jobs. Their scheduled runs are recorded as skipped meanwhile.

    A job that another scheduler plans must be paused there; --all names such jobs and exits
    with 3.
    """
    return _change_state(where, jobs, every, JobState.PAUSED)


@click.command(cls=Verb)
@click.argument("jobs", nargs=-1, type=JOB)
@click.option("--all", "every", is_flag=True, help="Resume every paused job.")
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
@click.option(
    "-n", "--count", type=click.IntRange(1, 1000), default=10, show_default=True, metavar="N",
    help="Number of scheduled runs to show.",
)  # fmt: skip
@click.pass_obj
def upcoming(where: Where, job: str | None, count: int) -> None:
    """Show the next scheduled runs, of one job or of all, without jitter."""
    at = now()
    with where.open(readonly=True) as profile:
        only = profile.store.job(job) if job else None
        fires = next_runs(profile, at, count, only)
        unreadable = [] if job else profile.store.unreadable_jobs()
        others = [] if job or where.json or len(fires) == count else _foreign_jobs(profile)
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
        output.say("no scheduled runs" + (_why_none(only) if only else ""))
    rows = [
        [each.name, local(fire, each.definition.schedule.timezone), relative(fire, at)]
        for fire, each in fires
    ]
    if rows:
        output.table(["job", "at", "when"], rows)
    if only and (note := only.definition.schedule.either_day()) is not None:
        output.warn(*note)
    output.warn_of_unreadable(unreadable, where.name)
    if others:
        planners = sorted({planner_of(job) for job in others})
        number = "1 job is" if len(others) == 1 else f"{len(others)} jobs are"
        decide = "decides" if len(planners) == 1 else "decide"
        output.say(f"{number} planned by {' and '.join(planners)}, which {decide} when")


def _why_none(job: Job) -> str:
    if job.state is not JobState.ACTIVE:
        return f": the job is {job.state}"
    decides = _decided_elsewhere(job)
    return f": {decides} when it is due" if decides else ""


def _foreign_jobs(profile: Profile) -> list[Job]:
    jobs = all_jobs(profile.store, frozenset({JobState.ACTIVE}))
    return [job for job in jobs if job.definition.schedule.kind is ScheduleKind.FOREIGN]


# -- explain --------------------------------------------------------------------------------------
_MARKS = {True: ("ok", "green"), False: ("no", "red"), None: ("?", "yellow")}


@click.command(cls=Verb)
@click.argument("job", type=JOB)
@click.pass_obj
def explain(where: Where, job: str) -> int:
    """Show whether a job would run now and by which owner, or why it would not.

    Exit code 1 when it would not.
    """
    from tenure.client import explain as explanations

    with where.open(readonly=True) as profile:
        explanation = explanations.explain(profile, job, now())
    if where.json:
        output.print_json(explanations.explanation_document(explanation))
        return 0 if explanation.would_run else 1
    name = output.paint(output.safe(explanation.job.name), "bold")
    verdict = ("would run", "green") if explanation.would_run else ("would not run", "red")
    output.say(f"{name} {output.paint(*verdict)} if it were due now")
    for check in explanation.checks:
        word, colour = _MARKS[check.ok]
        text = f"{check.name.ljust(10)}  {output.safe(check.text)}"
        output.say(f"  {output.paint(word.ljust(2), colour)}  {text}")
        if check.remedy and check.ok is not True:
            output.say(f"      → {output.safe(check.remedy)}")
    zone = explanation.job.definition.schedule.timezone
    upcoming = _decided_elsewhere(explanation.job) or when(
        explanation.job.next_fire, zone, explanation.at
    )
    output.say(f"  next  {upcoming}")
    for omission in explanation.omissions:
        still = " (still open)" if omission.open else ""
        output.say(
            f"  {output.state(omission.kind)}  {omission.count} x, most recently "
            f"{when(omission.last, zone, explanation.at)}: {output.safe(omission.reason)}{still}"
        )
    return 0 if explanation.would_run else 1
