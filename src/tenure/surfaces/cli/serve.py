"""``tenure serve``: a scheduler process in the foreground."""

from __future__ import annotations

import click

from tenure.surfaces.cli.lazy import Verb
from tenure.surfaces.cli.where import Where


@click.command(cls=Verb)
@click.option("--role", metavar="ROLE", help="What this process calls itself, for the policy.")
@click.option("--app", metavar="PKG.MOD:NAME", help="Carry the jobs that this app declares.")
@click.pass_obj
def serve(where: Where, role: str | None, app: str | None) -> int:
    """Be a scheduler process: a candidate, then owner when policy and term allow.

    SIGTERM and Ctrl-C hand the ownership over and give runs ten seconds to finish; the next owner
    takes up the commands that go on. It logs to standard error; TENURE_LOG sets the level.
    """
    from tenure.runtime.daemon import serve as run

    with where.open(create=True) as profile:
        return run(profile, role=role, app=app)
