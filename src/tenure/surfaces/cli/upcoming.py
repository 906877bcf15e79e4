"""``tenure next``: the fires to come."""

from __future__ import annotations

import click

from tenure.client.apply import all_jobs
from tenure.client.documents import instant
from tenure.client.foreign_jobs import planner_of
from tenure.client.status import next_runs
from tenure.domain.job import Job, JobState
from tenure.domain.schedule.model import ScheduleKind
from tenure.runtime.profile import Profile
from tenure.surfaces.cli import output
from tenure.surfaces.cli.jobs import decided_elsewhere, warn_of_unreadable
from tenure.surfaces.cli.lazy import Verb
from tenure.surfaces.cli.times import local, relative
from tenure.surfaces.cli.where import JOB, Where, now


@click.command("next", cls=Verb)
@click.argument("job", required=False, type=JOB)
@click.option("-n", "--count", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.pass_obj
def upcoming(where: Where, job: str | None, count: int) -> None:
    """Show the next fires, of one job or of all. They are nominal: jitter comes on top."""
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
        whose = " and ".join(sorted({planner_of(one) for one in others}))
        number = "1 job is" if len(others) == 1 else f"{len(others)} jobs are"
        output.say(f"{number} planned by {whose}, who decides when")


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
