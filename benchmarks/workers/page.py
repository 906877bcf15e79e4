"""docs/workers.md, out of what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NAMES = {
    "tenure": "Tenure",
    "aps-memory": "APScheduler, memory",
    "aps-sqlite": "APScheduler, shared SQLite",
}


def render(measured: dict[str, Any]) -> str:
    """The whole page. ``measured`` is results.json's content."""
    parts = [
        _head(measured),
        _hosts(measured.get("hosts", [])),
        _faults(measured.get("faults", [])),
    ]
    if measured.get("overhead"):
        parts.append(_overhead(measured["overhead"]))
    parts.append(_how(measured))
    return "\n".join(parts)


def _head(measured: dict[str, Any]) -> str:
    return f"""# One run under any number of workers

A job is due every second, in programs that run as more than one process: how often each fire ran.
Written by `python -m benchmarks.workers`; [embedding.md](embedding.md) shows how to set up each
host.

Measured {measured["at"][:10]}, {measured["seconds"]} s each, with {measured["versions"]}, on
{measured["machine"]}. These are counts and ratios; on another machine only the milliseconds differ.
"""


def _hosts(hosts: Sequence[dict[str, Any]]) -> str:
    lines = [
        "## Each fire once",
        "",
        "*runs per fire*: 1.00 is right. *once*: fires that ran exactly once. *errors*: lines of",
        "the host's log that report an error.",
        "",
        _row(
            "Host",
            "Tenure: once",
            "latest start",
            "owner + candidates",
            "APScheduler, memory: runs per fire",
            "APScheduler, shared SQLite: runs per fire",
            "once",
        ),
        _row(*["---"] * 7),
    ]
    lines += [_host(host) for host in hosts]
    return "\n".join(lines) + "\n"


def _host(host: dict[str, Any]) -> str:
    one = host["tenure"]
    cells = [
        host["name"],
        _once(one),
        f"{one['fires']['late'] * 1000:.0f} ms",
        _standings(one),
        _per_fire(host.get("aps-memory")),
        _per_fire(host.get("aps-sqlite")),
        _once(host.get("aps-sqlite")),
    ]
    return _row(*cells)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _once(one: dict[str, Any] | None) -> str:
    if one is None:
        return ""
    fires = one["fires"]
    text = f"{fires['once']} of {fires['fires']}"
    return text if one.get("findings") in (None, [], ()) else f"**{text}, and the audit complains**"


def _standings(one: dict[str, Any]) -> str:
    found = one["standings"]
    text = f"{found.get('owner', 0)} + {found.get('candidate', 0)}"
    others = sum(found.values()) - found.get("owner", 0) - found.get("candidate", 0)
    if others or one["supervisor_joined"]:
        text += f" **+ {others}{', the supervisor joined' if one['supervisor_joined'] else ''}**"
    return text


def _per_fire(one: dict[str, Any] | None) -> str:
    if one is None:
        return ""
    fires = one["fires"]
    text = f"{fires['runs'] / fires['fires']:.2f}"
    return f"{text} ({one['errors']} errors)" if one["errors"] else text


def _faults(faults: Sequence[dict[str, Any]]) -> str:
    lines = [
        "## Killed, recycled, frozen, deployed",
        "",
        "Under `gunicorn -w 8` unless stated otherwise. What is done to the process that executes",
        "the jobs (with APScheduler: to one of them), and what happens to the fires.",
        "",
        _row(
            "What", "Under", "Fires", "once", "missed", "more than once", "latest start", "besides"
        ),
        _row(*["---"] * 8),
    ]
    for fault in faults:
        fires = fault["fires"]
        lines.append(
            _row(
                fault["what"],
                NAMES[fault["scheduler"]],
                str(fires["fires"]),
                str(fires["once"]),
                str(len(fires["missed"])),
                str(fires["repeated"]),
                f"{fires['late'] * 1000:.0f} ms",
                fault["besides"],
            )
        )
    return "\n".join(lines) + "\n"


def _overhead(cost: dict[str, Any]) -> str:
    started, idle = cost["started"], cost["idle"]
    least, most = idle["candidates"][0], idle["candidates"][-1]
    rows = {
        "`from tenure import Tenure, every`": f"{started['imports']:.0f} ms, once a process",
        "the first `Tenure(...)`, which loads the runtime": f"{started['makes']:.0f} ms, once",
        "`tenure.start()`": f"{started['starts']:.1f} ms",
        f"the slowest of {cost['processes']}": f"{started['starts_worst']:.1f} ms",
        "the one that makes the profile": f"{started['starts_first']:.1f} ms",
        "from there to owning": f"{started['owns']:.1f} ms",
        "`tenure.stop()`, nothing running": f"{started['stops']:.1f} ms",
        "threads": ", ".join(f"`{name}`" for name in started["threads"])
        + "; `tenure-job-N` and `tenure-async` with the first jobs of their kind",
        "idle, the owner": f"{idle['owner']:.3f} % of a core",
        "idle, each of seven candidates": f"{least:.3f} to {most:.3f} % of a core",
    }
    lines = [_row("What", "Measured"), _row("---", "---"), *(_row(*row) for row in rows.items())]
    table = "\n".join(lines)
    return f"""## What it costs the host

{table}

Idle is the difference to the same worker without Tenure ({idle["without"]:.4f} %), one job an hour
away.
"""


def _how(measured: dict[str, Any]) -> str:
    return """## How it is measured

Real servers on loopback, started as their documentation describes (the programs are in
`benchmarks/workers/apps/`). Each host runs under the three schedulers at the same time. Tenure is
started by its integration: the ASGI lifespan, `init_app`, the Django app, or `tenure.start()` where
the module is loaded, at Celery's signals, in a notebook's cell. APScheduler 3 is started where its
users start it: where the module is loaded, in the lifespan, in `AppConfig.ready`; with a cron
trigger for every second, in SQLite as one job with an id and `replace_existing=True`, its table
created beforehand (eight workers that create it at once fail to boot).

Each run appends a line to a file; only these lines count. A run of Tenure names its fire; a run of
APScheduler counts for the whole second before it. Counting begins once all processes have started.
For Tenure the whole history of the store is then audited too (`tenure audit`): a fire without a run
must have a record that says why.

Under `--preload` APScheduler's only thread stays in the arbiter: one run per fire, in the process
that serves no requests and keeps the old code. The same holds for any parent if the scheduler is
started before a fork: the main process of Celery's prefork pool, uWSGI's first process. With a
single process the problem does not arise.

Celery's broker is a folder, whose messages appear atomically (kombu's own can be read half
written). Tenure has a second job there, which sends a task at each fire, instead of `celery beat`.
"""
