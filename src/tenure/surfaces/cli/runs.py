"""``tenure runs`` and ``tenure logs``: what ran, by which process, how it ended, what it wrote."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime
from functools import cache, partial
from typing import Any

import click

from tenure.client.documents.runs import RunDocument, omission_document, run_document
from tenure.client.foreign_jobs import where_output_is
from tenure.client.logs import find_run_or_latest, follow_run, log_path
from tenure.client.pages import page_of_runs
from tenure.domain.errors import InvalidInput, NotFound
from tenure.domain.job import Job
from tenure.domain.omission import Omission
from tenure.domain.request import Request
from tenure.domain.run import Run, RunState
from tenure.runtime.output import layout_of, read_output, tail
from tenure.runtime.profile import Profile
from tenure.store.contract import RunFilter
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import CURSOR, JOB, Verb, Where, limit_option, now
from tenure.surfaces.cli.output import local, outcome, span, when


@click.command(cls=Verb)
@click.argument("job", required=False, type=JOB)
@click.option(
    "--all", "every", is_flag=True, help="Also list scheduled runs that did not run, as ranges."
)
@click.option(
    "--state", "states", multiple=True, type=click.Choice([str(s) for s in RunState]),
    help="Only runs in this state (repeatable).",
)  # fmt: skip
@limit_option(help="Maximum number to show (default: 20; with --json 100).")
@CURSOR
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
        only_job = profile.store.job(job) if job else None
        run_filter = RunFilter(
            job=only_job.id if only_job else None,
            states=frozenset(RunState(s) for s in states) or None,
        )
        found, omissions, following = page_of_runs(
            profile.store, run_filter, limit=limit, cursor=cursor, everything=every
        )
        if where.json:
            document: dict[str, Any] = {"runs": [_document(profile, run) for run in found]}
            if every:
                document["not_run"] = [omission_document(o) for o in omissions]
            document["next"] = following
            output.print_json(document)
            return
        _print(profile, found, omissions, only_job)
    if following is not None:
        output.say(f"more: --cursor {shlex.quote(following)}")


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
        ["run", "job", "state", "due", "took", "term", "by", "result"],
        [row for _, row in rows],
        states=frozenset({2}),
    )


def _who(profile: Profile, process: str) -> str:
    """A process as its user knows it: what it called itself, and its pid."""
    try:
        record = profile.store.process(process)
    except NotFound:
        return process
    pid = f"pid {record.evidence.identity.pid}"
    return f"{record.role}, {pid}" if record.role else pid


def _run_row(run: Run, zone: str, at: datetime, by: str) -> list[object]:
    took = "-"
    if run.started_at is not None:
        took = span((run.finished_at or at) - run.started_at)
    result = outcome(run)
    if run.attempt > 1:
        result += f" (attempt {run.attempt})"
    if run.late is not None:
        result += f" (late: {run.late.state})"
    due = when(run.fire_time, zone, at)
    return [run.id, run.job_name, run.state, due, took, run.term, by, result]


def _omission_row(omission: Omission, zone: str, by: str) -> list[object]:
    due = local(omission.first, zone)
    if omission.count > 1:
        due = f"{omission.count} x {due} to {local(omission.last, zone)}"
    reason = omission.reason
    if omission.resolution:
        reason += f"; {omission.resolution}"
    elif omission.open:
        reason += "; still open"
    term = omission.term or "-"
    return ["-", omission.job_name, omission.kind, due, "-", term, by, reason]


# -- logs -----------------------------------------------------------------------------------------
@click.command(cls=Verb)
@click.argument("run", metavar="RUN|JOB", type=JOB)
@click.option(
    "-f", "--follow", "following", is_flag=True, help="Follow the output until the run ends."
)
@click.option(
    "--attempt",
    type=click.IntRange(1),
    metavar="N",
    help="The attempt to show (default: the last).",
)
@click.option(
    "-n", "--lines", type=click.IntRange(1), metavar="N", help="Show only the last N lines."
)
@click.pass_obj
def logs(where: Where, run: str, following: bool, attempt: int | None, lines: int | None) -> None:
    """Show the output of a run, or of a job's latest run."""
    if following and (where.json or lines):
        other = "--json" if where.json else "--lines"
        raise InvalidInput(f"cannot be combined with {other}", field="follow")
    with where.open(readonly=not following) as profile:
        chosen = find_run_or_latest(profile, run)
        path = log_path(profile, chosen, attempt)
        if following:
            for part in follow_run(profile, chosen, attempt):
                _write(part)
                sys.stdout.flush()
        elif where.json:
            text = tail(path, lines) if lines else b"".join(read_output(path))
            output.print_json(
                {
                    "run": chosen.id,
                    "attempt": attempt or chosen.attempt,
                    "state": str(chosen.state),
                    "file": str(path),
                    "dropped": layout_of(path).dropped,
                    "output": text.decode("utf-8", "replace"),
                }
            )
        else:
            for part in [tail(path, lines)] if lines else read_output(path):
                _write(part)
            if not path.exists():
                why = _why_no_file(profile, chosen)
                output.warn(f"run {chosen.id} ({chosen.state}) has no output file", why)


def _why_no_file(profile: Profile, run: Run) -> str:
    if run.started_at is None:
        return run.reason or "it has not started"
    elsewhere = where_output_is(profile.store.definition(run.job, run.revision).action)
    return elsewhere or "a Python function's output goes to the output of its process"


def _write(part: bytes) -> None:
    """Bytes as they are: the output is the job's, not ours."""
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(part.decode("utf-8", "replace"))
    else:
        buffer.write(part)
