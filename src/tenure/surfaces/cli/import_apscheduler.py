"""``tenure import apscheduler``: declarations for the application, or jobs that run commands."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from tenure.adapters.apscheduler.declarations import python_file
from tenure.adapters.apscheduler.importer import TAG, Importing, Planned, plan_rows
from tenure.adapters.apscheduler.stores import TABLE, read_rows, shown
from tenure.adapters.apscheduler.templates import DEFAULT, Template
from tenure.adapters.importer import Action, Imported, Standing, settle
from tenure.domain.errors import Conflict, InvalidInput
from tenure.domain.job import Job
from tenure.store.folder.user_home import expand
from tenure.surfaces.cli import import_common as common
from tenure.surfaces.cli import output
from tenure.surfaces.cli.lazy import Verb
from tenure.surfaces.cli.where import Where, now


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """All that is shown before it is asked."""

    url: str
    plan: tuple[Planned, ...]
    commands: bool

    @property
    def jobs(self) -> list[Imported]:
        return [planned.job for planned in self.plan]

    @property
    def adding(self) -> list[Imported]:
        return [job for job in self.jobs if job.definition is not None]


@click.command(cls=Verb)
@click.argument("url")
@click.option("--tablename", default=TABLE, show_default=True, metavar="NAME",
              help="The store's table, with its schema if it has one.")  # fmt: skip
@click.option("--out", metavar="FILE", help="Write the declarations there (standard output).")
@click.option("--as-commands", is_flag=True, help="Add jobs that run a command instead.")
@click.option("--command-template", default=DEFAULT, show_default=True, metavar="WORDS",
              help="That command; also with {func}, {args}, {kwargs}, {id}, {name}.")  # fmt: skip
@click.option("--cwd", metavar="DIR", help="Where it runs (this folder).")
@click.option("--prefix", default="", metavar="TEXT", help="Put this before the names.")
@click.option("-n", "count", default=20, type=click.IntRange(1, 500), metavar="N",
              help="Fires to compare (20), besides those around clock changes.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask.")
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
    template = None
    if as_commands:
        folder = os.path.abspath(expand(cwd or os.curdir, "cwd"))
        template = Template(words=command_template, python=sys.executable, cwd=folder)
    elif cwd or command_template != DEFAULT:
        raise InvalidInput("only commands have one", field="cwd" if cwd else "command-template",
                           remedy="add --as-commands")  # fmt: skip
    if as_commands and out is not None:
        raise InvalidInput("jobs that run commands are written to no file", field="out")
    found = _show(where, url, tablename, template, prefix, count)
    to_stdout = not as_commands and out is None
    if not where.json:
        with contextlib.redirect_stdout(sys.stderr if to_stdout else sys.stdout):
            _say(found)
    if as_commands:
        _add(where, found, dry_run=dry_run, yes=yes)
    else:
        _declare(where, found, out, dry_run=dry_run, yes=yes)


def _show(
    where: Where, url: str, tablename: str, template: Template | None, prefix: str, count: int
) -> Shown:
    standing, grace = common.standing_in(where, TAG)
    importing = Importing(
        now=now(),
        app=where.name,
        template=template,
        grace=grace,
        count=count,
    )
    plan = plan_rows(read_rows(url, tablename), importing)
    jobs = (common.renamed(planned.job, prefix=prefix, paused=False) for planned in plan)
    settled = settle(jobs, standing if template is not None else Standing())
    return Shown(
        url=shown(url),
        plan=tuple(replace(p, job=job) for p, job in zip(plan, settled, strict=True)),
        commands=template is not None,
    )


def _say(found: Shown) -> None:
    jobs = "1 job" if len(found.plan) == 1 else f"{len(found.plan)} jobs"
    output.say(f"{jobs} of APScheduler in {output.safe(found.url)}")
    for planned in found.plan:
        job = planned.job
        output.say()
        title = f"{job.id}: {job.shown}" if job.shown else job.id
        output.say(output.paint(output.safe(title), "bold"))
        if job.definition is None:
            common.say_why_not(job)
            continue
        output.facts(
            [*common.facts_of(job), ("fires", common.alike(planned.compared))], indent="  "
        )
        common.say_differences(planned.compared, job.definition)
    output.say()
    if found.commands and found.adding:
        output.paragraph(f"note: {_PROCESS}")


_PROCESS = "each command is a process of its own: what the application keeps in memory is not there"


def _declare(where: Where, found: Shown, out: str | None, *, dry_run: bool, yes: bool) -> None:
    text = python_file(found.plan, source=found.url, app=where.name)
    written = False
    if out is not None and found.adding and not dry_run:
        number = len(found.adding)
        output.confirm(f"Write {number} declaration{'' if number == 1 else 's'} to {out}?", yes=yes)
        _write_file(Path(out), text)
        written = True
    if where.json:
        document = _document(where, found, [], [], written=written)
        output.print_json({**document, "python": text, "file": out})
        return
    if out is None:
        sys.stdout.write(text)
    elif written:
        output.say(f"wrote {out}; import it where the application starts")
        _say_doubled(found)
    else:
        output.say(f"{len(found.adding)} would be declared in {out}")


def _write_file(path: Path, text: str) -> None:
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Conflict(f"{path} exists, and was left as it is", field="out",
                       remedy="name another file") from None  # fmt: skip


def _add(where: Where, found: Shown, *, dry_run: bool, yes: bool) -> None:
    added: list[Job] = []
    warnings: list[common.Warning] = []
    written = bool(found.adding) and not dry_run
    if written:
        common.ask(where, found.adding, yes=yes)
        via = "tenure import apscheduler"
        added, warnings = common.write(where, found.jobs, tag=TAG, via=via)
    if where.json:
        output.print_json(_document(where, found, added, warnings, written=written))
        return
    common.say_added(added)
    if not written:
        common.say_nothing_written(found.adding)
    if written or not found.adding:
        _say_doubled(found)
    for _code, text, remedy in warnings:
        output.warn(text, remedy)


def _doubled(found: Shown) -> list[str]:
    """What to type in the application, so that nothing runs twice."""
    return [
        f"scheduler.remove_job({planned.stored.id!r})"
        for planned in found.plan
        if planned.stored and planned.job.active and planned.job.action is not Action.SKIP
    ]


def _say_doubled(found: Shown) -> None:
    lines = _doubled(found)
    if lines:
        output.say()
        output.say("APScheduler still runs the originals. So that nothing runs twice, take its")
        output.say("scheduler out of the application, or these jobs out of its store:")
        for line in lines:
            output.say(f"  {output.safe(line)}")


def _document(
    where: Where,
    found: Shown,
    added: Sequence[Job],
    warnings: Sequence[common.Warning],
    *,
    written: bool,
) -> dict[str, Any]:
    return {
        "store": found.url,
        "profile": where.name,
        "written": written,
        "jobs": [
            {
                "apscheduler_id": planned.stored.id if planned.stored else planned.job.id,
                "apscheduler_job": planned.job.shown or None,
                "active_in_apscheduler": planned.job.active,
                **common.job_document(planned.job, added, TAG),
                "fires": common.compared_document(planned.compared),
            }
            for planned in found.plan
        ],
        "remove_in_apscheduler": _doubled(found),
        "warnings": common.warning_documents(warnings),
    }
