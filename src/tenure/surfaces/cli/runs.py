"""``tenure runs``: what ran, by which process, how it ended; --all: also what did not run."""

from __future__ import annotations

import json
import shlex
from datetime import datetime
from functools import cache, partial
from typing import Any

import click

from tenure.client.documents.runs import RunDocument, omission_document, run_document
from tenure.domain.errors import InvalidInput, NotFound
from tenure.domain.job import Job
from tenure.domain.omission import Omission
from tenure.domain.request import Request
from tenure.domain.run import Run, RunState
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import JOB, Verb, Where, now
from tenure.surfaces.cli.output import local, outcome, relative, span


@click.command(cls=Verb)
@click.argument("job", required=False, type=JOB)
@click.option(
    "--all", "every", is_flag=True, help="Also list scheduled runs that did not run, as ranges."
)
@click.option(
    "--state", "states", multiple=True, type=click.Choice([str(s) for s in RunState]),
    help="Only runs in this state (repeatable).",
)  # fmt: skip
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, 1000),
    help="Maximum number to show (20; with --json 100).",
)
@click.option("--cursor", help="Continue after the previous page (its 'next').")
@click.pass_obj
def runs(
    where: Where,
    job: str | None,
    every: bool,
    states: tuple[str, ...],
    limit: int | None,
    cursor: str | None,
) -> None:
    """List runs, the newest first, of one job or of all."""
    limit = limit or (100 if where.json else 20)
    with where.open(readonly=True) as profile:
        wanted = profile.store.job(job) if job else None
        only = frozenset(RunState(s) for s in states) or None
        which = wanted.id if wanted else None
        begin, omitted_begin = _positions(cursor) if every else (cursor, _END)
        found: tuple[Run, ...] = ()
        omissions: tuple[Omission, ...] = ()
        following = omitted_following = None
        if begin != _END:
            found, following = profile.store.runs(
                RunFilter(job=which, states=only), Page(limit=limit, cursor=begin)
            )
        if omitted_begin != _END:
            omissions, omitted_following = profile.store.omissions(
                job=which, page=Page(limit=limit, cursor=omitted_begin)
            )
        if every and (following or omitted_following):
            following = json.dumps([following or _END, omitted_following or _END])
        if where.json:
            document: dict[str, Any] = {"runs": [_document(profile, run) for run in found]}
            if every:
                document["not_run"] = [omission_document(o) for o in omissions]
            document["next"] = following
            output.print_json(document)
            return
        _print(profile, found, omissions, wanted)
    if following is not None:
        output.say(f"more: --cursor {shlex.quote(following)}")


_END = "end"


def _positions(cursor: str | None) -> tuple[str | None, str | None]:
    """With --all two lists are paged side by side, and the cursor has a place in each."""
    if cursor is None:
        return None, None
    try:
        places = json.loads(cursor)
        runs_place, omissions_place = places
        if not (isinstance(runs_place, str) and isinstance(omissions_place, str)):
            raise ValueError(cursor)
    except (ValueError, TypeError):
        raise InvalidInput(
            f"{cursor!r} is not a valid cursor for `runs --all`",
            field="cursor",
            remedy="use the 'next' value of a page",
        ) from None
    return runs_place, omissions_place


def _document(profile: Profile, run: Run) -> RunDocument:
    return run_document(run, profile.store.provenance(run.id), request_of(profile, run))


def request_of(profile: Profile, run: Run) -> Request | None:
    """The request that a run answers, unless retention has taken it."""
    try:
        return profile.store.request(run.request) if run.request else None
    except NotFound:
        return None


def _print(
    profile: Profile, found: tuple[Run, ...], omissions: tuple[Omission, ...], job: Job | None
) -> None:
    at = now()
    zone = job.definition.schedule.timezone if job else profile.timezone()
    who = cache(partial(_who, profile))
    rows = [(run.claimed_at, _run_row(run, zone, at, who(run.process))) for run in found]
    rows += [(o.last, _omission_row(o, zone, who(o.decided_by))) for o in omissions]
    if not rows:
        output.say("no runs yet")
        return
    rows.sort(key=lambda row: row[0], reverse=True)
    output.table(
        ["run", "job", "state", "fire", "took", "term", "by", "result"],
        [row for _, row in rows],
        states=frozenset({2}),
    )


def _who(profile: Profile, process: str) -> str:
    """A process as its user knows it: what it called itself, and its pid."""
    try:
        found = profile.store.process(process)
    except NotFound:
        return process
    pid = f"pid {found.evidence.identity.pid}"
    return f"{found.role}, {pid}" if found.role else pid


def _run_row(run: Run, zone: str, at: datetime, by: str) -> list[object]:
    took = "-"
    if run.started_at is not None:
        took = span((run.finished_at or at) - run.started_at)
    result = outcome(run)
    if run.attempt > 1:
        result += f" (attempt {run.attempt})"
    if run.late is not None:
        result += f" (late: {run.late.state})"
    fire = f"{local(run.fire_time, zone)} ({relative(run.fire_time, at)})"
    return [run.id, run.job_name, run.state, fire, took, run.term, by, result]


def _omission_row(omission: Omission, zone: str, by: str) -> list[object]:
    fires = f"{local(omission.first, zone)}"
    if omission.count > 1:
        fires = f"{omission.count} x {fires} to {local(omission.last, zone)}"
    reason = omission.reason
    if omission.resolution:
        reason += f"; {omission.resolution}"
    elif omission.open:
        reason += "; still open"
    term = omission.term or "-"
    return [
        "-", omission.job_name, omission.kind, fires, "-", term, by, reason,
    ]  # fmt: skip
