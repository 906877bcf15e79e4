"""What the importers share: what the profile has, asking, writing, and a job as it is shown."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from tenure.adapters.importer import (
    Action,
    Compared,
    Imported,
    Standing,
    carry_out,
    standing_of,
)
from tenure.client.advice import advice
from tenure.client.apply import all_jobs
from tenure.client.definitions import editor
from tenure.client.documents import definition_document, instant
from tenure.domain.errors import NotFound
from tenure.domain.job import DEFAULT_GRACE, Command, Definition, Job, JobState
from tenure.domain.schedule.words import either_day
from tenure.surfaces.cli import output
from tenure.surfaces.cli.nudges import nudge_owner
from tenure.surfaces.cli.times import local
from tenure.surfaces.cli.where import Where, now

SHOWN = 8
"""Differences that are listed for a job; --json has all."""
Warning = tuple[str, str, str]
"""Code, text, remedy."""


def standing_in(where: Where, tag: str) -> tuple[Standing, timedelta]:
    """What the profile has, and its grace; nothing where there is no profile yet."""
    try:
        with where.open(readonly=True) as profile:
            return standing_of(all_jobs(profile.store), tag), profile.settings().grace
    except NotFound:
        return Standing(), DEFAULT_GRACE


def renamed(job: Imported, *, prefix: str, paused: bool) -> Imported:
    """The job as the options of an import want it."""
    if job.definition is None:
        return job
    return replace(job, name=prefix + job.name, paused=paused or job.paused)


def ask(where: Where, adding: Sequence[Imported], *, yes: bool) -> None:
    """Raises InvalidInput unless it is confirmed."""
    number = len(adding)
    jobs = "1 job" if number == 1 else f"{number} jobs"
    output.confirm(f"Add {jobs} to the profile {where.name}?", yes=yes)


def write(
    where: Where, plan: Sequence[Imported], *, tag: str, via: str
) -> tuple[list[Job], list[Warning]]:
    """All of it in one commit; the jobs, and what to warn of, each once."""
    with where.open(create=True) as profile:
        by, at = editor(via), now()
        added = carry_out(profile.store, plan, tag=tag, by=by, now=at)
        nudge_owner(profile, "jobs")
        profile.refresh_policy(by, at)
        warnings = {(w.code, w.text, w.remedy): None for w in advice(profile, *added)}
    return added, list(warnings)


def facts_of(job: Imported) -> list[tuple[str, object]]:
    """What a job that is to be added becomes, for :func:`output.facts`."""
    assert job.definition is not None
    paused = ", paused" if job.paused else ""
    pairs: list[tuple[str, object]] = [
        ("becomes", f"{output.safe(job.name)}: {job.definition.schedule.describe()}{paused}")
    ]
    if (note := either_day(job.definition.schedule)) is not None:
        pairs.append(("note", f"{note[0]}; {note[1]}"))
    action = job.definition.action
    if isinstance(action, Command):
        pairs.append(("runs", output.safe(action.describe())))
        pairs.append(("in", output.safe(action.cwd) if action.cwd else None))
        pairs.append(("reads", _input(action.stdin)))
        pairs.append(("with", ", ".join(map(output.safe, sorted(action.env))) or None))
    pairs += [("lost", output.safe(text)) for text in job.lost]
    pairs += [("differs", output.safe(text)) for text in job.differs]
    return pairs


def say_why_not(job: Imported) -> None:
    """For a job that is not to be added."""
    there = f" as {output.safe(job.name)}" if job.action is Action.PRESENT else ""
    output.say(f"  {job.action}{there}" + (f": {output.safe(job.why)}" if job.why else ""))
    if job.remedy:
        output.say(f"  → {output.safe(job.remedy)}")


def upcoming(definition: Definition, at: datetime, count: int) -> list[datetime]:
    found: list[datetime] = []
    fire = definition.schedule.next_after(at)
    while fire is not None and len(found) < count:
        found.append(fire)
        fire = definition.schedule.next_after(fire)
    return found


def fires_in_words(definition: Definition, fires: Sequence[datetime]) -> str:
    """On the schedule's wall clock."""
    zone = definition.schedule.timezone
    return ", ".join(local(fire, zone) for fire in islice(fires, 100)) or "never"


def say_added(added: Sequence[Job]) -> None:
    for job in added:
        paused = " (paused)" if job.state is JobState.PAUSED else ""
        output.say(f"added {output.safe(job.name)} ({job.id}){paused}")
    for job in added:
        if job.state is JobState.PAUSED:
            output.say(f"  `tenure resume {shlex.quote(job.name)}` starts it")


def say_nothing_written(adding: Sequence[Imported]) -> None:
    output.say(f"{len(adding)} would be added" if adding else "nothing to add")


def job_document(job: Imported, added: Sequence[Job], tag: str) -> dict[str, Any]:
    """What every importer tells of a job; ``id`` once it is added."""
    ids = {word: made.id for made in added for word in made.definition.tags}
    return {
        "action": {Action.ADD: "add", Action.PRESENT: "present", Action.SKIP: "skip"}[job.action],
        "why": job.why or None,
        "remedy": job.remedy or None,
        "name": job.name,
        "id": ids.get(tag + job.id),
        "paused": job.paused,
        "definition": definition_document(job.definition) if job.definition else None,
        "lost": list(job.lost),
        "differs": list(job.differs),
    }


def warning_documents(warnings: Sequence[Warning]) -> list[dict[str, str]]:
    return [{"code": code, "text": text, "remedy": remedy} for code, text, remedy in warnings]


def instants(fires: Sequence[datetime]) -> list[str | None]:
    return [instant(fire) for fire in fires]


def _input(stdin: str | None) -> str | None:
    if stdin is None:
        return None
    first, *more = stdin.splitlines()
    return repr(first) + (f" and {len(more)} more lines" if len(more) > 1 else
                          " and 1 more line" if more else "")  # fmt: skip


def alike(compared: Compared | None) -> str | None:
    """Whether both fire at the same instants, in words; None where that was not asked."""
    if compared is None:
        return None
    if compared.why_not:
        return f"not compared: {output.safe(compared.why_not)}"
    if compared.differences:
        count = len(compared.differences)
        return f"{count} instants differ" if count > 1 else "1 instant differs"
    span = f"the next {len(compared.ours)}" if len(compared.ours) > 1 else "the only one"
    around = " and ".join(f"{at:%Y-%m-%d}" for at in compared.changes)
    return f"the same: {span}" + (f", and around {around}, when clocks change" if around else "")


def say_differences(compared: Compared | None, definition: Definition) -> None:
    if compared is None:
        return
    zone, who = definition.schedule.timezone, compared.who
    for found in compared.differences[:SHOWN]:
        side = who if found.theirs else "Tenure"
        output.say(f"    {local(found.at, zone):<24}  only {side} runs it")
    if len(compared.differences) > SHOWN:
        output.say(f"    and {len(compared.differences) - SHOWN} more; --json lists them")


def compared_document(compared: Compared | None) -> dict[str, Any] | None:
    if compared is None:
        return None
    return {
        "compared_with": compared.who or None,
        "problem": compared.why_not or None,
        "theirs": instants(compared.theirs),
        "tenure": instants(compared.ours),
        "clock_changes": instants(compared.changes),
        "differences": [
            {"at": instant(found.at), "theirs": found.theirs, "tenure": not found.theirs}
            for found in compared.differences
        ],
    }
