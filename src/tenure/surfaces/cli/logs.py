"""``tenure logs``: what a run wrote."""

from __future__ import annotations

import sys

import click

from tenure.client.foreign_jobs import where_output_is
from tenure.client.logs import find_run_or_latest, follow_run, log_path
from tenure.domain.errors import InvalidInput
from tenure.domain.run import Run
from tenure.runtime.output import layout_of, read_output, tail
from tenure.runtime.profile import Profile
from tenure.surfaces.cli import output
from tenure.surfaces.cli.command import JOB, Verb, Where


@click.command(cls=Verb)
@click.argument("run", metavar="RUN|JOB", type=JOB)
@click.option(
    "-f", "--follow", "following", is_flag=True, help="Follow the output until the run ends."
)
@click.option("--attempt", type=click.IntRange(1), help="The attempt to show (the last).")
@click.option("-n", "--lines", type=click.IntRange(1), help="Show only the last N lines.")
@click.pass_obj
def logs(where: Where, run: str, following: bool, attempt: int | None, lines: int | None) -> None:
    """Show the output of a run, or of a job's latest run."""
    if following and (where.json or lines):
        other = "--json" if where.json else "--lines"
        raise InvalidInput(f"cannot be combined with {other}", field="follow")
    with where.open(readonly=not following) as profile:
        found = find_run_or_latest(profile, run)
        path = log_path(profile, found, attempt)
        if following:
            for part in follow_run(profile, found, attempt):
                _write(part)
                sys.stdout.flush()
        elif where.json:
            text = tail(path, lines) if lines else b"".join(read_output(path))
            output.print_json(
                {
                    "run": found.id,
                    "attempt": attempt or found.attempt,
                    "state": str(found.state),
                    "file": str(path),
                    "dropped": layout_of(path).dropped,
                    "output": text.decode("utf-8", "replace"),
                }
            )
        else:
            for part in [tail(path, lines)] if lines else read_output(path):
                _write(part)
            if not path.exists():
                why = _why(profile, found)
                output.warn(f"run {found.id} ({found.state}) has no output file", why)


def _why(profile: Profile, run: Run) -> str:
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
