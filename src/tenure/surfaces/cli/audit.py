"""``tenure audit``: the recorded history against the contract."""

from __future__ import annotations

import click

from tenure.audit.reader import audit_store, render_report
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import Verb, Where, now


@click.command(cls=Verb)
@click.pass_obj
def audit(where: Where) -> int:
    """Check the recorded history against the contract. Exit code 1 when there are findings."""
    with where.open(readonly=True) as profile:
        report = audit_store(profile.store, now())
    if where.json:
        output.print_json(report.to_json())
    else:
        for line in render_report(report):
            output.say(line)
    return 0 if report.clean else 1
