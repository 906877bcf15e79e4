"""``tenure edit``: change a job, keeping what others changed meanwhile."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Any

import click

from tenure.client import advice as advisor
from tenure.client.definitions import edit_job, editor
from tenure.client.documents import instant, job_document
from tenure.client.fields import build, reset
from tenure.client.schedules import next_fires
from tenure.domain.errors import InvalidInput
from tenure.domain.job import Command, Definition, Job
from tenure.domain.schedule.parser import parse_schedule
from tenure.surfaces.cli import output
from tenure.surfaces.cli.job_options import given_fields, job_options
from tenure.surfaces.cli.lazy import Verb
from tenure.surfaces.cli.nudges import nudge_owner
from tenure.surfaces.cli.times import when
from tenure.surfaces.cli.where import JOB, Where, now


@click.command(cls=Verb)
@click.argument("job", type=JOB)
@click.option("--schedule", metavar="SCHEDULE", help="A new schedule.")
@click.option("--rename", metavar="NAME", help="A new name.")
@job_options
@click.option("--unset-env", multiple=True, metavar="K", help="Drop a variable (repeatable).")
@click.option("--reset", "resets", multiple=True, metavar="FIELD", help="Back to its default.")
@click.option("--approve", is_flag=True, help="Approve the revision for protected runs.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def edit(
    where: Where,
    /,
    job: str,
    schedule: str | None,
    rename: str | None,
    unset_env: tuple[str, ...],
    resets: tuple[str, ...],
    approve: bool,
    command: tuple[str, ...],
    **options: Any,
) -> None:
    """Change a job. Only what is given changes; --env adds to what stands.

    Each edit is a revision that names its editor. If somebody else changed something else
    meanwhile, both edits are kept.
    """
    _check_command(command, bool(options.get("shell")))
    given = given_fields(options, command)
    given |= {k: v for k, v in (("schedule", schedule), ("name", rename)) if v is not None}
    if not (given or unset_env or resets or approve):
        raise InvalidInput(
            "nothing to change was given", remedy="`tenure edit --help` lists what can be"
        )
    with where.open() as profile:
        at, by = now(), editor("tenure edit")
        settings = profile.settings()

        def change(wants: Definition) -> Definition:
            fields = _with_env(given, wants, unset_env)
            plain = reset(wants, resets, grace=settings.grace) if resets else wants
            return build(fields, now=at, timezone=profile.timezone(), base=plain)

        if given or unset_env or resets:
            before, after = edit_job(profile.store, job, change, by=by, now=at)
        else:
            before = after = profile.store.job(job)
        if approve:
            after = profile.store.approve_job(after.id, after.revision, by=by, now=at)
        nudge_owner(profile, "jobs")
        warnings = advisor.advice(profile, after)
        if "schedule" in given and "tz" not in given:
            warnings += advisor.about_the_zone(profile, after.definition.schedule, at)
        _report(where, before, after, at, warnings)


def _check_command(command: tuple[str, ...], shell: bool) -> None:
    """``edit JOB 'every 30s'`` means the schedule, and would break the job as a command."""
    if shell or len(command) != 1 or not (" " in command[0] or command[0].startswith("@")):
        return
    try:
        parse_schedule(command[0], now=now(), timezone="UTC")
    except InvalidInput:
        return
    raise InvalidInput(
        f"{command[0]!r} is a schedule, not a command",
        field="command",
        remedy=f"--schedule {shlex.quote(command[0])}",
    )


def _with_env(given: dict[str, Any], wants: Definition, unset: tuple[str, ...]) -> dict[str, Any]:
    """``--env`` adds to the variables that stand; ``--unset-env`` takes away."""
    if "env" not in given and not unset:
        return given
    standing = dict(wants.action.env) if isinstance(wants.action, Command) else {}
    for name in unset:
        if name not in standing:
            raise InvalidInput(
                f"the job has no variable {name!r}", field="unset-env", remedy="see `tenure show`"
            )
        del standing[name]
    return {**given, "env": {**standing, **given.get("env", {})}}


def _report(
    where: Where, before: Job, after: Job, at: datetime, warnings: list[advisor.Warning]
) -> None:
    if where.json:
        output.print_json(
            {
                "job": job_document(after),
                "next": [instant(fire) for fire in next_fires(after, at, 3)],
                "warnings": [
                    {"code": w.code, "text": w.text, "remedy": w.remedy} for w in warnings
                ],
            }
        )
        return
    name = output.safe(after.name)
    if after.approved_revision != before.approved_revision:
        output.say(f"approved revision {after.revision} of {name}")
    if after.revision == before.revision:
        if after.approved_revision == before.approved_revision:
            output.say(f"{name} was like that already; nothing changed")
        return
    words = after.definition.schedule.describe()
    output.say(f"edited {name}: revision {after.revision}, {words}")
    if after.definition.schedule != before.definition.schedule:
        for fire in next_fires(after, at, 3):
            output.say(f"  next  {when(fire, after.definition.schedule.timezone, at)}")
    for warning in warnings:
        output.warn(warning.text, warning.remedy)
