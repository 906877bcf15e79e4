"""``tenure hermes status``: who executes the jobs of a Hermes profile, adopted or not."""

from __future__ import annotations

from datetime import timedelta

import click

from tenure.adapters.hermes.adopt.drift import drift
from tenure.adapters.hermes.look.report import HermesProcess, Survey
from tenure.adapters.hermes.look.scan import Lock
from tenure.adapters.hermes.look.survey import survey
from tenure.host.local_zone import local_zone
from tenure.surfaces.cli import output
from tenure.surfaces.cli.hermes import HermesVerb, hermes_where
from tenure.surfaces.cli.output import local, span, when

SHOWN = 5
"""The number of last runs shown."""
_APART = timedelta(seconds=90)
"""Heartbeat and last success lie so far apart only where ticks fail."""


@click.command(cls=HermesVerb)
@click.pass_context
def status(context: click.Context) -> int:
    """Show which processes tick, hold the locks, ran the last jobs and can run the next.

    This changes nothing and needs no adoption. Exit code 1 when there are warnings.
    """
    where = hermes_where(context)
    result = survey(where.find(), drift=drift)
    if where.json:
        output.print_json(result.to_json())
    else:
        print_survey(result)
    return 1 if result.warnings else 0


def print_survey(result: Survey) -> None:
    """The whole report for people."""
    zone = local_zone()
    title = output.paint(f"hermes profile {output.safe(result.home.profile)}", "bold")
    output.say(f"{title}  {output.paint(output.safe(result.home.path), 'dim')}")
    output.paragraph(output.safe(result.verdict))
    output.say()
    _print_facts(result, zone)
    if result.processes:
        output.say()
        output.table(
            ["pid", "role", "ticks", "since", "why"],
            [_row(process, zone) for process in result.processes],
        )
    _print_next(result, zone)
    _print_runs(result, zone)
    _print_elsewhere(result)
    for warning in result.warnings:
        output.say()
        output.print_warning(warning.code, warning.text, warning.remedy)


def _print_facts(result: Survey, zone: str) -> None:
    beats = result.heartbeats
    ticked = None
    if beats.ticked is not None:
        ticked = f"{span(beats.ticked)} ago, by some ticker"
        if beats.succeeded is not None and beats.succeeded - beats.ticked > _APART:
            ticked += f"; without an error {span(beats.succeeded)} ago"
    output.facts(
        [
            ("version", _version(result)),
            ("adoption", _adoption(result, zone)),
            ("jobs", _jobs(result)),
            ("gateway.lock", _lock(result, result.gateway_lock)),
            ("tick lock", _lock(result, result.tick_lock)),
            ("ticked", ticked),
            ("service", result.service and output.safe(result.service)),
        ]
    )


def _version(result: Survey) -> str:
    first = result.installation
    if first is None:
        return output.paint("no Hermes installation found", "red")
    version = first.version or "unknown"
    if not first.verified:
        version += " (not verified)"
    others = ""
    if len(result.installations) > 1:
        more = ", ".join(f"{i.version or '?'} by {i.found_by}" for i in result.installations[1:])
        others = f"; also {more}"
    return output.safe(f"{version}, by {first.found_by}{others}")


def _adoption(result: Survey, zone: str) -> str:
    adoption = result.adoption
    if adoption is None:
        return "none"
    since = f" since {local(adoption.adopted_at, zone)}" if adoption.adopted_at else ""
    owner = result.process(result.owner)
    who = "no owner" if result.owner is None else f"owned by pid {result.owner}"
    if owner is not None:
        who = f"owned by {owner.describe()}"
    return output.safe(
        f"{adoption.state}{since}, into Tenure's profile {adoption.tenure_profile}; {who}"
    )


def _jobs(result: Survey) -> str:
    jobs = result.jobs
    if jobs.problem is not None:
        return output.paint(output.safe(f"unreadable: {jobs.problem}"), "red")
    if not jobs.present:
        return "none"
    odd = f"; {jobs.odd} invalid entries" if jobs.odd else ""
    return f"{len(jobs.jobs)}, {jobs.enabled} enabled{odd}"


def _lock(result: Survey, lock: Lock) -> str:
    if lock.fence:
        return "a folder, which blocks every tick outside the adoption"
    if not lock.known:
        return "unknown: this system does not report lock holders"
    if not lock.held:
        return "free"
    process = result.process(lock.pid)
    if process is not None:
        return f"held by {process.describe()}"
    if not lock.named:
        return "held; this system does not report by which process"
    return f"held by pid {lock.pid}" if lock.pid else "held by a process hidden from this user"


def _row(process: HermesProcess, zone: str) -> list[object]:
    service = process.evidence.service if process.evidence else None
    role = process.role.words + (f" [{service.name}]" if service else "")
    known = "" if process.store == "observed" else " Its home is stated, not observed."
    restart = " It started before the adoption." if process.before_adoption else ""
    return [
        process.pid,
        role,
        str(process.ticks),
        local(process.started_at, zone).rsplit(" ", 1)[0],
        f"{process.why}; {process.seen}.{known}{restart}",
    ]


def _print_next(result: Survey, zone: str) -> None:
    ahead = result.next_run()
    if ahead is None:
        return
    output.say()
    name, due = output.safe(ahead.job.name), when(ahead.job.due, zone, result.at)
    output.say(f"next  {name}, due {due}")
    winner = result.process(ahead.winner)
    if winner is not None:
        text = f"{winner.describe()} runs it: {ahead.why}"
    elif ahead.winner is not None:
        text = f"pid {ahead.winner} runs it: {ahead.why}"
    elif ahead.rivals:
        text = f"one of {len(ahead.rivals)} processes runs it: {ahead.why}"
    else:
        text = f"no process runs it: {ahead.why}"
    output.paragraph("      " + text)


def _print_runs(result: Survey, zone: str) -> None:
    ledger = result.ledger
    output.say()
    if not ledger.known:
        output.paragraph(f"runs  unknown: {output.safe(ledger.why)}")
        return
    if not ledger.rows:
        output.say("runs  none recorded")
        return
    tallied = ", ".join(f"{role} {count}" for role, count in result.by_role().items())
    many = len(ledger.rows)
    output.say(f"runs  last {many}: {tallied}")
    job_names = {job.id: job.name for job in result.jobs.jobs}
    for row in ledger.rows[:SHOWN]:
        at = local(row.claimed_at, zone).rsplit(" ", 1)[0] if row.claimed_at else "?"
        asked = ", on request" if row.source == "direct" else ""
        name = output.safe(job_names.get(row.job, row.job))
        role = result.role_of_run(row)
        output.say(f"  {at}  {name}  {role} pid {row.pid}{asked}  {output.safe(row.status)}")


def _print_elsewhere(result: Survey) -> None:
    """Processes that are easily taken for this profile's: left out, and said to be."""
    if not result.elsewhere:
        return
    output.say()
    count = len(result.elsewhere)
    what = "process of another home" if count == 1 else "processes of other homes"
    output.say(f"left out: {count} Hermes {what}")
    homes: dict[str, list[str]] = {}
    for other in result.elsewhere:
        alike = " (the same profile name)" if other.same_name else ""
        homes.setdefault(f"{output.safe(other.home)}{alike}", []).append(str(other.pid))
    for home, pids in homes.items():
        output.say(f"  {home}: pid {', '.join(pids)}")
