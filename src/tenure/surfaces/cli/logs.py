"""``tenure logs``: what a run wrote."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from tenure.client.foreign_jobs import where_output_is
from tenure.domain.errors import InvalidInput, NotFound
from tenure.domain.run import FINAL, Run
from tenure.runtime.commands.output import follow, layout_of, read_output, tail
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from tenure.surfaces.cli import output
from tenure.surfaces.cli.lazy import Verb
from tenure.surfaces.cli.where import JOB, Where

_PAUSE = 0.1


@click.command(cls=Verb)
@click.argument("run", metavar="RUN|JOB", type=JOB)
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the run has ended.")
@click.option("--attempt", type=click.IntRange(1), help="An earlier attempt (the last).")
@click.option("-n", "--lines", type=click.IntRange(1), help="Only the last lines.")
@click.pass_obj
def logs(where: Where, run: str, following: bool, attempt: int | None, lines: int | None) -> None:
    """Show the output of a run, or of a job's latest run."""
    if following and (where.json or lines):
        other = "--json" if where.json else "--lines"
        raise InvalidInput(f"--follow and {other} exclude each other", field="follow")
    with where.open(readonly=not following) as profile:
        found = find_run(profile, run)
        if attempt is not None and attempt > found.attempt:
            raise NotFound(
                f"run {found.id} had {found.attempt} attempts, not {attempt}", field="attempt"
            )
        number = attempt or found.attempt
        path = _path(profile, found, number)
        if following:
            _follow(profile, found, number, only=attempt is not None)
        elif where.json:
            text = tail(path, lines) if lines else b"".join(read_output(path))
            output.print_json(
                {
                    "run": found.id,
                    "attempt": number,
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


def find_run(profile: Profile, ref: str) -> Run:
    """A run by its id, or the latest of a job. Raises NotFound."""
    try:
        return profile.store.run(ref)
    except NotFound:
        try:
            job = profile.store.job(ref)
        except NotFound as error:
            raise NotFound(
                f"there is no run and no job {ref!r}",
                remedy=error.remedy or "`tenure runs` lists the runs",
            ) from None
    found, _ = profile.store.runs(RunFilter(job=job.id), Page(limit=1))
    if not found:
        raise NotFound(
            f"{job.name} has not run yet", remedy=f"`tenure explain {shlex.quote(job.name)}`"
        )
    return found[0]


def _path(profile: Profile, run: Run, attempt: int) -> Path:
    return profile.folder.logs / run.id / f"{attempt}.log"


def _why(profile: Profile, run: Run) -> str:
    if run.started_at is None:
        return run.reason or "it has not started"
    elsewhere = where_output_is(profile.store.definition(run.job, run.revision).action)
    return elsewhere or "a Python function writes where its process does"


def _follow(profile: Profile, run: Run, attempt: int, *, only: bool) -> None:
    """Attempt after attempt, until the run has ended (or the one asked for)."""
    while True:
        ended = _ended(profile, run.id, attempt)
        for part in follow(_path(profile, run, attempt), ended=ended, wait=_pause):
            _write(part)
            sys.stdout.flush()
        current = profile.store.run(run.id)
        if only or current.attempt == attempt:
            return
        attempt += 1


def _ended(profile: Profile, run: str, attempt: int) -> Callable[[], bool]:
    """Whether this attempt is over; the store is asked only when it has changed."""
    state = {"mark": -1, "over": 0}

    def look() -> bool:
        mark = profile.store.change_mark()
        if mark != state["mark"]:
            found = profile.store.run(run)
            state["mark"] = mark
            state["over"] = int(found.state in FINAL or found.attempt > attempt)
        return bool(state["over"])

    return look


def _pause() -> None:
    time.sleep(_PAUSE)


def _write(part: bytes) -> None:
    """Bytes as they are: the output is the job's, not ours."""
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(part.decode("utf-8", "replace"))
    else:
        buffer.write(part)
