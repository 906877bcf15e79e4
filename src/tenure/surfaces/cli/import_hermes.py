"""``tenure import hermes``: shown first, compared, then asked, then added all at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import click

from tenure.adapters.hermes.comparing import Compared, Rehearsed, compare, rehearse
from tenure.adapters.hermes.home import HermesHome, find_home
from tenure.adapters.hermes.import_source import HermesJob, hermes_jobs
from tenure.adapters.hermes.importing import (
    Imported,
    Importing,
    Standing,
    carry_out,
    plan_import,
    standing_of,
)
from tenure.domain.errors import InvalidInput, NotFound
from tenure.domain.job import DEFAULT_GRACE, Job
from tenure.runtime.client.advice import advice
from tenure.runtime.client.applying import all_jobs
from tenure.runtime.client.editing import editor
from tenure.surfaces.cli import import_report as report
from tenure.surfaces.cli import output
from tenure.surfaces.cli.lazy import Verb
from tenure.surfaces.cli.nudges import nudge_owner
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
    added, warnings = _write(where, shown)
    report.end(where, shown, added, warnings, written=True)


def _rehearse(
    home: HermesHome, source: list[HermesJob], python: str | None, at: datetime, count: int
) -> Rehearsed:
    from tenure.adapters.hermes.installation import find_installations, installation_of

    if python is not None:
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
    standing, grace = _standing(where)
    plan = plan_import(
        source,
        Importing(
            home=home,
            means=rehearsed.means,
            zone=rehearsed.zone,
            now=at,
            standing=standing,
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


def _standing(where: Where) -> tuple[Standing, timedelta]:
    """What the profile has; nothing where there is none yet."""
    try:
        with where.open(readonly=True) as profile:
            return standing_of(all_jobs(profile.store)), profile.settings().grace
    except NotFound:
        return Standing(), DEFAULT_GRACE


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


def _write(where: Where, shown: Shown) -> tuple[list[Job], list[tuple[str, str, str]]]:
    """The jobs, and what to warn of: code, text, remedy; each once."""
    with where.open(create=True) as profile:
        by, at = editor("tenure import hermes"), now()
        added = carry_out(profile.store, shown.plan, by=by, now=at)
        nudge_owner(profile, "jobs")
        profile.refresh_policy(by, at)
        warnings = {(w.code, w.text, w.remedy): None for j in added for w in advice(profile, j)}
    return added, list(warnings)
