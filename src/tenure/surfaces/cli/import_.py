"""``tenure import``: the jobs of other schedulers as native ones."""

from __future__ import annotations

import click

from tenure.surfaces.cli.lazy import LazyGroup

_CLI = "tenure.surfaces.cli."


VERBS = {
    "hermes": (_CLI + "import_hermes:hermes", "Import the jobs of a Hermes profile."),
    "crontab": (_CLI + "import_crontab:crontab", "Import a crontab."),
    "apscheduler": (
        _CLI + "import_apscheduler:apscheduler",
        "Import a job store of APScheduler 3.",
    ),
}


class Importers(LazyGroup):
    verbs = VERBS


@click.group("import", cls=Importers, invoke_without_command=True)
@click.pass_context
def import_jobs(context: click.Context) -> None:
    """Import the jobs of another scheduler, whose own files are read and never changed."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
