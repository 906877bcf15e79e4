"""``tenure import``: the jobs of other schedulers as native ones."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from tenure.surfaces.cli.command import Verb, VerbGroup, Where, now

if TYPE_CHECKING:
    from tenure.adapters.apscheduler.importer import ApschedulerImporter
    from tenure.adapters.hermes.facts.home import HermesHome
    from tenure.adapters.hermes_import.comparison import SimulationResult
    from tenure.adapters.hermes_import.source import HermesJob
    from tenure.adapters.importer import ImportedJob

F = TypeVar("F", bound=Callable[..., object])
_TABLE, _TEMPLATE = "apscheduler_jobs", "{python} -c {code}"
"""The defaults of APScheduler's own store, and of tenure.adapters.apscheduler.templates."""


@click.group("import", cls=VerbGroup, invoke_without_command=True)
@click.pass_context
def import_jobs(context: click.Context) -> None:
    """Import the jobs of another scheduler, whose own files are read and never changed."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _prefix(function: F) -> F:
    return click.option("--prefix", default="", metavar="TEXT", help="Prefix of the names.")(
        function
    )


def _confirmation(function: F) -> F:
    function = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")(function)
    return click.option("--dry-run", is_flag=True, help="Only show what would change.")(function)


def _compared_count(function: F) -> F:
    return click.option(
        "-n", "count", default=20, type=click.IntRange(1, 500), metavar="N",
        help="Scheduled runs to compare (20), besides those around clock changes.",
    )(function)  # fmt: skip


# -- Hermes --------------------------------------------------------------------------------------
@import_jobs.command(short_help="Import the jobs of a Hermes profile.", cls=Verb)
@click.option("--hermes-home", metavar="DIR", help="Hermes' home (HERMES_HOME; ~/.hermes).")
@click.option("--hermes-profile", metavar="NAME", help="The Hermes profile in it.")
@click.option("--hermes-python", metavar="PATH", help="The Python that Hermes is installed in.")
@click.option(
    "--job", "jobs", multiple=True, metavar="ID|NAME", help="Import only this job (repeatable)."
)
@_prefix
@_compared_count
@_confirmation
@click.option("--uncompared", is_flag=True, help="With --yes: also add what could not be compared.")
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
    from tenure.adapters.hermes.facts.home import find_home
    from tenure.adapters.hermes_import.importer import HermesImporter
    from tenure.adapters.hermes_import.source import hermes_jobs
    from tenure.surfaces.cli.import_report import add, show_plan

    home, at = find_home(hermes_home, hermes_profile), now()
    source = hermes_jobs(home, jobs)
    importer = HermesImporter(
        home,
        source,
        _simulate(home, source, hermes_python, at, count),
        now=at,
        count=count,
        prefix=prefix,
        uncompared=uncompared,
    )
    add(where, importer, show_plan(where, importer), dry_run=dry_run, yes=yes)


def _simulate(
    home: HermesHome, source: Sequence[HermesJob], python: str | None, at: datetime, count: int
) -> SimulationResult:
    from tenure.adapters.hermes.look.installation import find_installations, installation_of
    from tenure.adapters.hermes_import.comparison import simulate_hermes
    from tenure.domain.errors import NotFound

    if python is not None:
        # Jobs will name it: a path that holds everywhere, and not what a link resolves to.
        program = os.path.expanduser(python)
        python = os.path.abspath(shutil.which(program) or program)
        named = installation_of(python, "--hermes-python")
        if named is None:
            raise NotFound(
                f"{python} is not a Python that has Hermes installed",
                field="hermes-python",
                remedy="name bin/python of its virtual environment; `hermes --version` shows where",
            )
        found = [named]
    else:
        found = list(find_installations(home))
    first = found[0] if found else None
    return simulate_hermes(
        home,
        source,
        python=first.python if first else None,
        version=first.version if first else None,
        now=at,
        count=count,
    )


# -- crontab -------------------------------------------------------------------------------------
@import_jobs.command(short_help="Import a crontab.", cls=Verb)
@click.argument("file", required=False, metavar="[FILE|-]")
@click.option("--system", is_flag=True, help="The file has a user column (/etc/crontab).")
@click.option("--user", metavar="NAME", help="Import the lines of this user (yours).")
@click.option("--dialect", type=click.Choice(["debian", "cronie"]),
              help="The cron whose rules apply (the installed one).")  # fmt: skip
@click.option("--tz", metavar="ZONE", help="The zone that cron runs in (the machine's).")
@click.option("--skip-broken", is_flag=True, help="List invalid lines, and skip them.")
@_prefix
@click.option("--paused", is_flag=True, help="Add the jobs paused.")
@click.option("-n", "count", default=3, type=click.IntRange(1, 100), show_default=True,
              metavar="N", help="Scheduled runs to show of each.")  # fmt: skip
@_confirmation
@click.pass_obj
def crontab(
    where: Where,
    /,
    file: str | None,
    system: bool,
    user: str | None,
    dialect: str | None,
    tz: str | None,
    skip_broken: bool,
    prefix: str,
    paused: bool,
    count: int,
    dry_run: bool,
    yes: bool,
) -> None:
    """Import a crontab: yours, or a FILE in the same form; - is standard input.

    Shows what each line becomes and when it fires, what of it is lost, and where crons differ;
    then asks. The crontab is not changed. Importing again adds only what is new.
    """
    from tenure.adapters.crontab.dialect import Dialect
    from tenure.adapters.crontab.importer import CrontabImporter, CrontabTarget
    from tenure.adapters.crontab.source import dialect_here, machine_zone, read_source
    from tenure.client.presence import user_name
    from tenure.domain.errors import OutcomeUnknown
    from tenure.domain.schedule.zones import check_zone
    from tenure.surfaces.cli.import_report import add, show_plan

    source = read_source(file, system=system, user=user)
    rules = Dialect(dialect) if dialect else dialect_here()
    zone, doubt = (check_zone(tz), "") if tz else machine_zone()
    if doubt:
        raise OutcomeUnknown(doubt, remedy="name it: --tz Area/City")
    me = user_name() or str(os.geteuid())
    importer = CrontabImporter(
        source,
        CrontabTarget(user=me, of=user or me, zone=zone, now=now(), dialect=rules),
        count=count,
        prefix=prefix,
        paused=paused,
        skip_broken=skip_broken,
    )
    add(where, importer, show_plan(where, importer), dry_run=dry_run, yes=yes)


# -- APScheduler ---------------------------------------------------------------------------------
@import_jobs.command(short_help="Import a job store of APScheduler 3.", cls=Verb)
@click.argument("url")
@click.option("--tablename", default=_TABLE, show_default=True, metavar="NAME",
              help="The store's table, with its schema if it has one.")  # fmt: skip
@click.option("--out", metavar="FILE", help="Write the declarations there (standard output).")
@click.option("--as-commands", is_flag=True, help="Add jobs that run a command instead.")
@click.option("--command-template", default=_TEMPLATE, show_default=True, metavar="WORDS",
              help="That command; also with {func}, {args}, {kwargs}, {id}, {name}.")  # fmt: skip
@click.option("--cwd", metavar="DIR", help="Where it runs (this folder).")
@_prefix
@_compared_count
@_confirmation
@click.pass_obj
def apscheduler(
    where: Where,
    /,
    url: str,
    tablename: str,
    out: str | None,
    as_commands: bool,
    command_template: str,
    cwd: str | None,
    prefix: str,
    count: int,
    dry_run: bool,
    yes: bool,
) -> None:
    """Import the SQLAlchemy job store of APScheduler 3 at URL, or in a SQLite file.

    Writes a Python file that declares its jobs, for the application to import. With
    --as-commands, adds jobs that call the functions in a process of their own. Shows first what
    is lost, and where APScheduler would fire at other instants, as computed by APScheduler
    itself. The store is read as data: nothing in it is unpickled, and it is not changed.
    """
    from tenure.adapters.apscheduler.importer import ApschedulerImporter, ApschedulerTarget
    from tenure.adapters.apscheduler.templates import CommandTemplate
    from tenure.domain.errors import InvalidInput
    from tenure.store.folder.user_home import expand
    from tenure.surfaces.cli.import_report import add, show_plan

    template = None
    if as_commands:
        folder = os.path.abspath(expand(cwd or os.curdir, "cwd"))
        template = CommandTemplate(words=command_template, python=sys.executable, cwd=folder)
    elif cwd or command_template != _TEMPLATE:
        raise InvalidInput("needs --as-commands", field="cwd" if cwd else "command-template",
                           remedy="add --as-commands")  # fmt: skip
    if as_commands and out is not None:
        raise InvalidInput("cannot be combined with --as-commands", field="out")
    target = ApschedulerTarget(now=now(), app=where.name, template=template, count=count)
    importer = ApschedulerImporter(url, tablename, target, prefix=prefix)
    to_stdout = not as_commands and out is None
    with contextlib.redirect_stdout(sys.stderr if to_stdout else sys.stdout):
        plan = show_plan(where, importer)
    if as_commands:
        add(where, importer, plan, dry_run=dry_run, yes=yes)
    else:
        _declare(where, importer, plan, out, dry_run=dry_run, yes=yes)


def _declare(
    where: Where,
    importer: ApschedulerImporter,
    plan: Sequence[ImportedJob],
    out: str | None,
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    from tenure.adapters.apscheduler.declarations import python_file
    from tenure.adapters.importer import to_add
    from tenure.surfaces.cli import output
    from tenure.surfaces.cli.import_report import document_of, say_originals

    text = python_file(plan, source=importer.url, app=where.name)
    number, written = len(to_add(plan)), False
    if out is not None and number and not dry_run:
        output.confirm(f"Write {number} declaration{'' if number == 1 else 's'} to {out}?", yes=yes)
        _write_file(Path(out), text)
        written = True
    if where.json:
        document = document_of(where, importer, plan, written=written)
        output.print_json({**document, "python": text, "file": out})
    elif out is None:
        sys.stdout.write(text)
    elif written:
        output.say(f"wrote {out}; import it where the application starts")
        say_originals(importer, plan)
    else:
        output.say(f"{number} would be declared in {out}")


def _write_file(path: Path, text: str) -> None:
    from tenure.domain.errors import Conflict

    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Conflict(f"{path} already exists", field="out",
                       remedy="name another file") from None  # fmt: skip
