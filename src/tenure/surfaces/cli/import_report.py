"""What ``tenure import hermes`` shows: for people job by job, and as a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tenure.adapters.hermes_import.comparison import Compared
from tenure.adapters.hermes_import.importer import TAG, doubled
from tenure.adapters.hermes_import.losses import notes
from tenure.adapters.importer import Imported
from tenure.client.documents import instant
from tenure.domain.job import Command, Job
from tenure.domain.schedule.model import ScheduleKind
from tenure.surfaces.cli import output
from tenure.surfaces.cli.import_common import (
    Warning,
    instants,
    job_document,
    say_added,
    say_nothing_written,
    say_why_not,
    warning_documents,
)
from tenure.surfaces.cli.times import local
from tenure.surfaces.cli.where import Where

if TYPE_CHECKING:
    from tenure.surfaces.cli.import_hermes import Shown

SHOWN = 8
"""Differences that are listed for a job; --json has all."""
LONGEST = 400
"""Characters of a command, which may hold a prompt."""


def show(shown: Shown) -> None:
    """All jobs, before it is asked."""
    found = shown.rehearsed
    jobs = "1 job" if len(shown.plan) == 1 else f"{len(shown.plan)} jobs"
    output.say(f"{jobs} of Hermes in {shown.home.path}, times in {found.zone}")
    if found.by is None:
        output.say(f"not compared: {found.why_not}")
    else:
        output.say(f"compared with what {found.by} computes")
    if found.doubt:
        output.warn(found.doubt, "run this with TZ=ZONE, or set `timezone:` in Hermes' config.yaml")
    if found.unknown:
        output.warn(f"how Hermes runs scripts was not told: {found.unknown}")
    for job in shown.plan:
        output.say()
        _job(shown, job)
    output.say()
    for note in notes([job.definition for job in shown.adding if job.definition], shown.home):
        output.paragraph(f"note: {note}")


def _job(shown: Shown, job: Imported) -> None:
    title = f"{output.safe(job.name)} ({job.id}): {output.safe(job.shown)}"
    output.say(output.paint(title, "bold"))
    if job.definition is None:
        say_why_not(job)
        return
    compared = shown.compared[job.id]
    paused = "" if not job.paused else ", paused" + (" here only" if job.active else "")
    action = job.definition.action
    pairs: list[tuple[str, object]] = [("becomes", job.definition.schedule.describe() + paused)]
    if isinstance(action, Command):
        pairs.append(("runs", _shorter(output.safe(action.describe()))))
        if action.cwd is not None and not action.argv[-1].startswith(action.cwd):
            pairs.append(("in", output.safe(action.cwd)))
    pairs += [("lost", output.safe(text)) for text in job.lost]
    pairs += [("differs", output.safe(text)) for text in job.differs]
    pairs.append(("fires", _fires(shown, job, compared)))
    output.facts(pairs, indent="  ")
    _differences(compared, job)


def _shorter(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ... ({len(line)} characters)"


def _fires(shown: Shown, job: Imported, compared: Compared) -> str:
    assert job.definition is not None
    if compared.problem:
        return "not compared" if shown.rehearsed.by is None else f"Hermes: {compared.problem}"
    if compared.differences:
        count = len(compared.differences)
        return f"{count} instants differ" if count > 1 else "1 instant differs"
    span = f"the next {len(compared.tenure)}" if len(compared.tenure) > 1 else "the only one"
    changes = shown.rehearsed.changes if job.definition.schedule.kind is not ScheduleKind.AT else ()
    around = " and ".join(f"{at:%Y-%m-%d}" for at in changes)
    return f"the same: {span}" + (f", and around {around}, when clocks change" if around else "")


def _differences(compared: Compared, job: Imported) -> None:
    assert job.definition is not None
    zone = job.definition.schedule.timezone
    for found in compared.differences[:SHOWN]:
        who = "Hermes runs it   -" if found.hermes else "-                Tenure runs it"
        output.say(f"    {local(found.at, zone):<24}  {who}")
    if len(compared.differences) > SHOWN:
        output.say(f"    and {len(compared.differences) - SHOWN} more; --json lists them")


def end(
    where: Where,
    shown: Shown,
    added: Sequence[Job],
    warnings: Sequence[Warning],
    *,
    written: bool,
) -> None:
    """What was done, and what is left to do by hand."""
    if where.json:
        output.print_json(document(shown, added, warnings, written=written))
        return
    say_added(added)
    if not written:
        say_nothing_written(shown.adding)
    lines = doubled(shown.plan, shown.home)
    if lines and (written or not shown.adding):
        output.say()
        output.say("Hermes still runs the originals. So that nothing runs twice, pause them there:")
        for line in lines:
            output.say(f"  {line}")
    for _code, text, remedy in warnings:
        output.warn(text, remedy)


def document(
    shown: Shown,
    added: Sequence[Job],
    warnings: Sequence[Warning],
    *,
    written: bool,
) -> dict[str, Any]:
    found = shown.rehearsed
    return {
        "hermes": {
            "home": str(shown.home.path),
            "profile": shown.home.profile,
            "python": found.means.python,
            "version": found.means.version,
            "timezone": found.zone,
            "timezone_doubt": found.doubt or None,
            "unknown": found.unknown or None,
        },
        "profile": shown.profile,
        "compared_by": found.by,
        "not_compared_because": found.why_not or None,
        "clock_changes": [instant(at) for at in found.changes],
        "written": written,
        "jobs": [_job_document(shown, job, added) for job in shown.plan],
        "notes": notes([job.definition for job in shown.adding if job.definition], shown.home),
        "pause_in_hermes": doubled(shown.plan, shown.home),
        "warnings": warning_documents(warnings),
    }


def _job_document(shown: Shown, job: Imported, added: Sequence[Job]) -> dict[str, Any]:
    compared = shown.compared.get(job.id)
    return {
        "hermes_id": job.id,
        "hermes_schedule": job.shown,
        "active_in_hermes": job.active,
        **job_document(job, added, TAG),
        "fires": None if compared is None else _compared_document(compared),
    }


def _compared_document(compared: Compared) -> dict[str, Any]:
    done = not compared.problem
    return {
        "compared": done,
        "problem": compared.problem or None,
        "hermes": instants(compared.hermes) if done else None,
        "tenure": instants(compared.tenure),
        "differences": [
            {"at": instant(found.at), "hermes": found.hermes, "tenure": not found.hermes}
            for found in compared.differences
        ]
        if done
        else None,
    }
