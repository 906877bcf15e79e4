"""``tenure import``: the jobs of other schedulers, shown, confirmed and added all at once."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from tenure.adapters.importer import (
    Action,
    FireComparison,
    ImportedJob,
    Importer,
    ImportReport,
    add_jobs,
    count_jobs,
    read_existing,
    to_add,
)
from tenure.client.apply import all_jobs
from tenure.client.documents.jobs import definition_document
from tenure.client.presence import editor, nudge_owner, user_name
from tenure.client.warnings import advice
from tenure.domain.errors import Conflict, InvalidInput, NotFound, OutcomeUnknown
from tenure.domain.job import Command, Definition, Job, JobState
from tenure.domain.warnings import ProfileWarning
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import DRY_RUN, YES, Verb, VerbGroup, Where, now
from tenure.surfaces.cli.output import local

if TYPE_CHECKING:
    from tenure.adapters.apscheduler.importer import ApschedulerImporter
    from tenure.adapters.hermes.facts.home import HermesHome
    from tenure.adapters.hermes.look.installation import Installation
    from tenure.adapters.hermes_import.comparison import SimulationResult
    from tenure.adapters.hermes_import.source import HermesJob

_TABLE, _TEMPLATE = "apscheduler_jobs", "{python} -c {code}"
"""The defaults of APScheduler's own store, and of tenure.adapters.apscheduler.calls."""
_PREFIX = click.option("--prefix", default="", metavar="TEXT", help="Prefix of the job names.")
_COMPARED = click.option(
    "-n", "count", default=20, type=click.IntRange(1, 500), metavar="N",
    help="Number of scheduled runs to compare (default: 20), besides those around clock changes.",
)  # fmt: skip


@click.group("import", cls=VerbGroup, invoke_without_command=True)
@click.pass_context
def import_jobs(context: click.Context) -> None:
    """Import the jobs of another scheduler, whose own files are read and never changed."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


# -- Hermes --------------------------------------------------------------------------------------
@import_jobs.command(short_help="Import the jobs of a Hermes profile.", cls=Verb)
@click.option(
    "--hermes-home", metavar="DIR", help="Hermes' home (default: $HERMES_HOME, or ~/.hermes)."
)
@click.option("--hermes-profile", metavar="NAME", help="The Hermes profile in that home.")
@click.option("--hermes-python", metavar="PATH", help="The Python that Hermes is installed in.")
@click.option(
    "--job", "jobs", multiple=True, metavar="ID|NAME", help="Import only this job (repeatable)."
)
@_PREFIX
@_COMPARED
@DRY_RUN
@YES
@click.option(
    "--uncompared", is_flag=True, help="With --yes: also add jobs that could not be compared."
)
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

    Shows what each job becomes, which settings are lost, and where Hermes, asked itself, would
    run it at other times than Tenure; then asks for confirmation. Hermes' files are not changed.
    Importing again adds only new jobs.
    """
    from tenure.adapters.hermes.facts.home import find_home
    from tenure.adapters.hermes_import.importer import HermesImporter
    from tenure.adapters.hermes_import.source import hermes_jobs

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
    _add(where, importer, _show_plan(where, importer), dry_run=dry_run, yes=yes)


def _simulate(
    home: HermesHome, source: Sequence[HermesJob], python: str | None, at: datetime, count: int
) -> SimulationResult:
    from tenure.adapters.hermes.look.installation import find_installations, installation_of
    from tenure.adapters.hermes_import.comparison import simulate_hermes

    if python is not None:
        # Jobs will name this path: absolute, but with its links, which survive an upgrade.
        program = os.path.expanduser(python)
        python = os.path.abspath(shutil.which(program) or program)
        named = installation_of(python, "--hermes-python")
        if named is None:
            raise NotFound(
                f"{python} is not a Python that has Hermes installed",
                field="hermes-python",
                remedy="name bin/python of its virtual environment; `hermes --version` shows where",
            )
        first: Installation | None = named
    else:
        first = next(iter(find_installations(home)), None)
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
@click.option("--user", metavar="NAME", help="Import the lines of this user (default: you).")
@click.option("--dialect", type=click.Choice(["debian", "cronie"]),
              help="The cron whose rules apply (default: the installed one).")  # fmt: skip
@click.option("--tz", metavar="ZONE", help="The zone that cron runs in (default: the machine's).")
@click.option("--skip-broken", is_flag=True, help="List invalid lines, and skip them.")
@_PREFIX
@click.option("--paused", is_flag=True, help="Add the jobs paused.")
@click.option("-n", "count", default=3, type=click.IntRange(1, 100), show_default=True,
              metavar="N", help="Number of scheduled runs to show for each.")  # fmt: skip
@DRY_RUN
@YES
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
    """Import a crontab: yours, or a FILE in the same format; - is standard input.

    Shows what each line becomes, when it runs, which features are lost and where crons differ;
    then asks for confirmation. The crontab is not changed. Importing again adds only new jobs.
    """
    from tenure.adapters.crontab.importer import CrontabImporter, CrontabTarget
    from tenure.adapters.crontab.source import dialect_here, machine_zone, read_source
    from tenure.adapters.crontab.times import Dialect
    from tenure.domain.schedule.zones import check_zone

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
    _add(where, importer, _show_plan(where, importer), dry_run=dry_run, yes=yes)


# -- APScheduler ---------------------------------------------------------------------------------
@import_jobs.command(short_help="Import a job store of APScheduler 3.", cls=Verb)
@click.argument("url")
@click.option("--tablename", default=_TABLE, show_default=True, metavar="NAME",
              help="The store's table, with its schema if it has one.")  # fmt: skip
@click.option(
    "--out", metavar="FILE", help="Write the declarations there (default: standard output)."
)
@click.option("--as-commands", is_flag=True, help="Instead, add jobs that run a command.")
@click.option("--command-template", default=_TEMPLATE, show_default=True, metavar="WORDS",
              help="The command; may use {func}, {args}, {kwargs}, {id}, {name}.")  # fmt: skip
@click.option("--cwd", metavar="DIR", help="The folder it runs in (default: this one).")
@_PREFIX
@_COMPARED
@DRY_RUN
@YES
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
    --as-commands, adds jobs that call the functions in a separate process instead. First shows
    what is lost, and where APScheduler, asked itself, would run a job at other times. The store
    is read as data: nothing in it is unpickled, and it is not changed.
    """
    from tenure.adapters.apscheduler.calls import CommandTemplate
    from tenure.adapters.apscheduler.importer import ApschedulerImporter, ApschedulerTarget
    from tenure.store.folder.user_home import expand

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
        plan = _show_plan(where, importer)
    if as_commands:
        _add(where, importer, plan, dry_run=dry_run, yes=yes)
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

    text = python_file(plan, source=importer.url, app=where.name)
    number, written = len(to_add(plan)), False
    if out is not None and number and not dry_run:
        output.confirm(f"Write {number} declaration{'' if number == 1 else 's'} to {out}?", yes=yes)
        try:
            with open(out, "x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise Conflict(
                f"{out} already exists", field="out", remedy="name another file"
            ) from None
        written = True
    if where.json:
        document = _document(where, importer, plan, written=written)
        output.print_json({**document, "python": text, "file": out})
    elif out is None:
        sys.stdout.write(text)
    elif written:
        output.say(f"wrote {out}; import it where the application starts")
        _print_originals(importer, plan)
    else:
        output.say(f"{number} would be declared in {out}")


# -- plan, confirmation and report ----------------------------------------------------------------
SHOWN = 8
"""Differences that are listed for a job; --json has all."""
LONGEST_COMMAND = 400
"""Characters; a command may hold a prompt."""


def _show_plan(where: Where, importer: Importer) -> Sequence[ImportedJob]:
    """The plan, shown unless a document is asked for. Raises what the importer's check raises."""
    try:
        with where.open(readonly=True) as profile:
            jobs, grace = all_jobs(profile.store), profile.settings().grace
            existing = read_existing(jobs, importer.tag, grace)
    except NotFound:
        # A profile that the import would create.
        existing = read_existing((), importer.tag)
    plan = importer.plan(existing)
    if not where.json:
        _print_plan(importer, plan)
    importer.check()
    return plan


def _add(
    where: Where, importer: Importer, plan: Sequence[ImportedJob], *, dry_run: bool, yes: bool
) -> None:
    """Add the planned jobs after a confirmation, and print what was done."""
    adding, added, warnings = to_add(plan), list[Job](), list[ProfileWarning]()
    written = bool(adding) and not dry_run
    if written:
        doubt = importer.question(plan, yes=yes)
        question = f"{doubt}Add {count_jobs(adding)} to the profile {where.name}?"
        output.confirm(question, yes=yes)
        added, warnings = _write(where, importer, plan)
    if where.json:
        output.print_json(_document(where, importer, plan, added, warnings, written=written))
        return
    for job in added:
        paused = " (paused)" if job.state is JobState.PAUSED else ""
        output.say(f"added {output.safe(job.name)} ({job.id}){paused}")
    for job in added:
        if job.state is JobState.PAUSED:
            output.say(f"  `tenure resume {shlex.quote(job.name)}` starts it")
    if not written:
        output.say(f"{len(adding)} would be added" if adding else "nothing to add")
    if written or not adding:
        _print_originals(importer, plan)
    for warning in warnings:
        output.warn(warning.text, warning.remedy)


def _print_originals(importer: Importer, plan: Sequence[ImportedJob]) -> None:
    """What to type so that nothing runs twice."""
    if lines := importer.originals(plan):
        output.say()
        output.say(importer.originals_text)
        for line in lines:
            output.say(f"  {output.safe(line)}")


def _document(
    where: Where,
    importer: Importer,
    plan: Sequence[ImportedJob],
    added: Sequence[Job] = (),
    warnings: Sequence[ProfileWarning] = (),
    *,
    written: bool,
) -> dict[str, Any]:
    ids = {word: job.id for job in added for word in job.definition.tags}
    return importer.document(
        ImportReport(
            profile=where.name,
            plan=plan,
            written=written,
            jobs=[_job_document(importer, job, ids) for job in plan],
            warnings=output.warning_documents(warnings),
        )
    )


def _write(
    where: Where, importer: Importer, plan: Sequence[ImportedJob]
) -> tuple[list[Job], list[ProfileWarning]]:
    """All in one commit; the jobs, and each warning once."""
    with where.open(create=True) as profile:
        by, at = editor(f"tenure import {importer.name}"), now()
        added = add_jobs(profile.store, plan, tag=importer.tag, by=by, now=at)
        nudge_owner(profile, "jobs")
        profile.refresh_policy(by, at)
        warnings = dict.fromkeys(advice(profile, *added))
    return added, list(warnings)


def _job_document(importer: Importer, job: ImportedJob, ids: Mapping[str, str]) -> dict[str, Any]:
    return {
        **importer.job_document(job),
        "action": {Action.ADD: "add", Action.PRESENT: "present", Action.SKIP: "skip"}[job.action],
        "why": job.why or None,
        "remedy": job.remedy or None,
        "name": job.name,
        "id": ids.get(importer.tag + job.id),
        "paused": job.paused,
        "definition": definition_document(job.definition) if job.definition else None,
        "lost": list(job.lost),
        "differs": list(job.differs),
        "fires": importer.fires_document(job),
    }


def _print_plan(importer: Importer, plan: Sequence[ImportedJob]) -> None:
    for line in importer.heading(plan):
        output.say(output.safe(line))
    for warning in importer.warnings():
        output.warn(*warning)
    for job in plan:
        output.say()
        output.say(output.paint(output.safe(importer.title(job)), "bold"))
        if job.definition is None:
            _print_why_not(job)
        else:
            output.facts(_facts(job, job.definition), indent="  ")
            if job.compared is not None:
                _print_differences(job.compared, job.definition)
    for invalid in importer.invalid_lines():
        output.say()
        output.say(output.paint(f"line {invalid.number}: {output.safe(invalid.text)}", "bold"))
        output.say(f"  wrong: {output.safe(invalid.why)}")
        if invalid.remedy:
            output.say(f"  → {output.safe(invalid.remedy)}")
    output.say()
    for note in importer.notes(plan):
        output.paragraph(f"note: {note}")


def _print_why_not(job: ImportedJob) -> None:
    there = f" as {output.safe(job.name)}" if job.action is Action.PRESENT else ""
    output.say(f"  {job.action}{there}" + (f": {output.safe(job.why)}" if job.why else ""))
    if job.remedy:
        output.say(f"  → {output.safe(job.remedy)}")


def _facts(job: ImportedJob, definition: Definition) -> list[tuple[str, object]]:
    """What a job that is to be added becomes."""
    paused = "" if not job.paused else ", paused" + (" here only" if job.active else "")
    becomes = f"{output.safe(job.name)}: {definition.schedule.describe()}{paused}"
    pairs: list[tuple[str, object]] = [("becomes", becomes)]
    if (note := definition.schedule.either_day()) is not None:
        pairs.append(("note", f"{note[0]}; {note[1]}"))
    action = definition.action
    if isinstance(action, Command):
        pairs.append(("runs", _shorten(output.safe(action.describe()))))
        pairs.append(("in", output.safe(action.cwd) if action.cwd else None))
        pairs.append(("reads", _describe_input(action.stdin)))
        pairs.append(("with", ", ".join(map(output.safe, sorted(action.env))) or None))
    pairs += [("lost", output.safe(text)) for text in job.lost]
    pairs += [("differs", output.safe(text)) for text in job.differs]
    if job.compared is not None:
        pairs.append(("times", _describe_comparison(job.compared)))
    elif job.fires:
        zone = definition.schedule.timezone
        pairs.append(("next", ", ".join(local(fire, zone) for fire in job.fires)))
    return pairs


def _shorten(line: str) -> str:
    if len(line) <= LONGEST_COMMAND:
        return line
    return f"{line[:LONGEST_COMMAND]} ... ({len(line)} characters)"


def _describe_input(stdin: str | None) -> str | None:
    if stdin is None:
        return None
    first, *more = stdin.splitlines()
    return repr(first) + (f" and {len(more)} more lines" if len(more) > 1 else
                          " and 1 more line" if more else "")  # fmt: skip


def _describe_comparison(compared: FireComparison) -> str:
    """Whether both schedulers fire at the same instants."""
    if compared.why_not:
        return f"not compared: {output.safe(compared.why_not)}"
    if compared.differences:
        count = len(compared.differences)
        return f"{count} times differ" if count > 1 else "1 time differs"
    span = f"the next {len(compared.ours)} runs" if len(compared.ours) > 1 else "the only run"
    around = " and ".join(f"{at:%Y-%m-%d}" for at in compared.changes)
    return f"the same for {span}" + (f", and around {around}, when clocks change" if around else "")


def _print_differences(compared: FireComparison, definition: Definition) -> None:
    zone = definition.schedule.timezone
    for difference in compared.differences[:SHOWN]:
        scheduler = compared.who if difference.theirs else "Tenure"
        output.say(f"    {local(difference.at, zone):<24}  only {scheduler} runs it")
    if len(compared.differences) > SHOWN:
        output.say(f"    and {len(compared.differences) - SHOWN} more; --json lists them")
