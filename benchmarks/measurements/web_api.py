"""The API's answers about a profile with 10,000 jobs and 100,000 runs, and what it keeps in memory.

The floor is what the same stack costs without Tenure: a FastAPI application behind the same uvicorn
that answers a document of the same size, ready made.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import kit
from benchmarks.model import Figures, Goal, Measurement, Row

ASKED = {
    "status": "/status",
    "jobs": "/jobs",
    "runs": "/runs?limit=20",
    "job": "/jobs/job-77",
}


def tenure(work: Path, sizes: Mapping[str, Any]) -> Figures:
    from benchmarks.dashboards import BASE, dashboard
    from benchmarks.history import with_history

    profile = kit.tenure_at(work).profile
    with_history(profile, sizes["jobs"], sizes["runs"])
    profile.close()
    figures: Figures = {}
    with dashboard(work) as shown:
        for name, path in ASKED.items():
            figures |= _figures(name, shown.times(BASE + path, sizes["turns"]))
        figures["rss"] = shown.rss()
    return figures


def floor(work: Path, sizes: Mapping[str, Any]) -> Figures:
    from benchmarks.dashboards import Shown

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", __name__, str(port)])
    try:
        shown = Shown(port=port, token="", pid=process.pid)
        kit.wait_until(lambda: _answers(port), "the floor to listen", 30, 0.05)
        figures: Figures = {}
        for name in ASKED:
            figures |= _figures(name, shown.times(f"/{name}", sizes["turns"]))
        figures["rss"] = shown.rss()
        return figures
    finally:
        process.terminate()
        process.wait(15)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _figures(name: str, took: list[float]) -> Figures:
    return {
        f"{name}_p50": kit.percentile(took, 0.50),
        f"{name}_p99": kit.percentile(took, 0.99),
    }


def _serve_floor(port: int) -> None:
    """A hundred jobs' worth of JSON for a list, a few for the rest."""
    import uvicorn
    from fastapi import FastAPI
    from fastapi.responses import Response

    app = FastAPI()
    sizes = {"status": 3_000, "jobs": 100_000, "runs": 40_000, "job": 1_200}
    bodies = {name: json.dumps({"x": "y" * size}).encode() for name, size in sizes.items()}

    @app.get("/{name}")
    def answer(name: str) -> Response:
        return Response(bodies[name], media_type="application/json")

    uvicorn.run(app, port=port, log_level="error", http="h11")


def _row(title: str, figure: str) -> Row:
    return Row(title=title, figure=figure, unit="ms", beside=("floor",), goals=(Goal(limit=50.0),))


MEASUREMENT = Measurement(
    name="web_api",
    about="A `tenure dashboard` over a profile with 10,000 jobs and 100,000 runs, asked by one "
    "client over one connection, 300 times each, from request to the last byte: the status, the "
    "first hundred jobs with the last run of each, twenty runs with who ran them, one job. The "
    "floor is a FastAPI application with the same uvicorn and ready-made answers of that size. "
    "Memory is VmRSS afterwards.",
    sides={"floor": floor, "tenure": tenure},
    rows=(
        _row("API, status, p99", "status_p99"),
        _row("API, 100 of 10,000 jobs, p99", "jobs_p99"),
        _row("API, 20 of 100,000 runs, p99", "runs_p99"),
        _row("API, one job, p99", "job_p99"),
        Row(title="API, 100 of 10,000 jobs, p50", figure="jobs_p50", unit="ms", beside=("floor",)),
        Row(
            title="Dashboard's memory", figure="rss", unit="MB", beside=("floor",),
            goals=(Goal(limit=120.0),),
        ),
    ),
    sizes={
        "full": {"jobs": 10_000, "runs": 100_000, "turns": 300},
        "tiny": {"jobs": 120, "runs": 300, "turns": 3},
    },
)  # fmt: skip

if __name__ == "__main__":
    _serve_floor(int(sys.argv[1]))
