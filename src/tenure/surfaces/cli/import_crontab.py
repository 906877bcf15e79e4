"""``tenure import crontab``: shown line by line, then asked, then added all at once."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import click

from tenure.adapters.crontab.dialect import Dialect
from tenure.adapters.crontab.importer import TAG, Importing, Planned, notes, plan_lines
from tenure.adapters.crontab.lines import Wrong, read_crontab
from tenure.adapters.crontab.source import Source, dialect_here, machine_zone, read_source
from tenure.adapters.importer import Action, Imported, settle
from tenure.client.definitions import user_name
from tenure.domain.errors import InvalidInput, OutcomeUnknown, Refused
from tenure.domain.job import Job
from tenure.domain.schedule.zones import check_zone
from tenure.surfaces.cli import import_common as common
from tenure.surfaces.cli import output
from tenure.surfaces.cli.lazy import Verb
from tenure.surfaces.cli.where import Where, now

_WHOSE = {Dialect.DEBIAN: "Debian's cron", Dialect.CRONIE: "cronie"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """All that is shown before it is asked."""

    source: Source
    importing: Importing
    plan: tuple[Planned, ...]
    wrong: tuple[Wrong, ...]
    count: int

    @property
    def jobs(self) -> list[Imported]:
        return [planned.job for planned in self.plan]

    @property
    def adding(self) -> list[Imported]:
        return [job for job in self.jobs if job.definition is not None]


@click.command(cls=Verb)
@click.argument("file", required=False, metavar="[FILE|-]")
@click.option("--system", is_flag=True, help="With a column for the user (/etc/crontab).")
@click.option("--user", metavar="NAME", help="Whose lines (yours).")
@click.option("--dialect", type=click.Choice([str(d) for d in Dialect]),
              help="Whose rules hold (those of the cron that is installed).")  # fmt: skip
@click.option("--tz", metavar="ZONE", help="The zone that cron runs in (the machine's).")
@click.option("--skip-broken", is_flag=True, help="List lines that are wrong, and leave them out.")
@click.option("--prefix", default="", metavar="TEXT", help="Put this before the names.")
@click.option("--paused", is_flag=True, help="Add them paused.")
@click.option("-n", "count", default=3, type=click.IntRange(1, 100), show_default=True,
              metavar="N", help="Fires to show of each.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask.")
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
    source = read_source(file, system=system, user=user)
    me = user_name() or str(os.geteuid())
    _check_user(user or me, me)
    rules = Dialect(dialect) if dialect else dialect_here()
    zone = check_zone(tz) if tz else _machine_zone()
    importing = Importing(user=me, of=user or me, zone=zone, now=now(), dialect=rules)
    shown = _show(where, source, importing, count, prefix, paused)
    if not where.json:
        _say(shown)
    if shown.wrong and not skip_broken:
        raise _broken(shown)
    if dry_run or not shown.adding:
        _end(where, shown, [], [], written=False)
        return
    common.ask(where, shown.adding, yes=yes)
    added, warnings = common.write(where, shown.jobs, tag=TAG, via="tenure import crontab")
    _end(where, shown, added, warnings, written=True)


def _check_user(of: str, me: str) -> None:
    if of != me and os.geteuid() == 0:
        raise Refused(
            f"the jobs of {of} would run as {me} here: Tenure starts jobs as who runs the owner",
            field="user",
            remedy=f"import them as {of}: sudo -u {shlex.quote(of)} tenure import crontab",
        )


def _machine_zone() -> str:
    zone, doubt = machine_zone()
    if doubt:
        raise OutcomeUnknown(doubt, remedy="name it: --tz Area/City")
    return zone


def _show(
    where: Where,
    source: Source,
    importing: Importing,
    count: int,
    prefix: str,
    paused: bool,
) -> Shown:
    standing, grace = common.standing_in(where, TAG)
    importing = replace(importing, grace=grace)
    read = read_crontab(source.text, system=source.system, dialect=importing.dialect)
    plan = plan_lines(read, importing)
    jobs = (common.renamed(planned.job, prefix=prefix, paused=paused) for planned in plan)
    settled = zip(plan, settle(jobs, standing), strict=True)
    return Shown(
        source=source,
        importing=importing,
        plan=tuple(replace(planned, job=job) for planned, job in settled),
        wrong=read.wrong,
        count=count,
    )


def _say(shown: Shown) -> None:
    jobs = "1 job" if len(shown.plan) == 1 else f"{len(shown.plan)} jobs"
    name = "standard input" if shown.source.name == "-" else shown.source.name
    output.say(
        f"{jobs} in {name}, read as {_WHOSE[shown.importing.dialect]} reads it, times in"
        f" {shown.importing.zone}"
    )
    for planned in shown.plan:
        output.say()
        title = f"line {planned.line.number}: {output.safe(planned.job.shown)}"
        output.say(output.paint(title, "bold"))
        if planned.job.definition is None:
            common.say_why_not(planned.job)
            continue
        fires = common.upcoming(planned.job.definition, shown.importing.now, shown.count)
        words = common.fires_in_words(planned.job.definition, fires)
        output.facts([*common.facts_of(planned.job), ("fires", words)], indent="  ")
    for wrong in shown.wrong:
        output.say()
        output.say(output.paint(f"line {wrong.number}: {output.safe(wrong.text)}", "bold"))
        output.say(f"  wrong: {output.safe(wrong.why)}")
        if wrong.remedy:
            output.say(f"  → {output.safe(wrong.remedy)}")
    output.say()
    for note in notes(shown.plan):
        output.paragraph(f"note: {note}")


def _broken(shown: Shown) -> InvalidInput:
    first, number = shown.wrong[0], len(shown.wrong)
    more = f", nor {number - 1} more" if number > 1 else ""
    return InvalidInput(
        f"{first.why}; this line cannot be imported{more}, and so nothing was",
        field=f"line {first.number}",
        remedy=f"{first.remedy + '; ' if first.remedy else ''}--skip-broken leaves such lines out",
        wrong=_wrong_documents(shown),
    )


def _end(
    where: Where,
    shown: Shown,
    added: Sequence[Job],
    warnings: Sequence[common.Warning],
    *,
    written: bool,
) -> None:
    """What was done, and what is left to do by hand."""
    commands = _comment_out(shown)
    if where.json:
        output.print_json(_document(where, shown, added, warnings, commands, written=written))
        return
    common.say_added(added)
    if not written:
        common.say_nothing_written(shown.adding)
    if commands and (written or not shown.adding):
        output.say()
        output.say("cron still runs the originals. So that nothing runs twice:")
        for command in commands:
            output.say(f"  {output.safe(command)}")
    for _code, text, remedy in warnings:
        output.warn(text, remedy)


def _comment_out(shown: Shown) -> list[str]:
    """What to type so that cron leaves alone what runs here. Nothing of it is done here."""
    numbers = [p.line.number for p in shown.plan if p.job.action is not Action.SKIP]
    if not numbers:
        return []
    script = shlex.quote(";".join(f"{number}s/^/#/" for number in numbers))
    source = shown.source
    if source.path is not None:
        sudo = "" if os.access(source.path.parent, os.W_OK) else "sudo "
        return [f"{sudo}sed -i.before {script} {shlex.quote(str(source.path))}"]
    if source.name == "-":
        return ["comment out " + ", ".join(f"line {number}" for number in numbers)]
    install = source.name.removesuffix("-l") + "-"
    return [f"{source.name} > crontab.before && sed {script} crontab.before | {install}"]


def _wrong_documents(shown: Shown) -> list[dict[str, Any]]:
    return [
        {"line": w.number, "text": output.safe(w.text), "why": w.why, "remedy": w.remedy or None}
        for w in shown.wrong
    ]


def _document(
    where: Where,
    shown: Shown,
    added: Sequence[Job],
    warnings: Sequence[common.Warning],
    commands: Sequence[str],
    *,
    written: bool,
) -> dict[str, Any]:
    return {
        "crontab": {
            "source": shown.source.name,
            "system": shown.source.system,
            "dialect": str(shown.importing.dialect),
            "timezone": shown.importing.zone,
            "user": shown.importing.of,
        },
        "profile": where.name,
        "written": written,
        "jobs": [_job_document(planned, shown, added) for planned in shown.plan],
        "wrong": _wrong_documents(shown),
        "notes": notes(shown.plan),
        "comment_out": list(commands),
        "warnings": common.warning_documents(warnings),
    }


def _job_document(planned: Planned, shown: Shown, added: Sequence[Job]) -> dict[str, Any]:
    job, fires = planned.job, list[datetime]()
    if job.definition is not None:
        fires = common.upcoming(job.definition, shown.importing.now, shown.count)
    return {
        "line": planned.line.number,
        "text": planned.job.shown,
        **common.job_document(job, added, TAG),
        "fires": common.instants(fires),
    }
