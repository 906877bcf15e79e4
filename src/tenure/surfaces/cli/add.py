"""``tenure add``: a job."""

from __future__ import annotations

import re
import shlex
from datetime import datetime
from typing import Any

import click

from tenure.client import advice as advisor
from tenure.client.definitions import editor
from tenure.client.documents import instant, job_document
from tenure.client.fields import build
from tenure.client.schedules import next_fires
from tenure.domain.errors import InvalidInput
from tenure.domain.job import Job, JobState
from tenure.runtime.profile import Profile
from tenure.surfaces.cli import output
from tenure.surfaces.cli.job_options import given_fields, job_options
from tenure.surfaces.cli.lazy import Verb
from tenure.surfaces.cli.nudges import nudge_owner
from tenure.surfaces.cli.times import when
from tenure.surfaces.cli.where import Where, now


@click.command(cls=Verb, options_metavar="[OPTIONS]")
@click.argument("schedule")
@click.option("--name", metavar="NAME", help="Its name (from the command).")
@job_options
@click.option("--paused", is_flag=True, help="Add it paused.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def add(
    where: Where,
    /,
    schedule: str,
    name: str | None,
    paused: bool,
    command: tuple[str, ...],
    **options: Any,
) -> None:
    """Add a job: tenure add SCHEDULE [OPTIONS] -- COMMAND...

    SCHEDULE is cron with five or six fields (seconds first), '@daily', 'every 90s',
    'every monday 9am', 'in 30m' or an ISO instant. The command's folder is the home folder and
    its PATH the profile's [env] or the owner's.
    """
    _check_words(schedule, command)
    given = {**given_fields(options, command), "schedule": schedule, "name": name}
    at = now()
    build(given, now=at, timezone="UTC")  # what is wrong is said before anything is created
    with where.open(create=True) as profile:
        wants = build(given, now=at, timezone=profile.timezone(), grace=profile.settings().grace)
        by = editor("tenure add")
        with profile.store.batch():
            job = profile.store.add_job(wants, by=by, now=at)
            if paused:
                job = profile.store.set_job_state(job.id, JobState.PAUSED, by=by, now=at)
        nudge_owner(profile, "jobs")
        profile.refresh_policy(by, at)
        _report(where, profile, job, at, zone_was_named="tz" in given)


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def _check_words(schedule: str, command: tuple[str, ...]) -> None:
    """A schedule that the shell took apart: its rest must not become the command."""
    lone = not (set(schedule) - set("0123456789*/,-")) and not _DATE.fullmatch(schedule)
    if (lone and len(schedule) < 12) or schedule in ("every", "in", "at"):
        raise InvalidInput(
            f"{schedule!r} alone is no schedule",
            field="schedule",
            remedy="quote it as one word: tenure add '0 7 * * *' -- COMMAND",
        )
    if not command:
        raise InvalidInput(
            "there is nothing to run",
            field="command",
            remedy=f"the command comes last: tenure add {shlex.quote(schedule)} -- COMMAND",
        )


def _report(
    where: Where, profile: Profile, job: Job, at: datetime, *, zone_was_named: bool
) -> None:
    warnings = advisor.advice(profile, job)
    if not zone_was_named:
        warnings += advisor.about_the_zone(profile, job.definition.schedule, at)
    upcoming = next_fires(job, at, 3)
    if where.json:
        output.print_json(
            {
                "job": job_document(job),
                "next": [instant(fire) for fire in upcoming],
                "warnings": [
                    {"code": w.code, "text": w.text, "remedy": w.remedy} for w in warnings
                ],
            }
        )
        return
    output.say(f"added {output.safe(job.name)} ({job.id}): {job.definition.schedule.describe()}")
    if job.state is JobState.PAUSED:
        output.say(f"  paused; `tenure resume {shlex.quote(job.name)}` starts it")
    for fire in upcoming:
        output.say(f"  next  {when(fire, job.definition.schedule.timezone, at)}")
    for warning in warnings:
        output.warn(warning.text, warning.remedy)
