"""``python -m benchmarks.workers``: watch every host, write docs/workers.md and results.json."""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.workers import faults, overhead, page
from benchmarks.workers.hosts import HOSTS, Host
from benchmarks.workers.running import SCHEDULERS, Running
from benchmarks.workers.watching import reload, watch

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "workers.md"
OF = (
    "tenure", "apscheduler", "gunicorn", "uvicorn", "fastapi", "starlette", "litestar", "flask",
    "django", "celery", "pyuwsgi", "ipykernel",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    results = HERE / "results.json"
    measured: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
    measured |= {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": options.seconds,
        "versions": ", ".join([f"Python {platform.python_version()}", *_versions()]),
    }
    with tempfile.TemporaryDirectory(prefix="tenure-workers-", dir=options.folder) as made:
        folder = Path(made)
        facts = machine.facts(folder)
        measured["machine"] = f"{facts['cores']} cores, {facts['kernel']}"
        if "hosts" in options.parts:
            kept = {host["name"]: host for host in measured.get("hosts", ())}
            found = kept | {host["name"]: host for host in _hosts(options, folder)}
            measured["hosts"] = [found[name] for name in HOSTS if name in found]
        if "faults" in options.parts:
            measured["faults"] = list(_faults(options, folder))
        if "overhead" in options.parts:
            measured["overhead"] = _overhead(options, folder)
    if options.write:
        results.write_text(json.dumps(measured, indent=1) + "\n")
        PAGE.write_text(page.render(measured))
    else:
        print(page.render(measured))
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="for each host (30)")
    parser.add_argument("--parts", nargs="+", default=["hosts", "faults", "overhead"])
    parser.add_argument("--only", help="hosts whose name this matches; others are kept")
    parser.add_argument("--dry", dest="write", action="store_false", help="print the page only")
    parser.add_argument("--folder", help="where the temporary files go")
    return parser.parse_args(arguments)


def _versions() -> Iterator[str]:
    for name in OF:
        yield f"{name} {version(name)}"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _hosts(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    for host in HOSTS.values():
        if options.only and not re.search(options.only, host.name):
            continue
        seen = watch(host, options.seconds, folder)
        for scheduler, one in seen.items():
            _tell(f"{host.name} / {scheduler}: {one}")
        yield {"name": host.name, **{s: asdict(one) for s, one in seen.items()}}


def _faults(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    for scheduler in SCHEDULERS:
        yield _fault("killed (`kill -9`)", scheduler, folder, _KILLED, _kill)
    for scheduler in SCHEDULERS:
        host = faults.recycling(40)
        yield _fault(
            "recycled all the time (`--max-requests 40 --max-requests-jitter 20`)",
            scheduler,
            folder,
            host,
            _recycle,
        )
    for what, run in (
        ("frozen, `tenure owner take --force`, awake after 20 s", _freeze_by_request),
        ('frozen for good: `hung = "replace"`, the default', _freeze_hung),
    ):
        yield _fault(what, "tenure", folder, faults.PATIENT, run)
    for host in HOSTS.values():
        if host.touch is not None:
            what = f"its code touched, `{host.name}`"
            yield _fault(what, "tenure", folder, host, _reload)


_KILLED = HOSTS["gunicorn -w 8 (sync)"]


def _fault(
    what: str,
    scheduler: str,
    folder: Path,
    host: Host,
    run: Callable[[Running], tuple[Any, str]],
) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(dir=folder) as work,
        Running(host, scheduler, Path(work)) as running,
    ):
        running.settle(90)
        fires, besides = run(running)
        if scheduler == "tenure":
            found = running.findings()
            audit = "audit clean" if not found else f"**audit: {found}**"
            besides = f"{besides}; {audit}" if besides else audit
    _tell(f"{what} / {scheduler}: {fires} {besides}")
    return {"what": what, "scheduler": scheduler, "fires": asdict(fires), "besides": besides}


def _kill(running: Running) -> tuple[Any, str]:
    return faults.kill(running, seconds=10), ""


def _recycle(running: Running) -> tuple[Any, str]:
    done = faults.recycle(running, seconds=30)
    besides = f"{done.owners} processes ran them"
    if running.scheduler == "tenure":
        besides += f" in turn; {done.died} ended without deregistering"
    return done.fires, besides


def _frozen(done: faults.Frozen) -> tuple[Any, str]:
    return done.while_frozen, (
        f"taken over {done.gap:.1f} s after the freeze; awake: it is {done.standing}, "
        f"{done.stale} of its stale claims accepted, {done.refused} refused; after that "
        f"{done.after.once} of {done.after.fires} once"
    )


def _freeze_by_request(running: Running) -> tuple[Any, str]:
    return _frozen(faults.freeze(running, seconds=20))


def _freeze_hung(running: Running) -> tuple[Any, str]:
    return _frozen(faults.freeze(running, seconds=10, by_request=False))


def _reload(running: Running) -> tuple[Any, str]:
    gap, fires, missed = reload(running)
    return fires, f"no owner for {gap:.1f} s; {missed} fires recorded as missed"


def _overhead(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    processes = 20
    cost = {
        "processes": processes,
        "started": asdict(overhead.starting(processes, folder)),
        "idle": asdict(overhead.idling(options.seconds, folder)),
    }
    _tell(f"overhead: {cost}")
    return cost


if __name__ == "__main__":
    raise SystemExit(main())
