"""``tenure status``: the owner, the processes and why, warnings, what runs next."""

from __future__ import annotations

import sys
import time

import click

from tenure.client.documents import to_json
from tenure.client.presence import Present
from tenure.client.status import Status, read_status, status_document
from tenure.domain.ownership import HolderLife
from tenure.domain.process import Activity, Process
from tenure.runtime.profile import Profile
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import Verb, Where, now
from tenure.surfaces.cli.output import span, when


@click.command(cls=Verb)
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C.")
@click.option("--interval", type=click.FloatRange(0.1, 3600), default=1.0, hidden=True)
@click.pass_obj
def status(where: Where, watch: bool, interval: float) -> int:
    """Show the owner, the scheduler processes with their status, warnings and what runs next.

    Exit code 1 when there are warnings.
    """
    while (new_profile := where.new_profile()) is not None:
        where.say_home()
        code = _show(where, new_profile.status(now()), watch=watch, note=new_profile.text())
        if not watch:
            return code
        time.sleep(interval)
    with where.open(readonly=True, warns=False) as profile:
        where.say_home()
        while True:
            code = _show(where, read_status(profile, now(), foreign=_foreign(profile)), watch=watch)
            if not watch:
                return code
            time.sleep(interval)


def _show(where: Where, report: Status, *, watch: bool, note: str = "") -> int:
    if where.json:
        making = {"in_the_making": True} if note else {}
        output.print_json({**to_json(status_document(report)), **making})
    else:
        if watch and sys.stdout.isatty():
            sys.stdout.write("\x1b[H\x1b[J")
        print_status(report)
        if note:
            output.paragraph(output.safe(note))
    sys.stdout.flush()
    return 1 if report.warnings else 0


def _foreign(profile: Profile) -> tuple[Process, ...]:
    """The schedulers of a Hermes profile that was adopted into this one, and that do not obey."""
    link = profile.folder.path / "hermes.json"
    if not link.exists():
        return ()
    # Costs what only such a profile pays.
    from tenure.adapters.hermes.look.survey import foreign_of

    return foreign_of(link)


def print_status(report: Status) -> None:
    """The whole report for people."""
    _print_owner(report)
    alive = [Present(process=p, life=HolderLife.ALIVE) for p in report.foreign]
    if processes := [*report.health.present, *alive]:
        output.say()
        output.table(
            ["pid", "standing", "role", "program", "why"],
            [_process_row(p) for p in processes],
            states=frozenset({1}),
        )
    _print_counts(report)
    for job in report.upcoming:
        zone, shield = job.definition.schedule.timezone, ""
        if job.definition.needs_authority:
            shield = " [protected]"
        at = job.next_fire
        upcoming = when(at, zone, report.at) if at else "on hold"
        output.say(f"  next  {output.safe(job.name)}{shield}  {upcoming}")
    for warning in report.warnings:
        output.say()
        output.print_warning(warning.code, warning.text, warning.remedy)


def _print_owner(report: Status) -> None:
    health = report.health
    title = output.paint(f"profile {report.profile}", "bold")
    output.say(f"{title}  {output.paint(report.folder, 'dim')}")
    if health.owner is None:
        last = health.ownership.term
        ended = f"; the last term was {last}" if last else ""
        output.say(f"owner   {output.paint('none', 'red')}{ended}")
        return
    current, process = health.ownership, health.owner.process
    life = ""
    if health.owner.life is not HolderLife.ALIVE:
        life = " " + output.paint(str(health.owner.life), "red bold")
    elif health.halted:
        life = " " + output.paint(str(health.owner.activity), "red bold")
    elif health.hung:
        life = " " + output.paint("hung", "red bold")
    elif health.owner.activity is Activity.UNKNOWN:
        life = ", state unknown"
    since = f", for {span(report.at - current.since)}" if current.since else ""
    output.say(f"owner   pid {process.pid}{_role(process)}{life}, term {current.term}{since}")
    if current.rule is None:
        rule = "none: any of your processes may become owner, and protected jobs are on hold"
    elif current.authoritative:
        rule = f"{current.rule + 1}, authoritative"
    else:
        rule = f"{current.rule + 1}, not authoritative: protected jobs are on hold"
    output.say(f"rule    {rule}")


def _print_counts(report: Status) -> None:
    counts = report.counts
    jobs = ", ".join(f"{n} {state}" for state, n in counts.jobs.items() if n) or "none"
    output.say()
    output.say(f"jobs    {jobs}" + (f" ({counts.protected} protected)" if counts.protected else ""))
    extra = [
        f"{number} {one if number == 1 else many}"
        for number, one, many in (
            (counts.active_runs, "run active", "runs active"),
            (
                counts.open_holds,
                "range of scheduled runs on hold",
                "ranges of scheduled runs on hold",
            ),
            (counts.pending_requests, "request pending", "requests pending"),
        )
        if number
    ]
    if extra:
        output.say("now     " + ", ".join(extra))


def _process_row(present: Present) -> list[object]:
    process = present.process
    standing = str(process.standing)
    if present.life is not HolderLife.ALIVE:
        standing += f" ({present.life})"
    elif present.activity.halted:
        standing += f" ({present.activity})"
    program = process.evidence.executable or "?"
    service = process.evidence.service
    if service is not None:
        program += f" [{service.name}]"
    return [process.pid, standing, process.role or "-", program, process.why]


def _role(process: Process) -> str:
    return f" ({process.role})" if process.role else ""
