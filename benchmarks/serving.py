"""A ``tenure serve`` with some jobs, for as long as it is measured."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import kit

CLI = (sys.executable, "-m", "tenure.surfaces.cli.main")


def where(work: Path) -> tuple[str, ...]:
    """The options that name the profile."""
    return ("--home", str(work / "home"), "--profile", kit.PROFILE)


@contextmanager
def serving(work: Path, jobs: int) -> Iterator[subprocess.Popen[bytes]]:
    """The process, once it owns."""
    from benchmarks.populated import fill

    profile = kit.tenure_at(work).profile
    fill(profile.store, jobs, datetime.now(UTC))
    process = subprocess.Popen(
        [*CLI, "serve", *where(work)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        kit.wait_until(lambda: profile.store.ownership().process is not None, "an owner", 30, 0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        profile.close()
