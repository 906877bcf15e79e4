"""The output of runs: which file, and following one that still grows."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tenure.domain.errors import NotFound
from tenure.domain.run import FINAL, Run
from tenure.runtime.output import follow
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter

PAUSE_S = 0.1


def find_run_or_latest(profile: Profile, ref: str) -> Run:
    """A run by its id, or the latest of a job. Raises NotFound."""
    try:
        return profile.store.run(ref)
    except NotFound:
        try:
            job = profile.store.job(ref)
        except NotFound as error:
            raise NotFound(
                f"unknown run or job {ref!r}",
                remedy=error.remedy or "`tenure runs` lists the runs",
            ) from None
    runs, _ = profile.store.runs(RunFilter(job=job.id), Page(limit=1))
    if not runs:
        raise NotFound(
            f"{job.name} has not run yet",
            remedy=f"`tenure explain {shlex.quote(job.name)}` shows why",
        )
    return runs[0]


def log_path(profile: Profile, run: Run, attempt: int | None = None) -> Path:
    """The file of an attempt's output, by default the last one's. Raises NotFound."""
    if attempt is not None and not 1 <= attempt <= run.attempt:
        raise NotFound(f"run {run.id} had {run.attempt} attempts, not {attempt}", field="attempt")
    return profile.folder.logs / run.id / f"{attempt or run.attempt}.log"


def follow_run(
    profile: Profile,
    run: Run,
    attempt: int | None = None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """What an attempt writes, until it ends; without ``attempt`` from the current one on until the
    run has ended."""
    # Each attempt has a file of its own.
    number = attempt or run.attempt
    while True:
        yield from follow(
            log_path(profile, profile.store.run(run.id), number),
            ended=_ended(profile, run.id, number),
            wait=lambda: sleep(PAUSE_S),
        )
        if attempt is not None or profile.store.run(run.id).attempt == number:
            return
        number += 1


def _ended(profile: Profile, run_id: str, attempt: int) -> Callable[[], bool]:
    """Whether this attempt is over."""
    mark, over = -1, False

    def look() -> bool:
        nonlocal mark, over
        current = profile.store.change_mark()
        # The run is read only when the store has changed.
        if current != mark:
            run = profile.store.run(run_id)
            mark = current
            over = run.state in FINAL or run.attempt > attempt
        return over

    return look
