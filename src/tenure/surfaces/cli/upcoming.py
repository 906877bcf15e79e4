"""``tenure next``: the fires to come."""

from __future__ import annotations

from datetime import datetime
from heapq import merge
from itertools import islice

import click

from tenure.domain.job import Job, State
from tenure.runtime.client.documents import instant
from tenure.runtime.client.status import soonest
from tenure.surfaces.cli import output
from tenure.surfaces.cli.add import next_fires
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
        jobs = [profile.store.job(job)] if job else list(soonest(profile, at, count))
    fires = list(islice(merge(*(_fires(one, at, count) for one in jobs)), count))
    by_id = {one.id: one for one in jobs}
    if where.json:
        output.print_json(
            {
                "next_fires": [
                    {"job": id, "job_name": by_id[id].name, "fire_time": instant(fire)}
                    for fire, id in fires
                ],
                "next": None,
            }
        )
        return
    if not fires:
        paused = job and jobs[0].state is not State.ACTIVE
        output.say(f"none: the job is {jobs[0].state}" if paused else "none")
        return
    rows = []
    for fire, id in fires:
        zone = by_id[id].definition.schedule.timezone
        rows.append([by_id[id].name, local(fire, zone), relative(fire, at)])
    output.table(["job", "at", "when"], rows)


def _fires(job: Job, at: datetime, count: int) -> list[tuple[datetime, str]]:
    if job.state is not State.ACTIVE:
        return []
    return [(fire, job.id) for fire in next_fires(job, at, count)]
