"""Two hundred pages that look on while fifty runs a second happen: what they and the owner feel."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import kit
from benchmarks.measurements.lag_callables import instant
from benchmarks.model import Figures, Goal, Measurement, Row

if TYPE_CHECKING:
    from benchmarks.dashboards import Shown
    from tenure import Tenure

LEAD = 8.0
"""Seconds for adding the jobs and for everybody to begin to listen, before the first is due."""
LONGEST = 1000.0
_seen: list[float] = []


def tick(fire: float) -> None:
    _seen.append(time.time() - fire)


def alone(work: Path, sizes: Mapping[str, Any]) -> Figures:
    tenure, due = _owner(work, sizes)
    _wait(due, lambda: None)
    tenure.stop()
    return kit.lags(_seen, sizes["count"])


def dashboard(work: Path, sizes: Mapping[str, Any]) -> Figures:
    from benchmarks import dashboards

    tenure, due = _owner(work, sizes)
    with dashboards.dashboard(work) as shown:
        figures = _listened(shown, due, sizes)
        figures["rss"] = shown.rss()
    tenure.stop()
    return figures


def inside(work: Path, sizes: Mapping[str, Any]) -> Figures:
    """The page in the owner's own process, as `tenure serve --web` has it."""
    import os

    from benchmarks.dashboards import shown as shown_at
    from tenure.surfaces.web.server import BackgroundServer, link, listen
    from tenure.surfaces.web.site import Site
    from tenure.surfaces.web.tokens import Tokens

    tenure, due = _owner(work, sizes)
    tokens, sock = Tokens.in_memory(), listen("127.0.0.1", 0)
    url = link(sock, tokens.pair.full)
    page = BackgroundServer(Site(tenure.profile.folder.home, tokens, joined={kit.PROFILE}), sock)
    page.start()
    figures = _listened(shown_at(url, os.getpid()), due, sizes)
    page.stop()
    tenure.stop()
    return figures


def _owner(work: Path, sizes: Mapping[str, Any]) -> tuple[Tenure, list[float]]:
    from tenure import at

    tenure = kit.tenure_at(work)
    step = sizes["seconds"] / sizes["count"]
    first = time.time() + LEAD * sizes["lead"]
    due = [first + i * step for i in range(sizes["count"])]
    for i, fire in enumerate(due):
        tenure.job(at(instant(fire)), tick, name=f"tick-{i}", args={"fire": fire})
    kit.own(tenure)
    return tenure, due


def _listened(shown: Shown, due: list[float], sizes: Mapping[str, Any]) -> Figures:
    with _listeners(shown, sizes["listeners"]) as client:
        _wait(due, lambda: client.stdin and client.stdin.flush())
        time.sleep(1.0)  # the last end is still to be sent
        out, _ = client.communicate(timeout=30)
    figures = json.loads(out.strip().splitlines()[-1])
    if figures["told_least"] < sizes["count"] and not figures["reloads"]:
        raise RuntimeError(f"a listener received {figures['told_least']} ends only")
    figures = kit.lags(_seen, sizes["count"])
    return {
        **figures,
        "told_p50": figures["lag_p50"],
        "told_p99": figures["lag_p99"],
        "told_worst": figures["lag_worst"],
        "reloads": float(figures["reloads"]),
    }


@contextmanager
def _listeners(shown: Shown, count: int) -> Iterator[subprocess.Popen[str]]:
    from benchmarks.dashboards import BASE

    process = subprocess.Popen(
        [
            sys.executable, "-m", "benchmarks.listeners",
            str(shown.port), f"{BASE}/events", shown.token, str(count),
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("not everybody was greeted")
        yield process
    finally:
        process.kill()
        process.wait()


def _wait(due: list[float], meanwhile: Any) -> None:
    if time.time() > due[0]:
        raise RuntimeError("adding the jobs and the listeners took longer than the lead")
    kit.sleep_until(due[-1])
    kit.wait_until(lambda: len(_seen) >= len(due), "the last callable", 30)
    meanwhile()


_SIDES = {"alone": alone, "dashboard": dashboard, "inside": inside}


def _lag(side: str, *goals: Goal) -> Row:
    title = "Start lag, 50 runs a second, p99"
    return Row(title=title, figure="p99", unit="ms", side=side, beside=("alone",), goals=goals)


def _told(figure: str, words: str, *goals: Goal) -> Row:
    return Row(
        title=f"200 listeners learn of a run's end, {words}",
        figure=figure,
        unit="ms",
        side="dashboard",
        beside=("inside",),
        goals=goals,
    )


MEASUREMENT = Measurement(
    name="web_listeners",
    about="1,000 one-shot callables over 20 s (50 runs a second) in an owner: alone; beside a "
    "`tenure dashboard`, a process of its own, whose event stream 200 clients follow; with that "
    "page in the owner's process. The lag of a start is `time.time()` as the job's first "
    "statement minus the instant it was due; of a listener, the moment at which it reads that a "
    "run ended minus the end that is recorded. The 200 clients are one process.",
    sides={name: partial(side) for name, side in _SIDES.items()},
    rows=(
        _lag("dashboard", Goal(side="alone", factor=2)),
        _lag("inside"),
        _told("told_p50", "p50"),
        _told("told_worst", "worst", Goal(limit=LONGEST)),
        Row(
            title="Dashboard's memory with 200 listeners", figure="rss", unit="MB",
            side="dashboard", goals=(Goal(limit=120.0),),
        ),
    ),
    sizes={
        "full": {"count": 1000, "seconds": 20.0, "lead": 1.0, "listeners": 200},
        "tiny": {"count": 5, "seconds": 0.25, "lead": 0.4, "listeners": 3},
    },
)  # fmt: skip
