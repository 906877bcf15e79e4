"""``tenure import hermes``: shown first, compared, then asked, then added all at once."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import datetime

import click

from tenure.adapters.hermes.facts.home import HermesHome, find_home
from tenure.adapters.hermes_import.comparison import Compared, Rehearsed, compare, rehearse
from tenure.adapters.hermes_import.importer import TAG, Importing, mirrored_in, plan_import
from tenure.adapters.hermes_import.source import HermesJob, hermes_jobs
from tenure.adapters.importer import Imported
from tenure.client.apply import all_jobs
from tenure.domain.errors import InvalidInput, NotFound
from tenure.surfaces.cli import import_report as report
from tenure.surfaces.cli import output
from tenure.surfaces.cli.import_common import standing_in, write
from tenure.surfaces.cli.lazy import Verb
from tenure.surfaces.cli.where import Where, now


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """All that is shown before it is asked."""

    home: HermesHome
    rehearsed: Rehearsed
    plan: tuple[Imported, ...]
    compared: dict[str, Compared]
    profile: str

    @property
    def adding(self) -> list[Imported]:
        return [job for job in self.plan if job.definition is not None]

    @property
    def uncompared(self) -> list[Imported]:
        return [job for job in self.adding if self.compared[job.id].problem]


@click.command(cls=Verb)
@click.option("--hermes-home", metavar="DIR", help="Hermes' home (HERMES_HOME; ~/.hermes).")
@click.option("--hermes-profile", metavar="NAME", help="The Hermes profile in it.")
@click.option("--hermes-python", metavar="PATH", help="The Python that Hermes is installed in.")
@click.option("--job", "jobs", multiple=True, metavar="ID|NAME", help="Only this (repeatable).")
@click.option("--prefix", default="", metavar="TEXT", help="Put this before the names.")
@click.option("-n", "count", default=20, type=click.IntRange(1, 500), metavar="N",
              help="Fires to compare (20), besides those around clock changes.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--uncompared", is_flag=True, help="With --yes: also what could not be compared.")
@click.pass_obj
def hermes(
    where: Where,
    /,
    hermes_home: str | None,
    hermes_profile: str | None,
    hermes_python: str | None,
    jobs: tuple[str, ...],
    prefix: str,
    count: int,
    dry_run: bool,
    yes: bool,
    uncompared: bool,
) -> None:
    """Import the jobs of a Hermes profile, as commands.

    Shows what each becomes, what of it is lost, and where Hermes and Tenure would not fire at
    the same instants, as computed by Hermes itself; then asks. Hermes' files are not changed.
    Importing again adds only what is new.
    """
    home, at = find_home(hermes_home, hermes_profile), now()
    source = hermes_jobs(home, jobs)
    rehearsed = _rehearse(home, source, hermes_python, at, count)
    shown = _show(where, home, source, rehearsed, prefix, at, count)
    if not where.json:
        report.show(shown)
    if dry_run or not shown.adding:
        report.end(where, shown, [], [], written=False)
        return
    _ask(shown, yes, uncompared)
    added, warnings = write(where, shown.plan, tag=TAG, via="tenure import hermes")
    report.end(where, shown, added, warnings, written=True)


def _rehearse(
    home: HermesHome, source: list[HermesJob], python: str | None, at: datetime, count: int
) -> Rehearsed:
    from tenure.adapters.hermes.look.installation import find_installations, installation_of

    if python is not None:
        # Jobs will name it: a path that holds everywhere, and not what a link resolves to.
        program = os.path.expanduser(python)
        python = os.path.abspath(shutil.which(program) or program)
        named = installation_of(python, "--hermes-python")
        if named is None:
            raise NotFound(
                f"{python} is no Python that has Hermes installed",
                field="hermes-python",
                remedy="name bin/python of its virtual environment; `hermes --version` shows where",
            )
        found = [named]
    else:
        found = list(find_installations(home))
    first = found[0] if found else None
    return rehearse(
        home,
        source,
        python=first.python if first else None,
        version=first.version if first else None,
        now=at,
        count=count,
    )


def _show(
    where: Where,
    home: HermesHome,
    source: list[HermesJob],
    rehearsed: Rehearsed,
    prefix: str,
    at: datetime,
    count: int,
) -> Shown:
    standing, grace = standing_in(where, TAG)
    plan = plan_import(
        source,
        Importing(
            home=home,
            means=rehearsed.means,
            zone=rehearsed.zone,
            now=at,
            standing=standing,
            mirrored=_mirrored(where),
            prefix=prefix,
            grace=grace,
        ),
    )
    compared = {
        job.id: compare(job.definition.schedule, rehearsed.jobs.get(job.id), at, count)
        for job in plan
        if job.definition is not None
    }
    return Shown(
        home=home,
        rehearsed=rehearsed,
        plan=plan,
        compared=compared,
        profile=where.name,
    )


def _mirrored(where: Where) -> dict[str, str]:
    try:
        with where.open(readonly=True) as profile:
            return mirrored_in(all_jobs(profile.store))
    except NotFound:
        return {}


def _ask(shown: Shown, yes: bool, uncompared: bool) -> None:
    number, blind = len(shown.adding), shown.uncompared
    what = f"Add {number} job{'' if number == 1 else 's'} to the profile {shown.profile}?"
    if blind and not uncompared:
        if yes:
            raise InvalidInput(
                f"the fires of {len(blind)} of {number} were not compared with Hermes'",
                field="yes",
                remedy="name Hermes' Python with --hermes-python PATH, or add --uncompared",
            )
        what = f"{len(blind)} of {number} could not be compared. {what}"
    output.confirm(what, yes=yes)
