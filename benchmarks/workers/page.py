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

A job that is due every second, in every program that people run with more than one process; how
often each of its fires ran. Written by `python -m benchmarks.workers`; [embedding.md](embedding.md)
says how each host is set up.

Measured {measured["at"][:10]}, {measured["seconds"]} s each, with {measured["versions"]}, on
{measured["machine"]}. These are counts and ratios; on another machine only the milliseconds differ.
"""


def _hosts(hosts: Sequence[dict[str, Any]]) -> str:
    lines = [
        "## Each fire once",
        "",
        "*runs a fire*: 1.00 is right. *once*: fires that ran exactly once. *errors*: lines of the",
        "host's log that tell of one.",
        "",
        _row(
            "Host",
            "Tenure: once",
            "latest start",
            "owner + candidates",
            "APScheduler, memory: runs a fire",
            "APScheduler, shared SQLite: runs a fire",
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
        "`gunicorn -w 8` unless it says otherwise. What happens to the process that runs the jobs",
        "(of APScheduler: to one that does), and what to the fires.",
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

Idle is over what the same worker takes without Tenure ({idle["without"]:.4f} %), one job an hour
away.
"""


def _how(measured: dict[str, Any]) -> str:
    return """## How it is measured

Real servers on loopback, started as their documentation says (the programs are in
`benchmarks/workers/apps/`). Each host runs under the three schedulers at the same time. Tenure is
started by its integration: the ASGI lifespan, `init_app`, the Django app, or `tenure.start()` where
the module is loaded, at Celery's signals, in a notebook's cell. APScheduler 3 is started where its
users start it: where the module is loaded, in the lifespan, in `AppConfig.ready`; with a cron
trigger for every second, in SQLite as one job with an id and `replace_existing=True`, its table
made beforehand (eight workers that make it at once fail to boot).

Each run adds a line to a file; nothing else is believed. A run of Tenure says which fire it is for;
one of APScheduler counts for the whole second before it. Counting begins once all processes have
started. For Tenure the store's whole history is then audited too (`tenure audit`): what is no run
must be a record that says why.

Under `--preload` APScheduler's one thread stays in the arbiter: one run a fire, in the process that
serves nothing and keeps the old code. Where it is started before a fork the same holds for the
parent: the main process of Celery's prefork pool, uWSGI's first. With one process there is nothing
to go wrong.

Celery's broker is a folder, whose messages appear whole (kombu's own can be read half written).
Tenure has a second job there, which sends a task at each fire, in the place of `celery beat`.
"""
