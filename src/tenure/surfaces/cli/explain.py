"""``tenure explain``: whether a job would run now, and why not."""

from __future__ import annotations

import click

from tenure.client.explain import explain as look
from tenure.client.explain import explanation_document
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import JOB, Verb, Where, now
from tenure.surfaces.cli.jobs import decided_elsewhere
from tenure.surfaces.cli.output import when


@click.command(cls=Verb)
@click.argument("job", type=JOB)
@click.pass_obj
def explain(where: Where, job: str) -> int:
    """Show whether a job would run now and by which owner, or why it would not.

    Exit code 1 when it would not.
    """
    with where.open(readonly=True) as profile:
        found = look(profile, job, now())
    if where.json:
        output.print_json(explanation_document(found))
        return 0 if found.would_run else 1
    name = output.paint(output.safe(found.job.name), "bold")
    if found.would_run:
        output.say(f"{name} {output.paint('would run', 'green')} if it fired now")
    else:
        output.say(f"{name} {output.paint('would not run', 'red')} if it fired now")
    marks = {True: ("ok", "green"), False: ("no", "red"), None: ("?", "yellow")}
    for check in found.checks:
        word, colour = marks[check.ok]
        output.say(
            f"  {output.paint(word.ljust(2), colour)}  {check.name.ljust(10)}  "
            f"{output.safe(check.text)}"
        )
        if check.remedy and check.ok is not True:
            output.say(f"      → {output.safe(check.remedy)}")
    zone = found.job.definition.schedule.timezone
    upcoming = decided_elsewhere(found.job) or when(found.job.next_fire, zone, found.at)
    output.say(f"  next  {upcoming}")
    for left_out in found.omissions:
        still = " (still open)" if left_out.open else ""
        output.say(
            f"  {output.state(left_out.kind)}  {left_out.count} x, the last "
            f"{when(left_out.last, zone, found.at)}: {output.safe(left_out.reason)}{still}"
        )
    return 0 if found.would_run else 1
