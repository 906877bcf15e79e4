"""An import, whatever it comes from: shown first, then asked, then added all at once."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

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
from tenure.client.presence import editor, nudge_owner
from tenure.client.warnings import advice
from tenure.domain.errors import NotFound
from tenure.domain.job import Command, Definition, Job, JobState
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import Where, now
from tenure.surfaces.cli.output import local

SHOWN = 8
"""Differences that are listed for a job; --json has all."""
LONGEST_COMMAND = 400
"""Characters; a command may hold a prompt."""
Warning = tuple[str, str, str]
"""Code, text, remedy."""


def show_plan(where: Where, importer: Importer) -> Sequence[ImportedJob]:
    """The plan, shown unless a document is asked for. Raises what the importer's check raises."""
    try:
        with where.open(readonly=True) as profile:
            jobs, grace = all_jobs(profile.store), profile.settings().grace
            existing = read_existing(jobs, importer.tag, grace)
    except NotFound:  # a profile that the import would create
        existing = read_existing((), importer.tag)
    plan = importer.plan(existing)
    if not where.json:
        _print_plan(importer, plan)
    importer.check()
    return plan


def add(
    where: Where, importer: Importer, plan: Sequence[ImportedJob], *, dry_run: bool, yes: bool
) -> None:
    """Add the planned jobs after a confirmation, and print what was done."""
    adding, added, warnings = to_add(plan), list[Job](), list[Warning]()
    written = bool(adding) and not dry_run
    if written:
        doubt = importer.question(plan, yes=yes)
        question = f"{doubt}Add {count_jobs(adding)} to the profile {where.name}?"
        output.confirm(question, yes=yes)
        added, warnings = _write(where, importer, plan)
    if where.json:
        output.print_json(document_of(where, importer, plan, added, warnings, written=written))
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
        say_originals(importer, plan)
    for _code, text, remedy in warnings:
        output.warn(text, remedy)


def say_originals(importer: Importer, plan: Sequence[ImportedJob]) -> None:
    """What to type so that nothing runs twice."""
    if lines := importer.originals(plan):
        output.say()
        output.say(importer.originals_text)
        for line in lines:
            output.say(f"  {output.safe(line)}")


def document_of(
    where: Where,
    importer: Importer,
    plan: Sequence[ImportedJob],
    added: Sequence[Job] = (),
    warnings: Sequence[Warning] = (),
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
            warnings=[{"code": code, "text": text, "remedy": do} for code, text, do in warnings],
        )
    )


def _write(
    where: Where, importer: Importer, plan: Sequence[ImportedJob]
) -> tuple[list[Job], list[Warning]]:
    """All in one commit; the jobs, and each warning once."""
    with where.open(create=True) as profile:
        by, at = editor(f"tenure import {importer.name}"), now()
        added = add_jobs(profile.store, plan, tag=importer.tag, by=by, now=at)
        nudge_owner(profile, "jobs")
        profile.refresh_policy(by, at)
        warnings = {(w.code, w.text, w.remedy): None for w in advice(profile, *added)}
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
            _say_why_not(job)
        else:
            output.facts(_facts(job, job.definition), indent="  ")
            if job.compared is not None:
                _say_differences(job.compared, job.definition)
    for invalid in importer.invalid_lines():
        output.say()
        output.say(output.paint(f"line {invalid.number}: {output.safe(invalid.text)}", "bold"))
        output.say(f"  wrong: {output.safe(invalid.why)}")
        if invalid.remedy:
            output.say(f"  → {output.safe(invalid.remedy)}")
    output.say()
    for note in importer.notes(plan):
        output.paragraph(f"note: {note}")


def _say_why_not(job: ImportedJob) -> None:
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
        pairs.append(("fires", _describe_comparison(job.compared)))
    elif job.fires:
        zone = definition.schedule.timezone
        pairs.append(("fires", ", ".join(local(fire, zone) for fire in job.fires)))
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
        return f"{count} instants differ" if count > 1 else "1 instant differs"
    span = f"the next {len(compared.ours)}" if len(compared.ours) > 1 else "the only one"
    around = " and ".join(f"{at:%Y-%m-%d}" for at in compared.changes)
    return f"the same: {span}" + (f", and around {around}, when clocks change" if around else "")


def _say_differences(compared: FireComparison, definition: Definition) -> None:
    zone = definition.schedule.timezone
    for found in compared.differences[:SHOWN]:
        scheduler = compared.who if found.theirs else "Tenure"
        output.say(f"    {local(found.at, zone):<24}  only {scheduler} runs it")
    if len(compared.differences) > SHOWN:
        output.say(f"    and {len(compared.differences) - SHOWN} more; --json lists them")
